"""Correlations of pairs from sums: equal to those of the rows, and a change names its pair."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.special import ndtri

from collector_processor.monitors.drift import LeastRows
from collector_processor.monitors.pairs import MultivariateSettings, PairMonitor
from collector_processor.reference.build import build_reference
from collector_processor.reference.file import load_reference, reference_text, save_reference
from collector_processor.statistics import built, sample
from collector_processor.statistics.cell_bins import fine_bins
from collector_processor.statistics.fits.pair_scores import PairScores
from collector_processor.statistics.parts.pair_moments import PairMoments, correlations
from otel_ml import semconv
from tests.support.scored_rows import rows_of, window_of

MONITOR = PairMonitor(MultivariateSettings(), LeastRows())


def columns(rows: int, correlation: float = 0.6, seed: int = 1) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, 6))
    x[:, 1] = correlation * x[:, 0] + np.sqrt(1 - correlation**2) * x[:, 1]
    city = np.array(["rome", "oslo", "lima"])[np.searchsorted([-0.5, 1.0], x[:, 2] + 0.5 * x[:, 4])]
    return {
        "age": x[:, 0], "income": x[:, 1], "debt": x[:, 2], "size": np.exp(x[:, 3]), "flag": (x[:, 5] > 1.0) * 1.0,
        "city": city, "fixed": np.ones(rows),
    }  # fmt: skip


REFERENCE = build_reference("loans", rows_of(columns(8000)), categorical=("city",))


def measured(window) -> dict[str, list]:
    found: dict[str, list] = {}
    for each in MONITOR.evaluate(window, REFERENCE):
        found.setdefault(each.name, []).append(each)
    return found


def test_a_changed_pair_is_found_and_named():
    found = measured(window_of(REFERENCE, [rows_of(columns(2000, 0.4, seed=2))]))
    assert found[semconv.MULTIVARIATE_CHANGED][0].value == 1.0
    worst = found[semconv.MULTIVARIATE_PAIR][0]
    assert worst.value > 1.0
    assert dict(worst.attributes)[semconv.FEATURE_NAME] == "age"
    assert dict(worst.attributes)[semconv.FEATURE_OTHER] == "income"
    assert worst.words.startswith("age and income: correlation 0.59 → 0.")
    assert found[semconv.MULTIVARIATE_CORRELATION][0].value == pytest.approx(0.4, abs=0.06)


def test_equal_rows_change_no_pair():
    for seed in range(3, 23):
        found = measured(window_of(REFERENCE, [rows_of(columns(2000, seed=seed))]))
        assert found[semconv.MULTIVARIATE_CHANGED][0].value == 0.0


def test_correlations_are_those_of_the_rows():
    rows = columns(3000, seed=5)
    fit = REFERENCE.schema.fit(PairScores)
    matrix, n = correlations(window_of(REFERENCE, [rows_of(rows)]).pane.further[PairMoments])
    before = columns(8000)
    cells = []
    for row, position in enumerate(fit.scores.positions.tolist()):
        name = REFERENCE.schema.columns[position].name
        if name == "city":
            order = REFERENCE.schema.categories.names(position - len(REFERENCE.schema.numeric))
            reference, current = (np.array([order.index(each) for each in side[name]]) for side in (before, rows))
            bins = len(order)
        else:
            edges = REFERENCE.schema.edges[position]
            edges = edges[np.isfinite(edges)]
            reference, current = (np.searchsorted(edges, side[name], "right") for side in (before, rows))
            bins = len(edges) + 1
        counts = np.bincount(reference, minlength=bins)
        with np.errstate(divide="ignore"):
            scores = ndtri((counts.cumsum() - counts / 2) / counts.sum())
        used = scores[np.flatnonzero(counts)]
        scores = np.clip(scores, used[0], used[-1])
        scores = np.round((scores - scores[reference].mean()) / scores[reference].std(), 4)
        cells.append(scores[current])
        assert matrix[row, row] == pytest.approx(1.0)
    np.testing.assert_allclose(matrix, np.corrcoef(cells), atol=1e-9)
    np.testing.assert_allclose(n, 3000.0)
    assert "fixed" not in [REFERENCE.schema.columns[place].name for place in fit.scores.positions]


def test_panes_add_up_whatever_the_split():
    batch = rows_of(columns(3000, seed=6), np.random.default_rng(1).integers(1, 5, 3000) * 1.0)
    whole = window_of(REFERENCE, [batch]).pane.further[PairMoments]
    first, second = (window_of(REFERENCE, [batch.take(part)]).pane for part in (slice(0, 800), slice(800, None)))
    first.add(second)
    for name, values in first.further[PairMoments].arrays().items():
        np.testing.assert_allclose(values, whole.arrays()[name], rtol=1e-12, atol=1e-9)


def test_a_large_pane_is_sampled_and_weighted():
    batch = rows_of(columns(40_000, seed=7))
    sample.Arrivals().number(batch, 0)
    part = window_of(REFERENCE, [batch]).pane.further[PairMoments]
    assert sample.WHOLE * 2 < part.rows[2] < sample.WHOLE * 3
    assert part.rows[0] == pytest.approx(40_000, rel=0.05)
    matrix, n = correlations(part)
    assert matrix[0, 1] == pytest.approx(0.6, abs=0.05)
    assert 5000 < n[0, 1] < part.rows[2]  # rows that stand for others are worth less


def test_sampled_traces_do_not_look_like_more_rows():
    batch = rows_of(columns(2000, seed=8))
    ten = rows_of(columns(2000, seed=8), np.full(2000, 10.0))
    one, other = (MONITOR.evaluate(window_of(REFERENCE, [each]), REFERENCE) for each in (batch, ten))
    assert [each.value for each in one] == pytest.approx([each.value for each in other])


def test_missing_cells_leave_the_correlation_of_the_others():
    rows = columns(6000, seed=9)
    rows["income"] = np.where(np.random.default_rng(2).random(6000) < 0.5, np.nan, rows["income"])
    part = window_of(REFERENCE, [rows_of(rows).take(slice(0, 4000))]).pane.further[PairMoments]
    matrix, n = correlations(part)
    assert matrix[0, 1] == pytest.approx(0.6, abs=0.05)
    assert 1800 < n[0, 1] < 2200
    assert measured(window_of(REFERENCE, [rows_of(rows)]))[semconv.MULTIVARIATE_CHANGED][0].value == 0.0


@pytest.mark.parametrize("cells", [np.full(2000, np.nan), np.full(2000, 3.0)], ids=["all missing", "constant"])
def test_a_feature_that_says_nothing_has_no_pairs(cells):
    rows = columns(2000, seed=10)
    rows["income"] = cells
    found = measured(window_of(REFERENCE, [rows_of(rows)]))
    assert found[semconv.MULTIVARIATE_CHANGED][0].value == 0.0
    assert all(np.isfinite(each.value) for group in found.values() for each in group)


def test_one_category_and_new_ones_are_no_error():
    rows = columns(2000, seed=11)
    for city in (np.full(2000, "rome"), np.full(2000, "new york"), np.full(2000, "")):
        rows["city"] = city
        assert measured(window_of(REFERENCE, [rows_of(rows)]))


def test_a_tiny_window_says_nothing():
    assert measured(window_of(REFERENCE, [rows_of(columns(100))])) == {}
    assert measured(window_of(REFERENCE, [])) == {}


def test_a_reference_without_pairs_says_nothing():
    for rows in ({"age": np.arange(500.0)}, {"a": np.ones(500), "b": np.ones(500)}, {"a": np.ones(9), "b": np.ones(9)}):
        reference = build_reference("loans", rows_of(rows))
        assert reference.schema.fit(PairScores) is None
        assert MONITOR.evaluate(window_of(reference, [rows_of(rows)]), reference) == []


def test_many_features_are_limited_to_those_that_belong_together():
    rng = np.random.default_rng(3)
    x = rng.standard_normal((2000, 80))
    x[:, 70:] = x[:, :10] + 0.1 * x[:, 70:]
    reference = build_reference("loans", rows_of({f"f{j:02}": x[:, j] for j in range(80)}))
    positions = reference.schema.fit(PairScores).scores.positions
    assert len(positions) == 64
    assert {*range(10), *range(70, 80)} <= {*positions.tolist()}


def test_the_profile_keeps_the_fit(tmp_path):
    path = tmp_path / "loans.json"
    save_reference(REFERENCE, path)
    loaded = load_reference(path)
    batch = rows_of(columns(2000, 0.4, seed=2))
    assert MONITOR.evaluate(window_of(loaded, [batch]), loaded) == MONITOR.evaluate(
        window_of(REFERENCE, [batch]), REFERENCE
    )
    assert reference_text(loaded) == reference_text(REFERENCE)


@pytest.mark.parametrize(
    ("key", "value"), [("positions", [0]), ("positions", [0, 99]), ("variance", [1.0]), ("scores", {})]
)
def test_a_damaged_fit_is_refused(tmp_path, key, value):
    document = json.loads(reference_text(REFERENCE))
    document["estimator"]["pair_scores"][key] = value
    path = tmp_path / "loans.json"
    path.write_text(json.dumps(document))
    with pytest.raises(ValueError, match=r"loans.json: estimator.pair_scores"):
        load_reference(path)


@pytest.mark.skipif(built.sums is None, reason="not compiled")
def test_bins_are_the_same_without_the_compiled_part(monkeypatch):
    batch = rows_of(columns(1000, seed=12))
    positions = np.arange(3)
    cells = [batch.features["age"], None, batch.features["size"]]
    for chosen in (None, np.array([5, 900, 7])):
        compiled = fine_bins(REFERENCE.schema, positions, cells, 1000, chosen)
        with monkeypatch.context() as patch:
            patch.setattr(built, "sums", None)
            plain = fine_bins(REFERENCE.schema, positions, cells, 1000, chosen)
        np.testing.assert_array_equal(compiled, plain)
