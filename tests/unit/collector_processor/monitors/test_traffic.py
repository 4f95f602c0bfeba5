"""Rows, labels, coverage, delay and latency of a window, everything together and by segment."""

from __future__ import annotations

import numpy as np
import pytest

from collector_processor.columns.batch import Column, ModelKey, PredictionBatch
from collector_processor.monitors.base import Measurement
from collector_processor.monitors.traffic import TrafficMonitor
from collector_processor.reference.build import build_reference
from collector_processor.reference.profile import Reference
from collector_processor.statistics.accumulate import accumulate
from collector_processor.statistics.latency import delay_bins
from collector_processor.statistics.pane import DELAY_BINS, Pane
from collector_processor.window.closed import Window
from otel_ml import semconv

MODEL = ModelKey("m", "3")
QUANTILES = (semconv.LATENCY_P50, semconv.LATENCY_P95, semconv.LATENCY_P99)


def rows(regions: list[str], durations: list[float] | None = None, weight: float = 1.0) -> PredictionBatch:
    count, names = len(regions), tuple(dict.fromkeys(regions))
    return PredictionBatch(
        MODEL,
        np.zeros(count, np.int64),
        np.zeros((count, 2), np.uint64),
        np.full(count, weight),
        np.full(count, np.nan) if durations is None else np.array(durations),
        segments={"region": Column(None, np.array([names.index(r) for r in regions], np.int32), names)},
        score=np.linspace(0.0, 1.0, count),
    )


@pytest.fixture
def reference() -> Reference:
    return build_reference("m", rows(["north", "south"]), segments=["region"], max_segment_values=2)


def window(reference: Reference, *batches: PredictionBatch) -> Window:
    schema = reference.schema.fork()
    pane = Pane.empty(schema)
    for batch in batches:
        accumulate(pane, schema, batch)
    return Window(MODEL, 0, 60, schema, pane)


def values(found: list[Measurement]) -> dict[tuple[str, str], float]:
    """Each value by (metric, segment value)."""
    return {(m.name, dict(m.attributes).get(semconv.SEGMENT_VALUE, "")): m.value for m in found}


def label(current: Window, delays_s: list[float], weight: float = 1.0, without_output: int = 0) -> None:
    current.pane.outcomes.labels[0] += weight * len(delays_s)
    current.pane.outcomes.score_hits[0, 0, 0] += weight * (len(delays_s) - without_output)
    current.pane.outcomes.delay += weight * np.bincount(delay_bins(np.array(delays_s)), minlength=DELAY_BINS)


def test_rows_are_counted_for_everything_and_each_segment_value(reference):
    found = TrafficMonitor().evaluate(window(reference, rows(["north", "north", "south"], weight=10.0)), reference)
    assert found[0] == Measurement(
        semconv.WINDOW_ROWS, 30.0, "{row}", ((semconv.MODEL_NAME, "m"), (semconv.MODEL_VERSION, "3")), 60
    )
    by_segment = {m.attributes[2:]: m.value for m in found if m.name == semconv.WINDOW_ROWS and len(m.attributes) > 2}
    assert by_segment == {
        ((semconv.SEGMENT_NAME, "region"), (semconv.SEGMENT_VALUE, "north")): 20.0,
        ((semconv.SEGMENT_NAME, "region"), (semconv.SEGMENT_VALUE, "south")): 10.0,
    }


def test_segment_values_beyond_the_limit_are_other_and_those_without_rows_left_out(reference):
    found = values(TrafficMonitor().evaluate(window(reference, rows(["east", "west", "north"])), reference))
    assert found[semconv.WINDOW_ROWS, "other"] == 2.0
    assert found[semconv.WINDOW_ROWS, "north"] == 1.0
    assert (semconv.WINDOW_ROWS, "south") not in found


def test_latency_quantiles_are_within_1_per_cent_for_everything_and_each_segment(reference):
    random = np.random.default_rng(0)
    slow, fast = random.lognormal(-2.0, 0.5, 400), random.lognormal(-5.0, 0.5, 600)
    batch = rows(["north"] * 400 + ["south"] * 600, [*slow, *fast])
    found = values(TrafficMonitor().evaluate(window(reference, batch), reference))
    for name, level in zip(QUANTILES, (0.5, 0.95, 0.99), strict=True):
        for segment, durations in (("", np.concatenate((slow, fast))), ("north", slow), ("south", fast)):
            expected = np.quantile(durations, level, method="inverted_cdf")
            assert found[name, segment] == pytest.approx(expected, rel=0.01)


def test_no_call_with_a_duration_means_no_latency(reference):
    found = values(TrafficMonitor().evaluate(window(reference, rows(["north"])), reference))
    assert not {name for name, _ in found} & set(QUANTILES)


def test_labels_are_counted_covered_and_timed(reference):
    current = window(reference, rows(["north"] * 10))
    label(current, [60.0, 3600.0, 7200.0, 86400.0])
    found = values(TrafficMonitor().evaluate(current, reference))
    assert found[semconv.WINDOW_LABELS, ""] == 4.0
    assert found[semconv.LABELS_COVERAGE, ""] == 0.4
    assert found[semconv.LABELS_DELAY, ""] == pytest.approx(3600.0, rel=0.01)


def test_labels_of_predictions_without_an_output_cover_nothing(reference):
    current = window(reference, rows(["north"] * 10))
    label(current, [60.0] * 10, without_output=7)
    found = values(TrafficMonitor().evaluate(current, reference))
    assert found[semconv.WINDOW_LABELS, ""] == 10.0
    assert found[semconv.LABELS_COVERAGE, ""] == 0.3


def test_labels_for_earlier_predictions_never_cover_more_than_all(reference):
    current = window(reference, rows(["north"]))
    label(current, [60.0, 61.0, 62.0])
    assert values(TrafficMonitor().evaluate(current, reference))[semconv.LABELS_COVERAGE, ""] == 1.0


def test_labels_without_rows_have_no_coverage(reference):
    current = window(reference)
    label(current, [60.0])
    found = values(TrafficMonitor().evaluate(current, reference))
    assert found[semconv.WINDOW_ROWS, ""] == 0.0
    assert found[semconv.WINDOW_LABELS, ""] == 1.0
    assert (semconv.LABELS_COVERAGE, "") not in found
    assert found[semconv.LABELS_DELAY, ""] == pytest.approx(60.0, rel=0.01)


def test_labels_taken_back_count_as_none(reference):
    current = window(reference, rows(["north"]))
    for weight in (0.1, 0.2, -0.3):
        label(current, [60.0], weight)
    found = values(TrafficMonitor().evaluate(current, reference))
    assert found[semconv.WINDOW_LABELS, ""] == pytest.approx(0.0, abs=1e-15)
    assert found[semconv.WINDOW_LABELS, ""] >= 0.0


def test_an_empty_window_has_no_rows_no_labels_and_nothing_else(reference):
    found = values(TrafficMonitor().evaluate(window(reference), reference))
    assert found == {(semconv.WINDOW_ROWS, ""): 0.0, (semconv.WINDOW_LABELS, ""): 0.0}
