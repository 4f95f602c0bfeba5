"""Isotonic regression: the function of a score that never falls and has the least squared error."""

from __future__ import annotations

import numpy as np

from collector_processor.columns.batch import F64

_SAME: float = 1e-15
"""Scores that are nearer to each other are one, as in scikit-learn."""


def isotonic(scores: F64, truth: F64, weights: F64) -> tuple[F64, F64]:
    """Return knots and values of the isotonic regression of ``truth`` on ascending ``scores``, float64 ``[n]`` each.

    They are the ``X_thresholds_`` and ``y_thresholds_`` of ``sklearn.isotonic.IsotonicRegression``. Neighbors that fall
    are pooled, whole runs of them at once, until none is left: the order of pooling does not matter.

    >>> knots, values = isotonic(np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.0, 1.0, 0.0, 1.0]), np.ones(4))
    >>> knots.tolist(), values.tolist()
    ([0.1, 0.2, 0.3, 0.4], [0.0, 0.5, 0.5, 1.0])
    """
    starts = np.flatnonzero(np.diff(scores, prepend=-np.inf) >= _SAME)
    mass, total = np.add.reduceat(weights, starts), np.add.reduceat(weights * truth, starts)
    first = np.arange(len(starts))
    while True:
        mean = total / mass
        begins = np.flatnonzero(np.concatenate(([True], mean[1:] > mean[:-1])))
        if len(begins) == len(mean):
            break
        mass, total, first = np.add.reduceat(mass, begins), np.add.reduceat(total, begins), first[begins]
    last = np.append(first[1:], len(starts)) - 1
    places = np.unique(np.concatenate((first, last)))
    return scores[starts][places], mean[np.searchsorted(first, places, "right") - 1]
