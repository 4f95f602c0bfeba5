"""Describes a pyfunc that no library's hook observes, and records its results by the names and types of its columns.

This module imports numpy, so it is loaded only when the application has a model.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, cast

import numpy as np

from otel_ml.frameworks.base import Started
from otel_ml.frameworks.calls import class_labels, column_of, dimensions, record_probabilities, table_of
from otel_ml.frameworks.described import Description, Models
from otel_ml.frameworks.mlflow.loading import columns_of, model_inside
from otel_ml.frameworks.patches import is_patched
from otel_ml.model import Model
from otel_ml.prediction import Prediction
from otel_ml.problems import report
from otel_ml.semconv import MODEL_TASK, TASKS, Task

CLASSES: Final = "otel_ml.classes"
"""Key of a model's metadata: its classes, in the order of its probabilities."""
_LANGUAGE: Final = (
    "diffusers",
    "dspy",
    "johnsnowlabs",
    "langchain",
    "llama_index",
    "openai",
    "sentence_transformers",
    "transformers",
)
"""Flavors that work on texts and images."""
_SCORES: Final = ("score", "probability", "predicted_probability", "proba", "prob")
_CLASSES: Final = ("class", "label", "predicted_class", "predicted_label")
_VALUES: Final = ("value", "predicted_value")
_EITHER: Final = ("prediction", "predictions", "predict", "predicted")


@dataclass(frozen=True, slots=True)
class Plan:
    """How the calls of one pyfunc are observed."""

    model: Model
    task: Task | None
    classes: Any
    columns: tuple[str, ...]

    def begin(self, data: Any) -> Started:
        """Start observing a call with this input."""
        table = _input_of(data, self.columns)
        prediction = self.model.predict(table)
        return Started(prediction, partial(self.record, prediction, table is None or _is_texts(table)))

    def record(self, prediction: Prediction, texts: bool, result: Any) -> bool:
        """Record a result; of one that has no known meaning, the features alone."""
        columns = _named_columns(result)
        known = self._record_columns(prediction, columns) if columns else self._record_array(prediction, result)
        if texts and (not known or (self.task is None and isinstance(_first(prediction.class_), str))):
            return False  # an answer in words
        if not known:
            report(
                f"outputs of {self.model.name}",
                "model %r: its result (%s) has no outputs that can be recorded; name its columns class, score or value,"
                " or log the model with metadata %s and %s",
                self.model.name,
                type(result).__name__,
                MODEL_TASK,
                CLASSES,
            )
        return True

    def _record_columns(self, prediction: Prediction, columns: Mapping[str, Any]) -> bool:
        if len(columns) == 1:
            [(name, cells)] = columns.items()
            return self._record_column(prediction, name.lower(), cells)
        names = {name.lower(): name for name in columns}
        found = False
        for wanted in (_SCORES, _CLASSES, _VALUES, _EITHER):
            name = next((each for each in wanted if each in names), None)
            if name is not None:
                found |= self._record_column(prediction, name, columns[names[name]])
        return found

    def _record_array(self, prediction: Prediction, result: Any) -> bool:
        if isinstance(result, (str, int, float, np.generic)):
            result = [result]
        if dimensions(result) == 2 and np.shape(result)[1] > 1:
            return self.classes is not None and record_probabilities(prediction, self.classes, result)
        return self._record_column(prediction, "", result)

    def _record_column(self, prediction: Prediction, name: str, cells: Any) -> bool:
        """Record one output per row: a score if its name or the task says so, else by its type."""
        column = column_of(cells)
        if column is None:
            return False
        first = _first(column)
        if name in _CLASSES or isinstance(first, (str, bool)):
            prediction.record(class_=column)
        elif not isinstance(first, (int, float)):
            return False
        elif name in _SCORES or (isinstance(first, float) and self.task == "binary_classification"):
            prediction.record(score=column)
        elif name in _VALUES or self.task == "regression" or (isinstance(first, float) and self.task is None):
            prediction.record(value=column)
        else:
            prediction.record(class_=column)
        return True


def plan_of(pyfunc: Any, models: Models) -> Plan | None:
    """Decide how a pyfunc is observed; None if a library's hook observes the model in it, or it works on texts."""
    inside = model_inside(pyfunc)
    metadata = pyfunc.metadata
    if is_patched(type(inside)) or _is_language(pyfunc, inside, metadata):
        return None
    declared = cast("dict[str, Any]", metadata.metadata or {})
    task: Task | None = next((task for task in TASKS if task == declared.get(MODEL_TASK)), None)
    classes = class_labels(declared.get(CLASSES))
    if task is None and classes is not None:
        task = "binary_classification" if len(classes) <= 2 else "multiclass_classification"
    columns = columns_of(metadata.signature)
    described = Description(
        name=_class_name(inside),
        framework=_flavor(pyfunc) or "mlflow",
        task=task,
        classes=None if classes is None else tuple(classes.tolist()),
        features=columns or None,
    )
    return Plan(models.handle(pyfunc, described), task, classes, columns)


def _flavor(pyfunc: Any) -> str:
    """Return the flavor of a pyfunc: ``prophet``; empty for a custom one."""
    loader = str(pyfunc.loader_module)
    return loader.split(".")[1] if loader.startswith("mlflow.") and not loader.startswith("mlflow.pyfunc") else ""


def _is_language(pyfunc: Any, inside: Any, metadata: Any) -> bool:
    """Return whether a pyfunc is a chat model, an agent or a pipeline of texts, whose outputs are not classes."""
    # Chat models and agents have their own wrappers, wherever their code is.
    if type(inside).__module__.startswith("mlflow.pyfunc.loaders.") or _flavor(pyfunc) in _LANGUAGE:
        return True
    return str((metadata.metadata or {}).get("task", "")).startswith(("llm/", "agent/"))


def _class_name(inside: Any) -> str:
    python_model = getattr(inside, "python_model", inside)
    function = getattr(python_model, "func", None)
    return getattr(function, "__name__", None) or type(python_model).__name__


def _input_of(data: Any, columns: tuple[str, ...]) -> Any:
    """Return the columns of the signature, in its order; the table as it is if there is none, None for other inputs."""
    if isinstance(data, Mapping):
        named = cast("Mapping[str, Any]", data)
        return {name: named[name] for name in columns if name in named} if columns else named
    table = table_of((data,), {})
    if table is None or not columns:
        return table
    names = getattr(table, "columns", None)
    if names is not None and len(names) > len(columns):
        with suppress(Exception):  # a column is missing; the model says so itself
            return table[list(columns)]
    return table


def _is_texts(table: Any) -> bool:
    """Return whether a table is one column of texts, such as questions."""
    if isinstance(table, (list, tuple)):
        row: Any = table[0]
        cells = tuple(row.values()) if isinstance(row, Mapping) else row
        return len(cells) == 1 and isinstance(cells[0], str)
    columns: Any = table if isinstance(table, Mapping) else getattr(table, "columns", None)
    if columns is None:
        cells = np.asarray(table)
        return cells.shape[1] == 1 and isinstance(_first(cells), str)
    return len(columns) == 1 and isinstance(_first(column_of(table[next(iter(columns))])), str)


def _first(column: Any) -> Any:
    return None if column is None else next(iter(column.ravel().tolist()), None)


def _named_columns(result: Any) -> dict[str, Any]:
    """Return a result's columns by name, of one row or many; empty if it has no names."""
    if isinstance(result, Mapping):
        row = cast("Mapping[Any, Any]", result)
        return {str(name): cells if dimensions(cells) else [cells] for name, cells in row.items()}
    if isinstance(result, (list, tuple)) and result and isinstance(result[0], Mapping):
        rows = cast("list[Mapping[Any, Any]]", result)
        return {str(name): [row.get(name) for row in rows] for name in rows[0]}
    items: Any = getattr(result, "items", None) if hasattr(result, "columns") else None
    return {} if items is None else {str(name): cells for name, cells in items()}
