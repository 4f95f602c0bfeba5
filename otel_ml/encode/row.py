"""One row to attributes: the hot path."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from opentelemetry.util.types import AnyValue

from otel_ml.emit.redaction import Routes, apply
from otel_ml.encode.scalar import (
    INT64_MAX,
    INT64_MIN,
    Scalar,
    UnsupportedValueError,
    bounded_int,
    class_text,
    clean_text,
    number,
    scalar,
)
from otel_ml.problems import report
from otel_ml.semconv import FEATURE, FEATURES

MAX_SEGMENTS: Final = 32
_PREFIX: Final = len(FEATURE)
_VALUE_BYTES: Final = 24
"""What a number and the framing of one map entry take on the wire, at most."""

Attributes = dict[str, AnyValue]


def feature_attributes(row: Mapping[Any, Any], routes: Routes, limit: int) -> Attributes:
    """The row's features as ``ml.feature.<key>``: converted, bounded, redacted, missing ones left out.

    >>> from otel_ml.config import Settings
    >>> from otel_ml.emit.redaction import Redaction
    >>> row = {"age": 37, "income": float("nan"), "city": "Bern"}
    >>> feature_attributes(row, Redaction(Settings(deny=("city",))).features, limit=256)
    {'ml.feature.age': 37}
    """
    attributes: Attributes = {}
    for key, value in row.items():
        route = routes[key]
        if route is None:
            continue
        attribute, rule = route
        kind = type(value)
        if rule is not None:
            value = apply(rule, value, attribute)
            if value is None:
                continue
        elif kind is float:
            if value != value:
                continue
        elif kind is str:
            if len(value) > limit or not value.isascii():
                value = clean_text(value, limit)
        elif kind is int:
            if not INT64_MIN <= value <= INT64_MAX:
                value = bounded_int(value)
        elif kind is not bool:
            value = converted(value, limit, attribute)
            if value is None:
                continue
        attributes[attribute] = value
    return attributes


def feature_map(flat: Attributes, max_bytes: int) -> Attributes:
    """The same features as one ``ml.features`` map; what does not fit into ``max_bytes`` is dropped, and reported.

    >>> feature_map({"ml.feature.age": 37, "ml.feature.city": "Bern"}, 4096)
    {'ml.features': {'age': 37, 'city': 'Bern'}}
    """
    features: Attributes = {}
    for attribute, value in flat.items():
        key = attribute[_PREFIX:]
        max_bytes -= _VALUE_BYTES + 4 * len(key) + (4 * len(value) if isinstance(value, str) else 0)
        if max_bytes < 0:
            report("features over limit", "a row's features exceed max_span_bytes; those after %r are dropped", key)
            break
        features[key] = value
    return {FEATURES: features}


def segment_attributes(
    chosen: Mapping[Any, Any], taken: Iterable[tuple[Any, Any]], routes: Routes, taken_routes: Routes, limit: int
) -> Attributes:
    """Segments as ``ml.segment.<key>`` texts: those ``taken`` from features first, overruled by those ``chosen``."""
    attributes: Attributes = {}
    for pairs, allowed in ((taken, taken_routes), (chosen.items(), routes)):
        for key, value in pairs:
            route = allowed[key]
            if route is None:
                continue
            attribute, rule = route
            treated = value if rule is None else apply(rule, value, attribute)
            text = text_of(treated, limit, attribute)
            if text is not None:
                attributes[attribute] = text
    if len(attributes) > MAX_SEGMENTS:
        report("segments over limit", "%d segments, the limit is %d; others are dropped", len(attributes), MAX_SEGMENTS)
        attributes = dict(list(attributes.items())[:MAX_SEGMENTS])
    return attributes


def attribution_attributes(attributions: Mapping[Any, Any], routes: Routes, room: int) -> Attributes:
    """Attributions as ``ml.attribution.<key>`` numbers; the largest by absolute value where room is short."""
    found: dict[str, float] = {}
    for key, value in attributions.items():
        route = routes[key]
        if route is None:
            continue
        attribute = route[0]
        # A rule hides the feature's value, and its attribution tells nothing finer than sign and weight: it stays.
        amount = number_of(value, attribute)
        if amount is not None:
            found[attribute] = amount
    if len(found) > room:
        report("attributions over limit", "%d attributions, room for %d; the smallest are dropped", len(found), room)
        largest = sorted(found, key=lambda attribute: -abs(found[attribute]))[: max(room, 0)]
        found = {attribute: found[attribute] for attribute in largest}
    return {**found}


def converted(value: object, limit: int, attribute: str) -> Scalar | None:
    """:func:`~.scalar.scalar`, with what has no place in an attribute reported once and dropped."""
    try:
        return scalar(value, limit)
    except UnsupportedValueError as error:
        report(f"unsupported {attribute}", "%s: %s; dropped", attribute, error)
        return None


def text_of(value: object, limit: int, attribute: str) -> str | None:
    """:func:`~.scalar.class_text`, with what has no text reported once and dropped."""
    if type(value) is str and len(value) <= limit and value.isascii():
        return value
    try:
        return class_text(value, limit)
    except UnsupportedValueError as error:
        report(f"unsupported {attribute}", "%s: %s; dropped", attribute, error)
        return None


def number_of(value: object, attribute: str) -> float | None:
    """:func:`~.scalar.number`, with what is no number reported once and dropped."""
    if type(value) is float:
        return value if value == value else None
    try:
        return number(value)
    except UnsupportedValueError as error:
        report(f"unsupported {attribute}", "%s: %s; dropped", attribute, error)
        return None
