"""The buckets of a reference profile, and which of them a value falls into.

Numpy is used if the application has loaded it.
"""

from __future__ import annotations

import json
import sys
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise
from typing import Any, Final

from otel_ml.encode.rows import items
from otel_ml.encode.scalar import Scalar, UnsupportedValueError, scalar
from otel_ml.semconv import BUCKET_MISSING, BUCKET_OTHER, BUCKET_WRONG_TYPE

_DIGITS: Final = (6, 9, 12, 15, 17)
_LAST: Final = (BUCKET_OTHER, BUCKET_WRONG_TYPE, BUCKET_MISSING)
_BEYOND_INTEGERS: Final = 2.0**63
"""The service takes whole numbers from here on for numbers, not for texts."""
_TEXT_BYTES: Final = 256
"""Longer texts are cut, in spans and in the categories of a profile."""


@dataclass(frozen=True, slots=True)
class Buckets:
    """The buckets of one column; ``labels`` end with ``other``, ``wrong_type`` and ``missing``.

    A cell counts as what the service would take it for if it came in a span. Numeric: ``edges`` ascend, and bucket i
    holds values from ``edges[i-1]`` up to but excluding ``edges[i]``; a text or a truth value has the wrong type.
    Categorical: ``positions`` by category; a text or whole number that is none of them is ``other``, and a fraction has
    the wrong type. What an attribute cannot hold is missing.

    >>> numeric_buckets([0, 1.5]).labels
    ('(-inf,0)', '[0,1.5)', '[1.5,+inf)', 'other', 'wrong_type', 'missing')
    """

    labels: tuple[str, ...]
    edges: tuple[float, ...] | None = None
    positions: Mapping[str, int] | None = None

    def place(self, value: object) -> int:
        """Return the index of the bucket that a value falls into."""
        # The usual cells first: this runs for every feature of every prediction.
        if type(value) is float and self.edges is not None:
            return bisect_right(self.edges, value) if value == value else self.missing
        if type(value) is str and self.positions is not None and len(value) <= _TEXT_BYTES and value.isascii():
            place = self.positions.get(value)
            return self.other if place is None else place
        try:
            plain = scalar(value)
        except UnsupportedValueError:
            return self.missing
        if plain is None:
            return self.missing
        return self._place_text(plain) if self.edges is None else self._place_number(plain)

    def _place_number(self, plain: Scalar) -> int:
        if isinstance(plain, (str, bool)):
            return self.wrong_type
        return bisect_right(self.edges or (), float(plain))

    def _place_text(self, plain: Scalar) -> int:
        if isinstance(plain, bool):
            plain = "true" if plain else "false"
        elif isinstance(plain, str):
            plain = plain.encode()[:_TEXT_BYTES].decode(errors="ignore")
        else:
            # The service reads every number as a double.
            plain = float(plain)
            if not plain.is_integer() or abs(plain) >= _BEYOND_INTEGERS:
                return self.wrong_type
            plain = str(int(plain))
        return (self.positions or {}).get(plain, self.other)

    @property
    def other(self) -> int:
        """The index of the bucket for categories that the reference does not have."""
        return len(self.labels) - 3

    @property
    def wrong_type(self) -> int:
        """The index of the bucket for texts in a numeric column, and for fractions in a categorical one."""
        return len(self.labels) - 2

    @property
    def missing(self) -> int:
        """The index of the bucket for missing values."""
        return len(self.labels) - 1

    def counts(self, column: object) -> Sequence[int]:
        """Return how many cells of a column fall into each bucket, by index."""
        numpy = sys.modules.get("numpy")
        if numpy is not None and self.edges is not None:
            numbers = _float_array(numpy, column)
            if numbers is not None:
                absent = numpy.isnan(numbers)
                places = numpy.searchsorted(self.edges, numbers[~absent], side="right")
                counts = numpy.bincount(places, minlength=len(self.labels)).tolist()
                counts[self.missing] = int(absent.sum())
                return counts
        return self._counts_by_value(items(column))

    def _counts_by_value(self, cells: list[Any]) -> list[int]:
        counts = [0] * len(self.labels)
        places: dict[object, int] = {}
        for cell in cells:
            # Texts repeat; floats rarely do, and 1, 1.0 and True are one key but not one bucket.
            if type(cell) is not str:
                counts[self.place(cell)] += 1
                continue
            place = places.get(cell)
            if place is None:
                place = self.place(cell)
                if len(places) < 10_000:
                    places[cell] = place
            counts[place] += 1
        return counts


def numeric_buckets(edges: Sequence[float]) -> Buckets:
    """Return buckets between ascending edges; labels have six digits, or as many as distinguish the edges.

    >>> numeric_buckets([]).labels
    ('(-inf,+inf)', 'other', 'wrong_type', 'missing')
    """
    forms = ([f"{edge:.{digits}g}" for edge in edges] for digits in _DIGITS)
    texts = next((form for form in forms if len(set(form)) == len(form)), [repr(edge) for edge in edges])
    if not texts:
        return Buckets(("(-inf,+inf)", *_LAST), edges=())
    inner = [f"[{low},{high})" for low, high in pairwise(texts)]
    labels = [f"(-inf,{texts[0]})", *inner, f"[{texts[-1]},+inf)"]
    return Buckets((*labels, *_LAST), edges=tuple(edges))


def categorical_buckets(categories: Iterable[str]) -> Buckets:
    """Return one bucket per category; a category called like one of the last three has a ``=`` before its label.

    >>> categorical_buckets(["Bern", "other", "=1"]).labels
    ('Bern', '=other', '==1', 'other', 'wrong_type', 'missing')
    """
    names = dict.fromkeys(categories)
    labels = [f"={name}" if name in _LAST or name.startswith("=") else name for name in names]
    return Buckets((*labels, *_LAST), positions={name: position for position, name in enumerate(names)})


def observed_edges(edges: Sequence[float], coarse: Iterable[int], low: float, high: float) -> list[float]:
    """Return the edges by which a numeric column is counted: the coarse ones, and those around its range.

    ``coarse`` are positions of the deciles among ``edges``; ``low`` and ``high`` are the reference's smallest and
    largest value.

    >>> observed_edges([-0.5, 0.5, 3.5, 9.5, 12.5], [2], 0.0, 9.0)
    [-0.5, 3.5, 9.5]
    """
    chosen = {edges[position] for position in coarse if position < len(edges)}
    below, above = bisect_right(edges, low), bisect_right(edges, high)
    return sorted(chosen.union(edges[max(below - 1, 0) : below], edges[above : above + 1]))


def profile_id(columns: Mapping[tuple[str, str], Buckets], positive_class: str) -> str:
    """Return ``ml.reference.id``: 16 hex digits of a hash of the buckets by role and name, and of the positive class.

    Counts by the buckets of one id can be added up.
    """
    words = [
        [role, name, None if each.edges is None else [*map(repr, each.edges)], sorted(each.positions or ())]
        for (role, name), each in sorted(columns.items())
    ]
    return sha256(json.dumps([words, positive_class]).encode()).hexdigest()[:16]


def _float_array(numpy: Any, column: Any) -> Any | None:
    """Return a numeric column as float64 with NaN for missing cells, None if it is not numeric."""
    kind = getattr(getattr(column, "dtype", None), "kind", None)
    if kind in ("f", "i", "u") and hasattr(column, "__array__"):
        try:
            return numpy.asarray(column, dtype=numpy.float64)
        except (TypeError, ValueError):
            return None
    return None
