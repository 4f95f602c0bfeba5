"""Simulated traffic is like the reference it is drawn from; alarms on it are counted."""

from __future__ import annotations

import numpy as np
import pytest

from collector_processor.monitors import simulation
from collector_processor.monitors.alarms import AlarmMonitor, AlarmSettings
from collector_processor.monitors.simulation import SHIFTS, Shift, Simulated, delays, false_alarms
from collector_processor.reference.build import build_reference
from collector_processor.statistics.bins import coarse
from tests.support.scored_rows import rows_of


def columns(rows: int = 8000) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    age = np.where(rng.random(rows) < 0.1, np.nan, rng.standard_normal(rows))
    names = np.array([f"city{i:02}" for i in range(30)] + [""])
    return {"age": age, "city": names[np.minimum(rng.geometric(0.15, rows) - 1, 30)], "fixed": np.ones(rows)}


REFERENCE = build_reference("m", rows_of(columns()), categorical=("city",))


def quiet(*_: object) -> None:
    """Report nothing."""


def stream(seed: int = 1) -> Simulated:
    return Simulated(REFERENCE, 1000.0, np.random.default_rng(seed))


def sums(simulated: Simulated, panes: int = 200) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shares of bins, of slots and of missing cells."""
    counts = categories = missing = np.zeros(1)
    rows = 0.0
    for window in simulated.panes(panes, 1):
        pane = window.pane
        assert pane.counts[0].sum() + pane.missing[0] == pane.rows[0]
        assert pane.category_counts.sum() + pane.missing[-1] == pane.rows[0]
        counts, categories, missing = counts + pane.counts, categories + pane.category_counts, missing + pane.missing
        rows += pane.rows[0]
    return coarse(counts, REFERENCE.schema.drift_edges) / rows, categories / rows, missing / rows


def test_panes_are_like_the_reference():
    bins, slots, missing = sums(stream())
    pane = REFERENCE.pane
    before = coarse(pane.counts, REFERENCE.schema.drift_edges) / pane.rows[0]
    np.testing.assert_allclose(bins, before, atol=0.02)
    np.testing.assert_allclose(missing, pane.missing / pane.rows[0], atol=0.02)
    assert slots.sum() == pytest.approx(pane.category_counts.sum() / pane.rows[0], abs=0.02)
    top = int(pane.category_counts.argmax())
    assert slots[top] == pytest.approx(pane.category_counts[top] / pane.rows[0], abs=0.02)


def test_panes_follow_each_other():
    windows = [(window.start_ns, window.end_ns) for window in stream().panes(3, 60)]
    assert windows == [(hour * 3600 * 10**9, (hour + 1) * 3600 * 10**9) for hour in range(3)]


def test_every_stream_has_another_truth_and_every_seed_the_same():
    one, again, other = (sums(stream(seed), 20)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).max() > 1e-4


@pytest.mark.parametrize("shift", SHIFTS, ids=lambda shift: shift.name)
def test_a_change_is_what_its_name_says(shift):
    simulated, unchanged = stream(), sums(stream())
    (place,) = simulated.columns(texts=shift.texts)
    simulated.change(shift, place)
    bins, slots, missing = sums(simulated)
    assert missing[place] - unchanged[2][place] == pytest.approx(shift.missing, abs=0.01)
    if shift.mean:
        assert bins[0, -2:].sum() > unchanged[0][0, -2:].sum() + 0.01
    if shift.spread > 1.0:
        assert bins[0, 1] + bins[0, -1] > unchanged[0][0, 1] + unchanged[0][0, -1] + 0.02
    if shift.new:
        assert slots[0] == pytest.approx(shift.new, abs=0.005)


def test_false_alarms_are_counted(monkeypatch):
    monkeypatch.setattr(simulation, "YEAR_HOURS", 300)
    seen: list[str] = []
    monitor = AlarmMonitor(AlarmSettings(false_alarms="1000000 per day"))
    many = false_alarms(monitor, REFERENCE, 100.0, 1, np.random.default_rng(1), lambda *step: seen.append(step[2]))
    few = false_alarms(AlarmMonitor(AlarmSettings()), REFERENCE, 100.0, 1, np.random.default_rng(1), quiet)
    assert many >= 3  # more than there are minutes: every column raises its alarm at once
    assert few == 0
    assert seen


def test_larger_changes_are_found_sooner():
    found = {each.shift.name: each for each in delays(
        AlarmMonitor(AlarmSettings()), REFERENCE, 200.0, 3, np.random.default_rng(1), quiet
    )}  # fmt: skip
    assert len(found) == len(SHIFTS)
    small, large = found["mean + 0.25 standard deviations"], found["mean + 1 standard deviation"]
    assert large.median is not None
    assert small.median is not None
    assert 1.0 <= large.median < small.median


def test_what_is_not_found_within_a_day_has_no_delay(monkeypatch):
    monkeypatch.setattr(simulation, "LONGEST", 5)
    monkeypatch.setattr(simulation, "SHIFTS", (Shift("nothing", texts=False),))
    (found,) = delays(AlarmMonitor(AlarmSettings()), REFERENCE, 50.0, 2, np.random.default_rng(1), quiet)
    assert (found.minutes, found.median) == ((), None)


def test_a_reference_without_features_that_vary_has_no_changes():
    reference = build_reference("m", rows_of({"fixed": np.ones(500)}))
    monitor = AlarmMonitor(AlarmSettings())
    assert delays(monitor, reference, 50.0, 2, np.random.default_rng(1), quiet) == []
