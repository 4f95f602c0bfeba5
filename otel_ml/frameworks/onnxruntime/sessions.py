"""Describes sessions of ONNX Runtime, reads what they predict for, and records their results.

This module imports numpy, so it is loaded only when the application has a session.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import numpy as np

from otel_ml.frameworks.base import Started
from otel_ml.frameworks.calls import class_labels, record_positive, record_probabilities, record_values
from otel_ml.frameworks.described import Description, Models
from otel_ml.frameworks.library import Plan, argument, left_out
from otel_ml.model import Model
from otel_ml.prediction import Prediction
from otel_ml.problems import report
from otel_ml.semconv import Task

_NAME: Final = "onnxruntime.InferenceSession"
_UNSET: Final = (0, 2**63 - 1)
"""Versions of a model that nobody set."""
_TASKS: Final[tuple[Task, ...]] = ("binary_classification", "multiclass_classification", "regression")


@dataclass(frozen=True, slots=True)
class _Outputs:
    """The places of a session's outputs that are recorded, by their names."""

    label: str | None = None
    probabilities: str | None = None
    value: str | None = None
    score: str | None = None


@dataclass(slots=True)
class _Classes:
    """The classes of a tensor of probabilities: as the model says, else learned from labels beside it."""

    given: Any
    learned: dict[int, Any] = field(default_factory=dict[int, Any])
    contradicted: bool = False

    def of(self, probabilities: Any, labels: Any) -> Any:
        """Return the classes in the order of the columns; None as long as some are not known."""
        if self.given is not None:
            return self.given if len(self.given) == probabilities.shape[1] else None
        if labels is not None and len(self.learned) < probabilities.shape[1] and not self.contradicted:
            self._learn(probabilities, labels)
        if self.contradicted or len(self.learned) < probabilities.shape[1]:
            return None
        return class_labels([self.learned[place] for place in range(len(self.learned))])

    def _learn(self, probabilities: Any, labels: Any) -> None:
        likeliest = probabilities.argmax(axis=1)
        clear = (probabilities == probabilities.max(axis=1, keepdims=True)).sum(axis=1) == 1
        for place, label in {*zip(likeliest[clear].tolist(), labels[clear].tolist(), strict=True)}:
            if self.learned.setdefault(place, label) != label:
                self.contradicted = True  # the label is not the likeliest class
        if len(set(self.learned.values())) < len(self.learned):
            self.contradicted = True


def plan(session: Any, models: Models) -> Plan:
    """Return how calls of a session are observed, by method."""
    meta = session.get_modelmeta()
    said: Mapping[str, str] = meta.custom_metadata_map
    outputs = _outputs_of(session.get_outputs(), said)
    if outputs is None:
        return left_out(_NAME, f"none of its outputs is known to be a class, a probability or a value ({_hint()})")
    classes = class_labels(_list(said.get("class_names")) or None)
    task = _task(said.get("task"), outputs, classes)
    columns = _columns_of(session.get_inputs(), _list(said.get("feature_names")))
    description = Description(
        name=said.get("model_name") or _NAME,
        framework="onnxruntime",
        task=task,
        classes=None if classes is None else tuple(classes.tolist()),
        version=said.get("model_version") or ("" if meta.version in _UNSET else str(meta.version)),
    )
    handle = models.handle(session, description)
    names = [output.name for output in session.get_outputs()]
    return {"run": partial(_run, handle, names, outputs, columns, _Classes(classes))}


def _hint() -> str:
    return "the model's custom metadata may say so: task, class_names, feature_names"


def _list(text: str | None) -> list[str]:
    """Return the names in a text of metadata: a JSON list, or names between commas."""
    if not text:
        return []
    with suppress(ValueError):
        names = json.loads(text)
        if isinstance(names, list):
            return [str(name) for name in names]
    return [name.strip() for name in text.split(",")]


def _task(said: str | None, outputs: _Outputs, classes: Any) -> Task | None:
    if said in _TASKS:
        return said
    if outputs.value is not None:
        return "regression"
    if outputs.score is not None:
        return "binary_classification"
    if classes is None:
        return None
    return "binary_classification" if len(classes) == 2 else "multiclass_classification"


def _outputs_of(outputs: Sequence[Any], said: Mapping[str, str]) -> _Outputs | None:
    """Return which outputs are recorded; None if none of them is known."""
    labels = [each.name for each in outputs if _is_label(each)]
    likely = [each.name for each in outputs if _is_probabilities(each)]
    floats = [each for each in outputs if each.type.startswith("tensor(") and _is_float(each.type)]
    if labels and (likely or not floats):
        return _Outputs(label=labels[0], probabilities=likely[0] if likely else None)
    if labels:  # scores of outliers, distances of clusters
        return None
    if likely:
        return _Outputs(probabilities=likely[0])
    if len(outputs) != 1 or len(floats) != 1:
        return None
    [only] = floats
    width = only.shape[1] if len(only.shape) == 2 else 1 if len(only.shape) == 1 else None
    task = said.get("task")
    if width == 1:
        return _Outputs(score=only.name) if task == "binary_classification" else _Outputs(value=only.name)
    return _Outputs(probabilities=only.name) if said.get("class_names") and width is not None else None


def _is_label(output: Any) -> bool:
    kinds = ("tensor(int64)", "tensor(int32)", "tensor(string)", "tensor(bool)")
    return "label" in output.name.lower() and output.type in kinds


def _is_probabilities(output: Any) -> bool:
    return "prob" in output.name.lower() and (_is_float(output.type) or output.type.startswith("seq(map("))


def _is_float(kind: str) -> bool:
    return kind in ("tensor(float)", "tensor(double)", "tensor(float16)")


def _columns_of(inputs: Sequence[Any], given: Sequence[str]) -> dict[str, tuple[str, ...]] | None:
    """Return the names of the columns of each input; None if one of them is not a table."""
    widths: dict[str, int] = {}
    for each in inputs:
        if len(each.shape) != 2 or not isinstance(each.shape[1], int):
            return None
        widths[each.name] = each.shape[1]
    total = sum(widths.values())
    if given and len(given) != total:
        report("onnx feature names", "the metadata of a model has %d feature_names for %d columns", len(given), total)
    columns: dict[str, tuple[str, ...]] = {}
    rest = list(given) if len(given) == total else []
    for name, width in widths.items():
        if rest:
            columns[name], rest = tuple(rest[:width]), rest[width:]
        elif len(widths) == 1:
            columns[name] = tuple(f"x{place}" for place in range(width))
        else:
            columns[name] = (name,) if width == 1 else tuple(f"{name}_{place}" for place in range(width))
    return columns


def _run(
    model: Model,
    names: Sequence[str],
    outputs: _Outputs,
    columns: Mapping[str, tuple[str, ...]] | None,
    classes: _Classes,
    _: Any,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> Started | None:
    """Observe ``run(output_names, input_feed)``."""
    asked = argument(args, kwargs, 0, "output_names") or names
    places = {name: place for place, name in enumerate(asked)}
    wanted = (outputs.label, outputs.probabilities, outputs.value, outputs.score)
    if not any(name in places for name in wanted if name is not None):
        return None
    prediction = model.predict(_features(argument(args, kwargs, 1, "input_feed"), columns))
    return Started(prediction, partial(_record, prediction, outputs, places, classes))


def _features(feed: Any, columns: Mapping[str, tuple[str, ...]] | None) -> Any:
    """Return the cells of a call by name: of one row, or columns; None if they do not form a table."""
    if columns is None or not isinstance(feed, Mapping):
        return None
    cells: dict[str, Any] = {}
    for name, titles in columns.items():
        table = np.asarray(feed.get(name))
        if table.ndim != 2 or table.shape[1] != len(titles):
            return None
        if len(table) == 1:
            cells.update(zip(titles, table[0].tolist(), strict=True))
        else:
            cells.update(zip(titles, table.T, strict=True))
    return cells


def _record(
    prediction: Prediction, outputs: _Outputs, places: Mapping[str, int], classes: _Classes, results: Sequence[Any]
) -> bool:
    def result(name: str | None) -> Any:
        return results[places[name]] if name is not None and name in places else None

    value, score = result(outputs.value), result(outputs.score)
    if value is not None:
        return record_values(prediction, value)
    if score is not None:
        given = classes.given if classes.given is not None and len(classes.given) == 2 else np.arange(2)
        return record_positive(prediction, given, score)
    labels, probabilities = result(outputs.label), result(outputs.probabilities)
    labels = None if labels is None else np.asarray(labels).reshape(-1)
    recorded = probabilities is not None and _record_probabilities(prediction, probabilities, labels, classes)
    if labels is not None:  # the label of the model decides, also where its threshold is not the half
        prediction.record(class_=labels)
    return recorded or labels is not None


def _record_probabilities(prediction: Prediction, probabilities: Any, labels: Any, classes: _Classes) -> bool:
    if isinstance(probabilities, list):  # ZipMap: a mapping from class to probability for each row
        if not probabilities or not isinstance(probabilities[0], Mapping):
            return False
        keys = list(probabilities[0])
        table = np.array([[row[key] for key in keys] for row in probabilities], np.float64)
        return record_probabilities(prediction, class_labels(keys), table)
    table = np.asarray(probabilities)
    if table.ndim == 2 and table.shape[1] == 1:
        return record_positive(prediction, np.arange(2), table)
    if table.ndim != 2:
        return False
    known = classes.of(table, labels)
    if known is not None:
        return record_probabilities(prediction, known, table)
    if labels is None:
        report("onnx classes", "probabilities of a model without the names of its classes are left out: %s", _hint())
    elif table.shape[1] > 2:
        prediction.record(score=table.max(axis=1))
    return False
