"""Attributes of measurements: (key, value) pairs, model name and version first."""

from __future__ import annotations

from functools import lru_cache

from collector_processor.columns.batch import ModelKey
from collector_processor.statistics.schema import ColumnSpec, Schema
from otel_ml import semconv

Attributes = tuple[tuple[str, str], ...]
MODEL_KEYS = (semconv.MODEL_NAME, semconv.MODEL_VERSION)
"""The keys of every measurement; an absent version is an empty value."""
FEATURE_KEYS = (*MODEL_KEYS, semconv.FEATURE_NAME)
SEGMENT_KEYS = (*MODEL_KEYS, semconv.SEGMENT_NAME, semconv.SEGMENT_VALUE)
COLUMN_KEYS = (*MODEL_KEYS, semconv.COLUMN_ROLE, semconv.FEATURE_NAME)
DRIFT_KEYS = (*COLUMN_KEYS, semconv.DRIFT_METHOD)
_CACHED = 256
"""Number of cached tuples, the least recently used evicted: a few per model version, 100 bytes per column."""


def model_attributes(model: ModelKey) -> Attributes:
    """Return the pairs that name a model version.

    >>> model_attributes(ModelKey("fraud", "7"))
    (('ml.model.name', 'fraud'), ('ml.model.version', '7'))
    """
    return (semconv.MODEL_NAME, model.name), (semconv.MODEL_VERSION, model.version)


def segment_attributes(model: ModelKey, segment: str, value: str) -> Attributes:
    """Return the pairs of one value of one segment.

    >>> segment_attributes(ModelKey("fraud"), "region", "north")[2:]
    (('ml.segment.name', 'region'), ('ml.segment.value', 'north'))
    """
    return (*model_attributes(model), (semconv.SEGMENT_NAME, segment), (semconv.SEGMENT_VALUE, value))


def group_attributes(model: ModelKey, schema: Schema, group: int) -> Attributes:
    """Return the pairs of a row of the grouped vectors: row 0 is all rows, the others are slots of ``groups``."""
    if group == 0:
        return model_attributes(model)
    groups, slot = schema.groups, group - 1
    return segment_attributes(model, groups.columns[groups.owner(slot)], groups.name(slot))


@lru_cache(maxsize=_CACHED)
def feature_attributes(model: ModelKey, columns: tuple[ColumnSpec, ...]) -> tuple[Attributes, ...]:
    """Return the pairs of each feature column.

    >>> feature_attributes(ModelKey("fraud"), (ColumnSpec("feature", "age"),))[0][2:]
    (('ml.feature.name', 'age'),)
    """
    base = model_attributes(model)
    return tuple((*base, (semconv.FEATURE_NAME, column.name)) for column in columns)


@lru_cache(maxsize=_CACHED)
def quality_attributes(model: ModelKey, columns: tuple[ColumnSpec, ...]) -> tuple[Attributes, ...]:
    """Return the pairs of each column: the name of a feature, the role of an output.

    >>> columns = (ColumnSpec("feature", "age"), ColumnSpec("score", "score"))
    >>> [pairs[2:] for pairs in quality_attributes(ModelKey("fraud"), columns)]
    [(('ml.feature.name', 'age'),), (('ml.column.role', 'score'),)]
    """
    base = model_attributes(model)
    return tuple(
        (*base, (semconv.FEATURE_NAME, column.name) if column.role == "feature" else (semconv.COLUMN_ROLE, column.role))
        for column in columns
    )


@lru_cache(maxsize=_CACHED)
def column_attributes(model: ModelKey, columns: tuple[ColumnSpec, ...]) -> tuple[Attributes, ...]:
    """Return the pairs of each column; only features have a name in addition to their role.

    >>> columns = (ColumnSpec("feature", "age"), ColumnSpec("score", "score"))
    >>> for pairs in column_attributes(ModelKey("fraud"), columns):
    ...     print(pairs[2:])
    (('ml.column.role', 'feature'), ('ml.feature.name', 'age'))
    (('ml.column.role', 'score'),)
    """
    base = model_attributes(model)
    return tuple(
        (*base, (semconv.COLUMN_ROLE, column.role), (semconv.FEATURE_NAME, column.name))
        if column.role == "feature"
        else (*base, (semconv.COLUMN_ROLE, column.role))
        for column in columns
    )


@lru_cache(maxsize=_CACHED)
def figure_attributes(model: ModelKey, roles: tuple[str, ...], features: tuple[str, ...]) -> tuple[Attributes, ...]:
    """Return the pairs of figures of a model, and of those of a feature.

    >>> for pairs in figure_attributes(ModelKey("fraud"), ("error", "attribution"), ("", "age")):
    ...     print(pairs[2:])
    (('ml.column.role', 'error'),)
    (('ml.column.role', 'attribution'), ('ml.feature.name', 'age'))
    """
    base = model_attributes(model)
    return tuple(
        (*base, (semconv.COLUMN_ROLE, role), *(((semconv.FEATURE_NAME, feature),) if feature else ()))
        for role, feature in zip(roles, features, strict=True)
    )


@lru_cache(maxsize=_CACHED)
def drift_attributes(model: ModelKey, columns: tuple[ColumnSpec, ...], method: str) -> tuple[Attributes, ...]:
    """Return the pairs of each column under one drift method.

    >>> drift_attributes(ModelKey("fraud"), (ColumnSpec("feature", "age"),), "js")[0][3:]
    (('ml.feature.name', 'age'), ('ml.drift.method', 'js'))
    """
    last = (semconv.DRIFT_METHOD, method)
    return tuple((*pairs, last) for pairs in column_attributes(model, columns))
