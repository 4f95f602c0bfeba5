from __future__ import annotations

import threading
import time
import tracemalloc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, TracesData

from collector_processor.columns.batch import Decoded
from collector_processor.exporters.delivery.bounded_queue import Batching
from collector_processor.exporters.delivery.connection import Connection
from collector_processor.exporters.delivery.retry import Delivery, RetryPolicy
from collector_processor.exporters.otlp import journal_cursor
from collector_processor.exporters.otlp.journal_cursor import JournalCursor
from collector_processor.exporters.otlp.originals import OriginalsForwarder
from collector_processor.journal.base import Entry, Request, Signal
from collector_processor.journal.memory import MemoryJournal
from collector_processor.own.metrics import ITEMS
from collector_processor.own.telemetry import Telemetry
from support.waiting import wait_until

QUICK = RetryPolicy(initial_s=0.001, max_s=0.002, max_elapsed_s=30.0)
SENT, REFUSED, LATER = Delivery("sent"), Delivery("refused", "bad"), Delivery("retry", "down")


class Destination:
    """Answers by the script, then ``sent`` for ever; keeps what it was sent."""

    def __init__(self, *script: Delivery | Exception) -> None:
        self.script = list(script)
        self.always: Delivery | None = None
        self.tries: list[bytes] = []
        self.timeouts: list[float] = []
        self.closed = False
        self.gate = threading.Event()
        self.gate.set()

    def send(self, signal: Signal, body: bytes, timeout_s: float, gzipped: bytes = b"", via: str = "") -> Delivery:
        assert self.gate.wait(30)
        self.tries.append(body)
        self.timeouts.append(timeout_s)
        answer = self.always or (self.script.pop(0) if self.script else SENT)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        self.closed = True


def request(body: bytes, signal: Signal = "traces", items: int = 2) -> Request:
    return Request(signal, body, Decoded(items=items), items, 0)


class Forwarding:
    def __init__(
        self,
        destination: Destination,
        journal: MemoryJournal | None = None,
        *,
        retry: RetryPolicy = QUICK,
        signals: Sequence[Signal] = (),
        name: str = "otlp_grpc",
        consumers: int = 1,
        batching: Batching | None = None,
    ) -> None:
        self.telemetry = Telemetry()
        self.name = name
        self.journal = journal or MemoryJournal(self.telemetry)
        self.forwarder = OriginalsForwarder(
            name,
            self.journal,
            Connection(name, lambda: destination),
            self.telemetry,
            signals=signals,
            retry=retry,
            consumers=consumers,
            batching=batching,
        )

    def counted(self, verb: str, signal: Signal = "traces") -> float:
        name = f"otelcol_exporter_{verb}_{ITEMS[signal]}_total"
        return self.telemetry.registry.get_sample_value(name, {"exporter": self.name}) or 0.0

    def done(self) -> bool:
        return self.journal.lag(self.name) == 0


@contextmanager
def forwarding(forwarding: Forwarding) -> Iterator[Forwarding]:
    forwarding.forwarder.start()
    try:
        yield forwarding
    finally:
        forwarding.forwarder.shutdown(5.0)


def test_requests_are_delivered_in_order_and_committed() -> None:
    destination = Destination()
    with forwarding(Forwarding(destination)) as running:
        for body in (b"a", b"b", b"c"):
            running.journal.append(request(body))
        wait_until(running.done)

    assert destination.tries == [b"a", b"b", b"c"]
    assert running.counted("sent") == 6
    assert running.journal.held_bytes == 0
    assert destination.closed


def test_only_its_signals_are_delivered() -> None:
    destination = Destination()
    with forwarding(Forwarding(destination, signals=["logs"])) as running:
        running.journal.append(request(b"a", "traces"))
        running.journal.append(request(b"b", "logs"))
        wait_until(running.done)

    assert destination.tries == [b"b"]
    assert running.counted("sent", "logs") == 2


def test_what_fails_for_now_is_tried_again_and_keeps_the_order() -> None:
    destination = Destination(LATER, LATER, SENT, LATER)
    with forwarding(Forwarding(destination)) as running:
        running.journal.append(request(b"a"))
        running.journal.append(request(b"b"))
        wait_until(running.done)

    assert destination.tries == [b"a", b"a", b"a", b"b", b"b"]
    assert (running.counted("sent"), running.counted("send_failed")) == (4, 0)


def test_what_fails_for_good_is_given_up_and_counted() -> None:
    destination = Destination(REFUSED)
    with forwarding(Forwarding(destination)) as running:
        running.journal.append(request(b"a"))
        running.journal.append(request(b"b"))
        wait_until(running.done)

    assert destination.tries == [b"a", b"b"]
    assert (running.counted("sent"), running.counted("send_failed")) == (2, 2)


def test_after_the_longest_time_it_is_given_up_and_counted() -> None:
    destination = Destination()
    destination.always = LATER
    retry = RetryPolicy(initial_s=0.001, max_s=0.001, max_elapsed_s=0.02)
    with forwarding(Forwarding(destination, retry=retry)) as running:
        running.journal.append(request(b"a"))
        wait_until(running.done)

    assert len(destination.tries) > 1
    assert running.counted("send_failed") == 2


def test_without_retries_one_try_is_all() -> None:
    destination = Destination(LATER)
    with forwarding(Forwarding(destination, retry=RetryPolicy(enabled=False))) as running:
        running.journal.append(request(b"a"))
        wait_until(running.done)

    assert destination.tries == [b"a"]
    assert running.counted("send_failed") == 2


@given(
    tries=st.integers(1, 10_000),
    asked_s=st.none() | st.floats(0.0, 1e12),
    initial_s=st.floats(0.001, 100.0),
    max_s=st.floats(0.001, 100.0),
)
def test_the_wait_is_never_shorter_than_the_back_off_or_than_what_is_asked_for(
    tries: int, asked_s: float | None, initial_s: float, max_s: float
) -> None:
    policy = RetryPolicy(initial_s=initial_s, max_s=max_s, max_elapsed_s=0.0, jitter=0.0)
    wait_s = policy.wait_s(tries, 0.0, asked_s)

    assert wait_s is not None
    assert wait_s >= min(initial_s, max_s)
    assert wait_s >= min(asked_s or 0.0, 3600.0)
    assert wait_s <= max(3600.0, max_s)


def test_items_that_the_destination_rejected_are_counted() -> None:
    destination = Destination(
        Delivery("sent", rejected=1), Delivery("sent", rejected=10**9), Delivery("sent", rejected=-5)
    )
    with forwarding(Forwarding(destination)) as running:
        for _ in range(3):
            running.journal.append(request(b"a"))
        wait_until(running.done)

    assert (running.counted("sent"), running.counted("send_failed")) == (1 + 0 + 2, 1 + 2 + 0)


def test_a_sender_that_breaks_is_survived() -> None:
    destination = Destination(RuntimeError("a bug"))
    with forwarding(Forwarding(destination)) as running:
        running.journal.append(request(b"a"))
        running.journal.append(request(b"b"))
        wait_until(running.done)

    assert destination.tries == [b"a", b"b"]
    assert running.counted("send_failed") == 2
    assert running.telemetry.registry.get_sample_value("otel_ml_errors_total", {"stage": "originals"}) == 1


def test_an_error_while_dividing_gives_up_on_that_request_and_counts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(signal: Signal, body: bytes) -> None:
        raise MemoryError

    monkeypatch.setattr(journal_cursor, "halves", no_memory)
    destination = Destination(Delivery("refused", "too large", too_large=True))
    with forwarding(Forwarding(destination)) as running:
        running.journal.append(request(b"a"))
        running.journal.append(request(b"b"))
        wait_until(running.done)

    assert destination.tries == [b"a", b"b"]
    assert (running.counted("sent"), running.counted("send_failed")) == (2, 2)
    assert running.telemetry.registry.get_sample_value("otel_ml_errors_total", {"stage": "originals"}) == 1


def test_a_dead_destination_lags_alone() -> None:
    telemetry = Telemetry()
    journal = MemoryJournal(telemetry, max_entries=5)
    journal.subscribe("statistics", essential=True)
    dead, alive = Destination(), Destination()
    dead.gate.clear()
    with (
        forwarding(Forwarding(dead, journal, name="dead")),
        forwarding(Forwarding(alive, journal, name="alive")) as running,
    ):
        for i in range(20):
            journal.commit("statistics", journal.append(request(b"%d" % i)))
            wait_until(running.done)
        value = telemetry.registry.get_sample_value
        assert value("otelcol_exporter_queue_size", {"exporter": "dead", "data_type": "originals"}) == 5
        assert value("otelcol_exporter_queue_size", {"exporter": "alive", "data_type": "originals"}) == 0
        lost = value("otelcol_exporter_enqueue_failed_spans_total", {"exporter": "dead"})
        dead.gate.set()

    assert alive.tries == [b"%d" % i for i in range(20)]
    assert dead.tries[-5:] == alive.tries[-5:]
    assert lost is not None
    assert lost + 2 * len(dead.tries) == 40


def test_shutdown_delivers_what_is_in_the_journal() -> None:
    destination = Destination()
    destination.gate.clear()
    running = Forwarding(destination)
    running.forwarder.start()
    for i in range(20):
        running.journal.append(request(b"%d" % i))
    running.journal.close()
    destination.gate.set()
    running.forwarder.shutdown(10.0)

    assert len(destination.tries) == 20
    assert running.done()


def test_shutdown_does_not_wait_for_a_destination_that_is_down() -> None:
    destination = Destination()
    destination.always = LATER
    running = Forwarding(destination, retry=RetryPolicy(initial_s=3600.0, max_s=3600.0, max_elapsed_s=0.0))
    running.forwarder.start()
    running.journal.append(request(b"a"))
    running.journal.append(request(b"b"))
    wait_until(lambda: bool(destination.tries))
    before = time.monotonic()
    running.forwarder.shutdown(60.0)

    assert time.monotonic() - before < 30
    assert destination.tries == [b"a", b"a", b"b"]
    assert not running.done()
    assert running.counted("send_failed") == 0


@pytest.mark.parametrize("outcome", ["retry", "sent"])
def test_what_makes_way_while_it_is_tried_is_counted_once(outcome: Literal["retry", "sent"]) -> None:
    telemetry = Telemetry()
    journal = MemoryJournal(telemetry, max_entries=1)
    cursor = JournalCursor("otlp", journal, telemetry)
    cursor.open(())
    journal.append(request(b"a", items=7))
    packet = cursor.take()
    assert packet is not None
    journal.append(request(b"b", items=2))
    cursor.close()
    cursor.settle(packet, Delivery(outcome))
    left = cursor.abandon()

    value = telemetry.registry.get_sample_value
    stopped = value("otel_ml_dropped_total", {"stage": "journal", "reason": "stopped", "intentional": "false"})
    sent = value("otelcol_exporter_sent_spans_total", {"exporter": "otlp"}) or 0
    assert (stopped, sent) == ((9, 0) if outcome == "retry" else (2, 7))
    assert left == ("2 requests with 9 spans" if outcome == "retry" else "1 requests with 2 spans")


def test_a_request_is_cut_one_part_at_a_time() -> None:
    # Each part has a copy of the resource: all of them at once would take 50 MB.
    large = Resource(attributes=[KeyValue(key="text", value=AnyValue(string_value="x" * 2**18))])
    scope = ScopeSpans(spans=[Span(name=f"s{number}") for number in range(200)])
    body = TracesData(resource_spans=[ResourceSpans(resource=large, scope_spans=[scope])]).SerializeToString()
    telemetry = Telemetry()
    journal = MemoryJournal(telemetry)
    cursor = JournalCursor("otlp", journal, telemetry, Batching(min_size=1, max_size=1))
    cursor.open(())
    journal.append(request(body, items=200))
    cursor.close()
    names: list[str] = []
    tracemalloc.start()
    try:
        while (packet := cursor.take()) is not None:
            assert journal.lag("otlp") == 1
            part = TracesData.FromString(packet.body).resource_spans[0]
            assert (part.resource, packet.items) == (large, 1)
            names += [span.name for span in part.scope_spans[0].spans]
            cursor.settle(packet, SENT)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert names == [span.name for span in scope.spans]
    assert journal.lag("otlp") == 0
    assert peak < 10 * 2**20


def test_no_try_outlasts_the_shutdown() -> None:
    destination = Destination()
    destination.gate.clear()
    running = Forwarding(destination)
    running.forwarder.start()
    running.journal.append(request(b"a"))
    running.journal.append(request(b"b"))
    shutting_down = threading.Thread(target=running.forwarder.shutdown, args=(3.0,))
    shutting_down.start()
    destination.gate.set()
    shutting_down.join(20)

    assert destination.tries == [b"a", b"b"]
    assert destination.timeouts[0] == 5.0 or destination.timeouts[0] <= 3.0
    assert destination.timeouts[1] <= 5.0


def test_shutdown_without_start_is_safe() -> None:
    destination = Destination()
    Forwarding(destination).forwarder.shutdown(1.0)

    assert not destination.closed, "it was never opened"


def test_a_closed_journal_does_not_end_or_spin_the_thread() -> None:
    destination = Destination()
    with forwarding(Forwarding(destination)) as running:
        running.journal.append(request(b"a"))
        running.journal.close()
        wait_until(running.done)

    assert destination.tries == [b"a"]


def test_waits_grow_to_the_longest_with_jitter_and_end() -> None:
    policy = RetryPolicy()
    waits = [policy.wait_s(tries, 0.0, draw=lambda low, high: high) for tries in range(1, 8)]

    assert waits == [7.5, 11.25, 16.875, 25.3125, 37.96875, 45.0, 45.0]
    assert policy.wait_s(1, 0.0, draw=lambda low, high: low) == 2.5
    assert policy.wait_s(10_000, 0.0) is not None
    assert policy.wait_s(1, 290.0, asked_s=20.0) is None
    assert RetryPolicy(max_elapsed_s=0.0).wait_s(1, 1e9, asked_s=1e12) == 3600.0


class FailingOnce(MemoryJournal):
    """A journal whose first read fails, as one on a disk may."""

    failed = False

    def read(self, consumer: str, **options: Any) -> Sequence[Entry]:
        if not self.failed:
            self.failed = True
            raise OSError("the disk is gone for a moment")
        return super().read(consumer, **options)


def test_a_journal_that_fails_for_a_moment_is_survived() -> None:
    destination = Destination()
    with forwarding(Forwarding(destination, FailingOnce(Telemetry()))) as running:
        running.journal.append(request(b"a"))
        wait_until(running.done)

    assert destination.tries == [b"a"]
