from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import contextmanager
from typing import cast

import numpy as np
import pytest

from collector_processor.columns.batch import Decoded, ModelKey, PredictionBatch
from collector_processor.journal.base import Request
from collector_processor.journal.memory import MemoryJournal
from collector_processor.monitors.base import Measurement
from collector_processor.own.telemetry import Telemetry
from collector_processor.pipeline.pipeline import Pipeline
from collector_processor.service import statistics_thread
from collector_processor.service.statistics_thread import CONSUMER, PORTION_ROWS, StatisticsThread


def decoded(rows: int) -> Decoded:
    times, ids = np.zeros(rows, np.int64), np.zeros((rows, 2), np.uint64)
    return Decoded(predictions=(PredictionBatch(ModelKey("m"), times, ids, np.ones(rows), np.ones(rows)),), items=1)


class Counting:
    """Stands in for the pipeline: notes the rows of each request of each pass, and how far the journal lags then."""

    def __init__(self, journal: MemoryJournal) -> None:
        self.models: dict[ModelKey, object] = {}
        self.passes: list[list[int]] = []
        self.lags: list[int] = []
        self._journal = journal

    def process(self, requests: Sequence[Decoded], now_ns: int) -> None:
        self.passes.append([len(one.predictions[0]) if one.predictions else 0 for one in requests])
        self.lags.append(self._journal.lag(CONSUMER))
        if requests[0].items == 13:
            raise RuntimeError("a bad batch")

    def tick(self, now_ns: int) -> list[Measurement]:
        return []


@contextmanager
def worked_off(requests: Sequence[Decoded]) -> Generator[tuple[Counting, MemoryJournal]]:
    journal = MemoryJournal(Telemetry())
    journal.subscribe(CONSUMER, essential=True)
    for one in requests:
        journal.append(Request("traces", b"body", one, 1, 0))
    journal.close()
    counting = Counting(journal)
    statistics = StatisticsThread(journal, cast(Pipeline, counting), (), Telemetry())
    statistics.start()
    assert statistics.stop(30.0)
    yield counting, journal


def test_what_waits_is_counted_together() -> None:
    with worked_off([decoded(10)] * 70) as (counting, journal):
        assert counting.passes == [[10] * 70]
        assert journal.lag(CONSUMER) == 0


def test_many_rows_are_counted_in_portions_and_the_journal_has_its_room_back_after_each() -> None:
    half = PORTION_ROWS // 2
    with worked_off([decoded(half)] * 5) as (counting, journal):
        assert counting.passes == [[half, half], [half, half], [half]]
        assert counting.lags == [5, 3, 1]
        assert (journal.lag(CONSUMER), journal.held_bytes) == (0, 0)


@pytest.mark.parametrize("rows", [PORTION_ROWS, PORTION_ROWS + 1])
def test_a_large_request_is_a_portion_of_its_own(rows: int) -> None:
    with worked_off([decoded(rows), decoded(1), decoded(0)]) as (counting, _):
        assert counting.passes == [[rows], [1, 0]]


def test_a_portion_that_fails_is_passed_over() -> None:
    bad = Decoded(predictions=decoded(PORTION_ROWS).predictions, items=13)
    with worked_off([bad, decoded(1)]) as (counting, journal):
        assert counting.passes == [[PORTION_ROWS], [1]]
        assert journal.lag(CONSUMER) == 0


class Collecting:
    """Stands in for an exporter: keeps what it gets, or fails."""

    def __init__(self, name: str, fails: bool = False) -> None:
        self.name = name
        self.measurements: list[Measurement] = []
        self._fails = fails

    def start(self) -> None: ...

    def shutdown(self, timeout_s: float) -> None: ...

    def export(self, measurements: Sequence[Measurement]) -> None:
        if self._fails:
            raise OSError("no such folder")
        self.measurements += measurements


def test_an_exporter_that_fails_keeps_nothing_from_the_others(caplog: pytest.LogCaptureFixture) -> None:
    telemetry, journal = Telemetry(), MemoryJournal(Telemetry())
    journal.subscribe(CONSUMER, essential=True)
    journal.close()
    counting = Counting(journal)
    measurement = Measurement("ml.window.rows", 1.0, "{row}", (), 0)
    counting.tick = lambda now_ns: [measurement]  # type: ignore[method-assign]
    good = Collecting("good")
    exporters = (Collecting("bad/one", fails=True), good)
    statistics = StatisticsThread(journal, cast(Pipeline, counting), exporters, telemetry)
    statistics.start()
    assert statistics.stop(30.0)
    assert measurement in good.measurements
    assert telemetry.registry.get_sample_value("otel_ml_errors_total", {"stage": "export"})
    assert "export of exporters.bad/one failed" in caplog.text


def test_a_question_that_has_begun_is_answered_and_one_to_a_stopped_thread_is_refused_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun, given_up = threading.Event(), threading.Event()

    class Impatient(Future[str]):
        """An answer whose time is over when the question has begun, and long before it ends."""

        def result(self, timeout: float | None = None) -> str:
            if timeout is None:
                given_up.set()
                return super().result()
            assert begun.wait(30.0)
            raise FutureTimeoutError

    monkeypatch.setattr(statistics_thread, "Future", Impatient)
    journal = MemoryJournal(Telemetry())
    journal.subscribe(CONSUMER, essential=True)
    statistics = StatisticsThread(journal, cast(Pipeline, Counting(journal)), (), Telemetry())
    with pytest.raises(TimeoutError, match="not running"):
        statistics.ask(lambda _: None, 60.0)
    statistics.start()

    def slow(_: Pipeline) -> str:
        begun.set()
        assert given_up.wait(30.0)
        return "changed"

    # What it does cannot be taken back.
    assert statistics.ask(slow, 0.5) == "changed"
    journal.close()
    assert statistics.stop(30.0)
    with pytest.raises(TimeoutError, match="not running"):
        statistics.ask(lambda _: None, 60.0)
