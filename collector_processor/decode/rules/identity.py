"""Which spans are predictions, which are labels, and which model they belong to.

- A span whose name starts with ``label`` and that has ``ml.label.class`` or ``ml.label.value``, as an attribute or as
  a column of an ``ml.batch``, is a label.
- Any other span is a prediction if it has an ``ml.prediction.*`` attribute other than ``ml.prediction.id``, an
  ``ml.feature.*``, ``ml.features`` or ``ml.batch``; or if its name starts with ``predict`` and it has any ``ml.*``
  attribute, or its resource names a model. (The id alone does not make a prediction: other spans carry it to refer to
  one.)
- A log record whose event name is ``ml.label`` is a label.
- Everything else is not ours and is ignored.

Spans and records of ours must name their model: ``ml.model.name`` is a non-empty string of the span or, failing that,
of its resource. A resource's ``ml.model.version`` applies to the model that the resource names, or to every model if it
names none. The version may be an integer; an absent one is empty. Task and role are from their closed sets; an absent
role is ``champion``. The positive class is the text of a scalar, and the threshold is a number. The features withheld
are a string; one that is too long stands for every feature that is not sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from collector_processor.decode.rules.attributes import Value, kind_of, read
from collector_processor.decode.rules.cells import UnreadableError, shorten, text_of
from otel_ml import semconv

_NAMESPACE: Final = semconv.MODEL_NAME.partition(".")[0] + "."
_PREDICTION: Final = semconv.PREDICTION_ID.rpartition(".")[0] + "."
_SIGNS: Final = (semconv.FEATURES, semconv.BATCH)
_TEMPLATES: Final = (semconv.FEATURE, _PREDICTION)
_LABELS: Final = frozenset((semconv.LABEL_CLASS, semconv.LABEL_VALUE))


class Identity(NamedTuple):
    """What the rows of one batch share; all but name and role are empty if absent; the threshold is its ``repr``."""

    name: str
    version: str
    task: str
    role: str
    positive_class: str = ""
    withheld: str = ""
    threshold: str = ""


class ResourceModel(NamedTuple):
    """The model that a resource names; empty if it names none."""

    name: str = ""
    version: str = ""


def resource_model_of(attributes: Iterable[KeyValue]) -> ResourceModel:
    """Return the model of a resource; attributes that are not strings are ignored.

    >>> from opentelemetry.proto.common.v1.common_pb2 import AnyValue
    >>> resource_model_of([KeyValue(key="ml.model.name", value=AnyValue(string_value="fraud"))])
    ResourceModel(name='fraud', version='')
    """
    values, _ = read(attributes)
    name, version = values.get(semconv.MODEL_NAME), values.get(semconv.MODEL_VERSION)
    return ResourceModel(name if isinstance(name, str) else "", version if isinstance(version, str) else "")


def may_be_label(name: str, values: Mapping[str, Value]) -> bool:
    """Return whether a span is a label, assuming that its ``ml.batch``, if any, holds labels."""
    return name.startswith(semconv.SPAN_LABEL) and (semconv.BATCH in values or has_label(values))


def has_label(names: Iterable[str]) -> bool:
    """Return whether any of the names is that of a label's class or value."""
    return not _LABELS.isdisjoint(names)


def is_prediction(name: str, values: Mapping[str, Value], resource_model: ResourceModel) -> bool:
    """Return whether a span that is not a label is a prediction.

    >>> is_prediction("GET /", {"ml.feature.age": 3}, ResourceModel())
    True
    >>> is_prediction("GET /", {"ml.prediction.id": "7"}, ResourceModel())
    False
    """
    if name.startswith(semconv.SPAN_PREDICT) and (
        resource_model.name or semconv.MODEL_NAME in values or any(key.startswith(_NAMESPACE) for key in values)
    ):
        return True
    return any(key in _SIGNS or (key.startswith(_TEMPLATES) and key != semconv.PREDICTION_ID) for key in values)


def identity_of(values: Mapping[str, Value], resource_model: ResourceModel, longest: int) -> Identity:
    """Return the model, task and role of a span or record; ``UnreadableError`` if any is invalid or the name absent.

    >>> identity_of({"ml.model.name": "fraud", "ml.model.version": 7}, ResourceModel(), 256)
    Identity(name='fraud', version='7', task='', role='champion', positive_class='', withheld='', threshold='')
    >>> identity_of({"ml.model.name": True}, ResourceModel(), 256)
    Traceback (most recent call last):
    collector_processor.decode.rules.cells.UnreadableError: ml.model.name is a bool, not a string
    """
    name = _text(values, semconv.MODEL_NAME, longest) or resource_model.name
    if not name:
        raise UnreadableError(f"{semconv.MODEL_NAME} is missing")
    default_version = resource_model.version if resource_model.name in ("", name) else ""
    return Identity(
        name,
        _text(values, semconv.MODEL_VERSION, longest) or default_version,
        _choice(values, semconv.MODEL_TASK, semconv.TASKS, longest),
        _choice(values, semconv.MODEL_ROLE, semconv.ROLES, longest) or semconv.ROLES[0],
        _class(values, semconv.MODEL_POSITIVE_CLASS, longest),
        _withheld(values, longest),
        _number(values, semconv.MODEL_THRESHOLD),
    )


def _text(values: Mapping[str, Value], name: str, longest: int) -> str:
    value = values.get(name)
    if name == semconv.MODEL_VERSION and type(value) is int:
        return str(value)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise UnreadableError(f"{name} is {kind_of(value)}, not a string")
    if len(value.encode()) > longest:
        raise UnreadableError(f"{name} is longer than {longest} bytes")
    return value


def _class(values: Mapping[str, Value], name: str, longest: int) -> str:
    value = values.get(name)
    if isinstance(value, AnyValue):
        raise UnreadableError(f"{name} is {kind_of(value)}, not a string")
    return shorten(text_of(value) or "", longest)


def _withheld(values: Mapping[str, Value], longest: int) -> str:
    value = values.get(semconv.FEATURES_WITHHELD)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise UnreadableError(f"{semconv.FEATURES_WITHHELD} is {kind_of(value)}, not a string")
    return value if len(value.encode()) <= longest else semconv.WITHHELD_ALL


def _number(values: Mapping[str, Value], name: str) -> str:
    value = values.get(name)
    if value is None:
        return ""
    if isinstance(value, (bool, str, AnyValue)):
        raise UnreadableError(f"{name} is {kind_of(value)}, not a double")
    return repr(float(value))


def _choice(values: Mapping[str, Value], name: str, choices: tuple[str, ...], longest: int) -> str:
    text = _text(values, name, longest)
    if text and text not in choices:
        raise UnreadableError(f"{name} is {text[:80]!r}; it must be one of: {', '.join(choices)}")
    return text
