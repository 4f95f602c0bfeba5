"""The exemplars of a pane are predictions that really are in their cells; they survive everything that a pane does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector_processor.columns.batch import Column, PredictionBatch
from collector_processor.statistics import built
from collector_processor.statistics.accumulate import accumulate
from collector_processor.statistics.exemplars import cells
from collector_processor.statistics.exemplars.cells import column_cell, groups_of
from collector_processor.statistics.outcome_batch import OutcomeBatch
from collector_processor.statistics.outcomes import accumulate_outcomes
from collector_processor.statistics.pane import Pane
from collector_processor.statistics.schema import Schema
from collector_processor.window.compact_panes import CompactPane, from_arrays, to_arrays
from support.traced import predictions, reference, rows_of, texts

REFERENCE = reference()
AMOUNT, SCORE, COUNTRY, PREDICTION = (
    [spec.name for spec in REFERENCE.schema.columns].index(name)
    for name in ("amount", "score", "country", "prediction")
)


def pane_of(*batches: PredictionBatch, schema: Schema | None = None) -> tuple[Pane, Schema]:
    own = REFERENCE.schema.fork() if schema is None else schema
    pane = Pane.empty(own)
    for batch in batches:
        accumulate(pane, own, batch)
    return pane, own


def mixed(rows: int = 400, seed: int = 0) -> PredictionBatch:
    random = np.random.default_rng(seed)
    amount = random.normal(50.0, 12.0, rows)
    amount[::17] = np.nan
    amount[5::50] = 1e6
    amount[6::50] = -np.inf
    country = random.choice(["de", "fr", "it", "xx"], rows).tolist()
    country[3::20] = [None] * len(country[3::20])
    error = [("Timeout" if row % 40 == 0 else None) for row in range(rows)]
    return predictions(amount, country, random.random(rows), seed=seed, error=error)


def exemplar(pane: Pane, position: int, cell: int) -> list[int]:
    return rows_of(pane.exemplars.predictions.find([column_cell(position, cell)]))


def assert_same(one: Pane, other: Pane) -> None:
    for mine, theirs in (
        (one.exemplars.predictions, other.exemplars.predictions),
        (one.exemplars.errors, other.exemplars.errors),
    ):
        for name in ("below", "entries", "cells", "owners"):
            np.testing.assert_array_equal(getattr(mine, name), getattr(theirs, name), name)


def expected_cells(batch: PredictionBatch, row: int) -> dict[int, int]:
    """The cell of a row in each column, by the words of the rule."""
    amount, country = batch.features["amount"], batch.features["country"]
    assert amount.numbers is not None
    assert country.codes is not None
    number, schema = float(amount.numbers[row]), REFERENCE.schema
    found: dict[int, int] = {}
    if np.isnan(number):
        found[AMOUNT] = cells.MISSING
    elif number < schema.low[AMOUNT]:
        found[AMOUNT] = cells.BELOW
    elif number > schema.high[AMOUNT]:
        found[AMOUNT] = cells.ABOVE
    code = int(country.codes[row])
    if code < 0:
        found[COUNTRY] = cells.MISSING
    elif country.categories[code] == "xx":
        found[COUNTRY] = cells.UNSEEN
    else:
        found[COUNTRY] = schema.categories.names(COUNTRY - len(schema.numeric)).index(country.categories[code])
    return found


def test_every_exemplar_is_the_row_with_the_smallest_key_of_its_cell() -> None:
    batch = mixed()
    pane, _ = pane_of(batch)
    smallest: dict[tuple[int, int], int] = {}
    for row in np.argsort(batch.ids[:, 0]).tolist():
        for position, cell in expected_cells(batch, row).items():
            smallest.setdefault((position, cell), row)
    assert {cells.MISSING, cells.BELOW, cells.ABOVE, cells.UNSEEN} <= {cell for _, cell in smallest}
    for (position, cell), row in smallest.items():
        assert exemplar(pane, position, cell) == [row]


def test_groups_of_bins_hold_about_equal_parts_of_the_reference_in_order() -> None:
    of_bins = cells.bin_cells(REFERENCE.schema)[AMOUNT, :-1]
    inside = of_bins[of_bins < cells.GROUPS]
    assert (np.diff(inside.astype(int)) >= 0).all()
    shares = np.bincount(inside, REFERENCE.pane.counts[AMOUNT][of_bins < cells.GROUPS]) / 2000
    assert shares.sum() == 1.0
    assert len(shares[shares > 0]) >= 28
    assert shares.max() < 0.05


def test_failed_calls_are_exemplars_of_failures_but_not_of_outputs() -> None:
    batch = mixed()
    pane, schema = pane_of(batch)
    [row] = rows_of(pane.exemplars.predictions.find([cells.failed_cell(0)]))
    assert row % 40 == 0
    assert batch.error is not None
    failed = {low - 1 for low in pane.exemplars.predictions.entries[:, 2].tolist()}
    assert row in failed
    only_failed, _ = pane_of(batch.take(batch.error.is_text()))
    columns = set((only_failed.exemplars.predictions.cells // cells.WIDTH).tolist())
    assert {AMOUNT, COUNTRY} <= columns
    assert not {SCORE, PREDICTION} & columns
    slot = schema.groups.find(0, "de")
    assert slot is not None
    [in_segment] = rows_of(pane.exemplars.predictions.find([cells.failed_cell(slot + 1)]))
    country = batch.features["country"]
    assert country.codes is not None
    assert in_segment % 40 == 0
    assert country.categories[country.codes[in_segment]] == "de"


def test_a_cell_of_the_other_kind_is_of_the_wrong_type() -> None:
    batch = predictions([1.0, np.nan, np.nan], ["de", None, None])
    odd = replace(
        batch,
        features={
            "amount": Column(np.array([50.0, np.nan, np.nan]), np.array([-1, 0, -1], np.int32), ("many",)),
            "country": Column(np.array([np.nan, 1.5, np.nan]), np.array([0, -1, -1], np.int32), ("de",)),
        },
    )
    pane, _ = pane_of(odd)
    assert exemplar(pane, AMOUNT, cells.WRONG_TYPE) == exemplar(pane, COUNTRY, cells.WRONG_TYPE) == [1]
    assert exemplar(pane, AMOUNT, cells.MISSING) == exemplar(pane, COUNTRY, cells.MISSING) == [2]


def test_a_withheld_feature_is_not_missing() -> None:
    batch = predictions([50.0], ["de"])
    pane, _ = pane_of(replace(batch, features={"country": texts(["de"])}, withheld="amount"))
    assert exemplar(pane, AMOUNT, cells.MISSING) == []
    assert exemplar(pane, COUNTRY, 0) == [0] or exemplar(pane, COUNTRY, 1) == [0] or exemplar(pane, COUNTRY, 2) == [0]
    absent, _ = pane_of(replace(batch, features={"country": texts(["de"])}))
    assert exemplar(absent, AMOUNT, cells.MISSING) == [0]


@pytest.mark.parametrize("rows", [0, 1, 50])
def test_rows_without_a_trace_leave_nothing(rows: int) -> None:
    pane, _ = pane_of(predictions([50.0] * rows, ["de"] * rows, traced=False))
    assert pane.exemplars.nbytes == 0


@pytest.mark.usefixtures("either_build")
@given(st.integers(0, 2**31), st.integers(1, 5))
def test_panes_that_are_added_have_the_exemplars_of_all_rows(seed: int, parts: int) -> None:
    batch = mixed(300, seed)
    schema = REFERENCE.schema.fork()
    accumulate(Pane.empty(schema), schema, batch)  # so that all panes know the categories
    whole, _ = pane_of(batch, schema=schema)
    order = np.random.default_rng(seed).permutation(len(batch))
    total = Pane.empty(schema)
    for part in np.array_split(order, parts):
        total.add(pane_of(batch.take(part), schema=schema)[0])
    assert_same(total, whole)


@pytest.fixture(params=["compiled", "numpy"])
def either_build(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "numpy":
        monkeypatch.setattr(built, "sums", None)


def outcome(batch: PredictionBatch, labels: list[int], predicted: list[int], weight: float = 1.0) -> OutcomeBatch:
    rows = len(labels)
    assert batch.traces is not None
    return OutcomeBatch(
        np.zeros(rows, np.int64), np.full(rows, weight), np.full(rows, 0.5), np.full(rows, 0.5),
        np.ones((rows, 1), np.int32), np.ones(rows), labels=np.array(labels, np.int32),
        predicted=np.array(predicted, np.int32),
        traces=np.column_stack((batch.ids[:rows, 0], batch.traces.rows(slice(0, rows)))),
    )  # fmt: skip


def errors(pane: Pane, *wanted: int) -> list[int]:
    return rows_of(pane.exemplars.errors.find([*wanted]))


def test_wrong_predictions_are_exemplars_of_their_classes_and_groups() -> None:
    batch, (pane, schema) = predictions([50.0] * 4, ["de"] * 4), pane_of()
    yes, no = (schema.classes.find(0, name) for name in ("yes", "no"))
    assert yes is not None
    assert no is not None
    accumulate_outcomes(pane, schema, outcome(batch, [yes, yes, no, no], [yes, no, yes, no]))
    assert errors(pane, cells.actual_cell(yes)) == errors(pane, cells.predicted_cell(no)) == [1]
    assert errors(pane, cells.actual_cell(no)) == errors(pane, cells.predicted_cell(yes)) == [2]
    first = 1 if batch.ids[1, 0] < batch.ids[2, 0] else 2
    assert errors(pane, cells.wrong_cell(0)) == errors(pane, cells.wrong_cell(1)) == [first]
    accumulate_outcomes(pane, schema, outcome(batch, [yes, yes, no, no], [yes, no, yes, no], weight=-1.0))
    assert errors(pane, cells.wrong_cell(0), cells.actual_cell(yes), cells.actual_cell(no)) == []


def test_outcomes_of_cohorts_have_no_exemplars() -> None:
    batch, (pane, schema) = predictions([50.0] * 2, ["de"] * 2), pane_of()
    accumulate_outcomes(pane, schema, outcome(batch, [1, 1], [2, 2]), further=False)
    assert pane.exemplars.nbytes == 0


def saved(*panes: Pane) -> dict[str, Any]:
    return {name: values.copy() for name, values in to_arrays([CompactPane.of(pane) for pane in panes]).items()}


def test_snapshots_keep_exemplars() -> None:
    batch = mixed()
    pane, schema = pane_of(batch)
    accumulate_outcomes(pane, schema, outcome(batch, [1] * 9, [2] * 9))
    empty = Pane.empty(schema)
    for before, after in zip((pane, empty, pane), from_arrays(saved(pane, empty, pane), schema, 3), strict=True):
        assert_same(before, after.expanded(schema))
        assert after.nbytes == CompactPane.of(before).nbytes


@pytest.mark.parametrize("version", [None, 2])
def test_snapshots_of_versions_without_these_exemplars_load(version: int | None) -> None:
    pane, schema = pane_of(mixed())
    arrays = saved(pane)
    if version is None:
        arrays = {name: values for name, values in arrays.items() if not name.startswith("exemplars.")}
    else:
        arrays["exemplars.version"][:] = version
    [after] = from_arrays(arrays, schema, 1)
    assert after.exemplars.nbytes == 0
    np.testing.assert_array_equal(after.expanded(schema).counts, pane.counts)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("exemplars.sizes", lambda values: values[:1]),
        ("exemplars.sizes", lambda values: values + 1),
        ("exemplars.entries", lambda values: values[:-1]),
        ("exemplars.entries", lambda values: values.astype(np.int64)),
        ("exemplars.cells", lambda values: values[::-1].copy()),
        ("exemplars.owners", lambda values: values + np.uint16(60_000)),
        ("exemplars.below", lambda values: values[:3]),
        ("exemplars.cells", lambda values: values[:, None]),
        ("exemplars.below", None),
    ],
)
def test_damaged_exemplars_are_refused(name: str, change: Any) -> None:
    pane, schema = pane_of(mixed())
    arrays = saved(pane)
    if change is None:
        del arrays[name]
    else:
        arrays[name] = change(arrays[name])
    with pytest.raises(ValueError, match="saved"):
        from_arrays(arrays, schema, 1)


def test_a_pane_of_many_rows_and_columns_stays_small() -> None:
    pane, schema = pane_of()
    for seed in range(8):
        accumulate(pane, schema, mixed(20_000, seed))
    bound = len(schema.columns) * (groups_of(schema) + 6) + 2 * cells.SEGMENT_VALUES
    kept = pane.exemplars.predictions
    assert len(kept.cells) <= bound
    assert pane.exemplars.nbytes <= bound * (32 + 6) + 65 * 8
