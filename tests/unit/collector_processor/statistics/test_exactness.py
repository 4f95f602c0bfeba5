"""The vectors against the rows that they came from: nothing that adds may be wrong."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp

from collector_processor.columns.batch import F64, Column, ModelKey, PredictionBatch
from collector_processor.reference.build import build_reference
from collector_processor.statistics.accumulate import accumulate
from collector_processor.statistics.bins import coarse, fine_edges
from collector_processor.statistics.pane import Pane
from collector_processor.statistics.parts.pair_moments import PairMoments
from collector_processor.statistics.parts.reconstruction_sums import ReconstructionSums

ROWS = 100_000
SHAPES = ("normal", "lognormal", "pareto", "zero-inflated", "integer", "constant", "bimodal", "missing")


def draw(shape: str, rows: int, seed: int, shift: float = 0.0) -> F64:
    random = np.random.default_rng([seed, SHAPES.index(shape)])
    match shape:
        case "normal":
            return random.normal(shift, 1.0, rows)
        case "lognormal":
            return random.lognormal(shift, 1.5, rows)
        case "pareto":
            return (random.pareto(1.1, rows) + 1.0) * (1.0 + shift)
        case "zero-inflated":
            return np.where(random.random(rows) < 0.6 - shift / 2, 0.0, random.exponential(3.0, rows))
        case "integer":
            return random.poisson(40.0 * (1.0 + shift), rows).astype(np.float64)
        case "constant":
            return np.where(random.random(rows) < shift, 8.0, 7.25)
        case "bimodal":
            return np.where(
                random.random(rows) < 0.3 + shift / 2, random.normal(-5, 0.1, rows), random.normal(5, 2, rows)
            )
        case _:
            return np.where(random.random(rows) < 0.05, np.nan, random.normal(1e6 + shift, 1.0, rows))


def batch_of(features: dict[str, F64], weights: F64 | None = None) -> PredictionBatch:
    rows = len(next(iter(features.values())))
    return PredictionBatch(
        ModelKey("m", "1"),
        np.zeros(rows, np.int64),
        np.zeros((rows, 2), np.uint64),
        np.ones(rows) if weights is None else weights,
        np.full(rows, np.nan),
        {name: Column(values) for name, values in features.items()},
    )


REFERENCE_ROWS = batch_of({shape: draw(shape, ROWS, 1) for shape in SHAPES})
REFERENCE = build_reference("m", REFERENCE_ROWS)
CURRENT_ROWS = batch_of({shape: draw(shape, ROWS, 2, shift=0.2) for shape in SHAPES})


def pane_of(*batches: PredictionBatch) -> Pane:
    pane = Pane.empty(REFERENCE.schema)
    for batch in batches:
        assert accumulate(pane, REFERENCE.schema, batch) == {}
    return pane


CURRENT = pane_of(CURRENT_ROWS)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, ROWS), max_size=12), st.randoms(use_true_random=False))
def test_any_split_merged_in_any_order_gives_the_same_vectors(cuts, random):
    bounds = [0, *sorted(cuts), ROWS]
    panes = [pane_of(CURRENT_ROWS.take(slice(a, b))) for a, b in itertools.pairwise(bounds)]
    random.shuffle(panes)
    total = Pane.empty(REFERENCE.schema)
    for pane in panes:
        total.add(pane)
    for name, values in CURRENT.arrays().items():
        if name == "excess":
            np.testing.assert_allclose(total.excess, values, rtol=1e-12, atol=0.0)
        elif name.startswith(("further.pair_moments", "further.reconstruction_sums")):
            # From 4,096 rows of a pane on, these are a sample, and each pane has its own: only what it stands for adds.
            for kind in (PairMoments, ReconstructionSums):
                came = total.further[kind].rows
                assert came[3] == ROWS
                assert came[0] == pytest.approx(ROWS, rel=0.05)
        else:
            np.testing.assert_array_equal(total.arrays()[name], values, err_msg=name)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("shift", [0.0, 0.02, 0.4])
def test_kolmogorov_smirnov_at_the_edges_is_that_of_the_rows(shape, shift):
    rows = batch_of({name: draw(name, 20_000, 3, shift) for name in SHAPES})
    position = SHAPES.index(shape)
    reference, current = (pane.counts[position] for pane in (REFERENCE.pane, pane_of(rows)))
    distance = np.abs(np.cumsum(reference) / reference.sum() - np.cumsum(current) / current.sum()).max()
    before, after = (batch.features[shape].numbers for batch in (REFERENCE_ROWS, rows))
    exact = ks_2samp(before[~np.isnan(before)], after[~np.isnan(after)], method="asymp").statistic
    assert distance == pytest.approx(exact, abs=1.0 / 1024 + 1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_kolmogorov_smirnov_holds_for_currents_made_to_fall_between_edges(shape):
    """Every current value sits just above an edge, or just below: where a bin hides most."""
    values = REFERENCE_ROWS.features[shape].numbers
    edges = fine_edges(values).edges
    if shape in ("integer", "constant"):  # nearer to a heavy value, a current one counts as that value, rounded
        edges = np.unique(values) + 0.3
    for current in (np.nextafter(edges, np.inf), np.nextafter(edges, -np.inf), edges):
        pane = pane_of(batch_of({name: current if name == shape else np.full(len(current), np.nan) for name in SHAPES}))
        reference, counts = REFERENCE.pane.counts[SHAPES.index(shape)], pane.counts[SHAPES.index(shape)]
        distance = np.abs(np.cumsum(reference) / reference.sum() - np.cumsum(counts) / counts.sum()).max()
        exact = ks_2samp(values[~np.isnan(values)], current, method="asymp").statistic
        assert distance == pytest.approx(exact, abs=1.0 / 1024 + 1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_coarse_counts_are_those_of_the_histogram_on_deciles(shape):
    position = SHAPES.index(shape)
    reference = REFERENCE_ROWS.features[shape].numbers
    current = CURRENT_ROWS.features[shape].numbers
    reference, current = reference[~np.isnan(reference)], current[~np.isnan(current)]
    distinct = np.unique(reference)
    deciles = np.unique(np.quantile(reference, np.arange(1, 10) / 10))
    on_value = np.isin(deciles, distinct)  # stands for the middle between that value and the one below
    below = distinct[np.maximum(np.searchsorted(distinct, deciles) - 1, 0)]
    edges = np.where(on_value & (deciles > distinct[0]), (below + deciles) / 2, deciles)
    if len(deciles) == 1:
        edges = deciles * np.array([1.0 - 2.0**-10, 1.0 + 2.0**-10])
    deciles = edges
    expected, _ = np.histogram(current, np.concatenate(([-np.inf], deciles, [np.inf])))
    found = coarse(CURRENT.counts, REFERENCE.schema.drift_edges)[position]
    np.testing.assert_array_equal(found[found > 0], expected[expected > 0])
    assert found.sum() == len(current)


def test_counts_hold_every_row_once():
    for position, shape in enumerate(SHAPES):
        values = CURRENT_ROWS.features[shape].numbers
        assert CURRENT.counts[position].sum() == np.count_nonzero(~np.isnan(values))
        assert CURRENT.missing[position] == np.count_nonzero(np.isnan(values))
    assert CURRENT.rows.tolist() == [ROWS, ROWS]


@pytest.mark.parametrize("shape", SHAPES)
def test_excess_and_counts_give_the_exact_mean(shape):
    position = SHAPES.index(shape)
    values = CURRENT_ROWS.features[shape].numbers
    edges = REFERENCE.schema.edges[position]
    edges = edges[np.isfinite(edges)]
    anchors = np.concatenate((edges[:1], edges))
    bins = len(anchors)
    total = (CURRENT.counts[position, :bins] * anchors + CURRENT.excess[position, :bins]).sum()
    assert total == pytest.approx(np.nansum(values), rel=1e-11)
    assert (CURRENT.excess[position, 1:] >= 0.0).all()
    assert CURRENT.excess[position, 0] <= 0.0


def test_weights_count_as_that_many_rows():
    random = np.random.default_rng(5)
    weights = random.integers(1, 4, 1000).astype(np.float64)
    rows = CURRENT_ROWS.take(slice(0, 1000))
    weighted = pane_of(batch_of({name: column.numbers for name, column in rows.features.items()}, weights))
    repeated = pane_of(rows.take(np.repeat(np.arange(1000), weights.astype(np.int64))))
    assert weighted.rows.tolist() == [weights.sum(), 1000.0]
    np.testing.assert_array_equal(weighted.counts, repeated.counts)
    np.testing.assert_array_equal(weighted.missing, repeated.missing)
    np.testing.assert_allclose(weighted.excess, repeated.excess, rtol=1e-11, atol=1e-9)
