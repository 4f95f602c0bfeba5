"""Read training or validation tables as predictions and labels, to build a reference from."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Literal

import numpy as np

from collector_processor.columns.batch import F64, I64, Column, ModelKey, PredictionBatch
from collector_processor.decode.limits import DEFAULT_LIMITS
from collector_processor.decode.rules.cell_columns import shortened
from collector_processor.decode.rules.cells import SCORES
from collector_processor.reference.arrow_table import open_table, read_cells
from collector_processor.reference.frame import column_cells, frame_columns
from collector_processor.reference.task import listed
from otel_ml.semconv import (
    ATTRIBUTION,
    ATTRIBUTIONS_WEIGHT,
    ERROR_TYPE,
    FEATURE,
    LABEL_CLASS,
    LABEL_VALUE,
    PREDICTION_CLASS,
    PREDICTION_ID,
    PREDICTION_SCORE,
    PREDICTION_VALUE,
    SEGMENT,
)

Progress = Callable[[int, int, str], None]
"""Called with (done, total, current step)."""
MAX_CLASS_VALUES: Final = 20
"""Most distinct integers that are taken for classes if neither a task nor a score decides."""


@dataclass(frozen=True, slots=True)
class ColumnMapping:
    """Maps the columns of a table; columns with the contract's names (``ml.feature.age``) need no mapping.

    ``features`` None means every column that is not mapped otherwise, or only those with the contract's names if there
    are any. A column named as feature and as segment is both. ``prediction`` and ``label`` are classes or values, see
    :func:`read_table`. ``id`` only keeps its column from being a feature; ``time`` is the time of the prediction.
    ``attributions`` is what the columns of attributions begin with: ``shap_`` makes ``shap_age`` that of ``age``.
    """

    features: Sequence[str] | None = None
    prediction: str | None = None
    score: str | None = None
    value: str | None = None
    label: str | None = None
    weight: str | None = None
    id: str | None = None
    time: str | None = None
    segments: Sequence[str] = ()
    attributions: str | None = None


@dataclass(frozen=True, slots=True)
class ReferenceTable:
    """The rows of a table; at most one of ``label_classes`` and ``label_values`` is set."""

    predictions: PredictionBatch
    label_classes: Column | None = None
    label_values: F64 | None = None


Part = Literal[
    "features", "segments", "prediction", "class", "value", "score", "label", "label class", "label value",
    "weight", "error", "time", "attribution weight",
]  # fmt: skip
_CONTRACT: Final[dict[str, Part]] = {
    PREDICTION_CLASS: "class",
    PREDICTION_VALUE: "value",
    PREDICTION_SCORE: "score",
    LABEL_CLASS: "label class",
    LABEL_VALUE: "label value",
    ERROR_TYPE: "error",
    ATTRIBUTIONS_WEIGHT: "attribution weight",
}


@dataclass(slots=True)
class _Parts:
    """Positions of the columns by their part; features and segments by name."""

    features: dict[str, int] = field(default_factory=dict[str, int])
    segments: dict[str, int] = field(default_factory=dict[str, int])
    scores: dict[str, int] = field(default_factory=dict[str, int])
    attributions: dict[str, int] = field(default_factory=dict[str, int])
    single: dict[Part, int] = field(default_factory=dict["Part", int])


def read_table(
    path: str | os.PathLike[str],
    mapping: ColumnMapping | None = None,
    *,
    model: str = "",
    task: str = "",
    progress: Progress | None = None,
) -> ReferenceTable:
    """Read a Parquet, CSV or Arrow file, one column at a time where the format allows.

    Numeric predictions and labels are values in regression and classes (``1.0`` is ``"1"``) in classification. Without
    a ``task``, a score means classification; otherwise numbers are classes if they are at most :data:`MAX_CLASS_VALUES`
    distinct integers. Rows without a time get 0; all ids are 0.

    Raises ``ValueError`` with the file's name, and its columns if one is missing; and ``OSError``.
    """
    table = open_table(path)
    source = _Source(str(path), table.names, partial(read_cells, table), frozenset(table.index))
    return _read(source, mapping or ColumnMapping(), model, task, progress)


def read_frame(
    frame: object,
    mapping: ColumnMapping | None = None,
    *,
    model: str = "",
    task: str = "",
    progress: Progress | None = None,
) -> ReferenceTable:
    """Read a table in memory as :func:`read_table` does: a pandas or polars frame, a pyarrow table, or arrays by name.

    Texts that are Python objects are numbered without a copy, see :func:`.column_cells`. Raises ``ValueError`` for
    anything else, duplicate names, columns of different lengths, and as :func:`read_table` does.

    >>> table = read_frame({"carrier": ["UA", "AA"], "hour": [6.0, 7.0], "late": [True, False]},
    ...                    ColumnMapping(prediction="late"))
    >>> list(table.predictions.features), table.predictions.prediction.categories
    (['carrier', 'hour'], ('false', 'true'))
    """
    columns = frame_columns(frame)
    cells = [columns[name] for name in columns]
    source = _Source("frame", list(columns), lambda position, where: column_cells(cells[position], where))
    return _read(source, mapping or ColumnMapping(), model, task, progress)


@dataclass(frozen=True, slots=True)
class _Source:
    """A table: its name in errors, its column names, and a function of position and error name that reads one."""

    where: str
    names: list[str]
    cells: Callable[[int, str], Column]
    index: frozenset[str] = frozenset()
    """Columns that live rows do not have: the index of a pandas frame."""


def _read(source: _Source, mapping: ColumnMapping, model: str, task: str, progress: Progress | None) -> ReferenceTable:
    """Return the rows of a table; read each needed column once."""
    path = source.where
    parts = _parts(source, mapping)
    read = _Reader(source, len(set(_positions(parts))), progress)
    features = {name: read.column(position) for name, position in parts.features.items()}
    segments = {name: read.column(position) for name, position in parts.segments.items()}
    scores = {
        name: _only_numbers(path, f"score of class '{name}'", read.column(place))
        for name, place in parts.scores.items()
    }
    attributions = {
        name: _only_numbers(path, f"attribution of '{name}'", read.column(place))
        for name, place in parts.attributions.items()
    }
    single: dict[Part, Column] = {part: read.column(position) for part, position in parts.single.items()}
    read.finish()
    everything = [*features.values(), *segments.values(), *single.values()]
    if not everything or not len(everything[0]):
        raise ValueError(f"{path}: has no rows")
    rows = len(everything[0])
    regression = _is_regression(task, single, bool(scores))
    classes, values = _classes_and_values(path, single, "prediction", regression, ("class", "value"))
    label_classes, label_values = _classes_and_values(path, single, "label", regression, ("label class", "label value"))
    batch = PredictionBatch(
        model=ModelKey(model),
        time_ns=_time_ns(single.get("time"), rows),
        ids=np.zeros((rows, 2), np.uint64),
        weights=_weights(path, single.get("weight"), rows),
        duration_s=np.full(rows, np.nan),
        features=features,
        prediction=classes,
        score=None if "score" not in single else _only_numbers(path, "score", single["score"]),
        value=values,
        scores=scores,
        segments=segments,
        attributions=attributions,
        attribution_weights=None
        if "attribution weight" not in single
        else _only_numbers(path, ATTRIBUTIONS_WEIGHT, single["attribution weight"]),
        error=single.get("error"),
        task=task,
    )
    return ReferenceTable(batch, None if label_values is not None else label_classes, label_values)


class _Reader:
    """Reads each column once, however often it is used, and reports progress."""

    def __init__(self, source: _Source, total: int, progress: Progress | None) -> None:
        self._source, self._total, self._progress = source, total, progress
        self._done: dict[int, Column] = {}

    def column(self, position: int) -> Column:
        if position not in self._done:
            name = self._source.names[position]
            if self._progress is not None:
                self._progress(len(self._done), self._total, f"reading {name}")
            column = self._source.cells(position, f"{self._source.where}: column '{name}'")
            self._done[position] = shortened(column, DEFAULT_LIMITS.text_length)  # as in every live row
        return self._done[position]

    def finish(self) -> None:
        if self._progress is not None:
            self._progress(self._total, self._total, "read")


_MOST_WEIGHT: Final = 2.0**56
"""The largest weight that a sender can give a row, too."""
_LEAST_WEIGHT: Final = 1.0 / _MOST_WEIGHT
"""The square of a much smaller one would be 0."""
_INDEX: Final = re.compile(r"__index_level_\d+__")
"""The column that pandas writes for an unnamed index: row numbers, not a feature."""


def _parts(source: _Source, mapping: ColumnMapping) -> _Parts:
    """Return the part of each column: as mapped, else by the contract's names, else a feature."""
    path, names = source.where, source.names
    places = {name: position for position, name in enumerate(names)}

    def place(name: str, what: str) -> int:
        for known in (name, f"{FEATURE if what == 'features' else SEGMENT if what == 'segments' else ''}{name}"):
            if known in places:
                return places[known]
        raise ValueError(f"{path}: no column '{name}' for {what}; it has: {listed(list(names))}")

    parts = _Parts()
    mapped: tuple[tuple[Part, str | None], ...] = (
        ("prediction", mapping.prediction), ("value", mapping.value), ("score", mapping.score),
        ("label", mapping.label), ("weight", mapping.weight), ("time", mapping.time),
    )  # fmt: skip
    for part, name in mapped:
        if name is not None:
            parts.single[part] = place(name, part)
    for name in mapping.segments:
        parts.segments[name] = place(name, "segments")
    # A segment is a feature as well, as in a learned reference, unless `features` is given.
    taken = set(parts.single.values())
    if mapping.id is not None:
        taken.add(place(mapping.id, "id"))
    if mapping.attributions is not None:
        parts.attributions = _by_prefix(path, mapping.attributions, places, taken)
        taken.update(parts.attributions.values())
    by_contract = _by_contract(parts, places, taken)
    if mapping.features is not None:
        parts.features = {name: place(name, "features") for name in mapping.features}
        _check_apart(path, names, parts)
    else:
        named = {
            name: position
            for name, position in places.items()
            if position not in taken and name not in source.index and not _INDEX.fullmatch(name)
        }
        parts.features = by_contract or named
    return parts


def _by_prefix(path: str, prefix: str, places: dict[str, int], taken: set[int]) -> dict[str, int]:
    """Return the columns of attributions, by what follows the prefix that they all have."""
    if not prefix:
        raise ValueError(f"{path}: attributions need a prefix, such as 'shap_' for the column 'shap_age'")
    chosen = {name: position for name, position in places.items() if name.startswith(prefix) and position not in taken}
    if not chosen:
        raise ValueError(f"{path}: no column begins with '{prefix}' for attributions; it has: {listed(list(places))}")
    if prefix in chosen:
        raise ValueError(f"{path}: column '{prefix}' has the prefix of attributions, and no feature's name after it")
    return {name[len(prefix) :]: position for name, position in chosen.items()}


def _check_apart(path: str, names: Sequence[str], parts: _Parts) -> None:
    """Raise ``ValueError`` if a column is both a feature and an attribution."""
    for name, position in parts.attributions.items():
        if position in parts.features.values():
            raise ValueError(f"{path}: column '{names[position]}' is a feature and the attribution of '{name}'")


def _by_contract(parts: _Parts, places: dict[str, int], taken: set[int]) -> dict[str, int]:
    """Assign columns with the contract's names to their parts; return the features among them."""
    features: dict[str, int] = {}
    for name, position in places.items():
        if name.startswith(FEATURE):
            features[name[len(FEATURE) :]] = position
        elif position in taken:
            continue
        elif name.startswith(SEGMENT):
            parts.segments.setdefault(name[len(SEGMENT) :], position)
            taken.add(position)
        elif name.startswith(SCORES) and len(name) > len(SCORES):
            parts.scores[name[len(SCORES) :]] = position
            taken.add(position)
        elif name in _CONTRACT:
            parts.single.setdefault(_CONTRACT[name], position)
            taken.add(position)
        elif name.startswith(ATTRIBUTION):
            parts.attributions.setdefault(name[len(ATTRIBUTION) :], position)
            taken.add(position)
        elif name == PREDICTION_ID:
            taken.add(position)
    return features


def _positions(parts: _Parts) -> list[int]:
    by_name = (parts.features, parts.segments, parts.scores, parts.attributions)
    return [*(position for each in by_name for position in each.values()), *parts.single.values()]


def _is_regression(task: str, single: dict[Part, Column], scored: bool) -> bool:
    """Return whether numbers under ``prediction`` and ``label`` are values."""
    if task:
        return task == "regression"
    if "value" in single or "label value" in single:
        return True
    if scored or "score" in single or "class" in single or "label class" in single:
        return False
    columns = [single[part] for part in ("prediction", "label") if part in single]
    return any(_looks_continuous(column) for column in columns)


def _looks_continuous(column: Column) -> bool:
    if column.numbers is None:
        return False
    present = column.numbers[~np.isnan(column.numbers)]
    if (present != np.floor(present)).any():
        return True
    return len(np.unique(present)) > MAX_CLASS_VALUES


def _classes_and_values(
    path: str, single: dict[Part, Column], mapped: Part, regression: bool, contract: tuple[Part, Part]
) -> tuple[Column | None, F64 | None]:
    """Return classes and values: the mapped column as one of them, and columns with the contract's names."""
    classes, values = (single.get(part) for part in contract)
    if mapped in single and regression and values is None:
        values = single[mapped]
    elif mapped in single and not regression and classes is None:
        classes = single[mapped]
    return classes, None if values is None else _only_numbers(path, mapped, values)


def _only_numbers(path: str, what: str, column: Column) -> F64:
    if column.is_text().any():
        example = next(
            column.categories[code] for code in (column.codes if column.codes is not None else ()) if code >= 0
        )
        raise ValueError(f"{path}: {what} must be numbers, has texts such as '{example}'")
    return np.full(len(column), np.nan) if column.numbers is None else column.numbers


def _weights(path: str, column: Column | None, rows: int) -> F64:
    if column is None:
        return np.ones(rows)
    weights = _only_numbers(path, "weight", column)
    if not ((weights == 0.0) | ((weights >= _LEAST_WEIGHT) & (weights <= _MOST_WEIGHT))).all():
        raise ValueError(f"{path}: weight must be 0, or from {_LEAST_WEIGHT:.2g} to {_MOST_WEIGHT:.2g} in every row")
    return weights


def _time_ns(column: Column | None, rows: int) -> I64:
    """Convert Unix seconds to Unix nanoseconds; a missing or impossible time is 0."""
    if column is None or column.numbers is None:
        return np.zeros(rows, np.int64)
    possible = np.abs(column.numbers) < 9.2e9
    return (np.where(possible, column.numbers, 0.0) * 1e9).astype(np.int64)
