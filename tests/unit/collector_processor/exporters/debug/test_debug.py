from __future__ import annotations

import io
import logging
from dataclasses import replace

import pytest
from inline_snapshot import snapshot

from collector_processor.alerts.notice import Notice, Offender
from collector_processor.alerts.rules import AlertRule
from collector_processor.columns.batch import ModelKey
from collector_processor.exporters.debug.exporter import DebugExporter
from collector_processor.monitors.base import Measurement
from collector_processor.status.board import Board
from collector_processor.status.state import Learning, ModelState, ServiceState
from otel_ml import semconv

NOON = 1_750_000_000 * 10**9
MODEL = ((semconv.MODEL_NAME, "fraud"), (semconv.MODEL_VERSION, "7"))
MEASUREMENTS = [
    Measurement(semconv.WINDOW_ROWS, 500.0, semconv.UNIT_ROW, MODEL, NOON),
    Measurement(semconv.DRIFT_SCORE, 0.25, semconv.UNIT_SCORE, (*MODEL, (semconv.FEATURE_NAME, "age")), NOON),
    Measurement(semconv.DRIFT_SCORE, 1 / 3, semconv.UNIT_SCORE, (*MODEL, (semconv.FEATURE_NAME, "a\nb")), NOON),
    Measurement(semconv.WINDOW_ROWS, 7.0, semconv.UNIT_ROW, ((semconv.MODEL_NAME, "\x1b[31m"),), -5),
]


def test_basic_prints_a_line_for_each_metric() -> None:
    stream = io.StringIO()
    exporter = DebugExporter("debug", stream=stream)
    exporter.start()
    exporter.export(MEASUREMENTS)
    exporter.shutdown(1)
    assert stream.getvalue() == snapshot(
        """\
2025-06-15T15:06:40.000Z fraud@7
  ml.window.rows  1  value:   500
  ml.drift.score  2  series:  0.25 … 0.333333
-5 ns '\\x1b[31m'
  ml.window.rows  1  value:  7
"""
    )


def test_the_head_says_why_a_model_has_no_figures_yet() -> None:
    key, board, stream = ModelKey("fraud", "7"), Board(), io.StringIO()
    learning = ModelState(key, "learning", "", "", "", NOON, 3200.0, 0, 0, 0, learning=Learning(3200, 5000))
    board.state = ServiceState(NOON, {key: learning})
    exporter = DebugExporter("debug", stream=stream, board=board)
    exporter.export([Measurement(semconv.PREDICTIONS, 3200.0, semconv.UNIT_PREDICTION, MODEL, NOON, "counter")])
    board.state = ServiceState(NOON, {key: replace(learning, phase="measured", learning=None)})
    exporter.export(MEASUREMENTS[:1])
    heads = [line for line in stream.getvalue().splitlines() if not line.startswith(" ")]
    assert heads == [
        "2025-06-15T15:06:40.000Z fraud@7 (learning a reference: 3,200 of 5,000 rows)",
        "2025-06-15T15:06:40.000Z fraud@7",
    ]


def test_detailed_prints_a_line_for_each_measurement() -> None:
    stream = io.StringIO()
    DebugExporter("debug", verbosity="detailed", stream=stream).export(MEASUREMENTS)
    assert stream.getvalue() == snapshot(
        """\
2025-06-15T15:06:40.000Z fraud@7
  ml.window.rows       500  {row}
  ml.drift.score      0.25  {score}  ml.feature.name=age
  ml.drift.score  0.333333  {score}  ml.feature.name='a\\nb'
-5 ns '\\x1b[31m'
  ml.window.rows  7  {row}
"""
    )


def test_standard_output_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    DebugExporter("debug").export(MEASUREMENTS[:1])
    assert "ml.window.rows" in capsys.readouterr().out


def test_nothing_prints_nothing() -> None:
    stream = io.StringIO()
    DebugExporter("debug", stream=stream).export([])
    assert stream.getvalue() == ""


def test_a_closed_output_is_told_and_never_raises(caplog: pytest.LogCaptureFixture) -> None:
    stream = io.StringIO()
    stream.close()
    with caplog.at_level(logging.WARNING):
        DebugExporter("debug/x", stream=stream).export(MEASUREMENTS)
    assert "exporters.debug/x: cannot print" in caplog.text


@pytest.mark.parametrize("time_ns", [-(2**63), 2**63 - 1, 2**70])
def test_times_that_no_calendar_has_are_printed_as_numbers(time_ns: int) -> None:
    stream = io.StringIO()
    DebugExporter("debug", stream=stream).export([Measurement("x", 1.0, "", MODEL, time_ns)])
    assert "fraud@7" in stream.getvalue()


def test_alerts_are_printed_and_what_only_updates_is_not() -> None:
    rule = AlertRule("drift", semconv.DRIFT_SHARE, "above", threshold=0.3, summary="it drifts", runbook="docs/x.md")
    offenders = (Offender(((semconv.FEATURE_NAME, "a\nb"),), 0.5),)
    firing = Notice(rule, ModelKey("fraud", "7"), "firing", "new", NOON, NOON, NOON, 1, offenders)
    over = replace(firing, state="resolved", reason="over", ended_ns=NOON + 10**9, time_ns=NOON + 10**9)
    stream = io.StringIO()
    exporter = DebugExporter("debug", stream=stream)
    exporter.notify([firing, replace(firing, reason="resumed"), over])
    assert stream.getvalue() == snapshot(
        """\
2025-06-15T15:06:40.000Z ALERT [warning] fraud 7: it drifts: a\\nb 50 %
  Rule drift (warning): ml.drift.share above 0.3
  - feature a\\nb: 50 %
  Since 2025-06-15T15:06:40Z
  What to do: docs/x.md
2025-06-15T15:06:41.000Z ALERT [resolved] fraud 7: it drifts
  The problem is over.
  Rule drift (warning): ml.drift.share above 0.3
  - feature a\\nb: was 50 %
  Since 2025-06-15T15:06:40Z, until 2025-06-15T15:06:41Z
"""
    )
