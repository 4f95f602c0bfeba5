"""The buckets of a reference profile, and which of them a value falls into.

Numpy is used if the application has loaded it.
"""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from otel_ml.encode.rows import items
from otel_ml.encode.scalar import Scalar, UnsupportedValueError, class_text, scalar
from otel_ml.semconv import BUCKET_MISSING, BUCKET_OTHER

_DIGITS: Final = (6, 9, 12, 15, 17)


@dataclass(frozen=True, slots=True)
class Buckets:
    """The buckets of one feature; ``labels`` end with ``other`` and ``missing``.

    Numeric: ``edges`` ascend, and bucket i holds values from ``edges[i-1]`` up to but excluding ``edges[i]``; a value
    that is not a number counts as ``other``. Categorical: ``positions`` by category.

    >>> numeric_buckets([0, 1.5]).labels
    ('(-inf,0)', '[0,1.5)', '[1.5,+inf)', 'other', 'missing')
    """

    labels: tuple[str, ...]
    edges: tuple[float, ...] | None = None
    positions: Mapping[str, int] | None = None

    def place(self, value: object) -> int:
        """Return the index of the bucket that a value falls into."""
        try:
            plain = scalar(value)
        except UnsupportedValueError:
            return self.other
        return self._place(plain)

    def _place(self, plain: Scalar | None) -> int:
        if plain is None:
            return self.missing
        if self.edges is not None:
            return self.other if isinstance(plain, (str, bool)) else bisect_right(self.edges, plain)
        text = class_text(plain)
        return self.other if self.positions is None or text is None else self.positions.get(text, self.other)

    @property
    def other(self) -> int:
        """The index of the bucket for values that the reference does not have."""
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
    ('(-inf,+inf)', 'other', 'missing')
    """
    forms = ([f"{edge:.{digits}g}" for edge in edges] for digits in _DIGITS)
    texts = next((form for form in forms if len(set(form)) == len(form)), [repr(edge) for edge in edges])
    if not texts:
        return Buckets(("(-inf,+inf)", BUCKET_OTHER, BUCKET_MISSING), edges=())
    inner = [f"[{low},{high})" for low, high in pairwise(texts)]
    labels = [f"(-inf,{texts[0]})", *inner, f"[{texts[-1]},+inf)"]
    return Buckets((*labels, BUCKET_OTHER, BUCKET_MISSING), edges=tuple(edges))


def categorical_buckets(categories: Sequence[str]) -> Buckets:
    """Return one bucket per category; a category that is itself called ``other`` or ``missing`` shares that label."""
    names = [name for name in dict.fromkeys(categories) if name not in (BUCKET_OTHER, BUCKET_MISSING)]
    labels = (*names, BUCKET_OTHER, BUCKET_MISSING)
    return Buckets(labels, positions={name: position for position, name in enumerate(labels)})


def _float_array(numpy: Any, column: Any) -> Any | None:
    """Return a numeric column as float64 with NaN for missing cells, None if it is not numeric."""
    kind = getattr(getattr(column, "dtype", None), "kind", None)
    if kind in ("f", "i", "u") and hasattr(column, "__array__"):
        try:
            return numpy.asarray(column, dtype=numpy.float64)
        except (TypeError, ValueError):
            return None
    return None
