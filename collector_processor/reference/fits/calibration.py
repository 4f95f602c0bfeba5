"""Fit the calibration of a classifier's scores on the labels of the reference, if that makes them better."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

import numpy as np

from collector_processor.columns.batch import F64, I32, I64
from collector_processor.reference.document import Json, Node, number
from collector_processor.reference.fits.base import FitRows
from collector_processor.reference.fits.isotonic import isotonic
from collector_processor.reference.fits.ranks import roc_auc
from collector_processor.statistics.classes import known_classes
from collector_processor.statistics.fits.calibration import Calibration, Curve
from collector_processor.statistics.schema import Schema

LEAST_ROWS: Final = 100
"""Least labeled rows with a score for a calibration."""
LEAST_OF_CLASS: Final = 10
"""Least of them with and without the class."""
PERFECT: Final = 0.999
"""ROC AUC above which scores are left as they are."""
WRONG_WAY: Final = 4.0
"""Standard errors below one half from which on a ROC AUC shows that scores are about another class."""
SPLITS: Final = 10
TESTED: Final = 0.1
SEED: Final = 42
BINS: Final = 10
MAX_KNOTS: Final = 100_000


class CalibrationFitter:
    """Isotonic regression of the label on the score, where it lowers the calibration error of rows it has not seen.

    Whether it does is decided as by NannyML 0.13.1: not for one class or a ROC AUC above 0.999; else ten times a
    tenth of the rows, drawn by class with a fixed seed, is calibrated by the rest, and the errors of all of them are
    compared over ten bins of equal count. Scores outside 0 to 1 are always calibrated.
    """

    name: ClassVar[str] = "calibration"
    kind = Calibration
    slow: ClassVar[bool] = False

    def fit(self, rows: FitRows) -> Calibration | None:
        """Return the curve of the positive class of a binary model; None without enough labels and scores."""
        schema, outcomes = rows.schema, rows.outcomes
        if outcomes is None or outcomes.labels is None:
            return None
        slot = schema.classes.find(0, schema.positive_class) if schema.positive_class else None
        if schema.task != "binary_classification" or slot is None:
            return None
        curve = fitted_curve(outcomes.scores, outcomes.labels, slot, outcomes.weights)
        return None if curve is None else Calibration({slot: curve})

    def written(self, fit: Calibration) -> Mapping[str, Json]:
        """Return the knots of every curve by the slot of its class."""
        return {str(slot): written_curve(curve) for slot, curve in fit.curves.items()}

    def read(self, node: Node, schema: Schema) -> Calibration:
        """Return the curves that were written."""
        return Calibration({slot_of(item, key, len(schema.classes)): read_curve(item) for key, item in node.items()})


def slot_of(node: Node, key: str, classes: int) -> int:
    """Return the slot of a class that is written as a key."""
    if not key.isdecimal() or not 0 < int(key) < classes:
        node.fail("is not the number of a class")
    return int(key)


def written_curve(curve: Curve) -> dict[str, Json]:
    """Return the knots of a curve as JSON."""
    return {
        "knots": [number(x) for x in curve.knots.tolist()],
        "values": [number(x) for x in curve.values.tolist()],
        "probabilities": int(np.isfinite(curve.low)),
    }


def read_curve(node: Node) -> Curve:
    """Return the curve of :func:`written_curve`."""
    knots, values = node["knots"].numbers(), node["values"].numbers()
    if not 0 < len(knots) <= MAX_KNOTS or len(values) != len(knots):
        node.fail(f"must have 1 to {MAX_KNOTS} knots, and as many values")
    if not (knots[1:] > knots[:-1]).all():
        node["knots"].fail("must ascend")
    if not ((values >= 0.0) & (values <= 1.0)).all() or (values[1:] < values[:-1]).any():
        node["values"].fail("must be from 0 to 1, and none below the one before")
    bound = (0.0, 1.0) if node["probabilities"].integer(0, 1) else (-np.inf, np.inf)
    return Curve(knots, values, *bound)


def fitted_curve(scores: F64, labels: I32, slot: int, weights: F64) -> Curve | None:
    """Return the curve of the class in a slot; None with too few rows, or if it is less likely with higher scores."""
    used = np.isfinite(scores) & known_classes(labels) & (weights > 0.0)
    x, y, w = scores[used], (labels[used] == slot).astype(np.float64), weights[used]
    of_class = int(y.sum())
    if len(x) < LEAST_ROWS or min(of_class, len(x) - of_class) < LEAST_OF_CLASS:
        return None
    area = roc_auc(x, y > 0.0, w)
    if area < 0.5 - WRONG_WAY * np.sqrt(len(x) / 12.0 / of_class / (len(x) - of_class)):
        return None
    probabilities = bool(x.min() >= 0.0 and x.max() <= 1.0)
    if probabilities and (area > PERFECT or not needs_calibration(x, y, w)):
        return Curve.identity()
    order = np.argsort(x, kind="stable")
    return Curve(*isotonic(x[order], y[order], w[order]), *((0.0, 1.0) if probabilities else (-np.inf, np.inf)))


def needs_calibration(scores: F64, truth: F64, weights: F64) -> bool:
    """Return whether isotonic regression lowers the calibration error of scores of rows that it has not seen."""
    order = np.argsort(scores, kind="stable")
    x, y, w = scores[order], truth[order], weights[order]
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    tested: list[I64] = []
    calibrated: list[F64] = []
    for test in draws(truth):
        train = np.ones(len(x), np.bool_)
        train[place[test]] = False
        tested.append(test)
        calibrated.append(np.interp(scores[test], *isotonic(x[train], y[train], w[train])))
    rows = np.concatenate(tested)
    before = _calibration_error(truth[rows], scores[rows], weights[rows])
    return before > _calibration_error(truth[rows], np.concatenate(calibrated), weights[rows])


def draws(truth: F64) -> list[I64]:
    """Return the test rows of scikit-learn's ``StratifiedShuffleSplit(10, test_size=0.1, random_state=42)``."""
    rng = np.random.RandomState(SEED)  # the same rows as there
    by_class = [np.flatnonzero(truth == value) for value in (0.0, 1.0)]
    counts = np.array([len(rows) for rows in by_class])
    tests = int(np.ceil(TESTED * len(truth)))
    splits: list[I64] = []
    for _ in range(SPLITS):
        train = _shares(counts, len(truth) - tests, rng)
        test = _shares(counts - train, tests, rng)
        drawn: list[I64] = []
        for rows, first, size in zip(by_class, train.tolist(), test.tolist(), strict=True):
            drawn.append(rows[rng.permutation(len(rows))][first : first + size])
        rng.permutation(len(truth) - tests)
        splits.append(rng.permutation(np.concatenate(drawn)))
    return splits


def _shares(counts: I64, drawn: int, rng: np.random.RandomState) -> I64:
    """Return how many rows of each class are drawn: in proportion, the rest by the largest fractions."""
    exact = counts / counts.sum() * drawn
    shares = np.floor(exact)
    missing = int(drawn - shares.sum())
    fractions = exact - shares
    for fraction in np.unique(fractions)[::-1]:
        if missing <= 0:
            break
        (places,) = np.nonzero(fractions == fraction)
        chosen = rng.choice(places, size=min(len(places), missing), replace=False)
        shares[chosen] += 1
        missing -= len(chosen)
    return shares.astype(np.int64)


def _calibration_error(truth: F64, p: F64, weights: F64) -> float:
    """Return the expected calibration error over bins of equal count."""
    order = np.argsort(p)
    starts = np.arange(BINS) * (len(p) // BINS)
    difference, mass = (weights * (p - truth))[order], weights[order]
    return float(np.abs(np.add.reduceat(difference, starts)).sum() / mass.sum())
