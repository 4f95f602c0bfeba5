"""Scores and thresholds that cannot be what figures take them for: left out or mixed figures are said."""

from __future__ import annotations

import logging
from contextlib import closing
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from collector_processor.columns.batch import Column, Decoded, LabelBatch, ModelKey, PredictionBatch
from collector_processor.decode import hash_ids
from collector_processor.own.telemetry import Telemetry
from collector_processor.pipeline.pipeline import Pipeline
from collector_processor.pipeline.settings import MlMonitor
from collector_processor.reference.build import build_reference
from collector_processor.service.state import StateStore

NOW_NS = 1_750_000_000 * 10**9
KEY = ModelKey("m", "1")
ROWS = 1000
RANDOM = np.random.default_rng(3)
SCORES = RANDOM.random(ROWS)
TRUTH = RANDOM.random(ROWS) < SCORES


def classes(positive, names=("no", "yes")) -> Column:
    return Column(None, np.asarray(positive).astype(np.int32), names)


def predictions(first: int = 0, rows: int = ROWS, **outputs: Any) -> PredictionBatch:
    ids = hash_ids([str(number) for number in range(first, first + rows)])
    features = {"amount": Column(np.arange(rows) % 50.0)}
    return PredictionBatch(KEY, np.full(rows, NOW_NS), ids, np.ones(rows), np.full(rows, np.nan), features, **outputs)


def labels(positive=TRUTH, first: int = 0, names=("no", "yes")) -> LabelBatch:
    ids = hash_ids([str(number) for number in range(first, first + len(positive))])
    return LabelBatch("m", np.full(len(positive), NOW_NS), ids, classes(positive, names))


def served(*batches, reference=None, learn=100):
    settings = {"window": {"size": f"{ROWS} rows", "min_rows": 50, "min_labels": 5}, "reference": {"learn": learn}}
    references = {} if reference is None else {"m": reference}
    last = [batch for batch in batches if isinstance(batch, PredictionBatch)][-1]
    pipeline = Pipeline(MlMonitor.model_validate(settings), references, Telemetry(), NOW_NS)
    for batch in batches:
        part = {"labels": (batch,)} if isinstance(batch, LabelBatch) else {"predictions": (batch,)}
        pipeline.process([Decoded(**part)], NOW_NS)
    pipeline.process([Decoded(predictions=(last,))], NOW_NS)  # closes the window of rows
    found = {
        item.name.removeprefix("ml.performance."): item.value
        for item in pipeline.tick(NOW_NS)
        if item.name.startswith("ml.performance.") and ("ml.performance.source", "labels") in item.attributes
    }
    return found, pipeline.models[KEY].problems


def test_scores_where_the_reference_has_none_are_why_there_is_no_roc_auc(caplog):
    odds = np.log(SCORES / (1.0 - SCORES))
    near = predictions(score=odds / 10.0, prediction=classes(odds >= 0.0))
    reference = build_reference("m", near, positive_class="yes")
    with caplog.at_level(logging.WARNING):
        found, problems = served(
            predictions(score=odds, prediction=classes(odds >= 0.0)), labels(), reference=reference
        )
    assert "roc_auc" not in found
    assert "beyond their range" in problems["no_roc_auc"]
    assert sum(problems["no_roc_auc"] in record.getMessage() for record in caplog.records) == 1
    found, problems = served(near, labels(), reference=reference)
    assert "roc_auc" in found
    assert "no_roc_auc" not in problems


@pytest.mark.parametrize("digits", [0, 1, 2, 3])
def test_rounded_scores_in_the_reference_do_not_hide_the_roc_auc_of_others(digits):
    sent = predictions(score=SCORES, prediction=classes(SCORES >= 0.5))
    rounded = predictions(score=np.round(SCORES, digits), prediction=classes(SCORES >= 0.5))
    found, problems = served(sent, labels(), reference=build_reference("m", rounded, positive_class="yes"))
    assert found["roc_auc"] == pytest.approx(roc_auc_score(TRUTH, SCORES), abs=0.01)
    assert "no_roc_auc" not in problems


def test_a_reference_learned_without_scores_is_why_there_is_no_roc_auc():
    first = predictions(ROWS, ROWS, prediction=classes(SCORES >= 0.5))
    sent = predictions(score=SCORES, prediction=classes(SCORES >= 0.5))
    found, problems = served(first, sent, labels())
    assert "roc_auc" not in found
    assert "the rows of its reference have no scores" in problems["no_roc_auc"]


def test_scores_that_are_no_probabilities_decide_no_class_and_it_is_said():
    odds = np.log(SCORES / (1.0 - SCORES))
    reference = build_reference("m", predictions(score=odds), positive_class="yes", label_classes=classes(TRUTH))
    found, problems = served(predictions(score=odds), labels(), reference=reference)
    assert found.keys().isdisjoint({"accuracy", "precision", "recall", "f1"})
    assert "decide no class" in problems["scores_decide_nothing"]
    found, problems = served(predictions(score=odds, prediction=classes(odds >= 0.0)), labels(), reference=reference)
    assert "accuracy" not in found, "the reference has no classes"
    assert "have it in the reference" in problems["scores_decide_nothing"]
    both = build_reference("m", predictions(score=odds, prediction=classes(odds >= 0.0)), positive_class="yes")
    found, problems = served(predictions(score=odds, prediction=classes(odds >= 0.0)), labels(), reference=both)
    assert found["accuracy"] == pytest.approx(((odds >= 0.0) == TRUTH).mean())
    assert "scores_decide_nothing" not in problems
    reference = build_reference("m", predictions(score=SCORES), positive_class="yes", label_classes=classes(TRUTH))
    found, problems = served(predictions(score=SCORES), labels(), reference=reference)
    assert "accuracy" in found
    assert "scores_decide_nothing" not in problems


def test_a_threshold_that_changes_is_said_and_one_that_stays_is_not():
    reference = build_reference("m", predictions(score=SCORES), positive_class="yes", label_classes=classes(TRUTH))
    half = ROWS // 2
    sent = [predictions(0, half, score=SCORES[:half], threshold=0.5)]
    sent.append(predictions(half, half, score=SCORES[half:], threshold=0.7))
    _, problems = served(*sent, labels(), reference=reference)
    assert "changed from 0.5 to 0.7" in problems["threshold_changed"]
    _, problems = served(sent[0], predictions(half, half, score=SCORES[half:], threshold=0.5), reference=reference)
    assert "threshold_changed" not in problems


def test_a_threshold_of_the_reference_that_the_classes_contradict_is_said():
    sent = predictions(score=SCORES, prediction=classes(SCORES >= 0.3))
    for threshold, said in ((0.3, False), (0.31, False), (0.6, True)):
        reference = build_reference("m", sent, positive_class="yes", label_classes=classes(TRUTH), threshold=threshold)
        found, problems = served(sent, labels(), reference=reference)
        assert ("threshold_classes" in problems) == said
        assert found["accuracy"] == pytest.approx(((SCORES >= 0.3) == TRUTH).mean())


@pytest.mark.parametrize(("names", "wrong"), [(("a", "b"), False), (("b", "a"), True)])
def test_a_guess_of_the_positive_class_that_the_scores_contradict_publishes_nothing(names, wrong):
    """Scores alone, then labels whose names say nothing: the last of them is taken for positive."""
    found, problems = served(
        predictions(score=SCORES), labels(names=names), labels(~TRUTH, names=names), labels(names=names), learn=100
    )
    assert ("positive_guessed_wrong" in problems) == wrong
    assert "positive_guessed" in problems
    assert (found == {}) == wrong


def test_a_wrong_guess_stays_known_in_windows_with_too_few_labels():
    """What was left out of one window does not come back in the next because that has no ROC AUC of its own."""
    names = ("b", "a")
    sent = predictions(score=SCORES), labels(names=names), labels(~TRUTH, names=names), labels(names=names)
    found, problems = served(*sent, predictions(ROWS, score=SCORES), labels(TRUTH[:2], ROWS, names), learn=100)
    assert found == {}
    assert "positive_guessed_wrong" in problems
    assert "no_performance" not in problems


def test_a_wrong_guess_stays_known_after_a_restart(tmp_path):
    names, settings = ("b", "a"), {"window": {"size": "1h", "min_rows": 50, "min_labels": 5}}
    config = MlMonitor.model_validate({**settings, "reference": {"learn": 100}})
    pipeline, telemetry = Pipeline(config, {}, Telemetry(), NOW_NS), Telemetry()
    pipeline.process([Decoded(predictions=(predictions(score=SCORES),))], NOW_NS)
    for truth in (TRUTH, ~TRUTH, TRUTH):
        pipeline.process([Decoded(labels=(labels(truth, names=names),))], NOW_NS)
    assert [*pipeline.tick(NOW_NS + 3600 * 10**9)]
    problems = pipeline.models[KEY].problems
    assert {"positive_guessed", "positive_guessed_wrong"} <= problems.keys()
    with closing(StateStore(tmp_path, telemetry)) as store:
        store.open()
        store.save(pipeline)
        after = Pipeline(config, {}, telemetry, NOW_NS)
        store.restore(after, NOW_NS)
    restored = after.models[KEY].problems
    assert restored["positive_guessed"] == problems["positive_guessed"]
    assert restored["positive_guessed_wrong"] == problems["positive_guessed_wrong"]


def test_what_a_wrong_guess_leaves_out_is_counted():
    telemetry, names = Telemetry(), ("b", "a")
    settings = {"window": {"size": f"{ROWS} rows", "min_rows": 50, "min_labels": 5}, "reference": {"learn": 100}}
    pipeline = Pipeline(MlMonitor.model_validate(settings), {}, telemetry, NOW_NS)
    pipeline.process([Decoded(predictions=(predictions(score=SCORES),))], NOW_NS)
    for truth in (TRUTH, ~TRUTH, TRUTH):
        pipeline.process([Decoded(labels=(labels(truth, names=names),))], NOW_NS)
    pipeline.process([Decoded(predictions=(predictions(ROWS, score=SCORES),))], NOW_NS)
    assert [*pipeline.tick(NOW_NS)]
    drop = {"stage": "figures", "reason": "wrong_scores", "intentional": "true"}
    assert (telemetry.registry.get_sample_value("otel_ml_dropped_total", drop) or 0.0) > 0.0


def test_the_first_threshold_after_rows_that_one_half_decided_is_a_change():
    reference = build_reference("m", predictions(score=SCORES), positive_class="yes", label_classes=classes(TRUTH))
    half = ROWS // 2
    first, then = predictions(0, half, score=SCORES[:half]), SCORES[half:]
    _, problems = served(first, predictions(half, half, score=then, threshold=0.7), labels(), reference=reference)
    assert "changed from 0.5 to 0.7" in problems["threshold_changed"]
    _, problems = served(first, predictions(half, half, score=then, threshold=0.5), labels(), reference=reference)
    assert "threshold_changed" not in problems
    _, problems = served(predictions(score=SCORES, threshold=0.7), labels(), reference=reference)
    assert "threshold_changed" not in problems


def test_scores_of_the_predicted_class_are_no_fault_of_the_threshold():
    positive = SCORES >= 0.5
    sent = predictions(score=SCORES, prediction=classes(positive))
    reference = build_reference("m", sent, positive_class="yes", label_classes=classes(TRUTH), threshold=0.5)
    predicted = predictions(score=np.maximum(SCORES, 1.0 - SCORES), prediction=classes(positive))
    _, problems = served(predicted, labels(), predicted, reference=reference)
    assert "score_of_predicted" in problems
    assert "threshold_classes" not in problems
