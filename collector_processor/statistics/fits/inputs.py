"""What trees look at: the numbers of numeric features and the codes of categorical ones, one row after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from collector_processor.columns.batch import F64, Column, PredictionBatch
from collector_processor.statistics.texts import as_texts

MISSING: Final = "\ud800"
"""Stands for a missing cell among the categories of a feature: half of a character, which no category can be."""
UNSEEN: Final = 0
"""Code of a category that the reference lacks."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """The inputs of trees in their order: numeric features, categorical ones, and what a caller adds.

    ``places`` are those of the features in ``schema.columns``. ``codes`` maps :data:`MISSING`, and all categories of
    the schema's table in their order, to codes; a category that is not in it is :data:`UNSEEN`, as rare ones are. A
    cell of the other kind is missing.
    """

    places: tuple[int, ...]
    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    codes: tuple[Mapping[str, int], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the features."""
        return self.numeric + self.categorical

    def matrix(self, batch: PredictionBatch, added: Sequence[F64] = ()) -> F64:
        """Return the inputs of every row, float64 ``[n, F]``, with further columns at the end."""
        values = np.full((len(batch), len(self.names) + len(added)), np.nan)
        for place, name in enumerate(self.numeric):
            column = batch.features.get(name)
            if column is not None and column.numbers is not None:
                values[:, place] = column.numbers
        for place, (name, codes) in enumerate(zip(self.categorical, self.codes, strict=True), len(self.numeric)):
            values[:, place] = _coded(batch.features.get(name), codes, len(batch))
        for place, column in enumerate(added, len(self.names)):
            values[:, place] = column
        return values

    def select(self, used: Sequence[int]) -> Inputs:
        """Return the inputs at these places, which ascend; those that a caller adds are not among them."""
        numeric = [place for place in used if place < len(self.numeric)]
        categorical = [place - len(self.numeric) for place in used if len(self.numeric) <= place < len(self.names)]
        return Inputs(
            tuple(self.places[place] for place in numeric)
            + tuple(self.places[len(self.numeric) + place] for place in categorical),
            tuple(self.numeric[place] for place in numeric),
            tuple(self.categorical[place] for place in categorical),
            tuple(self.codes[place] for place in categorical),
        )


def _coded(column: Column | None, codes: Mapping[str, int], rows: int) -> F64:
    """Return the code of each cell of a categorical feature, float64 ``[n]``."""
    missing = float(codes.get(MISSING, UNSEEN))
    if column is None:
        return np.full(rows, missing)
    texts = as_texts(column)
    if texts.codes is None:
        return np.full(rows, missing)
    # One more entry after the last category, which code −1 selects.
    return np.array([*(codes.get(name, UNSEEN) for name in texts.categories), missing], np.float64)[texts.codes]
