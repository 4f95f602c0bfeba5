"""Scores that cannot be what figures take them for: what is left out because of that, and what may be mixed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from collector_processor.columns.batch import PredictionBatch
from collector_processor.monitors.base import Measurement
from collector_processor.monitors.performance import are_probabilities
from collector_processor.pipeline.watched import (
    GUESSED,
    GUESSED_WRONG,
    OF_PREDICTED,
    Model,
    Watch,
    is_expected,
    of_scores,
)
from collector_processor.statistics.cells import score_cells
from collector_processor.statistics.labeled import position_of
from collector_processor.statistics.schema import Schema
from collector_processor.window.closed import Window
from otel_ml import semconv

DISAGREE: Final = 0.05
"""Share of a batch's predictions whose class the threshold contradicts, from which on it is another threshold."""
_LEAST_ROWS: Final = 20
_ROC_AUC: Final = semconv.PERFORMANCE + "roc_auc"


def without_classes(schema: Schema, window: Window) -> str:
    """Return why scores decide no class in a window; empty if they do."""
    alone = position_of(schema, "prediction") is None
    if not alone or are_probabilities(schema, window.pane.outcomes)[0]:
        return ""
    return (
        "scores outside 0 to 1 are not probabilities and decide no class: accuracy, precision, recall and F1 are left "
        "out; send the predicted class, and have it in the reference"
    )


def check_threshold(model: Model, schema: Schema, batch: PredictionBatch) -> None:
    """Report it if the classes that were sent are not those that scores and a given threshold decide."""
    if OF_PREDICTED in model.problems or "scored_class" in model.problems:
        return  # the scores are at fault
    threshold, positive = schema.threshold, schema.classes.find(0, schema.positive_class)
    score = score_cells(batch, schema.positive_class)
    sent = batch.prediction
    if threshold is None or positive is None or score is None or sent is None or sent.codes is None:
        return
    is_positive = np.array([name == schema.positive_class for name in sent.categories] + [False])[sent.codes]
    known = (sent.codes >= 0) & ~np.isnan(score - threshold)
    rows = int(np.count_nonzero(known))
    wrong = int(np.count_nonzero(known & ((score >= threshold) != is_positive)))
    if rows >= _LEAST_ROWS and wrong > DISAGREE * rows:
        model.report(
            "threshold_classes",
            "with the threshold %g, scores decide another class than the sender for %.0f %% of a batch; the sender's "
            "classes count, the threshold decides only where there is none: correct it",
            threshold,
            100.0 * wrong / rows,
        )


def without_ranking(model: Model, watch: Watch, window: Window, measured: Sequence[Measurement]) -> str:
    """Return why a window with labels and scores has no ROC AUC; empty if it has, or cannot have one."""
    schema, outcomes = watch.windows.schema, window.pane.outcomes
    known = {OF_PREDICTED, GUESSED_WRONG, "third_class"}.intersection(model.problems)
    if schema.task != "binary_classification" or not schema.positive_class or known or _area(measured) is not None:
        return ""
    if position_of(schema, "score") is None:
        if not outcomes.scored[0, 0] > 0.0:
            return ""
        return (
            "labels and scores arrive, but the rows of its reference have no scores, so ROC AUC is left out: "
            "run `otel-ml relearn`, or build the reference again"
        )
    negative, positive = outcomes.score_hits[0].sum(axis=1).tolist()
    if not min(negative, positive) > 0.0:
        return ""
    return (
        "ROC AUC is left out: too many scores lie where its reference has none, between its scores or beyond their "
        "range; run `otel-ml relearn`, or build the reference from scores as they are sent"
    )


def guessed_wrong(model: Model, measured: Sequence[Measurement]) -> bool:
    """Return whether scores rank the guessed positive class below the other one, beyond what chance explains.

    A window without a ROC AUC does not change what the last one showed.
    """
    if GUESSED not in model.problems:
        return False
    area, upper = _area(measured), _area(measured, semconv.PERFORMANCE_UPPER)
    if area is None:
        return GUESSED_WRONG in model.problems
    return area < 0.5 and (upper is None or upper < 0.5)


def set_guessed_wrong(model: Model, wrong: bool) -> None:
    """Report it, or no longer, if the guess of the positive class is most likely wrong."""
    if not wrong:
        model.problems.pop(GUESSED_WRONG, None)
        return
    model.report(
        GUESSED_WRONG,
        "ROC AUC is below one half, so its scores are most likely about the other class than the one that is taken for "
        "positive: figures of scores are left out, and all performance if no class is sent; set positive_class",
    )


def usable(model: Model, watch: Watch, measured: Sequence[Measurement]) -> Sequence[Measurement]:
    """Return what is measured; without what the guess of the positive class decides if that is most likely wrong."""
    wrong = guessed_wrong(model, measured)
    set_guessed_wrong(model, wrong)
    if not wrong:
        return measured
    sent = position_of(watch.windows.schema, "prediction") is not None
    kept = [each for each in measured if not of_scores(each) and not is_expected(each)]
    kept = [each for each in kept if sent or not each.name.startswith(semconv.PERFORMANCE)]
    watch.telemetry.dropped(("figures", "wrong_scores"), len(measured) - len(kept))
    return kept


def _area(measured: Sequence[Measurement], name: str = _ROC_AUC) -> float | None:
    """Return the ROC AUC of all labels of a window, or an end of its interval."""
    source = (semconv.PERFORMANCE_SOURCE, semconv.SOURCE_LABELS)
    for item in measured:
        keys = dict(item.attributes)
        if (
            item.name == name
            and source in item.attributes
            and semconv.SEGMENT_NAME not in keys
            and keys.get(semconv.PERFORMANCE_METRIC, "roc_auc") == "roc_auc"
        ):
            return item.value
    return None
