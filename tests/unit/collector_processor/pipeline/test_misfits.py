"""A model that changed under its name and version is detected, logged once, counted, and shown in its state."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest
from sklearn import metrics as sk

from collector_processor.columns.batch import Column, Decoded, LabelBatch, ModelKey, PredictionBatch
from collector_processor.decode import hash_ids
from collector_processor.own.telemetry import Telemetry
from collector_processor.pipeline.pipeline import Pipeline
from collector_processor.pipeline.settings import MlMonitor
from collector_processor.reference.build import build_reference
from otel_ml import semconv

NOW_NS = 1_750_000_000 * 10**9
KEY = ModelKey("m", "1")
ROWS = 400


def texts(values):
    names = tuple(dict.fromkeys(values))
    return Column(codes=np.array([names.index(value) for value in values], np.int32), categories=names)


def batch(first=0, rows=ROWS, *, classes=None, score=None, value=None, task="", feature=None):
    numbers = np.arange(first, first + rows)
    return PredictionBatch(
        KEY,
        np.full(rows, NOW_NS, np.int64),
        hash_ids([str(number) for number in numbers]),
        np.ones(rows),
        np.full(rows, np.nan),
        features={"amount": Column(numbers % 50.0) if feature is None else feature},
        prediction=None if classes is None else texts(classes),
        score=score,
        value=value,
        task=task,
    )


def labels(first, classes):
    rows = len(classes)
    ids = hash_ids([str(number) for number in range(first, first + rows)])
    return LabelBatch("m", np.full(rows, NOW_NS, np.int64), ids, texts(classes))


def pipeline_of(reference=None):
    settings = {
        "window": {"size": f"{ROWS} rows", "min_rows": 50, "min_labels": 5},
        "reference": {"learn": ROWS},
    }
    telemetry = Telemetry()
    references = {} if reference is None else {"m": reference}
    return Pipeline(MlMonitor.model_validate(settings), references, telemetry, NOW_NS), telemetry


def figures(pipeline, *batches):
    for one in batches:
        pipeline.process([one], NOW_NS)
    last = {}
    for item in pipeline.tick(NOW_NS):
        keys = dict(item.attributes)
        single = semconv.PERFORMANCE_CLASS in keys or keys.get(semconv.PERFORMANCE_AVERAGE) == "micro"
        if semconv.SEGMENT_NAME not in keys and not single and item.name.startswith(semconv.PERFORMANCE):
            last[item.name.removeprefix(semconv.PERFORMANCE)] = item.value
    return last


def count(telemetry, kind):
    return telemetry.registry.get_sample_value("otel_ml_misfits_total", {"kind": kind}) or 0.0


BINARY = ["no", "yes"] * (ROWS // 2)
PROBABILITIES = np.linspace(0.01, 0.99, ROWS)


def binary_reference():
    return build_reference("m", batch(classes=BINARY, score=PROBABILITIES))


def check(pipeline, telemetry, kind, caplog, *words):
    problem = pipeline.models[KEY].problems[kind]
    assert count(telemetry, kind) > 0
    assert sum(problem in record.getMessage() for record in caplog.records) == 1
    for word in words:
        assert word in problem


def test_a_third_class_after_a_binary_start_is_reported_and_accuracy_is_exact(caplog):
    rng = np.random.default_rng(0)
    pipeline, telemetry = pipeline_of(binary_reference())
    names = np.array(["no", "yes", "maybe"])
    truth, predicted = names[rng.integers(0, 3, ROWS)], names[rng.integers(0, 3, ROWS)]
    found = figures(
        pipeline,
        Decoded(predictions=(batch(classes=list(predicted), score=PROBABILITIES),)),
        Decoded(labels=(labels(0, list(truth)),)),
        Decoded(predictions=(batch(ROWS, classes=list(predicted), score=PROBABILITIES),)),
    )
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(truth, predicted))
    assert found["recall"] == pytest.approx(sk.recall_score(truth == "yes", predicted == "yes"))
    assert found.keys().isdisjoint({"roc_auc", "brier", "log_loss", "calibration_error"})
    check(pipeline, telemetry, "third_class", caplog, "3 classes", "maybe", "relearn")


def test_a_single_stray_class_leaves_the_figures_of_the_score(caplog):
    pipeline, telemetry = pipeline_of(binary_reference())
    truth = [*BINARY[:-1], "n/k"]
    found = figures(
        pipeline,
        Decoded(predictions=(batch(classes=BINARY, score=PROBABILITIES),)),
        Decoded(labels=(labels(0, truth),)),
        Decoded(predictions=(batch(ROWS, classes=BINARY, score=PROBABILITIES),)),
    )
    positive = np.array(truth) == "yes"
    assert found["brier"] == pytest.approx(sk.brier_score_loss(positive, PROBABILITIES))
    check(pipeline, telemetry, "third_class", caplog, "n/k")


def test_fifty_integers_learned_as_values_and_sent_as_classes_are_reported(caplog):
    values = np.arange(ROWS) % 50.0
    reference = build_reference("m", batch(value=values), label_values=values)
    assert reference.schema.task == "regression"
    pipeline, telemetry = pipeline_of(reference)
    classes = [str(number % 50) for number in range(ROWS)]
    sent = batch(classes=classes, task="multiclass_classification")
    found = figures(pipeline, Decoded(predictions=(sent,)), Decoded(labels=(labels(0, classes),)))
    assert found == {}
    check(pipeline, telemetry, "task", caplog, "multiclass_classification", "regression")
    check(pipeline, telemetry, "outputs", caplog, "classes", "without performance")


@pytest.mark.parametrize(
    ("reference", "sent", "kind"),
    [
        (batch(value=PROBABILITIES), batch(score=PROBABILITIES), "outputs"),
        (batch(classes=BINARY), batch(value=PROBABILITIES), "outputs"),
        (batch(), batch(value=PROBABILITIES), "outputs"),
        (batch(), batch(classes=BINARY), "outputs"),
        (batch(classes=BINARY), batch(classes=BINARY, task="regression"), "task"),
        (batch(classes=["a", "b", "c", "d"] * 100), batch(classes=BINARY, task="binary_classification"), "task"),
        (batch(classes=["a", "b", "c", "d"] * 100), batch(classes=["w", "x", "y", "z"] * 100), "new_classes"),
        (batch(), batch(feature=texts(["ten"] * ROWS)), "feature_type"),
        (batch(feature=texts(["a", "b"] * 200)), batch(feature=Column(np.linspace(0.01, 0.99, ROWS))), "feature_type"),
        (batch(classes=BINARY, score=PROBABILITIES), batch(classes=BINARY, score=PROBABILITIES * 8 - 4), "score_range"),
        (batch(classes=BINARY, score=PROBABILITIES), batch(classes=BINARY, score=PROBABILITIES * 100), "score_range"),
    ],
)  # fmt: skip
def test_every_kind_of_change_is_reported(reference, sent, kind, caplog):
    pipeline, telemetry = pipeline_of(build_reference("m", reference))
    figures(pipeline, Decoded(predictions=(sent,)), Decoded(predictions=(replace(sent, ids=sent.ids + 1000),)))
    check(pipeline, telemetry, kind, caplog)


def test_more_classes_than_the_limit_and_unknown_probabilities_are_reported(caplog):
    rng = np.random.default_rng(2)
    names = [f"c{number}" for number in rng.permutation(ROWS) % 150]
    scores = {f"c{number}": rng.random(ROWS) for number in range(150)}
    sent = replace(batch(classes=names, task="multiclass_classification"), scores=scores)
    pipeline, telemetry = pipeline_of()
    found = figures(
        pipeline,
        Decoded(predictions=(sent,)),
        Decoded(labels=(labels(0, names),)),
        Decoded(predictions=(replace(sent, ids=sent.ids + 1000),)),
    )
    assert found["accuracy"] == found["recall"] == 1.0
    assert found.keys().isdisjoint({"precision", "f1", "log_loss"})
    check(pipeline, telemetry, "class_limit", caplog, "limit of 100", "accuracy")
    check(pipeline, telemetry, "class_scores", caplog, "log loss")


@pytest.mark.parametrize(
    "rows",
    [
        batch(value=PROBABILITIES, task="regression"),
        batch(classes=BINARY, score=PROBABILITIES, task="binary_classification"),
        batch(score=PROBABILITIES),
        batch(classes=["a", "b", "c", "d"] * 100, task="multiclass_classification"),
    ],
)
def test_what_fits_is_not_reported(rows, caplog):
    caplog.set_level(logging.WARNING)
    pipeline, _ = pipeline_of(build_reference("m", rows))
    figures(pipeline, Decoded(predictions=(rows,)), Decoded(predictions=(replace(rows, ids=rows.ids + 1000),)))
    assert pipeline.models[KEY].problems == {}
    assert not caplog.records


def test_margins_in_place_of_probabilities_leave_out_what_needs_probabilities():
    rng = np.random.default_rng(1)
    margins = rng.normal(0.3, 0.4, ROWS)  # most of them happen to be from 0 to 1
    truth = list(np.where(rng.random(ROWS) < margins, "yes", "no"))
    for score_only in (False, True):
        classes = None if score_only else BINARY
        pipeline, _ = pipeline_of(
            build_reference("m", batch(classes=classes, score=PROBABILITIES), label_classes=texts(BINARY))
        )
        found = figures(
            pipeline,
            Decoded(predictions=(batch(classes=classes, score=margins),)),
            Decoded(labels=(labels(0, truth),)),
            Decoded(predictions=(batch(ROWS, classes=classes, score=margins),)),
        )
        assert found.keys().isdisjoint({"brier", "log_loss", "calibration_error"})
        assert ("accuracy" in found) is not score_only


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (batch(), "only features are monitored"),
        (batch(value=np.where(np.arange(ROWS) % 4, np.nan, 1.0)), "75% of the rows"),
        (batch(score=np.where(np.arange(ROWS) % 4, np.nan, 0.5)), "75% of the rows"),
    ],
)
def test_a_reference_whose_rows_lack_outputs_says_so(rows, words, caplog):
    pipeline, telemetry = pipeline_of()
    pipeline.process([Decoded(predictions=(rows,))], NOW_NS)
    check(pipeline, telemetry, "no_outputs", caplog, words)


class TestRelearn:
    def test_one_model_learns_again_and_the_others_stay(self, caplog):
        caplog.set_level(logging.INFO)
        pipeline, _ = pipeline_of()
        other = replace(batch(classes=BINARY), model=ModelKey("other"))
        pipeline.process([Decoded(predictions=(batch(classes=BINARY), other))], NOW_NS)
        kept = pipeline.models[ModelKey("other")].watch
        four = ["a", "b", "c", "d"] * 100
        pipeline.process([Decoded(predictions=(batch(ROWS, classes=four, task="multiclass_classification"),))], NOW_NS)
        assert pipeline.models[KEY].problems.keys() == {"task"}
        assert pipeline.relearn("m") == [KEY]
        model = pipeline.models[KEY]
        assert (model.watch, model.learner.rows, model.problems) == (None, 0, {})
        assert (pipeline.join.waiting(KEY), pipeline.join.waiting(ModelKey("other"))) == (0, ROWS)
        assert pipeline.models[ModelKey("other")].watch is kept
        pipeline.process([Decoded(predictions=(batch(0, classes=four, task="multiclass_classification"),))], NOW_NS)
        assert model.watch.reference.schema.task == "multiclass_classification"
        assert model.problems == {}

    def test_one_version(self):
        pipeline, _ = pipeline_of()
        second = ModelKey("m", "2")
        both = (batch(classes=BINARY), replace(batch(classes=BINARY), model=second))
        pipeline.process([Decoded(predictions=both)], NOW_NS)
        assert pipeline.relearn("m", "2") == [second]
        assert pipeline.models[KEY].watch is not None
        assert pipeline.models[second].watch is None

    def test_what_is_not_there_and_what_was_not_learned(self):
        pipeline, _ = pipeline_of(binary_reference())
        with pytest.raises(KeyError):
            pipeline.relearn("m")
        pipeline.process([Decoded(predictions=(batch(classes=BINARY),))], NOW_NS)
        with pytest.raises(KeyError):
            pipeline.relearn("m", "7")
        with pytest.raises(ValueError, match="is a file"):
            pipeline.relearn("m")
