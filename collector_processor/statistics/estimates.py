"""What is expected of each prediction before its label comes, from its score and what the reference's labels showed."""

from __future__ import annotations

import numpy as np

from collector_processor.columns.batch import F64, PredictionBatch
from collector_processor.statistics.cells import score_cells
from collector_processor.statistics.fits.calibration import Calibration, Curve
from collector_processor.statistics.schema import Schema


def estimates(schema: Schema, batch: PredictionBatch) -> F64 | None:
    """Return the calibrated probability of the positive class ``[n]``; None without calibration or scores.

    NaN for a row without a score, with one that the calibration is not about, or whose call failed. Derived once for
    each batch and calibration.
    """
    curve = positive_curve(schema)
    if curve is None:
        return None
    return batch.once("estimates", curve, lambda: _estimates(schema, batch, curve))


def positive_curve(schema: Schema) -> Curve | None:
    """Return the calibration of the positive class of a binary model; None without one.

    It belongs to the class that was positive when it was fitted.
    """
    calibration = schema.fit(Calibration)
    if calibration is None or schema.task != "binary_classification" or not schema.positive_class:
        return None
    slot = schema.classes.find(0, schema.positive_class)
    return None if slot is None else calibration.curves.get(slot)


def _estimates(schema: Schema, batch: PredictionBatch, curve: Curve) -> F64 | None:
    scores = score_cells(batch, schema.positive_class)
    if scores is None:
        return None
    expected = curve.at(scores)
    if batch.error is not None:
        expected = np.where(batch.error.is_text(), np.nan, expected)
    return expected
