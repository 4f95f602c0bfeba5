"""Shares of missing, wrong, out-of-range and unseen cells, with the denominators that are promised."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from collector_processor.columns.batch import Column, ModelKey, PredictionBatch
from collector_processor.monitors.quality import QualityMonitor
from collector_processor.reference.build import build_reference
from collector_processor.reference.profile import Reference
from collector_processor.statistics.accumulate import accumulate
from collector_processor.statistics.pane import Pane
from collector_processor.window.closed import Window
from otel_ml import semconv

MODEL = ModelKey("m")


def numbers(*cells: float) -> Column:
    return Column(np.array(cells, float))


def texts(*cells: str | None) -> Column:
    names = tuple(dict.fromkeys(cell for cell in cells if cell is not None))
    return Column(None, np.array([-1 if cell is None else names.index(cell) for cell in cells], np.int32), names)


def rows(weights: list[float] | None = None, **features: Column) -> PredictionBatch:
    count = len(next(iter(features.values())))
    weight = np.ones(count) if weights is None else np.array(weights)
    return PredictionBatch(
        MODEL, np.zeros(count, np.int64), np.zeros((count, 2), np.uint64), weight, np.full(count, np.nan), features
    )


def shares(reference: Reference, *batches: PredictionBatch) -> dict[tuple[str, str], float]:
    """Each share of a feature by (last part of the metric's name, feature)."""
    schema = reference.schema.fork()
    pane = Pane.empty(schema)
    for batch in batches:
        accumulate(pane, schema, batch)
    found = QualityMonitor().evaluate(Window(MODEL, 0, 60, schema, pane), reference)
    return {
        (m.name.rpartition(".")[2], dict(m.attributes)[semconv.FEATURE_NAME]): m.value
        for m in found
        if m.name != semconv.QUALITY_ERROR_RATE
    }


@pytest.fixture
def reference() -> Reference:
    return build_reference("m", rows(age=numbers(20, 30, 40, 50), kind=texts("a", "b", "b", "a")))


def test_cells_like_the_references_are_fine(reference):
    assert shares(reference, rows(age=numbers(20, 50, 33), kind=texts("a", "b", "b"))) == {
        ("missing", "age"): 0.0, ("missing", "kind"): 0.0,
        ("missing_increase", "age"): 0.0, ("missing_increase", "kind"): 0.0,
        ("wrong_type", "age"): 0.0, ("wrong_type", "kind"): 0.0,
        ("out_of_range", "age"): 0.0, ("unseen", "kind"): 0.0,
    }  # fmt: skip


def test_missing_is_a_share_of_all_cells(reference):
    found = shares(reference, rows(age=numbers(20, np.nan, np.nan, 30, 40), kind=texts("a", None, "b", "a", "b")))
    assert found["missing", "age"] == 0.4
    assert found["missing", "kind"] == 0.2


@pytest.mark.parametrize(
    ("cells", "increase"),
    [([20, 30, 40, 50, np.nan], -0.2), ([20, 30, 40, np.nan, np.nan], 0.0), ([np.nan] * 5, 0.6), ([20] * 5, -0.4)],
)
def test_the_increase_of_missing_cells_is_counted_from_the_references_share(cells, increase):
    ages = numbers(*[20, 30, 40, np.nan, np.nan] * 20)
    holey = build_reference("m", rows(age=ages, kind=texts(*["a", "b", "a", "b", "a"] * 20)))
    found = shares(holey, rows(age=numbers(*cells * 20), kind=texts(*["a", "b", "a", "b", None] * 20)))
    assert found["missing_increase", "age"] == pytest.approx(increase, abs=1e-12)
    assert found["missing_increase", "kind"] == pytest.approx(0.2, abs=1e-12)


def holed(random, count, share):
    """Rows of a number that is missing in about this share of them."""
    values = random.normal(0, 1, count)
    values[random.random(count) < share] = np.nan
    return rows(age=Column(values), kind=texts(*["a"] * count))


@pytest.mark.parametrize(("reference_rows", "count"), [(200, 100), (200, 500), (1000, 100)])
def test_an_increase_above_the_rules_threshold_is_not_chance(reference_rows, count):
    random, increases = np.random.default_rng(4), list[float]()
    for _ in range(200):
        known = build_reference("m", holed(random, reference_rows, 0.3))
        increases.append(shares(known, holed(random, count, 0.3)).get(("missing_increase", "age"), np.nan))
    assert np.nansum(np.array(increases) > 0.1) <= 1
    assert shares(known, holed(random, count, 0.6))["missing_increase", "age"] > 0.1
    assert np.isfinite(increases).sum() > 180


@pytest.mark.parametrize(("different", "measured"), [(10_000, False), (300, False), (100, True), (2, True)])
def test_texts_are_unseen_only_where_the_reference_has_seen_most_of_them(different, measured):
    random = np.random.default_rng(5)

    def drawn(first):
        names = [f"k{number}" for number in first + random.integers(0, different, 200)]
        return rows(age=numbers(*range(200)), kind=texts(*names))

    known = build_reference("m", drawn(0))
    assert (("unseen", "kind") in shares(known, drawn(0))) is measured
    assert shares(known, drawn(10**6)).get(("unseen", "kind")) == (1.0 if measured else None)


def test_an_increase_needs_cells_on_both_sides(reference):
    schema = reference.schema.fork()
    empty = Reference("m", schema, Pane.empty(schema), reference.spread, "test", "")
    found = shares(empty, rows(age=numbers(20), kind=texts("a")))
    assert ("missing", "age") in found
    assert ("missing_increase", "age") not in found
    assert shares(reference) == {}


def test_another_reference_is_not_mistaken_for_the_one_before(reference):
    monitor = QualityMonitor()
    holey = build_reference("m", rows(age=numbers(20, np.nan), kind=texts("a", "b")))
    for known, increase in ((reference, 0.5), (holey, 0.0), (reference, 0.5)):
        schema = known.schema.fork()
        pane = Pane.empty(schema)
        accumulate(pane, schema, rows(age=numbers(20, np.nan), kind=texts("a", "b")))
        found = monitor.evaluate(Window(MODEL, 0, 60, schema, pane), known)
        values = {m.attributes[2][1]: m.value for m in found if m.name == semconv.QUALITY_MISSING_INCREASE}
        assert values == {"age": increase, "kind": 0.0}


def test_an_absent_feature_is_missing_throughout_and_has_no_other_share(reference):
    found = shares(reference, rows(kind=texts("a", "b")))
    assert found["missing", "age"] == 1.0
    assert ("out_of_range", "age") not in found


def test_wrong_type_is_a_share_of_all_cells(reference):
    mixed = Column(np.array([20.0, np.nan, np.nan, np.nan]), np.array([-1, 0, 0, -1], np.int32), ("n/a",))
    odd = Column(np.array([np.nan, 1.5, np.nan, np.nan]), np.array([0, -1, 0, -1], np.int32), ("a",))
    found = shares(reference, rows(age=mixed, kind=odd))
    assert found["wrong_type", "age"] == 0.5
    assert found["missing", "age"] == 0.25
    assert found["wrong_type", "kind"] == 0.25


@pytest.mark.parametrize(
    ("cell", "share"),
    [
        (19.999, 0.25), (50.0001, 0.25), (np.nextafter(20.0, 0), 0.0), (np.nextafter(50.0, 99), 0.0), (np.inf, 0.25),
        (-np.inf, 0.25), (1e308, 0.25), (20.0, 0.0), (50.0, 0.0),
    ],
)  # fmt: skip
def test_out_of_range_is_a_share_of_the_numbers_and_exact_at_the_ends(reference, cell, share):
    # A neighboring float is the same number, rounded elsewhere.
    found = shares(reference, rows(age=numbers(cell, 30, 30, 30, np.nan), kind=texts("a", "a", "a", "a", "a")))
    assert found["out_of_range", "age"] == share


@pytest.mark.parametrize(
    ("cells", "share"), [((np.inf, 30), 0.0), ((-np.inf, 30), 0.5), ((51.0, 30), 0.0), ((19.0, 30), 0.5)]
)
def test_nothing_is_above_an_infinity_that_the_reference_has(cells, share):
    reference = build_reference("m", rows(age=numbers(20.0, 30.0, np.inf, 50.0)))
    assert shares(reference, rows(age=numbers(*cells)))["out_of_range", "age"] == share


def test_out_of_range_of_the_largest_float():
    huge = np.finfo(float).max
    reference = build_reference("m", rows(age=numbers(0.0, 1.0, huge)))
    found = shares(reference, rows(age=numbers(-1.0, 0.5, huge, huge)))
    assert found["out_of_range", "age"] == 0.25


def test_anything_but_the_constant_is_out_of_range():
    reference = build_reference("m", rows(age=numbers(7, 7, 7)))
    assert shares(reference, rows(age=numbers(7, 8, 6, 7)))["out_of_range", "age"] == 0.5


def test_without_a_reference_range_nothing_is_out_of_it():
    reference = build_reference("m", rows(age=numbers(np.nan, np.nan)))
    found = shares(reference, rows(age=numbers(1, 2)))
    assert ("out_of_range", "age") not in found
    assert found["missing", "age"] == 0.0


def test_unseen_is_a_share_of_the_texts(reference):
    found = shares(reference, rows(age=numbers(20, 20, 20, 20), kind=texts("a", "new", "newer", None)))
    assert found["unseen", "kind"] == pytest.approx(2 / 3)


def test_texts_beyond_the_limit_are_unseen_where_the_reference_stayed_within():
    reference = build_reference("m", rows(kind=texts("a", "b")), max_categories=2)
    assert shares(reference, rows(kind=texts("a", "c", "d", "b")))["unseen", "kind"] == 0.5


def test_beyond_the_limit_nobody_can_tell_where_the_reference_reached_it():
    reference = build_reference("m", rows(kind=texts("a", "a", "b", "c")), max_categories=2)
    assert shares(reference, rows(kind=texts("a", "c", "d", "b")))["unseen", "kind"] == 0.0


def test_weights_count(reference):
    found = shares(
        reference,
        rows([9.0, 1.0, 3.0], age=numbers(np.nan, 20, 99), kind=texts("new", "a", "b")),
        rows([3.0], age=numbers(30), kind=texts(None)),
    )
    assert found["missing", "age"] == 9 / 16
    assert found["out_of_range", "age"] == 3 / 7
    assert found["unseen", "kind"] == 9 / 13
    assert found["missing", "kind"] == 3 / 16


def test_outputs_have_a_role_and_labels_are_left_out():
    batch = rows(age=numbers(*range(10)))
    scored = PredictionBatch(
        MODEL, batch.time_ns, batch.ids, batch.weights, batch.duration_s, batch.features,
        score=np.linspace(0, 1, 10), prediction=texts(*"ababababab"),
    )  # fmt: skip
    reference = build_reference("m", scored, label_classes=texts(*"aabbaabbab"))
    found = QualityMonitor().evaluate(Window(MODEL, 0, 60, reference.schema, reference.pane), reference)
    columns = {m.attributes[2:] for m in found if m.name == semconv.QUALITY_MISSING}
    assert columns == {
        ((semconv.FEATURE_NAME, "age"),),
        ((semconv.COLUMN_ROLE, "score"),),
        ((semconv.COLUMN_ROLE, "prediction"),),
    }


def outputs_of(reference: Reference, batch: PredictionBatch) -> dict[tuple[str, str], float]:
    """Each share of an output by (last part of the metric's name, role), and those of the whole."""
    schema = reference.schema.fork()
    pane = Pane.empty(schema)
    accumulate(pane, schema, batch)
    found = QualityMonitor().evaluate(Window(MODEL, 0, 60, schema, pane), reference)
    pairs = [(m.name.rpartition(".")[2], dict(m.attributes), m.value) for m in found]
    return {
        (name, at.get(semconv.COLUMN_ROLE, "")): value for name, at, value in pairs if semconv.FEATURE_NAME not in at
    }


def scored(scores: np.ndarray, classes: Column | None = None, error: Column | None = None) -> PredictionBatch:
    return replace(rows(age=numbers(*range(len(scores)))), score=scores, prediction=classes, error=error)


@pytest.mark.parametrize("absent", ["NaN", "no attribute"])
def test_three_quarters_of_the_outputs_missing_are_measured(absent):
    classes = texts(*"ab" * 50)
    reference = build_reference("m", scored(np.linspace(0, 1, 100), classes))
    cut = np.where(np.arange(100) % 4 == 0, 0.5, np.nan)
    half = scored(cut, texts(*(["a", None, None, None] * 25)))
    if absent == "no attribute":
        half = replace(half, score=None, prediction=None)
    found = outputs_of(reference, half)
    share = 0.75 if absent == "NaN" else 1.0
    for role in ("score", "prediction"):
        assert found["missing", role] == found["missing_increase", role] == found["gone", role] == share


def test_values_of_a_regression_are_outputs_too():
    batch = rows(age=numbers(*range(40)))
    reference = build_reference("m", replace(batch, value=np.arange(40.0)))
    found = outputs_of(reference, replace(batch, value=np.where(np.arange(40) < 10, np.nan, np.arange(40) + 20.0)))
    assert found["missing", "prediction"] == 0.25
    assert found["out_of_range", "prediction"] == pytest.approx(20 / 30)


def test_infinite_scores_are_out_of_range_and_new_classes_unseen():
    reference = build_reference("m", scored(np.linspace(0, 1, 100), texts(*"ab" * 50)))
    found = outputs_of(reference, scored(np.array([np.inf, -np.inf, 0.5, 3.0]), texts("a", "c", "c", "b")))
    assert found["out_of_range", "score"] == 0.75
    assert found["unseen", "prediction"] == 0.5


def test_failed_predictions_are_an_error_rate_and_lack_no_output():
    reference = build_reference("m", scored(np.linspace(0, 1, 100), texts(*"ab" * 50)))
    errors = texts(*(["ValueError", None] * 30))
    scores = np.where(np.arange(60) % 2, 0.5, np.nan)
    found = outputs_of(reference, scored(scores, texts(*([None, "a"] * 30)), errors))
    assert found["error_rate", ""] == 0.5
    assert found["missing", "score"] == found["missing", "prediction"] == 0.0


def test_the_error_rate_is_also_that_of_each_segment_value():
    batch = replace(rows(region=texts(*"nnss")), error=texts("E", None, None, None), score=np.linspace(0, 1, 4))
    reference = build_reference("m", batch, segments=("region",))
    found = QualityMonitor().evaluate(Window(MODEL, 0, 60, reference.schema, reference.pane), reference)
    rates = {
        dict(m.attributes).get(semconv.SEGMENT_VALUE, ""): m.value
        for m in found
        if m.name == semconv.QUALITY_ERROR_RATE
    }
    assert rates == {"": 0.25, "n": 0.5, "s": 0.0}


def test_a_rare_feature_is_gone_only_where_it_is_expected():
    rare = numbers(*([1.0] + [np.nan] * 9) * 100)
    reference = build_reference("m", rows(rare=rare))
    for count, gone in ((199, None), (200, 1.0)):
        assert shares(reference, rows(rare=numbers(*[np.nan] * count))).get(("gone", "rare")) == gone
    assert shares(reference, rows(rare=rare))["gone", "rare"] == pytest.approx(0.0, abs=1e-12)


def test_shares_stay_between_0_and_1_after_retractions(reference):
    schema = reference.schema.fork()
    pane = Pane.empty(schema)
    accumulate(pane, schema, rows(age=numbers(20), kind=texts("new")))
    pane.missing -= 1e-17
    pane.counts[:, 0] -= 1e-17
    found = QualityMonitor().evaluate(Window(MODEL, 0, 60, schema, pane), reference)
    assert all(0.0 <= m.value <= 1.0 for m in found if m.name != semconv.QUALITY_MISSING_INCREASE)
    assert all(-1.0 <= m.value <= 1.0 for m in found)
