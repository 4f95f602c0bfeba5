"""The reconstruction error from sums: that of the rows, within limits on equal rows, and it names what changed."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from collector_processor.monitors.drift import LeastRows
from collector_processor.monitors.reconstruction import ReconstructionMonitor
from collector_processor.reference.build import build_reference
from collector_processor.reference.file import load_reference, reference_text, save_reference
from collector_processor.statistics import sample
from collector_processor.statistics.fits.reconstruction import FARTHEST, Reconstruction
from collector_processor.statistics.parts.reconstruction_sums import ReconstructionSums
from otel_ml import semconv
from tests.support.scored_rows import rows_of, window_of

MONITOR = ReconstructionMonitor(LeastRows())
ERROR = semconv.MULTIVARIATE_RECONSTRUCTION
BREACHED = semconv.MULTIVARIATE_RECONSTRUCTION_BREACHED


def columns(rows: int, seed: int = 1) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, 6))
    x[:, 1:3] = 0.9 * x[:, :1] + 0.3 * x[:, 1:3]
    city = np.array(["rome", "oslo", "lima"])[np.searchsorted([-0.5, 1.0], x[:, 0])]
    return {
        "age": x[:, 0], "income": 1000.0 * x[:, 1] + 5000.0, "debt": x[:, 2], "size": np.exp(x[:, 3]),
        "city": city, "fixed": np.full(rows, 7.0),
    }  # fmt: skip


REFERENCE_ROWS = columns(8000)
REFERENCE = build_reference("loans", rows_of(REFERENCE_ROWS), categorical=("city",))


def measured(window, reference=REFERENCE) -> dict[str, list]:
    found: dict[str, list] = {}
    for each in MONITOR.evaluate(window, reference):
        found.setdefault(each.name, []).append(each)
    return found


def of_rows(rows: dict[str, np.ndarray]) -> np.ndarray:
    """The distance of each row, computed from rows, by a singular value decomposition."""
    names = [spec.name for spec in REFERENCE.schema.columns]

    def encoded(of: dict[str, np.ndarray]) -> np.ndarray:
        share = {name: float(np.mean(REFERENCE_ROWS["city"] == name)) for name in np.unique(REFERENCE_ROWS["city"])}
        return np.array([[share.get(cell, 0.0) for cell in of[name]] if name == "city" else of[name] for name in names])

    before, now = encoded(REFERENCE_ROWS), encoded(rows)
    mean, spread = before.mean(axis=1, keepdims=True), before.std(axis=1, keepdims=True)
    spread[spread < 1e-9] = 1.0
    _, sizes, directions = np.linalg.svd(((before - mean) / spread).T, full_matrices=False)
    kept = directions[: int(np.searchsorted(np.cumsum(sizes**2) / (sizes**2).sum(), 0.65, "right")) + 1]
    z = (now - mean) / spread
    return np.linalg.norm(z - kept.T @ (kept @ z), axis=0)


def test_the_error_is_that_of_the_rows():
    rows = columns(3000, seed=5)
    rows["city"][:10] = "new york"
    distances = of_rows(rows)
    found = measured(window_of(REFERENCE, [rows_of(rows)]))
    assert found[ERROR][0].value == pytest.approx(distances.mean(), rel=1e-12)
    band = 3.0 * distances.std(ddof=1) / np.sqrt(3000)
    assert found[f"{ERROR}.upper"][0].value == pytest.approx(distances.mean() + band, rel=1e-9)
    assert found[f"{ERROR}.lower"][0].value == pytest.approx(distances.mean() - band, rel=1e-9)


def test_limits_are_those_of_ten_parts_of_the_reference():
    distances = of_rows(REFERENCE_ROWS).reshape(10, 800).mean(axis=1)
    low, high = REFERENCE.schema.fit(Reconstruction).limits(800.0)
    assert (low, high) == pytest.approx(
        (distances.mean() - 3 * distances.std(), distances.mean() + 3 * distances.std()), rel=1e-9
    )


def test_equal_rows_are_within_the_limits():
    breaches = [
        measured(window_of(REFERENCE, [rows_of(columns(rows, seed=seed))]))[BREACHED][0].value
        for rows in (500, 800, 3000)
        for seed in range(3, 23)
    ]
    assert sum(breaches) <= 3.0


def test_a_feature_that_no_longer_belongs_to_the_others_is_named():
    rows = columns(2000, seed=2)
    rows["income"] = np.random.default_rng(1).permutation(rows["income"])
    found = measured(window_of(REFERENCE, [rows_of(rows)]))
    assert found[BREACHED][0].value == 1.0
    assert found[ERROR][0].value > found[f"{ERROR}.upper_limit"][0].value
    worst = found[f"{ERROR}.share"][0]
    assert dict(worst.attributes)[semconv.FEATURE_NAME] == "income"
    assert worst.value > 0.5
    assert sum(each.value for each in found[f"{ERROR}.share"]) <= 1.0 + 1e-12
    assert worst.words.startswith("reconstruction error ")
    assert "most of the change: income " in worst.words


def test_rows_in_the_middle_are_below_the_lower_limit():
    rows = columns(2000, seed=2)
    rows = {name: np.full(2000, np.nan) if cells.dtype.kind == "f" else cells for name, cells in rows.items()}
    found = measured(window_of(REFERENCE, [rows_of(rows)]))
    assert found[BREACHED][0].value == 1.0
    assert ", below " in found[ERROR][0].words


def test_panes_add_up_whatever_the_split():
    batch = rows_of(columns(3000, seed=6), np.random.default_rng(1).integers(1, 5, 3000) * 1.0)
    whole = window_of(REFERENCE, [batch]).pane.further[ReconstructionSums]
    first, second = (window_of(REFERENCE, [batch.take(part)]).pane for part in (slice(0, 800), slice(800, None)))
    first.add(second)
    for name, values in first.further[ReconstructionSums].arrays().items():
        np.testing.assert_allclose(values, whole.arrays()[name], rtol=1e-12, atol=1e-9)


def test_a_large_pane_is_sampled_and_weighted():
    batch = rows_of(columns(40_000, seed=7))
    sample.Arrivals().number(batch, 0)
    part = window_of(REFERENCE, [batch]).pane.further[ReconstructionSums]
    assert sample.WHOLE * 2 < part.rows[2] < sample.WHOLE * 3
    assert part.rows[0] == pytest.approx(40_000, rel=0.05)
    assert part.errors[0] / part.rows[0] == pytest.approx(of_rows(columns(40_000, seed=7)).mean(), rel=0.02)


def test_compat_looks_at_every_row_and_has_the_limits_of_the_tool_at_any_size():
    built = build_reference("loans", rows_of(REFERENCE_ROWS), categorical=("city",), compat="nannyml")
    batch = rows_of(columns(40_000, seed=7))
    part = window_of(built, [batch]).pane.further[ReconstructionSums]
    assert part.rows.tolist() == [40_000.0] * 4
    assert part.errors[0] / part.rows[0] == pytest.approx(of_rows(columns(40_000, seed=7)).mean(), rel=1e-12)
    fit = built.schema.fit(Reconstruction)
    assert fit.limits(1.0) == fit.limits(800.0)


def test_fewer_rows_have_wider_limits():
    fit = REFERENCE.schema.fit(Reconstruction)
    assert fit.limits(100.0)[1] > fit.limits(800.0)[1] == fit.limits(8000.0)[1]


def test_weights_of_sampled_traces_count_in_the_fit_and_do_not_look_like_more_rows():
    rows = columns(2000, seed=8)
    twice = {name: np.repeat(cells, 2) for name, cells in rows.items()}
    one = build_reference("loans", rows_of(rows, np.full(2000, 2.0)), categorical=("city",))
    other = build_reference("loans", rows_of(twice), categorical=("city",))
    mine, theirs = (built.schema.fit(Reconstruction) for built in (one, other))
    for name in ("fill", "mean", "scale", "squares"):
        np.testing.assert_allclose(getattr(mine, name), getattr(theirs, name), rtol=1e-9)
    np.testing.assert_allclose(abs(mine.components), abs(theirs.components), atol=1e-9)
    assert (mine.chunks.rows, theirs.chunks.rows) == (200.0, 400.0)
    batch, ten = rows_of(rows), rows_of(rows, np.full(2000, 10.0))
    first, second = (MONITOR.evaluate(window_of(REFERENCE, [each]), REFERENCE) for each in (batch, ten))
    assert [each.value for each in first] == pytest.approx([each.value for each in second])


@pytest.mark.parametrize(
    "cells",
    [np.full(2000, np.nan), np.full(2000, 3.0), np.full(2000, np.inf), np.full(2000, 1e300)],
    ids=["all missing", "constant", "infinite", "huge"],
)
@pytest.mark.parametrize("name", ["income", "fixed"])
def test_cells_that_say_nothing_give_finite_figures(name, cells):
    rows = columns(2000, seed=10)
    rows[name] = cells
    found = measured(window_of(REFERENCE, [rows_of(rows)]))
    assert all(np.isfinite(each.value) for group in found.values() for each in group)
    assert found[ERROR][0].value <= 2.0 * FARTHEST


@pytest.mark.parametrize("city", ["rome", "new york", ""])
def test_one_category_new_ones_and_missing_ones_are_no_error(city):
    rows = columns(2000, seed=11)
    rows["city"] = np.full(2000, city)
    assert measured(window_of(REFERENCE, [rows_of(rows)]))


def test_a_missing_category_is_the_most_frequent_one():
    rows, missing = columns(2000, seed=11), columns(2000, seed=11)
    names, counts = np.unique(REFERENCE_ROWS["city"], return_counts=True)
    rows["city"], missing["city"] = np.full(2000, names[counts.argmax()]), np.full(2000, "")
    one, other = (measured(window_of(REFERENCE, [rows_of(each)]))[ERROR][0].value for each in (rows, missing))
    assert one == other


def test_a_column_that_is_absent_is_missing():
    rows, without = columns(2000, seed=12), columns(2000, seed=12)
    rows["income"], rows["city"] = np.full(2000, np.nan), np.full(2000, "")
    del without["income"], without["city"]
    one, other = (measured(window_of(REFERENCE, [rows_of(each)]))[ERROR][0].value for each in (rows, without))
    assert one == other


def test_a_tiny_window_says_nothing():
    assert measured(window_of(REFERENCE, [rows_of(columns(100))])) == {}
    assert measured(window_of(REFERENCE, [])) == {}


def test_one_row_has_an_error_without_a_band():
    window = window_of(REFERENCE, [rows_of(columns(1))])
    names = {each.name for each in ReconstructionMonitor(LeastRows(min_rows=1)).evaluate(window, REFERENCE)}
    assert ERROR in names
    assert f"{ERROR}.upper" not in names


def test_a_reference_without_features_that_vary_says_nothing():
    one, flat, few = {"age": np.arange(500.0)}, {"a": np.ones(500), "b": np.ones(500)}, {"a": np.arange(9.0)}
    for rows in (one, flat, {**few, "b": np.arange(9.0)}, {"a": np.arange(500.0), "b": np.full(500, 0.1)}):
        reference = build_reference("loans", rows_of(rows))
        assert reference.schema.fit(Reconstruction) is None
        assert MONITOR.evaluate(window_of(reference, [rows_of(rows)]), reference) == []


def test_too_many_features_are_said():
    rng = np.random.default_rng(3)
    reference = build_reference("loans", rows_of({f"f{j}": rng.standard_normal(120) for j in range(257)}))
    assert reference.schema.fit(Reconstruction) is None
    assert reference.notes == ("no reconstruction error: that is measured of up to 256 features, not 257",)


def test_the_profile_keeps_the_fit(tmp_path):
    path = tmp_path / "loans.json"
    save_reference(REFERENCE, path)
    loaded = load_reference(path)
    batch = rows_of(columns(2000, seed=2))
    assert MONITOR.evaluate(window_of(loaded, [batch]), loaded) == MONITOR.evaluate(
        window_of(REFERENCE, [batch]), REFERENCE
    )
    assert reference_text(loaded) == reference_text(REFERENCE)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("positions", [0]),
        ("positions", [0, 99]),
        ("positions", [1, 0]),
        ("shares", {}),
        ("mean", [1.0]),
        ("scale", [0, 1, 1, 1, 1, 1]),
        ("components", [1.0] * 5),
        ("components", [2.0] * 6),
        ("components", []),
        ("chunks", [1, 1, 0, 1]),
        ("chunks", [1, 1]),
        ("whole", 2),
    ],
)
def test_a_damaged_fit_is_refused(tmp_path, key, value):
    document = json.loads(reference_text(REFERENCE))
    document["estimator"]["reconstruction"][key] = value
    path = tmp_path / "loans.json"
    path.write_text(json.dumps(document))
    with pytest.raises(ValueError, match=r"loans.json: estimator.reconstruction"):
        load_reference(path)


def test_a_profile_of_an_earlier_version_has_none(tmp_path):
    fits = {kind: fit for kind, fit in REFERENCE.schema.fits.items() if kind is not Reconstruction}
    older = replace(REFERENCE, schema=replace(REFERENCE.schema, fits=fits))
    assert measured(window_of(older, [rows_of(columns(2000))]), older) == {}
