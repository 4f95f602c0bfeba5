"""The rules that turn a value on the wire into a cell, one value at a time; columns apply them to many at a time.

A scalar is a float, int, bool or str; None is a missing one. An empty ``AnyValue`` and NaN are missing. What a scalar
becomes depends on its place:

- **mixed** (``ml.feature.<key>``): numbers stay numbers, texts stay texts, booleans are the texts ``true`` and
  ``false``.
- **text** (classes, segments, ids, ``error.type``): the text of the scalar, see :func:`text_of`.
- **number** (scores, values, attributions): numbers only; a text or boolean is missing and counted as
  ``unsupported_value``.

A map, an array in an array, or bytes in place of a scalar is missing and counted as ``unsupported_value``. Integers
become the nearest float64. Infinities are numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal, TypeAlias

from otel_ml import semconv

Scalar: TypeAlias = float | int | bool | str
CellKind = Literal["mixed", "text", "number"]
Part = Literal[
    "feature",
    "segment",
    "attribution",
    "attribution_weight",
    "scores",
    "class",
    "score",
    "value",
    "id",
    "label_class",
    "label_value",
]

_BEYOND_INTEGERS: Final = 2.0**63
_SHORT, _PLACES = 128, 8192
"""Longest name whose place is cached, and the number of names cached."""


class UnreadableError(ValueError):
    """Raised if a span or record of ours violates the contract and is rejected; the text is for the sender."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a contract name belongs in a batch, and the kind of its cells; ``key`` is empty except for templates."""

    part: Part
    kind: CellKind
    key: str = ""


_EXACT: Final[dict[str, Place]] = {
    semconv.PREDICTION_ID: Place("id", "text"),
    semconv.PREDICTION_CLASS: Place("class", "text"),
    semconv.PREDICTION_SCORE: Place("score", "number"),
    semconv.PREDICTION_VALUE: Place("value", "number"),
    semconv.ATTRIBUTIONS_WEIGHT: Place("attribution_weight", "number"),
    semconv.LABEL_CLASS: Place("label_class", "text"),
    semconv.LABEL_VALUE: Place("label_value", "number"),
}
SCORES: Final = semconv.PREDICTION_SCORES + "."
"""Prefix of a class's probability as attribute or column: the flat form of the map ``ml.prediction.scores``."""
_TEMPLATES: Final[tuple[tuple[str, Part, CellKind], ...]] = (
    (semconv.FEATURE, "feature", "mixed"),
    (semconv.SEGMENT, "segment", "text"),
    (semconv.ATTRIBUTION, "attribution", "number"),
    (SCORES, "scores", "number"),
)
PER_CALL: Final = frozenset(
    (
        semconv.PREDICTION_TIME,
        semconv.PREDICTION_DURATION,
        semconv.ERROR_TYPE,
        semconv.TRACE_ID,
        semconv.SPAN_ID,
        semconv.TRACE_SAMPLED,
    )
)
"""Columns of ``ml.batch`` that say of each row what a span says of its call; see :mod:`.calls`."""
MAPS: Final[dict[str, str]] = {semconv.FEATURES: semconv.FEATURE, semconv.PREDICTION_SCORES: SCORES}
"""Names whose value is a map, and the prefix that makes a flat name of each of its keys."""


def place_of(name: str) -> Place | None:
    """Return where the attribute or column of this name belongs; None for names that are not cells of ours.

    >>> place_of("ml.feature.age")
    Place(part='feature', kind='mixed', key='age')
    >>> place_of("http.route"), place_of("ml.feature.")
    (None, None)
    """
    return _known_place(name) if len(name) <= _SHORT else _place(name)


def _place(name: str) -> Place | None:
    place = _EXACT.get(name)
    if place is not None:
        return place
    for prefix, part, kind in _TEMPLATES:
        if name.startswith(prefix) and len(name) > len(prefix):
            return Place(part, kind, name[len(prefix) :])
    return None


_known_place: Final = lru_cache(maxsize=_PLACES)(_place)


def text_of(value: Scalar | None) -> str | None:
    """Return the text of a scalar in place of a text; None for a missing one.

    Strings as they are; booleans as ``true`` and ``false``; integers in decimal; doubles that are whole and below 2⁶³
    in magnitude as integers (so ``1``, ``1.0`` and ``"1"`` are one class), others in the shortest form that reads back.

    >>> text_of(1), text_of(1.0), text_of(True), text_of(0.5), text_of(-0.0), text_of(1e300), text_of("é")
    ('1', '1', 'true', '0.5', '0', '1e+300', 'é')
    >>> text_of(float("nan")) is None
    True
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if math.isnan(value):
        return None
    if value.is_integer() and abs(value) < _BEYOND_INTEGERS:
        return str(int(value))
    return repr(value)


def shorten(text: str, longest: int) -> str:
    """Return the longest prefix of whole characters that has at most ``longest`` UTF-8 bytes.

    >>> shorten("naïve", 3), shorten("naïve", 4), shorten("naïve", 6)
    ('na', 'naï', 'naïve')
    """
    encoded = text.encode()
    return text if len(encoded) <= longest else encoded[:longest].decode(errors="ignore")
