"""Select the columns of a reference, and the cells that each is built from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from collector_processor.columns.batch import F64, Column, Mask, PredictionBatch
from collector_processor.reference.task import listed
from collector_processor.statistics.accumulate import LABEL_COLUMN, PREDICTION_COLUMN, SCORE_COLUMN
from collector_processor.statistics.cells import score_cells
from collector_processor.statistics.schema import ColumnSpec
from collector_processor.statistics.texts import as_texts


@dataclass(frozen=True, slots=True)
class Labels:
    """True classes or values, one cell per row; both None without labels."""

    classes: Column | None = None
    values: F64 | None = None

    def column(self) -> Column | None:
        """Return the cells, of either kind."""
        return self.classes if self.values is None else Column(self.values)


@dataclass(frozen=True, slots=True)
class Source:
    """A future column: its cells, and the rows that it covers (None: all)."""

    spec: ColumnSpec
    column: Column
    rows: Mask | None = None

    def numbers(self, weights: F64) -> tuple[F64, F64]:
        """Return the numbers of its rows, NaN for a cell without one, and their weights."""
        rows: Mask | slice = slice(None) if self.rows is None else self.rows
        values = self.column.numbers
        return (np.full(len(weights), np.nan) if values is None else values)[rows], weights[rows]

    def part(self, rows: Mask) -> Source:
        """Return the source of some of its rows."""
        return Source(self.spec, self.column, rows if self.rows is None else self.rows & rows)

    def texts(self, weights: F64, limit: int) -> list[str]:
        """Return the texts of its rows, see :func:`frequent`."""
        if self.rows is None:
            return frequent(self.column, weights, limit)
        return frequent(self.column.take(self.rows), weights[self.rows], limit)


@dataclass(frozen=True, slots=True)
class Kinds:
    """Features whose kind is given instead of inferred from their cells."""

    numeric: Sequence[str] = ()
    categorical: Sequence[str] = ()

    def is_numeric(self, name: str, column: Column) -> bool:
        """Return whether a feature is numeric: as given, else as most cells; without cells, by its numeric part."""
        if name in self.numeric:
            return True
        if name in self.categorical or column.numbers is None:
            return False
        texts = 0 if column.codes is None else int(np.count_nonzero(column.codes >= 0))
        return int(np.count_nonzero(~np.isnan(column.numbers))) >= texts


def feature_sources(batch: PredictionBatch, kinds: Kinds, limit: int) -> tuple[list[Source], list[Source]]:
    """Return the first ``limit`` features as numeric and categorical sources."""
    numeric: list[Source] = []
    categorical: list[Source] = []
    for name in list(batch.features)[:limit]:
        column = batch.features[name]
        source = Source(ColumnSpec("feature", name), column)
        (numeric if kinds.is_numeric(name, column) else categorical).append(source)
    return numeric, categorical


def output_sources(
    batch: PredictionBatch, regression: bool, positive_class: str, labels: Labels
) -> tuple[list[Source], list[Source]]:
    """Prediction, score and label as numeric and categorical sources; failed rows have no outputs."""
    failed = None if batch.error is None else batch.error.is_text()
    done = None if failed is None or not failed.any() else ~failed
    numeric: list[Source] = []
    categorical: list[Source] = []
    if regression and batch.value is not None:
        numeric.append(Source(PREDICTION_COLUMN, Column(batch.value), done))
    elif not regression and batch.prediction is not None:
        categorical.append(Source(PREDICTION_COLUMN, batch.prediction, done))
    score = None if regression else score_cells(batch, positive_class)
    if score is not None and not np.isnan(score).all():
        numeric.append(Source(SCORE_COLUMN, Column(score), done))
    label = labels.column()
    if label is not None:
        # Labels arrive one by one, so a row without a label is not a missing cell of the label column.
        (numeric if regression else categorical).append(Source(LABEL_COLUMN, label, ~label.missing()))
    return numeric, categorical


def class_names(batch: PredictionBatch, labels: Labels, limit: int) -> list[str]:
    """Return the classes of predictions and labels, and names of scores, at most ``limit``, of most weight first."""
    columns = [as_texts(column) for column in (batch.prediction, labels.classes) if column is not None]
    weight: dict[str, float] = dict.fromkeys(batch.scores, 0.0)
    for column in columns:
        for name, rows in _weights_by_text(column, batch.weights).items():
            weight[name] = weight.get(name, 0.0) + rows
    return sorted(weight, key=lambda name: (-weight[name], name))[:limit]


def frequent(column: Column, weights: F64, limit: int, *, fractions: bool = False) -> list[str]:
    """Return the ``limit`` texts of most weight, heaviest first, then by name; numbers as in :func:`.as_texts`.

    >>> frequent(Column(None, np.array([1, 0, 1], np.int32), ("AA", "UA")), np.ones(3), 5)
    ['UA', 'AA']
    """
    by_text = _weights_by_text(as_texts(column, fractions=fractions), weights)
    return sorted(by_text, key=lambda text: (-by_text[text], text))[:limit]


def _weights_by_text(column: Column, weights: F64) -> dict[str, float]:
    if column.codes is None or not column.categories:
        return {}
    rows = np.bincount(column.codes + 1, weights, len(column.categories) + 1)[1:]
    by_text: dict[str, float] = {}
    for name, weight in zip(column.categories, rows.tolist(), strict=True):
        if weight > 0.0:
            by_text[name] = by_text.get(name, 0.0) + weight
    return by_text


def check_rows(model_name: str, batch: PredictionBatch, labels: Labels) -> None:
    """Raise ``ValueError`` unless there are rows, each with a label cell if there are labels."""
    if not len(batch):
        raise ValueError(f"model '{model_name}': no rows to build a reference from")
    label = labels.column()
    if label is not None and len(label) != len(batch):
        raise ValueError(f"model '{model_name}': {len(label)} labels for {len(batch)} rows")


def check_names(model_name: str, batch: PredictionBatch, kinds: Kinds, segments: Sequence[str]) -> None:
    """Raise ``ValueError`` for a feature or segment that is named but missing, or named as two kinds."""
    for name in (*kinds.numeric, *kinds.categorical):
        if name not in batch.features:
            raise ValueError(f"model '{model_name}': no feature '{name}'; available: {listed(list(batch.features))}")
        if name in kinds.numeric and name in kinds.categorical:
            raise ValueError(f"model '{model_name}': feature '{name}' cannot be both numeric and categorical")
    known = list(dict.fromkeys((*batch.segments, *batch.features)))
    for name in segments:
        if name not in known:
            raise ValueError(f"model '{model_name}': no segment or feature '{name}'; available: {listed(known)}")
