"""Build a reference from rows: first kinds, bins and categories, then the sums of the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from typing import Final

import numpy as np

from collector_processor.columns.batch import F64, Column, Mask, PredictionBatch
from collector_processor.columns.classes import (
    canonical_predictions,
    class_column,
    respelled_column,
    spelled_otherwise,
    spelling_words,
)
from collector_processor.reference.binning import Progress, padded, ranged, with_corners
from collector_processor.reference.columns import (
    Kinds,
    Labels,
    Source,
    check_names,
    check_rows,
    class_names,
    feature_sources,
    frequent,
    output_sources,
)
from collector_processor.reference.compat import asked_grids
from collector_processor.reference.fits.base import FitRows
from collector_processor.reference.fits.registry import fitted
from collector_processor.reference.outcomes import reference_outcomes, reference_slices
from collector_processor.reference.profile import Reference
from collector_processor.reference.scored_class import scored_class
from collector_processor.reference.task import Outputs, positive_of, shown_positive, task_of
from collector_processor.statistics.accumulate import accumulate, accumulate_column
from collector_processor.statistics.compat import Compat
from collector_processor.statistics.estimates import class_curves, class_scores, estimates, evaluate_evenly
from collector_processor.statistics.fits.cause_cells import CauseCells
from collector_processor.statistics.groups import segment_column
from collector_processor.statistics.labeled import LIMIT_WORDS, is_extreme
from collector_processor.statistics.outcomes import accumulate_outcomes
from collector_processor.statistics.pane import Pane
from collector_processor.statistics.sample import number_by_place
from collector_processor.statistics.schema import Categories, Schema
from collector_processor.statistics.texts import as_texts
from otel_ml.classes import canonical_class
from otel_ml.config import DEFAULT_MAX_FEATURES
from otel_ml.semconv import Task

MAX_FEATURES: Final = DEFAULT_MAX_FEATURES
MAX_CATEGORIES: Final = 1000
MAX_CLASSES: Final = 100
MAX_SEGMENT_VALUES: Final = 50
ESTIMATED_ROWS: Final = 100_000
"""Most reference rows that trees look at."""
CLASS_COLUMN: Final = "class"
"""Name of the one column of a schema's class table."""


def build_reference(
    model_name: str,
    batch: PredictionBatch,
    *,
    task: str = "",
    positive_class: str = "",
    threshold: float | None = None,
    segments: Sequence[str] = (),
    categorical: Sequence[str] = (),
    numeric: Sequence[str] = (),
    label_classes: Column | None = None,
    label_values: F64 | None = None,
    source: str = "",
    built_at: str = "",
    max_features: int = MAX_FEATURES,
    max_categories: int = MAX_CATEGORIES,
    max_classes: int = MAX_CLASSES,
    max_segment_values: int = MAX_SEGMENT_VALUES,
    compat: str = "",
    strict: bool = True,
    progress: Progress | None = None,
) -> Reference:
    """Build the reference profile of a model from rows that show it working well.

    A feature is numeric if most of its cells are numbers; ``categorical`` and ``numeric`` name exceptions. If not
    given, task and positive class are inferred by :func:`.task_of` and :func:`.positive_of`. Labels, one cell per row,
    add performance and a label column to the reference. The rows' weights count everywhere.

    Limits: features beyond ``max_features`` are left out; of more categories, classes or segment values than allowed,
    the most frequent stay, and the rest are ``other``. Categories of such a column are chosen in one half of the rows
    and counted in the other, so that the choice does not bias the counts.

    ``compat`` adds the bins and the limits of another tool (:mod:`.drift.compat`).

    Raises ``ValueError`` without rows, and for names or a task that the rows contradict; with ``strict=False`` (a
    reference that is learned while serving) the rows win instead.
    """
    batch, positive_class = canonical_predictions(batch), canonical_class(positive_class)
    labels, kinds = Labels(class_column(label_classes), label_values), Kinds(numeric, categorical)
    labels, notes = _spelled_as_predicted(batch, labels)
    check_rows(model_name, batch, labels)
    if strict:
        check_names(model_name, batch, kinds, segments)
    resolved_task, positive, ordered_classes = task_and_classes(
        model_name, batch, labels, task, positive_class, max_classes=max_classes, strict=strict
    )
    numbers, texts = feature_sources(batch, kinds, max_features)
    more_numbers, more_texts = output_sources(batch, resolved_task == "regression", positive, labels)
    numbers, texts = numbers + more_numbers, texts + more_texts
    others = asked_grids(compat, numbers, batch.weights)
    bins, spread = ranged(numbers, batch.weights, threshold, progress, others)
    edges, drift_edges = padded(bins)
    schema = Schema(
        task=resolved_task or "",
        positive_class=positive,
        numeric=tuple(source.spec for source in numbers),
        edges=edges,
        drift_edges=drift_edges,
        low=np.array([column.low for column in bins]),
        high=np.array([column.high for column in bins]),
        categorical=tuple(source.spec for source in texts),
        categories=_categories(texts, batch.weights, max_categories),
        classes=Categories.from_pairs((CLASS_COLUMN,), max_classes, [(0, name) for name in ordered_classes]),
        groups=_groups(batch, segments, max_segment_values),
        threshold=threshold,
        fits={} if others is None else {Compat: others},
    )
    outcomes = reference_outcomes(schema, batch, labels)
    rows = FitRows(schema, batch, outcomes, notes)
    _note_extremes(rows)
    schema = fitted(rows, thorough=strict)
    evaluate_evenly(schema, batch, ESTIMATED_ROWS)
    number_by_place(batch)
    schema = with_corners(schema, numbers, bins, batch.weights)
    pane = Pane.empty(schema)
    accumulate(pane, schema, batch)
    if outcomes is not None:
        cells = schema.fit(CauseCells)
        outcomes = replace(
            outcomes,
            estimates=estimates(schema, batch),
            class_scores=None if (curves := class_curves(schema)) is None else class_scores(schema, curves, batch),
            cells=None if cells is None else cells.of(schema, batch),
            slices=reference_slices(schema, batch),
        )
        accumulate_outcomes(pane, schema, outcomes)
    _count_others(pane, schema, texts, batch.weights)
    built_at = built_at or datetime.now(timezone.utc).isoformat(timespec="seconds")
    return Reference(model_name, schema, pane, spread, source, built_at, notes=tuple(rows.notes))


def task_and_classes(
    model_name: str,
    batch: PredictionBatch,
    labels: Labels,
    task: str,
    positive_class: str,
    *,
    max_classes: int = MAX_CLASSES,
    strict: bool = True,
) -> tuple[Task | None, str, tuple[str, ...]]:
    """Return the task, the positive class and all classes in order, of canonical rows and a canonical class."""
    classes = class_names(batch, labels, max_classes)
    outputs = Outputs(
        tuple(classes),
        has_score=batch.score is not None or bool(batch.scores),
        has_value=batch.value is not None or labels.values is not None,
    )
    resolved = task_of(model_name, task, batch.task, outputs, strict)
    sent = batch.positive_class or shown_positive(scored_class(batch), classes)
    return resolved, *positive_of(model_name, resolved, positive_class, sent, classes, strict)


def _spelled_as_predicted(batch: PredictionBatch, labels: Labels) -> tuple[Labels, list[str]]:
    """Return the labels with classes as predictions spell them, and sentences about those that were spelled otherwise.

    An integer and a text may be spellings of one class, too.
    """
    known = [*(() if batch.prediction is None else as_texts(batch.prediction).categories), *batch.scores]
    if labels.classes is None or not known:
        return labels, []
    classes = as_texts(labels.classes)
    meant = spelled_otherwise(classes.categories, known)
    words = [text for _, text in spelling_words(meant)]
    return (replace(labels, classes=respelled_column(classes, meant)) if meant else labels), words


def _note_extremes(rows: FitRows) -> None:
    """Note which numbers are left out because their squares would be infinite."""
    labels = None if rows.outcomes is None else rows.outcomes.label_values
    attributions = ((f"attributions of {name}", cells) for name, cells in rows.batch.attributions.items())
    for name, column in (("predicted values", rows.batch.value), ("labels", labels), *attributions):
        if column is not None and is_extreme(column):
            rows.note(f"{name} beyond {LIMIT_WORDS} are left out")


def _categories(sources: Sequence[Source], weights: F64, limit: int) -> Categories:
    """Return the table of the texts of all categorical columns; one with more than ``limit`` is closed."""
    texts = [source.texts(weights, limit + 1) for source in sources]
    closed = [position for position, names in enumerate(texts) if len(names) > limit]
    table = Categories([source.spec.name for source in sources], limit)
    for position, names in enumerate(texts):
        source = sources[position]
        table.slots(position, source.part(_chosen(weights)).texts(weights, limit) if position in closed else names)
    return Categories.from_pairs(table.columns, limit, table.pairs(), closed)


def _chosen(weights: F64) -> Mask:
    """Return the rows, about half of all, whose most frequent categories a closed column has."""
    return np.random.default_rng(len(weights)).random(len(weights)) < 0.5


def _count_others(pane: Pane, schema: Schema, sources: Sequence[Source], weights: F64) -> None:
    """Count the categories of closed columns again, in the rows that did not choose them.

    Categories that are kept because they are frequent in some rows are less frequent in all others, reference or not:
    counted in the same rows, a column of many categories without drift would always be in breach.
    """
    for column in sorted(schema.categories.closed):
        position = len(schema.numeric) + column
        pane.category_counts[schema.categories.column_slots(column)] = 0.0
        pane.missing[position] = pane.wrong_type[position] = 0.0
        part = sources[column].part(~_chosen(weights))
        rows = slice(None) if part.rows is None else part.rows
        accumulate_column(pane, schema, position, part.column.take(rows), weights[rows])


def _groups(batch: PredictionBatch, segments: Sequence[str], limit: int) -> Categories:
    """Return the table of the values of all declared segments."""
    table = Categories(segments, limit)
    for position, name in enumerate(segments):
        column = segment_column(batch, name)
        if column is not None:
            table.slots(position, frequent(column, batch.weights, limit, fractions=True))
    return table
