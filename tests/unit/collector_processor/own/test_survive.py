"""Rules of survival: a failure is counted and told with its trace, and only what must end the process does."""

from __future__ import annotations

import pytest

from collector_processor.own.survive import survived
from collector_processor.own.telemetry import Telemetry


def failures(telemetry: Telemetry, stage: str) -> float | None:
    return telemetry.registry.get_sample_value("otel_ml_errors_total", {"stage": stage})


@pytest.mark.parametrize("error", [RuntimeError("a bug"), MemoryError(), RecursionError(), KeyError("x"), OSError(28)])
def test_a_failure_is_counted_by_stage_told_with_its_trace_and_survived(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    telemetry, reached = Telemetry(), []
    for _ in range(2):
        with survived("evaluate", telemetry):
            reached.append("before")
            raise error
    assert reached == ["before"] * 2
    assert failures(telemetry, "evaluate") == 2
    assert failures(telemetry, "snapshot") is None
    assert caplog.messages == ["evaluate failed; the service continues"] * 2
    assert all(record.levelname == "ERROR" and record.exc_info for record in caplog.records)


def test_what_the_failure_leaves_out_is_counted_as_dropped_by_an_error() -> None:
    telemetry = Telemetry()
    with survived("labels", telemetry, drop=("labels", "failed"), items=3):
        pass
    with survived("labels", telemetry, drop=("labels", "failed"), items=4):
        raise RuntimeError("a bug")
    labels = {"stage": "labels", "reason": "failed", "intentional": "false"}
    assert telemetry.registry.get_sample_value("otel_ml_dropped_total", labels) == 4


def test_what_goes_well_is_neither_counted_nor_told(caplog: pytest.LogCaptureFixture) -> None:
    telemetry = Telemetry()
    with survived("evaluate", telemetry):
        pass
    assert failures(telemetry, "evaluate") is None
    assert caplog.messages == []


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_asks_the_process_to_end_is_not_held_up(end: type[BaseException]) -> None:
    telemetry = Telemetry()
    with pytest.raises(end), survived("evaluate", telemetry):
        raise end
    assert failures(telemetry, "evaluate") is None
