from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing

import pytest

from collector_processor.columns.batch import Decoded, MalformedRequestError
from collector_processor.decode.otlp.metrics import LoopError
from collector_processor.journal.base import JournalFullError, Request, Signal
from collector_processor.journal.memory import MemoryJournal
from collector_processor.own.memory import MemoryLimit
from collector_processor.own.metrics import ITEMS
from collector_processor.own.telemetry import Telemetry
from collector_processor.receivers.admission import (
    Admission,
    BusyError,
    Hold,
    HungUpError,
    Outcome,
    Payload,
    TimedOutError,
)
from collector_processor.receivers.inflate import TooLargeError


class Sent:
    """A request that is there at once, or as a test has it: ``reading`` runs first, ``loading`` in the thread."""

    def __init__(
        self,
        body: bytes = b"body",
        *,
        gzipped: bytes = b"",
        reading: Callable[[Hold], Awaitable[None]] | None = None,
        loading: Callable[[], None] = lambda: None,
    ) -> None:
        self.body, self.gzipped, self.reading, self.loading = body, gzipped, reading, loading

    async def read(self, hold: Hold) -> None:
        if self.reading is not None:
            await self.reading(hold)

    def payload(self, hold: Hold) -> Payload:
        self.loading()
        return Payload(self.body, self.gzipped)


def admitted(admission: Admission, sent: Sent | None = None, signal: Signal = "traces") -> Outcome:
    return asyncio.run(admission.admit(sent or Sent(), signal, "grpc"))


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
        return admitted(self.admission, Sent(body), signal)

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
    with closing(Admission(journal, receiving.decode, receiving.telemetry)) as admission:
        assert admitted(admission) == Outcome("accepted")

    assert journal.tries == 3
    assert receiving.counted("refused") == 0
    assert len(journal.read("statistics", timeout_s=0.0)) == 1


def test_a_journal_waited_for_in_vain_is_asked_only_once_until_it_takes_something(receiving: Receiving) -> None:
    journal = Lagging(Telemetry())
    journal.subscribe("statistics", essential=True)
    journal.full = 2**62
    with closing(Admission(journal, receiving.decode, receiving.telemetry)) as admission:
        assert admitted(admission).verdict == "busy"
        before = journal.tries
        assert before > 1
        assert admitted(admission).verdict == "busy"
        assert journal.tries == before + 1
        journal.full = 0
        assert admitted(admission).verdict == "accepted"
        journal.tries, journal.full = 0, 2
        assert admitted(admission).verdict == "accepted"


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
    def load() -> None:
        raise TooLargeError(10)

    outcome = admitted(receiving.admission, Sent(loading=load), "logs")

    assert outcome.verdict == "too_large"
    assert outcome.retry_after_s is None
    assert receiving.counted("refused", "logs") == 1


def test_a_body_that_cannot_be_read_is_judged_and_gives_its_room_back(receiving: Receiving) -> None:
    async def read(hold: Hold) -> None:
        hold(1000)
        raise TimedOutError("the body did not come within 1 s")

    assert admitted(receiving.admission, Sent(reading=read)) == Outcome("timed_out", "the body did not come within 1 s")
    assert receiving.counted("failed") == 1
    assert (receiving.admission.room.requests, receiving.admission.room.bytes) == (0, 0)


def test_a_sender_that_hung_up_is_counted_as_nothing(receiving: Receiving) -> None:
    async def read(hold: Hold) -> None:
        hold(1000)
        raise HungUpError

    with pytest.raises(HungUpError):
        admitted(receiving.admission, Sent(reading=read))
    assert [receiving.counted(verb) for verb in ("accepted", "refused", "failed")] == [0, 0, 0]
    assert (receiving.admission.room.requests, receiving.admission.room.bytes) == (0, 0)


def test_what_came_as_gzip_is_journaled_with_what_is_in_it(receiving: Receiving) -> None:
    assert admitted(receiving.admission, Sent(b"spans", gzipped=b"gzip of spans")).verdict == "accepted"
    (entry,) = receiving.journal.read("statistics", timeout_s=0.0)
    assert (entry.request.body, entry.request.gzipped) == (b"spans", b"gzip of spans")


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
        busy = Outcome("busy", "too many requests are in flight", retry_after_s=0.5)

        async def meanwhile(hold: Hold) -> None:
            assert await receiving.admission.admit(Sent(), "traces", "grpc") == busy

        assert admitted(receiving.admission, Sent(reading=meanwhile)).verdict == "accepted"
        assert receiving.counted("refused") == 1


def test_more_bytes_than_fit_are_busy_until_they_leave() -> None:
    with closing(Receiving(max_request_bytes=100)) as receiving:

        async def meanwhile(hold: Hold) -> None:
            hold(60)
            hold(80)
            admit = receiving.admission.admit
            too_many = await admit(Sent(bytes(30)), "traces", "grpc")
            assert too_many.message == "too many bytes of requests are in flight"
            assert (await admit(Sent(bytes(20)), "traces", "grpc")).verdict == "accepted"

        assert admitted(receiving.admission, Sent(reading=meanwhile)).verdict == "accepted"
        assert receiving.take(bytes(30)).verdict == "accepted"


def test_one_request_alone_may_be_larger_than_the_room() -> None:
    with closing(Receiving(max_request_bytes=100)) as receiving:
        assert receiving.take(bytes(1000)).verdict == "accepted"


def test_a_request_that_grows_over_the_room_keeps_what_it_had() -> None:
    with closing(Receiving(max_request_bytes=100)) as receiving:
        room = receiving.admission.room

        async def grow(hold: Hold) -> None:
            hold(40)
            with pytest.raises(BusyError):
                hold(60)
            assert room.bytes == 90

        async def meanwhile(hold: Hold) -> None:
            hold(50)
            await receiving.admission.admit(Sent(reading=grow), "traces", "grpc")

        assert admitted(receiving.admission, Sent(reading=meanwhile)).verdict == "accepted"
        assert (room.requests, room.bytes) == (0, 0)


def test_a_sender_that_hangs_up_during_decoding_gives_its_room_back_once() -> None:
    with closing(Receiving()) as receiving:
        started, go_on = threading.Event(), threading.Event()

        def load() -> None:
            started.set()
            assert go_on.wait(10)

        async def hang_up() -> None:
            sent = Sent(bytes(50), loading=load)
            task = asyncio.create_task(receiving.admission.admit(sent, "traces", "grpc"))
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

    assert (outcome.verdict, outcome.message) == ("busy", "the service is short of memory")
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
