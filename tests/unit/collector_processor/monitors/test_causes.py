"""Causes of a change: parts that add up to it, equal those of the rows, and go to what was planted."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from collector_processor.columns.batch import Column, LabelBatch
from collector_processor.labels.join import LabelJoin
from collector_processor.monitors.cause_words import leaf_text
from collector_processor.monitors.causes import CauseMonitor, cause_words, splits
from collector_processor.monitors.certain_drop import CertainDropMonitor
from collector_processor.monitors.disde import joined_cells, split
from collector_processor.monitors.drift import LeastRows
from collector_processor.monitors.feature_causes import NAMED, FeatureCauseMonitor
from collector_processor.monitors.performance import LeastLabels, PerformanceMonitor
from collector_processor.pipeline.first_labels import FirstLabels
from collector_processor.reference.build import build_reference
from collector_processor.reference.columns import Labels
from collector_processor.reference.file import load_reference, reference_text, save_reference
from collector_processor.reference.outcomes import reference_outcomes
from collector_processor.statistics.accumulate import accumulate
from collector_processor.statistics.fits.cause_cells import NO_CELL, CauseCells
from collector_processor.statistics.fits.feature_losses import FeatureLosses
from collector_processor.statistics.outcomes import accumulate_outcomes
from collector_processor.statistics.pane import Pane
from collector_processor.statistics.parts.cause_sums import CauseSums, row_losses
from collector_processor.statistics.sample import WHOLE, Arrivals
from collector_processor.window.closed import Window
from otel_ml import semconv
from tests.support.scored_rows import MODEL, rows_of

MONITOR = CauseMonitor(LeastLabels())
FEATURES = FeatureCauseMonitor(LeastRows())
CITIES = np.array(("oslo", "rome", "lima", "mars"))
PARTS = (semconv.CAUSE_POPULATION, semconv.CAUSE_CONCEPT, semconv.CAUSE_UNSEEN)


def rows(count: int, seed: int = 1, task: str = "binary_classification", **planted):
    """Errors are frequent among the young and in Rome; ``young`` is their share, ``mars`` that of a new city.

    ``wrong`` adds errors in Lima: the world has changed there.
    """
    rng = np.random.default_rng(seed)
    mars = planted.get("mars", 0.0)
    city = CITIES[rng.choice(4, count, p=[*((1.0 - mars) * np.array([0.5, 0.3, 0.2])), mars])]
    young = rng.random(count) < planted.get("young", 0.2)
    columns = {"age": np.where(young, rng.uniform(16, 30, count), rng.uniform(30, 70, count)), "city": city}
    columns |= {f"f{j}": rng.standard_normal(count) for j in range(4)}
    columns["gap"] = np.where(rng.random(count) < 0.2, np.nan, rng.random(count))
    chance = 0.05 + 0.25 * young + 0.1 * (city == "rome") + 0.4 * (city == "mars")
    wrong = rng.random(count) < chance + planted.get("wrong", 0.0) * (city == "lima")
    labels = rng.integers(0, 2, count)
    parts = {"segments": {"city": Column(None, np.unique(city, return_inverse=True)[1].astype(np.int32),
                                         tuple(np.unique(city).tolist()))}}  # fmt: skip
    if task == "regression":
        value = 10.0 + rng.standard_normal(count)
        labels = value + np.where(wrong, 3.0, 0.1 * rng.random(count)) * rng.choice([-1.0, 1.0], count)
        return rows_of(columns, value=value, task=task, **parts), {"label_values": labels}
    names = ("a", "b", "c") if task.startswith("multi") else ("no", "yes")
    right = np.where(wrong, 1 - labels, labels)
    score = np.clip(0.5 + (right - 0.5) * 0.8 * rng.random(count), 0.0, 1.0)
    more = {} if planted.get("scoreless") or len(names) > 2 else {"score": score}
    batch = rows_of(columns, prediction=Column(None, right.astype(np.int32), names), task=task, **parts, **more)
    return batch, {"label_classes": Column(None, labels.astype(np.int32), names)}


def reference_of(count: int = 20_000, **more):
    batch, labels = rows(count, **more)
    binary = more.get("task", "binary_classification") == "binary_classification"
    return build_reference("loans", batch, positive_class="yes" if binary else "", segments=["city"], **labels)


REFERENCE = reference_of()


def outcomes_of(reference, batch, labels, weights=None):
    schema = reference.schema
    found = reference_outcomes(schema, batch, Labels(labels.get("label_classes"), labels.get("label_values")))
    found = replace(found, cells=schema.fit(CauseCells).of(schema, batch))
    return found if weights is None else replace(found, weights=weights)


def labeled(reference, *sides) -> Window:
    schema = reference.schema.fork()
    pane = Pane.empty(schema)
    for outcomes in sides:
        accumulate_outcomes(pane, schema, outcomes)
    return Window(MODEL, 0, 60 * 10**9, schema, pane)


def window_of(reference, count: int, **planted) -> Window:
    return labeled(reference, outcomes_of(reference, *rows(count, **planted)))


def measured(window, reference=REFERENCE, **keys) -> dict[str, float]:
    """The figures of all rows, or of a segment."""
    found = {}
    for each in MONITOR.evaluate(window, reference):
        assert np.isfinite(each.value)
        attributes = dict(each.attributes)
        if attributes.get(semconv.SEGMENT_VALUE) == keys.get("city"):
            found[each.name, attributes.get(semconv.CAUSE_TERM, "")] = each.value
    return {name + (f" {term}" if term else ""): value for (name, term), value in found.items()}


def parts_of(found) -> tuple[float, ...]:
    return tuple(found[name] for name in PARTS)


def errors_of(found) -> tuple[float, ...]:
    return tuple(found[f"{semconv.CAUSE_ERROR} {term}"] for term in ("population", "concept", "unseen"))


def test_the_parts_add_up_to_the_change_of_accuracy():
    window = window_of(REFERENCE, 10_000, seed=2, young=0.5, wrong=0.2, mars=0.05)
    found = measured(window)
    assert sum(parts_of(found)) == pytest.approx(found[semconv.CAUSE_CHANGE], abs=1e-15)
    monitor = PerformanceMonitor(LeastLabels())
    name = semconv.PERFORMANCE + "accuracy"
    now, then = (
        next(each.value for each in monitor.evaluate(side, REFERENCE) if each.name == name)
        for side in (window, replace(window, pane=REFERENCE.pane))
    )
    assert found[semconv.CAUSE_CHANGE] == pytest.approx(then - now, abs=1e-12)


@pytest.mark.parametrize("task", ["binary_classification", "regression"])
def test_the_parts_are_those_of_weighted_rows(task):
    """The formula of the paper on rows: propensity weights, here those of the cells."""
    reference = REFERENCE if task != "regression" else reference_of(task=task)
    before, after = (outcomes_of(reference, *rows(size, seed=seed, task=task, young=young, mars=mars))
                     for size, seed, young, mars in ((20_000, 1, 0.2, 0.0), (9000, 3, 0.4, 0.1)))  # fmt: skip
    schema = reference.schema
    fit = schema.fit(CauseCells)
    sums = reference.pane.further[CauseSums].cells
    joined = joined_cells(sums[:, 0], 9000, fit.ranges)
    cells = [joined[fit.decoded(side.cells)] for side in (before, after)]
    losses = [row_losses(schema, side) for side in (before, after)]
    shares = [np.bincount(each, minlength=joined.max() + 1) / len(each) for each in cells]
    of_now = shares[1] / (shares[0] + shares[1] + (shares[0] + shares[1] == 0))
    weights = [of_now[cells[0]], 1.0 - of_now[cells[1]]]
    known, current = (np.average(loss, weights=weight) for loss, weight in zip(losses, weights, strict=True))
    wanted = known - losses[0].mean(), current - known, losses[1].mean() - current
    found = measured(labeled(reference, after), reference)
    assert parts_of(found) == pytest.approx(wanted, abs=1e-12)


def test_another_population_is_the_cause_and_age_explains_it():
    found = measured(window_of(REFERENCE, 20_000, seed=4, young=0.5))
    population, concept, unseen = parts_of(found)
    assert population + unseen == pytest.approx(0.25 * 0.3, abs=0.012)
    assert min(population, unseen) > 0.02
    assert abs(concept) < 0.012
    batch, _ = rows(20_000, seed=4, young=0.5)
    schema = REFERENCE.schema.fork()
    pane = Pane.empty(schema)
    accumulate(pane, schema, batch)
    features = FEATURES.evaluate(Window(MODEL, 0, 60 * 10**9, schema, pane), REFERENCE)
    assert dict(features[0].attributes)[semconv.FEATURE_NAME] == "age"
    assert features[0].value == pytest.approx(0.25 * 0.3, abs=0.01)
    assert {each.value for each in features[1:]} == {0.0}


def test_another_world_is_the_cause_and_it_is_said_where():
    window = window_of(REFERENCE, 20_000, seed=5, wrong=0.4)
    found = measured(window)
    population, concept, unseen = parts_of(found)
    assert concept == pytest.approx(0.2 * 0.4, abs=0.012)
    assert abs(population) < 0.01
    assert abs(unseen) < 0.01
    words = next(each.words for each in MONITOR.evaluate(window, REFERENCE) if each.name == semconv.CAUSE_CONCEPT)
    assert words.startswith("city lima: +0.")
    assert measured(window, city="lima")[semconv.CAUSE_CONCEPT] == pytest.approx(0.4, abs=0.03)
    assert abs(measured(window, city="oslo")[semconv.CAUSE_CONCEPT]) < 0.02


def test_cases_that_the_reference_lacks_are_the_cause():
    population, concept, unseen = parts_of(measured(window_of(REFERENCE, 20_000, seed=6, mars=0.2)))
    assert unseen == pytest.approx(0.2 * 0.37, abs=0.012)
    assert abs(population) < 0.01
    assert abs(concept) < 0.01


@pytest.mark.parametrize("task", ["multiclass_classification", "regression"])
def test_other_tasks_and_models_without_scores_are_split_too(task):
    reference = reference_of(task=task)
    size = 3.0 if task == "regression" else 1.0
    found = measured(window_of(reference, 20_000, seed=5, wrong=0.4, task=task), reference)
    assert found[semconv.CAUSE_CONCEPT] == pytest.approx(size * 0.08, abs=size * 0.015)
    found = measured(window_of(reference, 20_000, seed=5, young=0.5, task=task), reference)
    assert found[semconv.CAUSE_POPULATION] + found[semconv.CAUSE_UNSEEN] == pytest.approx(
        size * 0.075, abs=size * 0.015
    )
    units = {each.unit for each in MONITOR.evaluate(window_of(reference, 2000, task=task), reference)}
    assert units == {semconv.UNIT_ERROR}


def test_a_model_without_scores_is_cut_by_features_alone():
    reference = reference_of(scoreless=True)
    assert not len(reference.schema.fit(CauseCells).cuts)
    found = measured(window_of(reference, 20_000, seed=5, young=0.5, scoreless=True), reference)
    assert found[semconv.CAUSE_POPULATION] > 0.02


@pytest.mark.parametrize(("before", "after"), [(20_000, 3000), (2000, 2000), (5000, 300)])
def test_standard_errors_are_those_of_chance_and_nothing_is_the_cause_of_nothing(before, after):
    rng = np.random.default_rng(1)
    leaves, ranges = 12, 11
    shares = rng.dirichlet(np.full(leaves * ranges, 2.0))
    shares[-ranges:] = 0.0
    shares /= shares.sum()
    chance = np.repeat(rng.uniform(0.02, 0.5, leaves), ranges)

    def drawn(size):
        rows_of_cell = rng.multinomial(size, shares)
        wrong = rng.binomial(rows_of_cell, chance)
        return np.stack((rows_of_cell, wrong, wrong), axis=1).astype(np.float64)

    terms, errors = [], []
    for _ in range(300):
        old = drawn(before)
        parts = split(old, drawn(after), joined_cells(old[:, 0], min(before, after), ranges))
        terms.append(parts.terms)
        errors.append(parts.errors)
    spread = np.std(terms, axis=0)
    assert (np.abs(np.mean(terms, axis=0)) < 0.25 * spread).all()
    assert np.mean(errors, axis=0)[[1, 3]] == pytest.approx(spread[[1, 3]], rel=0.15)
    assert np.mean(errors, axis=0) == pytest.approx(spread, rel=0.35)


def test_joining_panes_changes_nothing_whatever_the_split_and_what_is_taken_back_leaves_nothing():
    batch, labels = rows(6000, seed=7, young=0.4)
    outcomes = outcomes_of(REFERENCE, batch, labels)
    whole = labeled(REFERENCE, outcomes)
    first, second = (labeled(REFERENCE, outcomes.take(part)) for part in (slice(0, 700), slice(700, None)))
    first.pane.add(second.pane)
    for name, values in first.pane.further[CauseSums].arrays().items():
        np.testing.assert_array_equal(values, whole.pane.further[CauseSums].arrays()[name])
    assert measured(first) == measured(whole)
    back = replace(outcomes, weights=-outcomes.weights)
    assert not any(
        values.any() for values in labeled(REFERENCE, outcomes, back).pane.further[CauseSums].arrays().values()
    )
    assert MONITOR.evaluate(labeled(REFERENCE, outcomes, back), REFERENCE) == []


def test_a_corrected_label_restates_the_window():
    batch, labels = rows(3000, seed=8)
    right = outcomes_of(REFERENCE, batch, labels)
    wrong = replace(right, labels=right.labels[::-1].copy())
    restated = labeled(REFERENCE, wrong, replace(wrong, weights=-wrong.weights), right)
    assert measured(restated) == pytest.approx(measured(labeled(REFERENCE, right)))


def test_weights_count_but_make_no_rows():
    batch, labels = rows(3000, seed=9, young=0.4)
    schema = REFERENCE.schema.fork()
    windows = []
    for weight in (1.0, 10.0):
        pane = Pane.empty(schema)
        accumulate(pane, schema, replace(batch, weights=np.full(3000, weight)))
        accumulate_outcomes(pane, schema, outcomes_of(REFERENCE, batch, labels, np.full(3000, weight)))
        windows.append(Window(MODEL, 0, 60 * 10**9, schema, pane))
    one, ten = (measured(window) for window in windows)
    assert one == pytest.approx(ten)
    assert [each.value for each in FEATURES.evaluate(windows[0], REFERENCE)] == pytest.approx(
        [each.value for each in FEATURES.evaluate(windows[1], REFERENCE)]
    )


def test_tiny_unlabeled_and_uncut_windows_say_nothing():
    assert MONITOR.evaluate(window_of(REFERENCE, 150), REFERENCE) == []
    assert len(measured(window_of(REFERENCE, 200))) == 8
    batch, labels = rows(2000)
    assert (
        MONITOR.evaluate(labeled(REFERENCE, replace(outcomes_of(REFERENCE, batch, labels), cells=None)), REFERENCE)
        == []
    )
    none = np.full(2000, NO_CELL, np.int32)
    assert (
        MONITOR.evaluate(labeled(REFERENCE, replace(outcomes_of(REFERENCE, batch, labels), cells=none)), REFERENCE)
        == []
    )
    assert FEATURES.evaluate(labeled(REFERENCE, outcomes_of(REFERENCE, batch, labels)), REFERENCE) == []
    unlabeled = build_reference("loans", batch, positive_class="yes")
    assert unlabeled.schema.fit(FeatureLosses) is None
    assert MONITOR.evaluate(window_of(unlabeled, 2000), unlabeled) == []


@pytest.mark.parametrize("features", ["absent", "constant", "missing", "another kind"])
def test_features_that_say_nothing_are_no_error(features):
    batch, labels = rows(3000, seed=9)
    cells = {
        "absent": {},
        "constant": {name: Column(np.ones(3000)) for name in batch.features},
        "missing": {name: Column(np.full(3000, np.nan)) for name in batch.features},
        "another kind": dict(zip(batch.features, [*batch.features.values()][::-1], strict=True)),
    }[features]
    now = replace(batch, features=cells)
    found = measured(labeled(REFERENCE, outcomes_of(REFERENCE, now, labels)))
    assert sum(parts_of(found)) == pytest.approx(found[semconv.CAUSE_CHANGE], abs=1e-12)
    FEATURES.evaluate(window_with_rows(REFERENCE, now), REFERENCE)
    reference = build_reference("loans", now, positive_class="yes", **labels)
    found = measured(labeled(reference, outcomes_of(reference, now, labels)), reference)
    assert found[semconv.CAUSE_CONCEPT] == pytest.approx(0.0, abs=1e-12)


def window_with_rows(reference, batch) -> Window:
    schema = reference.schema.fork()
    pane = Pane.empty(schema)
    accumulate(pane, schema, batch)
    return Window(MODEL, 0, 60 * 10**9, schema, pane)


def test_one_class_and_no_errors_have_no_causes():
    batch, labels = rows(3000, seed=9)
    for predicted in (labels["label_classes"], Column(None, np.zeros(3000, np.int32), ("no", "yes"))):
        both = {"label_classes": predicted}
        window = labeled(REFERENCE, outcomes_of(REFERENCE, replace(batch, prediction=predicted), both))
        found = measured(window)
        assert found[semconv.CAUSE_CHANGE] < 0.0
        assert cause_words(window, REFERENCE, 50, 0) == ""
        reference = build_reference("loans", replace(batch, prediction=predicted), **both)
        found = measured(
            labeled(reference, outcomes_of(reference, replace(batch, prediction=predicted), both)), reference
        )
        assert set(found.values()) <= {0.0}


def test_an_alert_about_a_drop_says_the_cause():
    monitor = CertainDropMonitor(LeastLabels())
    for planted, cause in (
        ({"wrong": 0.5}, "the same cases turning out differently"),
        ({"young": 0.6}, "other cases"),
    ):
        window = window_of(REFERENCE, 20_000, seed=5, **planted)
        words = {dict(each.attributes)[semconv.PERFORMANCE_METRIC]: each.words
                 for each in monitor.evaluate(window, REFERENCE)
                 if semconv.SEGMENT_NAME not in dict(each.attributes)}  # fmt: skip
        assert "of the rise in errors, 0." in words["accuracy"]
        assert words["accuracy"].endswith(f" comes from {cause}")
        assert not any("rise in errors" in text for metric, text in words.items() if metric != "accuracy")


def test_an_alert_says_what_the_other_cause_took_back():
    window = window_of(REFERENCE, 20_000, seed=5, wrong=0.5, young=0.0)
    found = re.fullmatch(
        r"the same cases turning out differently raised errors by ([\d.]+); other cases took ([\d.]+) of it back",
        cause_words(window, REFERENCE, 50, 0),
    )
    assert found is not None
    change = splits(window, REFERENCE, 200)[0].terms[3]
    assert float(found[1]) - float(found[2]) == pytest.approx(change, abs=0.01)
    better = window_of(REFERENCE, 20_000, seed=5, young=0.0)
    assert cause_words(better, REFERENCE, 50, 0) == ""


def test_disjoint_rows_have_no_shared_cases():
    sums = np.array([[100.0, 10.0, 10.0], [0.0, 0.0, 0.0]])
    parts = split(sums, 2.0 * sums[::-1] + [[0, 0, 0], [0, 5, 5]], np.arange(2))
    assert parts.terms.tolist() == pytest.approx([0.0, 0.0, 0.025, 0.025])
    assert parts.errors[2] == pytest.approx((0.1 * 0.9 / 99 + 0.125 * 0.875 / 199) ** 0.5)
    assert split(sums, np.zeros((2, 3)), np.arange(2)) is None


def test_what_is_beyond_any_number_is_left_out():
    reference = reference_of(task="regression")
    batch, labels = rows(3000, seed=9, task="regression")
    outcomes = outcomes_of(reference, batch, labels)
    outcomes.label_values[:3] = (1e200, np.inf, np.nan)
    found = measured(labeled(reference, outcomes), reference)
    assert sum(parts_of(found)) == pytest.approx(found[semconv.CAUSE_CHANGE], abs=1e-12)


def test_cells_ride_with_the_pending_prediction_and_come_back_with_the_label():
    batch, labels = rows(3000, seed=10)
    join = LabelJoin()
    schema = REFERENCE.schema.fork()
    assert join.predictions(MODEL, schema, batch) is None
    fit = REFERENCE.schema.fit(CauseCells)
    wanted = fit.decoded(fit.of(schema, batch))
    assert (wanted >= 0).all()
    other = reference_of(5000, seed=77).schema
    for one in (join, LabelJoin.from_state(join.state())):
        sent = LabelBatch(MODEL.name, batch.time_ns, batch.ids, labels["label_classes"])
        ((_, outcomes),) = one.labels(sent, {MODEL: schema}, {MODEL: 0})
        np.testing.assert_array_equal(fit.decoded(outcomes.cells), wanted)
        # Those of another reference are not taken for its own.
        assert (other.fit(CauseCells).decoded(outcomes.cells) == NO_CELL).all()
        assert not labeled(replace(REFERENCE, schema=other), outcomes).pane.further[CauseSums].cells.any()


def test_a_sample_of_a_busy_minute_stands_for_all_rows_and_is_worth_less():
    batch, labels = rows(30_000, seed=5, wrong=0.4)
    whole = measured(labeled(REFERENCE, outcomes_of(REFERENCE, batch, labels)))
    arrivals, schema, join = Arrivals(), REFERENCE.schema.fork(), LabelJoin()
    arrivals.numbers(np.zeros(4 * WHOLE, np.int64), 0)
    arrivals.number(batch, 0)
    join.predictions(MODEL, schema, batch)
    sent = LabelBatch(MODEL.name, batch.time_ns, batch.ids, labels["label_classes"])
    ((_, outcomes),) = join.labels(sent, {MODEL: schema}, {MODEL: 0})
    window = labeled(REFERENCE, outcomes)
    part = window.pane.further[CauseSums]
    assert part.cells[:, 0].sum() == pytest.approx(30_000, rel=0.1)
    assert 1 / 17 < part.worth < 1 / 8
    sampled = measured(window)
    error = errors_of(sampled)[1]
    assert sampled[semconv.CAUSE_CONCEPT] == pytest.approx(whole[semconv.CAUSE_CONCEPT], abs=4 * error)
    assert error > 2 * errors_of(whole)[1]
    part_back = labeled(REFERENCE, outcomes, replace(outcomes, weights=-outcomes.weights)).pane.further[CauseSums]
    assert np.abs(part_back.cells).max() < 1e-9
    assert part_back.worth == 1.0


def test_a_learned_reference_compares_with_its_first_labels():
    batch, _ = rows(5000)
    reference = build_reference("loans", batch, positive_class="yes", segments=["city"], strict=False)
    assert reference.schema.fit(CauseCells) is not None
    schema = reference.schema.fork()
    first = FirstLabels(4000)
    assert first.add(reference, schema, outcomes_of(reference, *rows(5000, seed=2)))
    restored = FirstLabels(4000)
    restored.restore(reference, schema, first.state())
    window = window_of(reference, 10_000, seed=5, wrong=0.4)
    for each in (first, restored):
        assert each.reference is not None
        found = measured(window, each.reference)
        assert found[semconv.CAUSE_CONCEPT] == pytest.approx(0.08, abs=0.02)


def test_first_labels_of_an_earlier_version_have_no_causes():
    schema = REFERENCE.schema.fork()
    first = FirstLabels(100)
    assert first.add(REFERENCE, schema, outcomes_of(REFERENCE, *rows(500, seed=2)))
    state = {name: part for name, part in first.state().items() if name != "causes"}
    restored = FirstLabels(100)
    restored.restore(REFERENCE, schema, state)
    assert MONITOR.evaluate(window_of(REFERENCE, 3000), restored.reference) == []


def test_the_profile_keeps_cells_and_losses(tmp_path):
    path = tmp_path / "loans.json"
    save_reference(REFERENCE, path)
    loaded = load_reference(path)
    assert reference_text(loaded) == reference_text(REFERENCE)
    window = window_of(REFERENCE, 5000, seed=3, young=0.5)
    assert measured(window, loaded) == measured(window)
    batch, _ = rows(3000, seed=3, young=0.5, mars=0.1)
    now = window_with_rows(REFERENCE, batch)
    assert FEATURES.evaluate(now, loaded) == FEATURES.evaluate(now, REFERENCE)
    fit, read = REFERENCE.schema.fit(CauseCells), loaded.schema.fit(CauseCells)
    assert fit.key == read.key
    np.testing.assert_array_equal(fit.of(REFERENCE.schema, batch), read.of(loaded.schema, batch))


def test_categories_that_came_after_the_fit_do_not_keep_a_profile_from_being_read(tmp_path):
    batch, labels = rows(3000, seed=3)
    reference = build_reference("loans", batch, positive_class="yes", segments=["city"], **labels)
    now = rows(3000, seed=4, mars=0.2)
    accumulate(reference.pane, reference.schema, now[0])
    assert "mars" in reference.schema.categories.names(0)
    save_reference(reference, tmp_path / "loans.json")
    loaded = load_reference(tmp_path / "loans.json")
    fit, read = reference.schema.fit(CauseCells), loaded.schema.fit(CauseCells)
    assert fit.key == read.key
    np.testing.assert_array_equal(fit.of(reference.schema, now[0]), read.of(loaded.schema, now[0]))
    window = labeled(reference, outcomes_of(reference, *now))
    assert measured(window, loaded) == measured(window, reference)


def test_an_empty_category_is_not_a_missing_cell(tmp_path):
    texts = Column(None, np.tile(np.array([-1, 0, 1, 2], np.int32), 500), ("", "a", "b"))
    codes = np.random.default_rng(1).integers(0, 2, (2, 2000)).astype(np.int32)
    batch = rows_of(
        {"x": np.arange(2000.0)}, prediction=Column(None, codes[0], ("no", "yes")), score=np.arange(2000) / 2e3
    )
    labels = Column(None, codes[1], ("no", "yes"))
    batch = replace(batch, features={"text": texts})
    reference = build_reference("loans", batch, positive_class="yes", label_classes=labels)
    fit = reference.schema.fit(CauseCells)
    assert len(set(fit.inputs.codes[0].values())) == 4
    save_reference(reference, tmp_path / "loans.json")
    assert load_reference(tmp_path / "loans.json").schema.fit(CauseCells).inputs == fit.inputs


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("cause_cells", "cuts"), [0.2, 0.1]),
        (("cause_cells", "cuts"), [0.1 * j for j in range(12)]),
        (("cause_cells", "inputs", "low"), [1.0]),
        (("cause_cells", "tree", "roots"), [0, 0]),
        (("feature_losses",), {}),
        (("feature_losses", "0"), [0.1]),
        (("feature_losses", "99"), [0.1]),
    ],
)
def test_damaged_profiles_are_refused(tmp_path, path, value):
    document = json.loads(reference_text(REFERENCE))
    place = document["estimator"]
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    file = tmp_path / "loans.json"
    file.write_text(json.dumps(document))
    with pytest.raises(ValueError, match=r"loans.json: estimator\." + path[0]):
        load_reference(file)


def test_leaves_have_different_texts():
    fit = REFERENCE.schema.fit(CauseCells)
    texts = [leaf_text(fit, leaf) for leaf in range(fit.leaves)]
    assert len({*texts}) == len(texts) >= 4
    assert texts[-1] == "rows beyond the reference"
    assert any("city" in text and "age" in text for text in texts)


def test_noise_grows_no_tree():
    rng = np.random.default_rng(3)
    columns = {f"f{j}": rng.standard_normal(5000) for j in range(25)}
    columns["text"] = np.array([f"c{j}" for j in rng.integers(0, 50, 5000)])
    codes = rng.integers(0, 2, (2, 5000)).astype(np.int32)
    batch = rows_of(columns, prediction=Column(None, codes[0], ("a", "b")), score=rng.random(5000))
    reference = build_reference("loans", batch, positive_class="b", label_classes=Column(None, codes[1], ("a", "b")))
    assert reference.schema.fit(CauseCells).leaves == 2


def test_the_features_that_explain_most_are_named_and_not_more_than_ten():
    rng = np.random.default_rng(5)

    def some(low):
        level = rng.random(6000) * (1.0 - low) + low
        columns = {f"f{j:02}": level + 0.1 * j * rng.random(6000) for j in range(15)}
        wrong = (rng.random(6000) < 0.5 * level).astype(np.int32)
        return rows_of(columns, prediction=Column(None, wrong, ("a", "b"))), wrong

    batch, wrong = some(0.0)
    labels = Column(None, np.zeros_like(wrong), ("a", "b"))
    reference = build_reference("loans", batch, positive_class="b", label_classes=labels)
    found = FEATURES.evaluate(window_with_rows(reference, some(0.5)[0]), reference)
    values = [each.value for each in found]
    assert len(found) == NAMED
    assert values == sorted(values, reverse=True)
    assert values[0] == pytest.approx(0.125, abs=0.02)


def test_every_group_with_enough_labels_is_split():
    found = splits(window_of(REFERENCE, 2000, seed=2), REFERENCE, 200)
    assert sorted(found) == [0, 2, 3, 4]  # slot 0 is that of further cities
    for parts in found.values():
        assert parts.terms[:3].sum() == pytest.approx(parts.terms[3], abs=1e-12)
