from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from collector_processor.columns.batch import Decoded, MalformedRequestError
from collector_processor.decode.otlp.metrics import LoopError
from collector_processor.journal.base import JournalFullError, Request, Signal
from collector_processor.journal.memory import MemoryJournal
from collector_processor.own.memory import MemoryLimit
from collector_processor.own.telemetry import ITEMS, Telemetry
from collector_processor.receivers.admission import Admission, BusyError, Outcome
from collector_processor.receivers.inflate import TooLargeError


class Receiving:
    """An admission into a memory journal, with a decoder that a test can script."""

    def __init__(self, **options: object) -> None:
        self.telemetry = Telemetry()
        self.journal = MemoryJournal(self.telemetry, max_entries=4)
        self.journal.subscribe("statistics", essential=True)
        self.decoded = Decoded(items=3)
        self.error: Exception | None = None
        self.admission = Admission(self.journal, self.decode, self.telemetry, **options)  # pyright: ignore[reportArgumentType]

    def decode(self, signal: Signal, body: bytes, received_ns: int) -> Decoded:
        if self.error is not None:
            raise self.error
        return self.decoded

    def take(self, body: bytes = b"body", signal: Signal = "traces") -> Outcome:
        with self.admission.enter(signal, "grpc") as ticket:
            return ticket.refusal or asyncio.run(ticket.admit(lambda: body))

    def counted(self, verb: str, signal: Signal = "traces") -> float:
        name = f"otelcol_receiver_{verb}_{ITEMS[signal]}_total"
        return self.telemetry.registry.get_sample_value(name, {"receiver": "otlp", "transport": "grpc"}) or 0.0

    def close(self) -> None:
        self.admission.close()


@pytest.fixture
def receiving() -> Iterator[Receiving]:
    with closing(Receiving()) as given:
        yield given


def test_an_admitted_request_is_in_the_journal_before_it_is_acknowledged(receiving: Receiving) -> None:
    assert receiving.take(b"body") == Outcome("accepted")

    (entry,) = receiving.journal.read("statistics", timeout_s=0.0)
    assert (entry.request.signal, entry.request.body, entry.request.items) == ("traces", b"body", 3)
    assert entry.request.decoded is receiving.decoded
    assert entry.request.received_ns > 0
    assert receiving.counted("accepted") == 3


def test_an_empty_request_succeeds_and_is_not_kept(receiving: Receiving) -> None:
    receiving.decoded = Decoded()

    assert receiving.take(b"") == Outcome("accepted")
    assert receiving.journal.read("statistics", timeout_s=0.0) == []


def test_rejected_rows_make_a_partial_success_and_the_rest_is_kept(receiving: Receiving) -> None:
    receiving.decoded = Decoded(items=3, rejected=1, message="no model name")

    assert receiving.take() == Outcome("partial", "no model name", rejected=1)
    assert (receiving.counted("accepted"), receiving.counted("failed")) == (2, 1)
    assert len(receiving.journal.read("statistics", timeout_s=0.0)) == 1


def test_more_rejected_rows_than_items_do_not_upset_the_counters(receiving: Receiving) -> None:
    receiving.decoded = Decoded(items=1, rejected=1000, message="bad rows")

    assert receiving.take().rejected == 1000
    assert (receiving.counted("accepted"), receiving.counted("failed")) == (0, 1)


def test_malformed_bytes_are_told_so_and_not_kept(receiving: Receiving) -> None:
    receiving.error = MalformedRequestError("not an ExportTraceServiceRequest")

    assert receiving.take() == Outcome("malformed", "not an ExportTraceServiceRequest")
    assert receiving.counted("failed") == 1
    assert receiving.journal.held_bytes == 0


def test_a_full_journal_is_busy_and_counted_with_its_items(receiving: Receiving) -> None:
    for _ in range(4):
        receiving.take()
    outcome = receiving.take()

    assert (outcome.verdict, outcome.retry_after_s) == ("busy", 1.0)
    assert "'statistics' is 4 requests behind" in outcome.message
    assert receiving.counted("refused") == 3


class Lagging(MemoryJournal):
    """A journal without room for so many times."""

    full = 0
    tries = 0

    def append(self, request: Request) -> int:
        self.tries += 1
        if self.tries <= self.full:
            raise JournalFullError("the journal is full")
        return super().append(request)


def test_a_journal_that_is_full_for_a_moment_is_waited_for(receiving: Receiving) -> None:
    journal = Lagging(Telemetry())
    journal.subscribe("statistics", essential=True)
    journal.full = 2
    with (
        closing(Admission(journal, receiving.decode, receiving.telemetry)) as admission,
        admission.enter("traces", "grpc") as ticket,
    ):
        assert asyncio.run(ticket.admit(lambda: b"body")) == Outcome("accepted")

    assert journal.tries == 3
    assert receiving.counted("refused") == 0
    assert len(journal.read("statistics", timeout_s=0.0)) == 1


def test_a_journal_waited_for_in_vain_is_asked_only_once_until_it_takes_something(receiving: Receiving) -> None:
    journal = Lagging(Telemetry())
    journal.subscribe("statistics", essential=True)
    journal.full = 2**62
    with closing(Admission(journal, receiving.decode, receiving.telemetry)) as admission:

        def take() -> str:
            with admission.enter("traces", "grpc") as ticket:
                return asyncio.run(ticket.admit(lambda: b"body")).verdict

        assert take() == "busy"
        before = journal.tries
        assert before > 1
        assert take() == "busy"
        assert journal.tries == before + 1
        journal.full = 0
        assert take() == "accepted"
        journal.tries, journal.full = 0, 2
        assert take() == "accepted"


def test_a_closed_journal_is_busy(receiving: Receiving) -> None:
    receiving.journal.close()

    assert receiving.take().verdict == "busy"


def test_an_unexpected_error_is_survived_logged_and_not_shown(
    receiving: Receiving, caplog: pytest.LogCaptureFixture
) -> None:
    receiving.error = RuntimeError("secret path /etc")
    with caplog.at_level(logging.ERROR):
        outcome = receiving.take()

    assert outcome.verdict == "failed"
    assert "secret" not in outcome.message
    assert "secret path" in caplog.text
    assert receiving.telemetry.registry.get_sample_value("otel_ml_errors_total", {"stage": "receiver"}) == 1


def test_a_body_that_does_not_load_is_judged(receiving: Receiving) -> None:
    def load() -> bytes:
        raise TooLargeError(10)

    with receiving.admission.enter("logs", "grpc") as ticket:
        outcome = asyncio.run(ticket.admit(load))

    assert outcome.verdict == "too_large"
    assert outcome.retry_after_s is None
    assert receiving.counted("refused", "logs") == 1


def test_our_own_metrics_come_back_are_refused_and_counted_as_a_loop(receiving: Receiving) -> None:
    receiving.error = LoopError("a pipeline leads from this service back into it", 7)
    outcome = receiving.take(signal="metrics")

    assert outcome.verdict == "malformed"
    assert "leads from this service back into it" in outcome.message
    assert receiving.counted("refused", "metrics") == 7
    assert receiving.journal.held_bytes == 0
    looped = {"stage": "receiver", "reason": "loop", "intentional": "true"}
    assert receiving.telemetry.registry.get_sample_value("otel_ml_dropped_total", looped) == 7


def test_more_requests_than_fit_are_busy_until_one_leaves() -> None:
    with closing(Receiving(max_requests=1, retry_after_s=0.5)) as receiving:
        with receiving.admission.enter("traces", "http"):
            outcome = receiving.take()
            assert outcome == Outcome("busy", "too many requests are in flight", retry_after_s=0.5)
        assert receiving.take().verdict == "accepted"


def test_more_bytes_than_fit_are_busy_until_they_leave() -> None:
    with closing(Receiving(max_request_bytes=100)) as receiving:
        with receiving.admission.enter("traces", "http") as ticket:
            ticket.holds(60)
            ticket.holds(80)
            assert receiving.take(bytes(30)).message == "too many bytes of requests are in flight"
            assert receiving.take(bytes(20)).verdict == "accepted"
        assert receiving.take(bytes(30)).verdict == "accepted"


def test_one_request_alone_may_be_larger_than_the_room() -> None:
    with closing(Receiving(max_request_bytes=100)) as receiving:
        assert receiving.take(bytes(1000)).verdict == "accepted"


def test_a_request_that_grows_over_the_room_keeps_what_it_had() -> None:
    with closing(Receiving(max_request_bytes=100)) as receiving:
        with receiving.admission.enter("traces", "http") as one, receiving.admission.enter("traces", "http") as two:
            one.holds(50)
            two.holds(40)
            with pytest.raises(BusyError):
                two.holds(60)
            assert receiving.admission.room.bytes == 90
        assert (receiving.admission.room.requests, receiving.admission.room.bytes) == (0, 0)


def test_a_sender_that_hangs_up_during_decoding_gives_its_room_back_once() -> None:
    with closing(Receiving()) as receiving:
        started, go_on = threading.Event(), threading.Event()

        def load() -> bytes:
            started.set()
            assert go_on.wait(10)
            return bytes(50)

        async def hang_up() -> None:
            async def handle() -> None:
                with receiving.admission.enter("traces", "grpc") as ticket:
                    await ticket.admit(load)

            task = asyncio.create_task(handle())
            await asyncio.to_thread(started.wait, 10)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            go_on.set()

        asyncio.run(hang_up())
        receiving.admission.close()
        assert (receiving.admission.room.requests, receiving.admission.room.bytes) == (0, 0)


def test_above_the_memory_limit_everything_is_busy() -> None:
    with closing(Receiving(memory_limit_bytes=1)) as receiving:
        outcome = receiving.take()

    assert (outcome.verdict, outcome.message) == ("busy", "memory is short")
    assert receiving.counted("refused") == 1


def test_the_memory_limit_is_looked_up_at_intervals_and_opens_again() -> None:
    resident = [50, 200, 200, 50]
    looks: list[int] = []

    def look() -> int:
        looks.append(resident[min(len(looks), 3)])
        return looks[-1]

    limit = MemoryLimit(100, resident=look, release=lambda: None, interval_s=0.0)
    assert [limit.exceeded(), limit.exceeded(), limit.exceeded()] == [False, True, False]

    seldom = MemoryLimit(100, resident=look, release=lambda: None, interval_s=3600.0)
    before = len(looks)
    assert not any(seldom.exceeded() for _ in range(100))
    assert len(looks) == before + 1


def test_memory_that_can_be_given_back_does_not_refuse() -> None:
    resident = [200]
    limit = MemoryLimit(100, resident=lambda: resident[0], release=lambda: resident.__setitem__(0, 50))

    assert not limit.exceeded()


def test_without_a_way_to_tell_memory_nothing_is_refused() -> None:
    assert not MemoryLimit(100, resident=lambda: None).exceeded()


def test_what_is_wrong_with_a_sender_is_logged_now_and_then_whatever_it_says(
    receiving: Receiving, caplog: pytest.LogCaptureFixture
) -> None:
    receiving.error = MalformedRequestError("lone \ud800" + "x" * 10_000)
    for _ in range(3):
        assert receiving.take().verdict == "malformed"
    [told] = caplog.messages
    assert "lone \\ud800" in told
    assert len(told) < 600
