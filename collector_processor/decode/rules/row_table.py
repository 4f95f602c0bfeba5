"""The cells of rows by contract name, in whatever form they came, and the columns and ids made from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from collector_processor.columns.batch import U64, Column, Mask
from collector_processor.decode.arrow.arrays import Array, column_of_arrow, hash_arrow
from collector_processor.decode.limits import Tally
from collector_processor.decode.rules.cell_columns import column_of
from collector_processor.decode.rules.cells import CellKind, Place, Scalar, place_of, text_of
from collector_processor.decode.rules.ids import hash_ids, row_ids
from collector_processor.own.drops import DecodeReason
from otel_ml import semconv

Cells = Sequence[Scalar | None]


@dataclass(frozen=True, slots=True)
class RowTable:
    """``rows`` rows: Arrow arrays, lists with a cell for each row, and scalars that every row shares, each by name.

    A name may be in several: an Arrow column takes precedence over a list, and a list over a scalar, in all rows.
    """

    rows: int
    arrays: Mapping[str, Array] = field(default_factory=dict[str, Array])
    lists: Mapping[str, Cells] = field(default_factory=dict[str, Cells])
    scalars: Mapping[str, Scalar | None] = field(default_factory=dict[str, Scalar | None])

    def places(self) -> dict[str, Place]:
        """Return the names that belong in a batch, in order, and the place of each."""
        names = dict.fromkeys((*self.arrays, *self.lists, *self.scalars))
        return {name: place for name in names if (place := place_of(name)) is not None}

    def column(self, name: str, kind: CellKind, tally: Tally) -> Column | None:
        """Return the column of a name; None if all its cells are missing.

        >>> from collector_processor.decode.limits import DecodeLimits
        >>> table = RowTable(2, lists={"ml.feature.a": [1, 2]}, scalars={"ml.segment.s": True})
        >>> table.column("ml.segment.s", "text", Tally(DecodeLimits()))
        Column(numbers=None, codes=array([0, 0], dtype=int32), categories=('true',))
        """
        if name in self.arrays:
            return column_of_arrow(self.arrays[name], kind, tally)
        if name in self.lists:
            return column_of(self.lists[name], kind, tally)
        shared = column_of([self.scalars.get(name)], kind, tally)
        return None if shared is None else shared.take(np.zeros(self.rows, np.int64))

    def ids(self, call_id: str | None) -> tuple[U64, Mask]:
        """Return the hashes of the rows' prediction ids uint64 ``[n, 2]``, and which rows have one, bool ``[n]``.

        A row without its own id has ``{scalar id}:{i}`` or, failing that, ``{call_id}:{i}``; with neither, its hash has
        no meaning.
        """
        if semconv.PREDICTION_ID in self.arrays:
            hashes, named = hash_arrow(self.arrays[semconv.PREDICTION_ID])
        elif semconv.PREDICTION_ID in self.lists:
            texts = [text_of(cell) or "" for cell in self.lists[semconv.PREDICTION_ID]]
            hashes, named = hash_ids(texts), np.array([bool(text) for text in texts], np.bool_)
        else:
            shared = text_of(self.scalars.get(semconv.PREDICTION_ID)) or call_id
            named = np.full(self.rows, shared is not None)
            return np.zeros((self.rows, 2), np.uint64) if shared is None else row_ids(shared, self.rows), named
        shared = text_of(self.scalars.get(semconv.PREDICTION_ID)) or call_id
        if shared is None or named.all():
            return hashes, named
        return np.where(named[:, None], hashes, row_ids(shared, self.rows)), np.ones(self.rows, np.bool_)


class ColumnQuota:
    """Decides which templated columns of one model fit into the request's limits; first come, first served.

    >>> from collector_processor.decode.limits import DecodeLimits
    >>> tally = Tally(DecodeLimits(features=1))
    >>> quota, column = ColumnQuota(tally), Column(np.array([1.0, np.nan]))
    >>> [quota.admits(Place("feature", "mixed", key), column) for key in ("a", "b", "a")], dict(tally.dropped)
    ([True, False, True], {'features_over_limit': 1})
    """

    _REASONS: Mapping[str, DecodeReason] = {
        "feature": "features_over_limit",
        "attribution": "attributions_over_limit",
        "segment": "segments_over_limit",
        "scores": "classes_over_limit",
    }

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._keys: dict[str, set[str]] = {part: set() for part in self._REASONS}
        limits = tally.limits
        self._most = {
            "feature": limits.features,
            "attribution": limits.features,
            "segment": limits.segments,
            "scores": limits.classes,
        }

    def admits(self, place: Place, column: Column) -> bool:
        """Return whether the column is kept; if not, count its cells as dropped."""
        keys = self._keys.get(place.part)
        if keys is None or place.key in keys:
            return True
        if len(place.key.encode()) > self._tally.limits.text_length:
            self._tally.drop("name_too_long", _present(column))
            return False
        if len(keys) >= self._most[place.part]:
            self._tally.drop(self._REASONS[place.part], _present(column))
            return False
        keys.add(place.key)
        return True

    def columns(self, table: RowTable) -> Iterator[tuple[Place, Column]]:
        """Yield the columns of a table, except ids, that have any cell and are kept."""
        for name, place in table.places().items():
            if place.part == "id":
                continue
            column = table.column(name, place.kind, self._tally)
            if column is not None and self.admits(place, column):
                yield place, column


def _present(column: Column) -> int:
    return int((~column.missing()).sum())
