"""Calibration: from a score to the probability of a class, as the labels of the reference show it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from collector_processor.columns.batch import F64
from collector_processor.statistics import built


@dataclass(frozen=True, slots=True)
class Curve:
    """A function from score to probability that never falls: linear between knots, constant beyond the outer ones.

    ``knots`` ascending and ``values``, float64 ``[k]`` each. ``low`` and ``high``: the scores that it is about, 0 and 1
    if those of the reference are probabilities, else infinite. No score beyond them has a probability.

    >>> curve = Curve(np.array([0.2, 0.4]), np.array([0.0, 1.0]), 0.0, 1.0)
    >>> curve.at(np.array([0.1, 0.3, 1.0, 7.0, np.nan])).round(9).tolist()
    [0.0, 0.5, 1.0, nan, nan]
    """

    knots: F64
    values: F64
    low: float
    high: float

    def at(self, scores: F64) -> F64:
        """Return the probability of each score ``[n]``; NaN for a missing score, and for one that it is not about."""
        return self._read(scores, self.low, self.high)

    def read(self, scores: F64) -> F64:
        """Return the value of the curve at each score ``[n]``, wherever that is."""
        return self._read(scores, -np.inf, np.inf)

    def _read(self, scores: F64, low: float, high: float) -> F64:
        if built.terms is not None:
            return built.terms.read_curve(np.ascontiguousarray(scores), self.knots, self.values, low, high)
        return np.where((scores >= low) & (scores <= high), np.interp(scores, self.knots, self.values), np.nan)

    def corners(self) -> tuple[F64, F64]:
        """Return the knots at which a level part or a lone value begins, and those at which one ends."""
        level = self.values[1:] == self.values[:-1]
        return self.knots[np.append([True], ~level)], self.knots[np.append(~level, [True])]

    @classmethod
    def identity(cls) -> Curve:
        """Return the curve of scores that are probabilities already."""
        return cls(np.array([0.0, 1.0]), np.array([0.0, 1.0]), 0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Calibration:
    """The curve of each class, by its slot in ``schema.classes``: a binary model has that of its positive class."""

    curves: Mapping[int, Curve]
