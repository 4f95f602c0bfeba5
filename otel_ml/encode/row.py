"""Turns one row into attributes: the hot path."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from opentelemetry.util.types import AnyValue

from otel_ml.encode.rules import Routes, apply
from otel_ml.encode.scalar import (
    INT64_MAX,
    INT64_MIN,
    Scalar,
    UnsupportedValueError,
    bounded_int,
    class_text,
    clean_text,
    identifier,
    number,
    scalar,
)
from otel_ml.problems import report, report_over_limit, report_unsupported
from otel_ml.semconv import FEATURE, FEATURES, PREDICTION_ID

MAX_SEGMENTS: Final = 32
_PREFIX: Final = len(FEATURE)
_VALUE_BYTES: Final = 24
"""What a number and the framing of one map entry take on the wire, at most."""

Attributes = dict[str, AnyValue]


def feature_attributes(row: Mapping[Any, Any], routes: Routes, limit: int) -> Attributes:
    """Return the row's features as ``ml.feature.<key>``: converted, bounded, redacted, without missing ones.

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
    """Return the same features as one ``ml.features`` map; those beyond ``max_bytes`` are dropped and reported.

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
    """Return segments as ``ml.segment.<key>`` texts: those ``taken`` from features, overridden by those ``chosen``."""
    attributes: Attributes = {}
    for pairs, allowed in ((taken, taken_routes), (chosen.items(), routes)):
        for key, value in pairs:
            route = allowed[key]
            if route is None:
                continue
            attribute, rule = route
            redacted = value if rule is None else apply(rule, value, attribute)
            text = text_of(redacted, limit, attribute)
            if text is not None:
                attributes[attribute] = text
    if len(attributes) > MAX_SEGMENTS:
        report_over_limit("segments", len(attributes), MAX_SEGMENTS)
        attributes = dict(list(attributes.items())[:MAX_SEGMENTS])
    return attributes


def attribution_attributes(attributions: Mapping[Any, Any], routes: Routes, room: int) -> Attributes:
    """Return attributions as ``ml.attribution.<key>`` numbers; the largest by absolute value where room is short."""
    numbers: dict[str, float] = {}
    for key, value in attributions.items():
        route = routes[key]
        if route is None:
            continue
        attribute = route[0]
        # A rule hides the feature's value; the attribution reveals no more than a sign and a weight, so it stays.
        amount = number_of(value, attribute)
        if amount is not None:
            numbers[attribute] = amount
    if len(numbers) > room:
        report("attributions over limit", "%d attributions, room for %d; the smallest are dropped", len(numbers), room)
        largest = sorted(numbers, key=lambda attribute: -abs(numbers[attribute]))[: max(room, 0)]
        numbers = {attribute: numbers[attribute] for attribute in largest}
    return {**numbers}


def converted(value: object, limit: int, attribute: str) -> Scalar | None:
    """Return the value as a scalar; one that an attribute cannot hold is dropped and reported once."""
    try:
        return scalar(value, limit)
    except UnsupportedValueError as error:
        report_unsupported(attribute, error)
        return None


def text_of(value: object, limit: int, attribute: str) -> str | None:
    """Return the text of a class or segment; a value without one is dropped and reported once."""
    if type(value) is str and len(value) <= limit and value.isascii():
        return value
    if type(value) is int and INT64_MIN <= value <= INT64_MAX:
        return str(value)[:limit]
    try:
        return class_text(value, limit)
    except UnsupportedValueError as error:
        report_unsupported(attribute, error)
        return None


def number_of(value: object, attribute: str) -> float | None:
    """Return the value as a float; one that is not a number is dropped and reported once."""
    if type(value) is float:
        return value if value == value else None
    try:
        return number(value)
    except UnsupportedValueError as error:
        report_unsupported(attribute, error)
        return None


def id_of(value: object) -> str | None:
    """Return the prediction id as text; a value without one is dropped and reported once."""
    try:
        return identifier(value)
    except UnsupportedValueError as error:
        report_unsupported(PREDICTION_ID, error)
        return None
