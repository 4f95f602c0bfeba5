"""Shiryaev–Roberts e-detectors: evidence for a change at some time, in log space.

With the e-value of a pane e, ``M ← e · (w + M)``: every pane so far is a possible time of the change, and w is the
weight with which a new one joins. As long as nothing changes, the mean of M is at most the sum of the weights, so with
w = the pane's minutes an alarm at M ≥ T comes after T minutes on average or later, whatever the width of panes and
however often one looks. The mean of several M is one, too.

Source: J. Shin, A. Ramdas and A. Rinaldo, "E-detectors: a nonparametric framework for sequential change detection",
New England Journal of Statistics in Data Science 2(2), 2023.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from collector_processor.columns.batch import F64, Mask


def updated(log_m: F64, increment: F64, weight: float = 1.0) -> F64:
    """Return the log of M after a pane, elementwise; −∞ is M = 0, before the first pane and after an alarm.

    >>> before = np.array([-np.inf, 0.0, 20.0])
    >>> updated(before, np.log(np.array([2.0, 2.0, 2.0]))).round(4).tolist()
    [0.6931, 1.3863, 20.6931]
    """
    return increment + np.logaddexp(np.log(weight), log_m)


def log_mean(log_m: F64, valid: Mask) -> F64:
    """Return the log of the mean of the valid M in each row, ``[C]``; −∞ without any.

    >>> log_mean(np.log([[1.0, 3.0, 9.0]]), np.array([[True, True, False]])).round(4).tolist()
    [0.6931]
    """
    kept = np.where(valid, log_m, -np.inf)
    top = kept.max(axis=1, initial=-np.inf)
    shift = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        return np.log(np.exp(kept - shift[:, None]).sum(axis=1)) - np.log(np.maximum(valid.sum(axis=1), 1)) + shift


def mean_age(age: F64, log_m: F64, weight: float = 1.0) -> F64:
    """Return the mean age of the possible times of a change, weighted by their evidence, when a new one joins.

    ``age`` and ``log_m`` are those before the pane, the age already grown by the time since.

    >>> mean_age(np.array([4.0, 4.0]), np.log(np.array([1.0, 1e9]))).round(4).tolist()
    [2.0, 4.0]
    """
    return age / (1.0 + weight * np.exp(np.minimum(-log_m, 700.0)))


def selected(log_m: NDArray[np.float64], level: float) -> Mask:
    """Return the columns that e-Benjamini–Hochberg selects, ``[C]``: the k largest, if all are ≥ C / (k · level).

    ``level`` is the *error over patience*: at any time at which one stops, the expected share of wrong columns among
    those selected is at most ``level`` times the expected minutes until then. It is not a false discovery rate, which
    cannot be bounded together with the time to a false alarm.

    Source: S. Dandapanthula and A. Ramdas, "Multiple testing in multi-stream sequential change detection",
    arXiv 2501.04130, 2025.

    >>> selected(np.log([1.0, 300.0, 250.0, 2.0]), 0.01).tolist()  # 4 / .01 = 400 alone, 200 each for two
    [False, True, True, False]
    """
    ordered = np.sort(log_m)[::-1]
    needed = np.log(len(log_m) / level) - np.log(np.arange(1, len(log_m) + 1))
    enough = np.flatnonzero(ordered >= needed)
    if not len(enough):
        return np.zeros(len(log_m), np.bool_)
    return log_m >= needed[enough[-1]]
