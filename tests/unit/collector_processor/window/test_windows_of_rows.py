from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector_processor.columns.batch import Column, PredictionBatch
from collector_processor.own.telemetry import Telemetry
from collector_processor.reference.build import build_reference
from collector_processor.window.closed import Window
from collector_processor.window.policy import WindowPolicy
from collector_processor.window.windows import ModelWindows
from support.windows import (
    DAY,
    KEY,
    MINUTE,
    NOW,
    POLICY,
    SECOND,
    YEAR,
    batch,
    counted,
    drain,
    labels,
    outcomes,
    rows,
    windows,
)


def same(left: Window, right: Window) -> bool:
    ours, theirs = left.pane.arrays(), right.pane.arrays()
    return (left.start_ns, left.end_ns) == (right.start_ns, right.end_ns) and all(
        np.allclose(values, theirs[name], rtol=1e-12, atol=1e-9) for name, values in ours.items()
    )


# --- windows of rows -----------------------------------------------------------------------------------------

BY_ROWS = WindowPolicy(rows=6, every_rows=2, allowed_lateness_ns=0)


def test_panes_of_rows_are_cut_exactly() -> None:
    model = windows(BY_ROWS)
    for count in (1, 3, 5, 4):
        model.add(batch([NOW] * count), NOW)
    assert [rows(window) for window in model.close(NOW)] == [2, 4, 6, 6, 6, 6]


def test_windows_of_rows_do_not_close_for_lack_of_traffic() -> None:
    model = windows(BY_ROWS)
    model.add(batch([NOW]), NOW)
    assert model.close(NOW + YEAR) == []


def test_no_row_is_late_for_windows_of_rows() -> None:
    model = windows(BY_ROWS)
    assert model.add(batch([NOW, NOW - YEAR, NOW, -5]), NOW) == 0
    assert [rows(window) for window in model.close(NOW)] == [2, 4]


def test_windows_of_rows_follow_each_other_in_time_in_whatever_order_rows_come() -> None:
    model = windows(BY_ROWS)
    times = [NOW, NOW - DAY, NOW - YEAR, NOW - YEAR, NOW + 1, NOW, NOW + 2**62, NOW]
    model.add(batch(times), NOW)
    found = model.close(NOW)
    ends = [window.end_ns for window in found]
    assert ends == [NOW + 1, NOW + 2, NOW + 3, NOW + 4]
    assert [window.start_ns for window in found] == [NOW - DAY, NOW - DAY, NOW - DAY, NOW + 1]


def test_outcomes_of_windows_of_rows_go_to_the_current_pane() -> None:
    model = windows(BY_ROWS)
    model.add(batch([NOW] * 3), NOW)
    model.add_outcomes(outcomes([NOW - DAY, NOW + 1]))
    model.add(batch([NOW]), NOW)
    assert [labels(window) for window in model.close(NOW)] == [0, 2]


def test_retractions_of_windows_of_rows_find_the_pane_of_their_time() -> None:
    model = windows(BY_ROWS)
    model.add(batch([NOW] * 3), NOW)
    at = max(model.not_before_ns, NOW + 5)
    model.add_outcomes(outcomes([at]))
    model.add(batch([NOW] * 2), NOW)
    model.add_outcomes(outcomes([at], weight=-1.0))
    model.add(batch([NOW]), NOW)
    found = model.close(NOW)
    assert [labels(window) for window in found] == [0, 0, 0]


def test_retractions_of_forgotten_panes_of_rows_are_counted() -> None:
    telemetry = Telemetry()
    model = windows(BY_ROWS, telemetry)
    model.add(batch([NOW] * 20), NOW)
    model.close(NOW)
    model.add_outcomes(outcomes([NOW - DAY], weight=-1.0))
    assert (
        counted(telemetry, "otel_ml_dropped_total", stage="window", reason="retraction_expired", intentional="true")
        == 1
    )


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=12))
def test_how_rows_are_batched_does_not_matter(sizes: list[int]) -> None:
    at_once, in_parts = windows(BY_ROWS), windows(BY_ROWS)
    everything = batch([NOW + position for position in range(sum(sizes))])
    at_once.add(everything, NOW)
    begin = 0
    for size in sizes:
        in_parts.add(everything.take(slice(begin, begin + size)), NOW)
        begin += size
    left, right = at_once.close(NOW), in_parts.close(NOW)
    assert len(left) == len(right) == sum(sizes) // 2
    assert all(same(one, other) for one, other in zip(left, right, strict=True))


# --- restart -------------------------------------------------------------------------------------------------


def restarted(model: ModelWindows, policy: WindowPolicy | None = None, now_ns: int = NOW) -> ModelWindows:
    arrays = {name: values.copy() for name, values in model.arrays().items()}
    return ModelWindows.from_state(
        KEY, model.schema.fork(), policy or model.policy, Telemetry(), model.state(), arrays, now_ns
    )


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 9 * MINUTE), min_size=0, max_size=30), st.integers(0, 30), st.booleans())
def test_a_restart_changes_nothing(offsets: list[int], cut: int, by_rows: bool) -> None:
    policy = BY_ROWS if by_rows else POLICY
    straight, broken = windows(policy), windows(policy)
    seen: list[list[Window]] = [[], []]
    for position, offset in enumerate(sorted(offsets)):
        if position == cut:
            broken = restarted(broken)
        for model, found in zip((straight, broken), seen, strict=True):
            model.add(batch([NOW + offset]), NOW)
            model.add_outcomes(outcomes([NOW + offset]))
            found += model.close(NOW)
    for model, found in zip((straight, broken), seen, strict=True):
        found += drain(model, NOW + DAY)
    assert len(seen[0]) == len(seen[1])
    assert all(same(one, other) for one, other in zip(*seen, strict=True))


def test_a_snapshot_closes_nothing() -> None:
    model = windows()
    model.add(batch([NOW]), NOW)
    model.arrays()
    model.state()
    assert [rows(window) for window in drain(model, NOW + DAY)] == [1, 1, 1, 0]


def test_windows_may_be_longer_after_a_restart() -> None:
    model = windows()
    model.add(batch([NOW, NOW + MINUTE]), NOW)
    longer = restarted(model, WindowPolicy(size_ns=10 * MINUTE, every_ns=MINUTE))
    assert longer.close(NOW + DAY)[9].end_ns == NOW + 10 * MINUTE


def test_panes_of_another_width_are_refused() -> None:
    model = windows()
    with pytest.raises(ValueError, match=r"model 'fraud@7': .*window\.every was changed"):
        restarted(model, WindowPolicy(size_ns=10 * SECOND, every_ns=SECOND))
    with pytest.raises(ValueError, match=r"window\.every was changed"):
        restarted(model, BY_ROWS)
    with pytest.raises(ValueError, match=r"window\.every was changed"):
        restarted(windows(BY_ROWS), POLICY)


def test_panes_of_another_reference_are_refused() -> None:
    model = windows()
    model.add(batch([NOW]), NOW)
    other = build_reference("fraud", PredictionBatch(
        KEY, np.zeros(50, np.int64), np.zeros((50, 2), np.uint64), np.ones(50), np.full(50, np.nan),
        {"x": Column(np.arange(50.0))},
    ), task="regression")  # fmt: skip
    with pytest.raises(ValueError, match="do not fit the reference"):
        ModelWindows.from_state(KEY, other.schema.fork(), POLICY, Telemetry(), model.state(), model.arrays(), NOW)


@pytest.mark.parametrize("broken", ["counts.layout", "outcomes.labels.index", "rows.u2"])
def test_a_snapshot_without_an_array_is_refused(broken: str) -> None:
    model = windows()
    model.add(batch([NOW]), NOW)
    arrays = {name: values for name, values in model.arrays().items() if name != broken}
    with pytest.raises(ValueError, match=f"have no '{broken}'"):
        ModelWindows.from_state(KEY, model.schema.fork(), POLICY, Telemetry(), model.state(), arrays, NOW)


@pytest.mark.parametrize("name", ["boundary", "newest", "trailing", "open", "closed"])
def test_a_state_of_the_wrong_shape_is_refused(name: str) -> None:
    model = windows()
    model.add(batch([NOW]), NOW)
    state = {**model.state(), name: "three"}
    with pytest.raises(ValueError, match=f"'{name}'"):
        ModelWindows.from_state(KEY, model.schema.fork(), POLICY, Telemetry(), state, model.arrays(), NOW)
