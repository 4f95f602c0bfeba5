"""Labels in other words than those of the predictions: what is clear counts, what is not is left out and said."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest

from collector_processor.columns.batch import Column, Decoded, LabelBatch, ModelKey, PredictionBatch
from collector_processor.decode import hash_ids
from collector_processor.own.telemetry import Telemetry
from collector_processor.pipeline.pipeline import Pipeline
from collector_processor.pipeline.settings import MlMonitor
from collector_processor.reference.build import build_reference
from support.columns import texts

NOW_NS = 1_750_000_000 * 10**9
KEY = ModelKey("m", "1")
ROWS = 400
RANDOM = np.random.default_rng(5)
RIGHT = RANDOM.random(ROWS) < 0.8


def predictions(**outputs) -> PredictionBatch:
    ids = hash_ids([str(number) for number in range(ROWS)])
    features = {"amount": Column(np.arange(ROWS) % 50.0)}
    return PredictionBatch(KEY, np.full(ROWS, NOW_NS), ids, np.ones(ROWS), np.full(ROWS, np.nan), features, **outputs)


def labels(classes: Column | None = None, values=None) -> LabelBatch:
    return LabelBatch("m", np.full(ROWS, NOW_NS), hash_ids([str(number) for number in range(ROWS)]), classes, values)


def served(*batches: PredictionBatch | LabelBatch, reference=None):
    """The figures of the window, and the model with the service's own telemetry."""
    settings = {"window": {"size": f"{ROWS} rows", "min_rows": 50, "min_labels": 5}, "reference": {"learn": ROWS}}
    telemetry = Telemetry()
    reference = reference or build_reference("m", next(b for b in batches if isinstance(b, PredictionBatch)))
    pipeline = Pipeline(MlMonitor.model_validate(settings), {"m": reference}, telemetry, NOW_NS)
    for batch in batches:
        part = {"labels": (batch,)} if isinstance(batch, LabelBatch) else {"predictions": (batch,)}
        pipeline.process([Decoded(**part)], NOW_NS)
    first = next(batch for batch in batches if isinstance(batch, PredictionBatch))
    pipeline.process([Decoded(predictions=(first,))], NOW_NS)  # closes the window of rows
    found = {
        item.name.removeprefix("ml.performance."): item.value
        for item in pipeline.tick(NOW_NS)
        if item.name in ("ml.performance.accuracy", "ml.performance.mae")
        and ("ml.performance.source", "labels") in item.attributes
    }
    return found, pipeline.models[KEY], telemetry


def counted(telemetry: Telemetry, kind: str) -> float:
    return telemetry.registry.get_sample_value("otel_ml_misfits_total", {"kind": kind}) or 0.0


SPELLINGS = [
    (("no", "yes"), ("No", "Yes")),
    (("NO", "YES"), ("no", "yes")),
    (("straße", "weg"), ("STRASSE", "Weg")),
    (("\u00e9t\u00e9", "hiver"), ("e\u0301te\u0301", "hiver")),
    (("10000000000000000", "20000000000000000"), ("1e+16", "2e+16")),
    (("1e+16", "2e+16"), ("10000000000000000", "20000000000000000")),
    (("007", "008"), ("7", "8")),
    (("0.50", "1.50"), ("0.5", "1.5")),
]


def spelled(names):
    """Predictions of two classes, and labels of which four in five agree, in these spellings."""
    codes = (np.arange(ROWS) % 2).astype(np.int32)
    return Column(None, codes, names[0]), Column(None, np.where(RIGHT, codes, 1 - codes).astype(np.int32), names[1])


@pytest.mark.parametrize("names", SPELLINGS)
@pytest.mark.parametrize("early", [False, True])
def test_labels_that_spell_a_class_otherwise_count_as_it_and_it_is_said(names, early, caplog):
    predicted, truth = spelled(names)
    batches = predictions(prediction=predicted), labels(truth)
    with caplog.at_level(logging.WARNING):
        found, model, telemetry = served(*(reversed(batches) if early else batches))
    assert found["accuracy"] == pytest.approx(RIGHT.mean())
    said = model.problems["label_spelling"]
    assert f"{names[1][0]!r} as {names[0][0]!r}" in said
    assert sum(said in record.getMessage() for record in caplog.records) == 1
    assert counted(telemetry, "label_spelling") > 0


@pytest.mark.parametrize("names", SPELLINGS)
def test_a_table_with_two_spellings_is_a_reference_with_one(names):
    predicted, truth = spelled(names)
    reference = build_reference("m", predictions(prediction=predicted), label_classes=truth)
    assert reference.schema.task == "binary_classification"
    assert set(reference.schema.classes.names(0)) == set(names[0])
    assert any("spell" in note for note in reference.notes)
    right = reference.pane.outcomes.by_class[0, 0].sum()
    assert right == pytest.approx(RIGHT.sum())


def test_integer_labels_count_as_classes_with_leading_zeros():
    predicted, _ = spelled((("007", "008"), ()))
    found, _, _ = served(predictions(prediction=predicted), labels(Column(np.where(RIGHT, 7.0, 8.0))))
    truth = np.where(RIGHT, 7, 8)
    assert found["accuracy"] == pytest.approx((truth == np.where(np.arange(ROWS) % 2, 8, 7)).mean())


def test_labels_that_may_mean_several_classes_are_left_out_and_it_is_said(caplog):
    predicted = texts(*(["Yes", "yes", "no", "no"] * (ROWS // 4)))
    truth = texts(*(["YES", "YES", "no", "no"] * (ROWS // 4)))
    with caplog.at_level(logging.WARNING):
        found, model, telemetry = served(predictions(prediction=predicted), labels(truth))
    assert found["accuracy"] == 1.0, "of the labels that are clear"
    assert "'YES' may be" in model.problems["label_ambiguous"]
    assert counted(telemetry, "label_ambiguous") > 0
    assert telemetry.registry.get_sample_value("otel_ml_labels_total", {"model": "m", "outcome": "wrong_kind"}) == 200.0


def test_a_spelling_that_predictions_begin_to_use_is_a_class():
    predicted, truth = spelled((("no", "yes"), ("no", "YES")))
    _, model, _ = served(predictions(prediction=predicted), labels(truth), predictions(prediction=truth))
    assert "label_spelling" in model.problems
    assert model.watch is not None
    _, model, _ = served(predictions(prediction=predicted), predictions(prediction=truth), labels(truth))
    assert "label_spelling" not in model.problems


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (labels(texts(*["3,14"] * ROWS)), "'3,14' are not numbers"),
        (labels(texts(*["1.234,5"] * ROWS)), "'1.234,5' are not numbers"),
        (labels(values=np.full(ROWS, 1e200)), "labels beyond ±1e+140"),
        (labels(texts(*["1e200"] * ROWS)), "labels beyond ±1e+140"),
    ],
)
def test_labels_of_a_regression_that_cannot_be_used_are_said(sent, words, caplog):
    values = np.arange(ROWS) / 7.0
    reference = build_reference("m", predictions(value=values), label_values=values)
    with caplog.at_level(logging.WARNING):
        found, model, _ = served(predictions(value=values), sent, reference=reference)
    assert not found
    assert any(words in text for text in model.problems.values())
    assert sum(words in record.getMessage() for record in caplog.records) == 1


def test_labels_that_are_fractions_are_no_classes_and_it_is_said():
    predicted, _ = spelled((("0", "1"), ()))
    found, model, telemetry = served(predictions(prediction=predicted), labels(Column(np.full(ROWS, 0.7))))
    assert not found
    assert "0.7 are numbers and not classes" in model.problems["label_values"]
    assert counted(telemetry, "label_values") == 1.0


@pytest.mark.parametrize("configured", ["", "yes"])
def test_a_positive_class_that_only_labels_had_is_the_one_that_predictions_have_later(configured):
    random = np.random.default_rng(3)
    scores = random.random(ROWS) * 0.4

    def rows(first, codes):
        classes = texts(*np.where(codes, "yes", "no").tolist())
        batch = predictions(prediction=classes, score=np.where(codes, scores + 0.5, scores))
        return replace(batch, ids=hash_ids([str(first + number) for number in range(ROWS)]))

    def truth(first, codes):
        ids = hash_ids([str(first + number) for number in range(ROWS)])
        return LabelBatch("m", np.full(ROWS, NOW_NS), ids, Column(None, codes.astype(np.int32), ("NO", "YES")))

    reference = build_reference("m", rows(0, np.zeros(ROWS)), task="binary_classification")
    settings = {
        "window": {"size": f"{3 * ROWS} rows", "min_rows": 50, "min_labels": 5},
        "models": {"m": {"positive_class": configured}},
    }
    pipeline = Pipeline(MlMonitor.model_validate(settings), {"m": reference}, Telemetry(), NOW_NS)
    rare, later = (np.arange(ROWS) % every == 0 for every in (50, 4))
    for first, predicted, label in ((1000, np.zeros(ROWS), rare), (2000, later, later ^ rare)):
        pipeline.process([Decoded(predictions=(rows(first, predicted),))], NOW_NS)
        pipeline.process([Decoded(labels=(truth(first, label),))], NOW_NS)
    model = pipeline.models[KEY]
    assert model.watch is not None
    assert model.watch.windows.schema.positive_class == "yes"
    pipeline.process([Decoded(predictions=(rows(3000, np.zeros(ROWS)),))], NOW_NS)
    found = {
        item.name.removeprefix("ml.performance."): item.value
        for item in pipeline.tick(NOW_NS)
        if ("ml.performance.source", "labels") in item.attributes
    }
    # Sums start over when the class changes.
    truth_of = (
        np.concatenate((rare, later ^ rare)) if configured else later ^ rare
    )  # sums start over when the class changes
    said = np.concatenate((np.zeros(ROWS, bool), later)) if configured else later
    right = np.count_nonzero(truth_of & said)
    assert found["recall"] == pytest.approx(right / np.count_nonzero(truth_of))
    assert found["precision"] == pytest.approx(right / np.count_nonzero(said))
    assert found["accuracy"] == pytest.approx(1.0 - np.count_nonzero(rare) / ROWS)


def test_only_batches_with_another_spelling_are_counted():
    predicted, wrong = spelled((("no", "yes"), ("No", "Yes")))
    right = Column(None, wrong.codes, ("no", "yes"))
    _, model, telemetry = served(predictions(prediction=predicted), labels(wrong), *[labels(right)] * 10)
    assert counted(telemetry, "label_spelling") == 1
    assert "label_spelling" in model.problems


def test_a_label_with_a_value_counts_whatever_its_class_is():
    value = np.arange(ROWS, dtype=np.float64)
    words = texts(*["high"] * ROWS)
    found, model, telemetry = served(predictions(value=value), labels(words, value + 1.0))
    assert found["mae"] == pytest.approx(1.0)
    assert "label_values" not in model.problems
    assert counted(telemetry, "label_values") == 0
    some = np.where(np.arange(ROWS) < 10, np.nan, value)
    _, model, _ = served(predictions(value=value), labels(words, some))
    assert "'high' are not numbers" in model.problems["label_values"]
