"""Counts feature values by the buckets of a reference profile, inside the process: ``ml.feature.observations``.

Only the profile's JSON is read, with the standard library. Numpy is used if the application has loaded it.
"""

from __future__ import annotations

import json
import logging
import math
import os
import sys
import threading
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, cast
from weakref import WeakSet

from otel_ml.config import Settings
from otel_ml.emit.redaction import Redaction
from otel_ml.encode.rows import is_column, items, length
from otel_ml.encode.scalar import Scalar, UnsupportedValueError, class_text, scalar
from otel_ml.semconv import BUCKET_MISSING, BUCKET_OTHER

_logger = logging.getLogger(__name__)

FORMAT: Final = "otel-ml-reference/1"
KINDS: Final = ("numeric", "categorical")
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


@dataclass(frozen=True, slots=True)
class Profile:
    """The parts of a reference profile used here: its model, and the buckets by feature."""

    model: str
    buckets: Mapping[str, Buckets]


def read_profile(path: str) -> Profile:
    """Read the buckets of a reference profile file.

    Raises :class:`OSError` if it cannot be opened, and :class:`ValueError` with the reason if it is not a profile.
    """
    content = json.loads(Path(path).read_text(encoding="utf-8"))
    if not isinstance(content, dict) or cast(Any, content).get("format") != FORMAT:
        raise ValueError(f"{path}: not a reference profile of format {FORMAT!r}")
    profile = cast("dict[str, Any]", content)
    try:
        buckets = {str(name): _buckets(name, entry) for name, entry in profile["buckets"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: malformed 'buckets': {error!r}") from error
    return Profile(str(profile.get("model", "")), buckets)


def _buckets(name: str, entry: Mapping[str, Any]) -> Buckets:
    kind = entry["kind"]
    if kind == "categorical":
        return categorical_buckets([str(category) for category in entry["categories"]])
    if kind != "numeric":
        raise ValueError(f"feature {name!r} has buckets of kind {kind!r}; allowed: {', '.join(KINDS)}")
    edges = [float(edge) for edge in entry["edges"]]
    ascending = all(low < high for low, high in pairwise(edges))
    if not ascending or not all(map(math.isfinite, edges)):
        raise ValueError(f"feature {name!r}: edges must be finite and ascending")
    return numeric_buckets(edges)


def load_profile(settings: Settings, model_name: str) -> Profile | None:
    """Return the profile that the settings name, None if there is none.

    A profile that cannot be read is logged as an error, because a missing file must not stop the application. A profile
    from ``OTEL_ML_REFERENCE`` is only for the model that it names, because a process may have several models.
    """
    if settings.reference is None:
        return None
    try:
        profile = read_profile(settings.reference)
    except (OSError, ValueError) as error:
        _logger.error("model %r: features are not counted: %s", model_name, error)  # noqa: TRY400 - it says it all
        return None
    if settings.reference_from_environment and profile.model not in ("", model_name):
        return None
    return profile


class Observations:
    """Counts by feature and bucket of one model; thread-safe, and a forked child starts at zero.

    >>> observations = Observations(Profile("", {"age": numeric_buckets([18, 65])}), Redaction(Settings()))
    >>> observations.add_row({"age": 37})
    >>> observations.add_columns({"age": [70, None]}, 2)
    >>> list(observations.read())
    [('age', '[18,65)', 1), ('age', '[65,+inf)', 1), ('age', 'missing', 1)]
    """

    def __init__(self, profile: Profile, redaction: Redaction) -> None:
        self._buckets = {name: buckets for name, buckets in profile.buckets.items() if redaction.counts(name)}
        self._lock = threading.Lock()
        self._counts: dict[str, list[int]] = {}
        self.restart()
        _living.add(self)

    def series(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Return the features that are counted, with the labels of their buckets."""
        return tuple((name, buckets.labels) for name, buckets in self._buckets.items())

    def restart(self) -> None:
        """Start at zero with a new lock: a fork may have copied a locked one, and the parent reports its own counts."""
        self._lock = threading.Lock()
        self._counts = {name: [0] * len(buckets.labels) for name, buckets in self._buckets.items()}

    def add_row(self, row: Mapping[Any, object]) -> None:
        """Count one row; a feature of the profile that the row lacks counts as missing."""
        places = [(name, buckets.place(row.get(name))) for name, buckets in self._buckets.items()]
        with self._lock:
            for name, place in places:
                self._counts[name][place] += 1

    def add_columns(self, columns: Mapping[Any, object], rows: int) -> None:
        """Count many rows; a column whose length is not ``rows`` is left out."""
        for name, buckets in self._buckets.items():
            column = columns.get(name)
            if column is None:
                added: Sequence[int] = [0] * buckets.missing + [rows]
            elif is_column(column) and length(column) == rows:
                added = buckets.counts(column)
            else:
                continue
            with self._lock:
                self._counts[name] = [old + new for old, new in zip(self._counts[name], added, strict=True)]

    def read(self) -> Iterator[tuple[str, str, int]]:
        """Yield feature, bucket and count so far, for the buckets that are not empty."""
        with self._lock:
            snapshot = {name: list(counts) for name, counts in self._counts.items()}
        for name, counts in snapshot.items():
            for label, count in zip(self._buckets[name].labels, counts, strict=True):
                if count:
                    yield name, label, count


def _float_array(numpy: Any, column: Any) -> Any | None:
    """Return a numeric column as float64 with NaN for missing cells, None if it is not numeric."""
    kind = getattr(getattr(column, "dtype", None), "kind", None)
    if kind in ("f", "i", "u") and hasattr(column, "__array__"):
        try:
            return numpy.asarray(column, dtype=numpy.float64)
        except (TypeError, ValueError):
            return None
    return None


_living: WeakSet[Observations] = WeakSet()


def _after_fork_in_child() -> None:
    for observations in list(_living):
        observations.restart()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
