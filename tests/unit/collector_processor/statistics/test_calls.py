"""How rows come in calls: sums that add up, whatever way the rows are cut."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from collector_processor.columns.batch import Column, ModelKey, PredictionBatch
from collector_processor.detectors.dependence import design_effect
from collector_processor.monitors.independence import independent_rows
from collector_processor.reference.build import build_reference
from collector_processor.statistics.accumulate import accumulate
from collector_processor.statistics.calls import LARGEST_CALL, call_weights
from collector_processor.statistics.pane import Pane
from collector_processor.statistics.parts.calls import SIZES, Calls


def rows(sizes: list[int], *, equal: bool = False, weight: float = 1.0, seed: int = 0) -> PredictionBatch:
    random = np.random.default_rng(seed)
    count = sum(sizes)
    call = np.repeat(np.arange(len(sizes)), sizes)
    age, plan = random.normal(size=count), random.integers(0, 3, count)
    if equal:
        age, plan = age[call], plan[call]
    duration = np.full(count, np.nan)
    duration[np.cumsum([0, *sizes[:-1]])] = 0.01
    return PredictionBatch(
        ModelKey("m"), np.zeros(count, np.int64), random.integers(0, 2**63, (count, 2)).astype(np.uint64),
        np.full(count, weight), duration,
        {"age": Column(age), "plan": Column(None, plan.astype(np.int32), ("a", "b", "c"))},
    )  # fmt: skip


REFERENCE = build_reference("m", rows([1] * 5000))


def pane_of(*batches: PredictionBatch) -> Pane:
    pane = Pane.empty(REFERENCE.schema)
    for batch in batches:
        accumulate(pane, REFERENCE.schema, batch)
    return pane


def test_calls_begin_with_a_duration_or_another_time() -> None:
    batch = rows([2, 3, 1])
    assert call_weights(batch).tolist() == [2, 2, 3, 3, 3, 1]
    later = replace(batch, time_ns=np.array([0, 0, 0, 1, 1, 1]))
    assert call_weights(later).tolist() == [2, 2, 1, 2, 2, 1]


def test_rows_of_a_table_are_single_and_a_batch_job_is_not_one_call() -> None:
    table = replace(rows([4]), duration_s=np.full(4, np.nan))
    assert call_weights(table).tolist() == [1, 1, 1, 1]
    assert set(call_weights(rows([LARGEST_CALL + 1, 2])).tolist()) == {1.0, 2.0}


def shifted(part: PredictionBatch) -> PredictionBatch:
    age = part.features["age"].numbers
    assert age is not None
    return replace(part, features={**part.features, "age": Column(age + 2.0)})


@pytest.mark.parametrize("single", [0, 1000])
@pytest.mark.parametrize("sizes", [[64], [129], [999], [LARGEST_CALL], [LARGEST_CALL + 1], [500, 500], [300] * 4])
def test_independent_rows_of_large_calls_count_whatever_their_drift(sizes: list[int], single: int) -> None:
    pane = pane_of(shifted(rows(sizes, seed=4)))
    if single:
        pane.add(pane_of(shifted(rows([1] * single, seed=3))))
    assert (independent_rows(pane, REFERENCE.schema, REFERENCE) > 0.2).all()


def test_one_call_is_as_dependent_as_the_calls_of_the_reference() -> None:
    alike = build_reference("m", rows([10] * 500, equal=True))
    pane = Pane.empty(alike.schema)
    accumulate(pane, alike.schema, shifted(rows([500], seed=4)))
    assert (independent_rows(pane, alike.schema, alike) < 0.02).all()


def test_a_call_that_is_a_batch_job_is_not_compared_where_a_pane_cuts_it() -> None:
    whole = rows([LARGEST_CALL + 1])
    call_weights(whole)
    assert not pane_of(whole.take(slice(0, 500))).further[Calls].pairs.any()


@pytest.mark.parametrize(("calls", "job"), [([100] * 8, 1500), ([100] * 30, 5000)])
def test_a_batch_job_does_not_hide_that_the_rows_of_other_calls_are_alike(calls: list[int], job: int) -> None:
    pane = pane_of(rows(calls, equal=True), rows([job], seed=1))
    effect = (sum(size * size for size in calls) + job) / (sum(calls) + job)
    assert independent_rows(pane, REFERENCE.schema, REFERENCE)[0] < 1.5 / effect


def test_equal_rows_of_one_large_call_count_as_one() -> None:
    pane = pane_of(rows([1] * 500, seed=3), rows([500], equal=True, seed=4))
    assert (independent_rows(pane, REFERENCE.schema, REFERENCE) < 0.02).all()


def test_many_large_calls_cost_a_few_pairs_each() -> None:
    pairs = pane_of(rows([500] * 40)).further[Calls].pairs
    assert 2000 <= pairs.max() <= 2048 + 40 * 8


def test_sampled_rows_weigh_what_they_stand_for() -> None:
    calls = pane_of(rows([1] * 50, weight=10.0)).further[Calls]
    assert design_effect(calls.by_row, SIZES) == pytest.approx(10.0, rel=0.1)
    assert calls.by_row.sum() == 500.0


def test_a_call_that_is_cut_into_panes_keeps_its_size() -> None:
    batch = rows([10, 4])
    call_weights(batch)
    parts = [pane_of(batch.take(slice(0, 6))), pane_of(batch.take(slice(6, 14)))]
    parts[0].add(parts[1])
    assert np.array_equal(parts[0].further[Calls].by_call, pane_of(batch).further[Calls].by_call)


def test_sums_of_two_panes_are_those_of_all_rows() -> None:
    one, two = rows([3, 40, 1], seed=1), rows([50] * 3, seed=2)
    together, apart = pane_of(one, two), pane_of(one)
    apart.add(pane_of(two))
    for name, values in together.further[Calls].arrays().items():
        assert np.array_equal(values, apart.further[Calls].arrays()[name]), name


@pytest.mark.parametrize(("equal", "least", "most"), [(True, 0.02, 0.03), (False, 0.6, 1.0)])
def test_rows_of_a_call_are_one_if_they_are_alike_and_many_if_not(equal: bool, least: float, most: float) -> None:
    found = independent_rows(pane_of(*(rows([40], equal=equal, seed=seed) for seed in range(60))), REFERENCE.schema)
    assert (found >= least).all()
    assert (found <= most).all()


def test_a_pane_of_one_call_is_compared_with_the_reference() -> None:
    for equal, expected in ((True, 1 / 40), (False, 1.0)):
        pane = pane_of(rows([40], equal=equal, seed=3))
        assert independent_rows(pane, REFERENCE.schema, REFERENCE)[0] == pytest.approx(expected, rel=0.1)


def test_failed_rows_have_no_pairs_of_outputs() -> None:
    batch = replace(rows([40, 40]), error=Column(None, np.zeros(80, np.int32), ("ValueError",)))
    assert not pane_of(batch).further[Calls].pairs.any()
