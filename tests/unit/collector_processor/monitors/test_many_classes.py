"""Whether a prediction is right does not depend on how many classes have names: scikit-learn is the oracle."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from collector_processor.columns.batch import Column, LabelBatch, ModelKey, PredictionBatch
from collector_processor.labels.join import LabelJoin
from collector_processor.monitors.performance import LeastLabels, PerformanceMonitor
from collector_processor.reference.build import build_reference
from collector_processor.reference.file import parse_reference, reference_text
from collector_processor.reference.profile import Reference
from collector_processor.statistics.accumulate import accumulate
from collector_processor.statistics.outcomes import accumulate_outcomes
from collector_processor.statistics.pane import Pane
from collector_processor.window.closed import Window
from collector_processor.window.compact_panes import CompactPane
from otel_ml import semconv

KEY = ModelKey("m")


def ids_of(rows):
    return np.stack((np.arange(rows), np.arange(rows) + 7), axis=1).astype(np.uint64)


def texts(codes, classes):
    return Column(None, codes.astype(np.int32), tuple(f"class {number}" for number in range(classes)))


def predictions_of(codes, classes, *, scores=None, segments=None):
    rows = len(codes)
    return PredictionBatch(
        KEY,
        np.arange(rows),
        ids_of(rows),
        np.ones(rows),
        np.full(rows, np.nan),
        prediction=None if scores is not None else texts(codes, classes),
        scores={} if scores is None else {f"class {number}": scores[:, number] for number in range(classes)},
        segments={} if segments is None else {"region": texts(segments, int(segments.max()) + 1)},
        task="multiclass_classification",
    )


def labels_of(codes, classes):
    rows = len(codes)
    return LabelBatch("m", np.arange(rows), ids_of(rows), texts(codes, classes))


def figures(window, reference):
    """All of performance but drops by (metric, average), of all rows together."""
    return {
        (item.name.removeprefix(semconv.PERFORMANCE), dict(item.attributes).get(semconv.PERFORMANCE_AVERAGE, "")): (
            item.value
        )
        for item in PerformanceMonitor(LeastLabels(min_labels=1)).evaluate(window, reference)
        if item.name != semconv.PERFORMANCE_DROP and semconv.SEGMENT_NAME not in dict(item.attributes)
    }


def window_of(schema, pane):
    return Window(KEY, 0, 1, schema, pane)


def served(reference, predicted, truth, classes, *, early=0, **columns):
    """The window after predictions and labels, of which the first ``early`` come before their prediction."""
    schema, join, pane = reference.schema.fork(), LabelJoin(), Pane.empty(reference.schema)
    batch, labels = predictions_of(predicted, classes, **columns), labels_of(truth, classes)
    schemas = {KEY: schema}
    for _, outcomes in join.labels(labels.take(slice(0, early)), schemas, {}):
        accumulate_outcomes(pane, schema, outcomes)
    accumulate(pane, schema, batch)
    met = join.predictions(KEY, schema, batch)
    if met is not None:
        accumulate_outcomes(pane, schema, met)
    for _, outcomes in join.labels(labels.take(slice(early, None)), schemas, {}):
        accumulate_outcomes(pane, schema, outcomes)
    return window_of(schema, pane)


def learned(codes, classes, limit, **columns):
    return build_reference("m", predictions_of(codes, classes, **columns), max_classes=limit, strict=False)


def oracle(truth, predicted, limit_exceeded):
    """What scikit-learn says; averages that need every class only if every class has a name."""
    expected = {("accuracy", ""): sk.accuracy_score(truth, predicted)}
    for average in ("macro", "weighted"):
        precision, recall, f1, _ = sk.precision_recall_fscore_support(
            truth, predicted, average=average, zero_division=0
        )
        if not limit_exceeded:
            expected |= {("precision", average): precision, ("recall", average): recall, ("f1", average): f1}
        elif average == "weighted":
            expected["recall", average] = recall
    return expected


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32), classes=st.integers(3, 60), limit=st.integers(2, 60), rows=st.integers(1, 300),
    early=st.integers(0, 300), skill=st.floats(0, 1),
)  # fmt: skip
def test_figures_equal_scikit_learn_for_any_number_of_classes_and_any_limit(seed, classes, limit, rows, early, skill):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, rows)
    predicted = np.where(rng.random(rows) < skill, truth, rng.integers(0, classes, rows))
    reference = learned(rng.integers(0, classes, 50), classes, limit)
    window = served(reference, predicted, truth, classes, early=min(early, rows))
    named = set(window.schema.classes.names(0))
    exceeded = not {f"class {number}" for number in {*truth.tolist(), *predicted.tolist()}} <= named
    found = figures(window, reference)
    assert found == pytest.approx(oracle(truth, predicted, exceeded))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32), classes=st.integers(2, 8), limit=st.integers(2, 8), rows=st.integers(1, 200),
    early=st.integers(0, 200),
)  # fmt: skip
def test_a_binary_model_is_right_as_scikit_learn_says_whatever_classes_come(seed, classes, limit, rows, early):
    rng = np.random.default_rng(seed)
    first = np.arange(40) % 2
    reference = build_reference(
        "m", replace(predictions_of(first, 2), task="binary_classification"), positive_class="class 1",
        max_classes=limit,
    )  # fmt: skip
    truth, predicted = rng.integers(0, classes, rows), rng.integers(0, classes, rows)
    found = figures(served(reference, predicted, truth, classes, early=min(early, rows)), reference)
    expected = {("accuracy", ""): sk.accuracy_score(truth, predicted)}
    positive, decided = truth == 1, predicted == 1
    if decided.any():
        expected["precision", ""] = sk.precision_score(positive, decided)
    if positive.any():
        expected["recall", ""] = sk.recall_score(positive, decided)
    if positive.any() or decided.any():
        expected["f1", ""] = sk.f1_score(positive, decided)
    assert found == pytest.approx(expected)


def test_random_guesses_among_a_thousand_classes_are_right_one_time_in_a_thousand():
    rng, classes, rows = np.random.default_rng(1), 1000, 50_000
    truth, predicted = rng.integers(0, classes, rows), rng.integers(0, classes, rows)
    reference = learned(rng.integers(0, classes, 5000), classes, 100)
    found = figures(served(reference, predicted, truth, classes), reference)
    assert found == pytest.approx(oracle(truth, predicted, limit_exceeded=True))
    assert found["accuracy", ""] == pytest.approx(0.001, abs=5e-4)


@pytest.mark.parametrize("classes", [20, 50])
def test_the_most_likely_of_many_classes_is_the_predicted_one(classes):
    rng, rows = np.random.default_rng(2), 2000
    scores = rng.dirichlet(np.full(classes, 0.2), rows)
    predicted = scores.argmax(axis=1)
    truth = np.where(rng.random(rows) < 0.6, predicted, rng.integers(0, classes, rows))
    reference = learned(predicted[:500], classes, 10, scores=scores[:500])
    found = figures(served(reference, predicted, truth, classes, scores=scores), reference)
    assert found["accuracy", ""] == pytest.approx(sk.accuracy_score(truth, predicted))
    # Of 32 classes the probability is kept; a log loss without the others would be another one.
    assert ("log_loss", "") not in found


@pytest.mark.parametrize(("classes", "sent"), [(1000, 1000), (1500, 1000)])
def test_the_most_likely_class_is_not_guessed_from_a_part_of_the_probabilities(classes, sent):
    rng, rows = np.random.default_rng(7), 200
    scores = rng.dirichlet(np.full(classes, 0.05), rows)
    truth = scores.argmax(axis=1)
    reference = learned(truth, classes, 100)
    batch = predictions_of(truth, classes, scores=scores)
    kept = replace(batch, scores=dict(list(batch.scores.items())[:sent]))  # the decoder drops the others
    join, schema = LabelJoin(), reference.schema.fork()
    join.predictions(KEY, schema, kept)
    pane = Pane.empty(schema)
    for _, outcomes in join.labels(labels_of(truth, classes), {KEY: schema}, {}):
        accumulate_outcomes(pane, schema, outcomes)
    assert figures(window_of(schema, pane), reference).get(("accuracy", "")) == (1.0 if sent == classes else None)


def test_the_log_loss_of_classes_with_names_is_scikit_learn_s():
    rng, rows, classes = np.random.default_rng(3), 2000, 20
    scores = rng.dirichlet(np.full(classes, 0.2), rows)
    truth = rng.integers(0, classes, rows)
    reference = learned(truth[:500], classes, 100, scores=scores[:500])
    found = figures(served(reference, truth, truth, classes, scores=scores), reference)
    expected = sk.log_loss(truth, scores, labels=np.arange(classes))
    assert found["log_loss", ""] == pytest.approx(expected, rel=1e-4)  # probabilities wait as float32


def test_the_reference_s_own_accuracy_is_exact_and_survives_the_file():
    rng, classes, rows = np.random.default_rng(4), 300, 3000
    truth = rng.integers(0, classes, rows)
    predicted = np.where(rng.random(rows) < 0.5, truth, rng.integers(0, classes, rows))
    reference = build_reference(
        "m", predictions_of(predicted, classes), label_classes=texts(truth, classes), max_classes=100
    )
    loaded: Reference = parse_reference(reference_text(reference), "x.json")
    for one in (reference, loaded):
        found = figures(window_of(one.schema, one.pane), one)
        assert found == pytest.approx(oracle(truth, predicted, limit_exceeded=True))


def test_panes_of_replicas_with_other_orders_of_classes_add_up_when_they_share_a_table():
    rng, classes, rows = np.random.default_rng(5), 40, 2000
    truth, predicted = rng.integers(0, classes, rows), rng.integers(0, classes, rows)
    reference = learned(predicted[:100], classes, 10)
    whole = served(reference, predicted, truth, classes).pane
    total = Pane.empty(reference.schema)
    for half in (slice(0, 1000), slice(1000, None)):
        total.add(served(reference, predicted[half], truth[half], classes).pane)
    np.testing.assert_allclose(total.outcomes.by_class, whole.outcomes.by_class)


def measured_bytes(classes, values):
    """The most memory that a window of a model takes from its labels to its figures, beside the rows themselves."""
    rng, rows = np.random.default_rng(6), 20_000
    truth, predicted = rng.integers(0, classes, rows), rng.integers(0, classes, rows)
    segments = rng.integers(0, values, rows)
    batch = predictions_of(predicted, classes, segments=segments)
    reference = build_reference(
        "m", batch, segments=("region",), max_classes=classes, max_segment_values=values, strict=False
    )
    schema = reference.schema.fork()
    outcomes = LabelJoin()
    outcomes.predictions(KEY, schema, batch)
    [(_, joined)] = outcomes.labels(labels_of(truth, classes), {KEY: schema}, {})
    tracemalloc.start()
    try:
        pane = Pane.empty(schema)
        accumulate_outcomes(pane, schema, joined)
        closed = CompactPane.of(pane)
        window = window_of(schema, closed.expanded(schema))
        found = PerformanceMonitor(LeastLabels(min_labels=1)).evaluate(window, reference)
        assert len(found) > values
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_thousand_classes_of_a_hundred_segment_values_stay_small():
    few, many = measured_bytes(10, 100), measured_bytes(1000, 100)
    pairs = 101 * 1001**2 * 8  # what a table of pairs of classes would take
    assert many < 100e6
    assert many - few < pairs / 10
