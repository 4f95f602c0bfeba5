"""What is expected of each prediction before its label comes, from its score and what the reference's labels showed."""

from __future__ import annotations

import numpy as np

from collector_processor.columns.batch import F64, I64, PredictionBatch
from collector_processor.statistics.cells import score_cells
from collector_processor.statistics.fits.adaptive import AdaptiveTrees
from collector_processor.statistics.fits.calibration import Calibration, Curve
from collector_processor.statistics.fits.class_curves import ClassCurves
from collector_processor.statistics.fits.losses import LOSSES, LossTrees
from collector_processor.statistics.predicted import predicted_codes
from collector_processor.statistics.sample import evaluated_evenly, evaluated_weights
from collector_processor.statistics.schema import Schema


def has_estimates(schema: Schema) -> bool:
    """Return whether the reference has what :func:`estimates` needs: loss trees, or calibrated scores."""
    fits = (schema.fit(LossTrees), positive_curve(schema), class_curves(schema))
    return any(fit is not None for fit in fits)


def estimates(schema: Schema, batch: PredictionBatch) -> F64 | None:
    """Return what is expected of each row ``[n]``; None without a calibration and scores, or without loss trees.

    For a binary model the probability of the positive class: calibrated, or corrected by the features where trees were
    fitted. For a multiclass model that of the predicted class, for a regression the absolute error. NaN for a row
    without a score or a prediction, with a score that the calibration is not about, whose call failed, or that is not
    looked at (:func:`estimate_weights`).
    Derived once for each batch and fit.
    """
    losses = schema.fit(LossTrees) if schema.task == "regression" else None
    if losses is not None:
        return expected_losses(losses, batch)[:, LOSSES.index("absolute")]
    classes = class_curves(schema)
    if classes is not None:
        return _of_predicted(schema, classes, batch)
    trees = adaptive_trees(schema)
    return calibrated(schema, batch) if trees is None else _column(adaptive(schema, trees, batch))


def _column(adaptive: F64 | None) -> F64 | None:
    return None if adaptive is None else adaptive[:, 0]


def estimate_weights(schema: Schema, batch: PredictionBatch) -> F64:
    """Return how many predictions the estimate of each row stands for ``[n]``; 0 for rows that are not looked at."""
    losses = schema.fit(LossTrees) if schema.task == "regression" else None
    trees, classes = adaptive_trees(schema), class_curves(schema)
    if losses is not None:
        return evaluated_weights(batch, losses, LossTrees.whole)
    if classes is not None:
        return evaluated_weights(batch, classes, classes.whole)
    return batch.weights if trees is None else evaluated_weights(batch, trees, AdaptiveTrees.whole)


def evaluate_evenly(schema: Schema, batch: PredictionBatch, most: int) -> None:
    """Choose by their place at most ``most`` rows of a batch for estimates that cost, before anything else does."""
    for by in (schema.fit(LossTrees), adaptive_trees(schema), positive_curve(schema), class_curves(schema)):
        if by is not None:
            evaluated_evenly(batch, by, most)
            return


def expected_losses(fit: LossTrees, batch: PredictionBatch) -> F64:
    """Return the expected losses of each row ``[n, 4]``: NaN where there is none, and in rows not evaluated."""

    def derive() -> F64:
        chosen = _chosen(batch, evaluated_weights(batch, fit, LossTrees.whole))
        losses = np.full((len(batch), len(LOSSES)), np.nan)
        losses[chosen] = fit.evaluate(batch.take(chosen))
        return losses

    return batch.once("losses", fit, derive)


def adaptive(schema: Schema, trees: AdaptiveTrees, batch: PredictionBatch) -> F64 | None:
    """Return the corrected probability of each row, and whether the reference has few rows like it (1): ``[n, 2]``.

    NaN for rows that are not evaluated; None without scores.
    """

    def derive() -> F64 | None:
        p = calibrated(schema, batch)
        if p is None:
            return None
        chosen = _chosen(batch, evaluated_weights(batch, trees, AdaptiveTrees.whole))
        chosen = chosen[~np.isnan(p[chosen])]
        found = np.full((len(batch), 2), np.nan)
        found[chosen] = np.stack(trees.evaluate(batch.take(chosen), p[chosen]), axis=1)
        return found

    return batch.once("adaptive", trees, derive)


def adaptive_trees(schema: Schema) -> AdaptiveTrees | None:
    """Return the trees that correct the calibrated probability of the positive class; None without them."""
    trees = schema.fit(AdaptiveTrees)
    if trees is None or positive_curve(schema) is None:
        return None
    return trees if schema.classes.find(0, schema.positive_class) == trees.slot else None


def calibrated(schema: Schema, batch: PredictionBatch) -> F64 | None:
    """Return the calibrated probability of the positive class ``[n]``; None without calibration or scores.

    NaN for a row without a score, with one that the calibration is not about, or whose call failed.
    """
    curve = positive_curve(schema)
    if curve is None:
        return None
    return batch.once("estimates", curve, lambda: _estimates(schema, batch, curve))


def _chosen(batch: PredictionBatch, weights: F64) -> I64:
    """Return the rows that are evaluated."""
    return np.flatnonzero(weights if batch.error is None else np.where(batch.error.is_text(), 0.0, weights))


def positive_curve(schema: Schema) -> Curve | None:
    """Return the calibration of the positive class of a binary model; None without one.

    It belongs to the class that was positive when it was fitted.
    """
    calibration = schema.fit(Calibration)
    if calibration is None or schema.task != "binary_classification" or not schema.positive_class:
        return None
    slot = schema.classes.find(0, schema.positive_class)
    return None if slot is None else calibration.curves.get(slot)


def class_curves(schema: Schema) -> ClassCurves | None:
    """Return the calibration of all classes of a multiclass model; None without one."""
    return schema.fit(ClassCurves) if schema.task == "multiclass_classification" else None


def class_probabilities(schema: Schema, batch: PredictionBatch) -> F64 | None:
    """Return the calibrated probability of each class ``[n, K]``; None without calibration, or scores of all classes.

    NaN for a row without all scores, with one that the calibration is not about, whose call failed, or that is not
    looked at (:func:`estimate_weights`).
    """
    fit = class_curves(schema)
    if fit is None:
        return None

    def derive() -> F64 | None:
        scores = class_scores(schema, fit, batch)
        if scores is None:
            return None
        chosen = _chosen(batch, evaluated_weights(batch, fit, fit.whole))
        found = np.full(scores.shape, np.nan)
        found[chosen] = fit.probabilities(scores[chosen])
        return found

    return batch.once("class_probabilities", fit, derive)


def class_scores(schema: Schema, fit: ClassCurves, batch: PredictionBatch) -> F64 | None:
    """Return the scores of the calibrated classes ``[n, K]``; None if the batch lacks one of them."""
    names = [schema.classes.name(slot) for slot in fit.slots.tolist()]
    if any(name not in batch.scores for name in names):
        return None
    return np.stack([batch.scores[name] for name in names], axis=1)


def _of_predicted(schema: Schema, fit: ClassCurves, batch: PredictionBatch) -> F64 | None:
    """Return the probability that each row's predicted class is right ``[n]``."""

    def derive() -> F64 | None:
        p = class_probabilities(schema, batch)
        if p is None:
            return None
        place = fit.places(predicted_codes(schema, batch))
        return np.where(place >= 0, p[np.arange(len(p)), place], np.nan)

    return batch.once("estimates", fit, derive)


def _estimates(schema: Schema, batch: PredictionBatch, curve: Curve) -> F64 | None:
    scores = score_cells(batch, schema.positive_class)
    if scores is None:
        return None
    expected = curve.at(scores)
    if batch.error is not None:
        expected = np.where(batch.error.is_text(), np.nan, expected)
    return expected
