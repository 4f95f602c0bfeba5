"""The expected losses of a regression's predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from collector_processor.columns.batch import F64, I64
from collector_processor.statistics.estimates import estimate_weights, expected_losses
from collector_processor.statistics.fits.losses import LOSSES, LossTrees
from collector_processor.statistics.parts.base import Part, Rows
from collector_processor.statistics.schema import Schema
from collector_processor.statistics.vectors import grown


@dataclass(slots=True)
class LossSums(Part):
    """``sums`` ``[G, 4, 4]`` of each loss of :data:`.LOSSES`: weight, Σ ĝ, Σ ĝ², and the number of rows evaluated.

    ``G`` is 0 without loss trees.
    """

    name: ClassVar[str] = "losses"

    sums: F64

    @classmethod
    def empty(cls, schema: Schema) -> LossSums:
        """Return the sums of nothing."""
        groups = 0 if schema.fit(LossTrees) is None else len(schema.groups) + 1
        return cls(np.zeros((groups, len(LOSSES), 4)))

    def add_rows(self, schema: Schema, rows: Rows) -> None:
        """Add the expected losses of the rows that are evaluated."""
        fit = schema.fit(LossTrees)
        if fit is None:
            return
        losses = expected_losses(fit, rows.batch)
        chosen = np.flatnonzero(np.isfinite(losses).any(axis=1))
        terms = _terms(losses[chosen], estimate_weights(schema, rows.batch)[chosen])
        self.sums = add_by_group(grown(self.sums, (len(schema.groups) + 1, *self.sums.shape[1:])), rows, chosen, terms)


def add_by_group(sums: F64, rows: Rows, chosen: I64, terms: F64) -> F64:
    """Add ``terms`` ``[m, …]`` of the chosen rows in place to ``sums`` ``[G, …]``: to all rows and to segments."""
    sums[0] += terms.sum(axis=0)
    for group in rows.groups[chosen].T:
        inside = group > 0
        np.add.at(sums, group[inside], terms[inside])
    return sums


def _terms(losses: F64, weights: F64) -> F64:
    """Return what each row adds, ``[n, 4, 4]``."""
    known = np.isfinite(losses)
    values, mass = np.where(known, losses, 0.0), weights[:, None] * known
    return np.stack((mass, mass * values, mass * values**2, known.astype(np.float64)), axis=2)
