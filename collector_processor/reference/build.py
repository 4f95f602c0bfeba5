"""Builds a reference from rows: kinds, bins and categories first, then the rows' own sums."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from typing import Final

import numpy as np

from collector_processor.columns.batch import F64, I32, Column, PredictionBatch
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
from collector_processor.reference.outcomes import reference_outcomes
from collector_processor.reference.profile import Reference
from collector_processor.reference.task import Outputs, positive_of, task_of
from collector_processor.statistics.accumulate import SCORE_COLUMN, accumulate
from collector_processor.statistics.bins import Bins, fine_edges
from collector_processor.statistics.groups import segment_column
from collector_processor.statistics.outcomes import accumulate_outcomes
from collector_processor.statistics.pane import Pane
from collector_processor.statistics.schema import Categories, Schema

MAX_FEATURES: Final = 2000
MAX_CATEGORIES: Final = 1000
MAX_CLASSES: Final = 100
MAX_SEGMENT_VALUES: Final = 50
CLASS_COLUMN: Final = "class"
"""Name of the one column of a schema's class table."""
Progress = Callable[[int, int, str], None]
"""Called with (done, total, what is being worked on)."""


def build_reference(
    model_name: str,
    batch: PredictionBatch,
    *,
    task: str = "",
    positive_class: str = "",
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
    strict: bool = True,
    progress: Progress | None = None,
) -> Reference:
    """The reference profile of a model from rows that show it at its best.

    A feature is numeric where most of its cells are numbers; ``categorical`` and ``numeric`` name exceptions. Task and
    positive class are told by :func:`.task_of` and :func:`.positive_of` where they are not given. Labels, one cell a
    row, give the reference its performance and a label column. The rows' weights count everywhere.

    Limits: features beyond ``max_features`` are left out; of more categories, classes or segment values than allowed,
    the most frequent stay and the rest are ``other``.

    Raises ``ValueError`` without rows, and for names or a task that the rows contradict; with ``strict=False`` (a
    reference that is learned while serving) the rows win instead.
    """
    labels, kinds = Labels(label_classes, label_values), Kinds(numeric, categorical)
    check_rows(model_name, batch, labels)
    if strict:
        check_names(model_name, batch, kinds, segments)
    classes = class_names(batch, labels, max_classes)
    outputs = Outputs(
        tuple(classes),
        has_score=batch.score is not None or bool(batch.scores),
        has_value=batch.value is not None or label_values is not None,
    )
    found_task = task_of(model_name, task, batch.task, outputs, strict)
    positive, ordered_classes = positive_of(model_name, found_task, positive_class, classes, strict)
    numbers, texts = feature_sources(batch, kinds, max_features)
    more_numbers, more_texts = output_sources(batch, found_task == "regression", positive, labels)
    numbers, texts = numbers + more_numbers, texts + more_texts
    bins, spread = _ranged(numbers, batch.weights, progress)
    edges, drift_edges = _padded(bins)
    schema = Schema(
        task=found_task or "",
        positive_class=positive,
        numeric=tuple(source.spec for source in numbers),
        edges=edges,
        drift_edges=drift_edges,
        low=np.array([found.low for found in bins]),
        high=np.array([found.high for found in bins]),
        categorical=tuple(source.spec for source in texts),
        categories=_categories(texts, batch.weights, max_categories),
        classes=Categories.from_pairs((CLASS_COLUMN,), max_classes, [(0, name) for name in ordered_classes]),
        groups=_groups(batch, segments, max_segment_values),
    )
    pane = Pane.empty(schema)
    accumulate(pane, schema, batch)
    outcomes = reference_outcomes(schema, batch, labels)
    if outcomes is not None:
        accumulate_outcomes(pane, schema, outcomes)
    built_at = built_at or datetime.now(timezone.utc).isoformat(timespec="seconds")
    return Reference(model_name, schema, pane, spread, source, built_at)


def _ranged(sources: Sequence[Source], weights: F64, progress: Progress | None) -> tuple[list[Bins], F64]:
    """The bins and the standard deviation of every numeric column."""
    bins: list[Bins] = []
    spread = np.zeros(len(sources))
    even = bool(weights[0] > 0.0 and (weights == weights[0]).all())
    for position, source in enumerate(sources):
        if progress is not None:
            progress(position, len(sources), f"binning {source.spec.name}")
        values, cell_weights = source.numbers(weights)
        # A binary decision is mostly taken at one half: as an edge it makes the tables of any window exact there.
        include = (0.5,) if source.spec == SCORE_COLUMN else ()
        bins.append(fine_edges(values, None if even else cell_weights, include=include))
        spread[position] = _spread(values, cell_weights, even=even)
    return bins, spread


def _spread(values: F64, weights: F64, *, even: bool = False) -> float:
    """Weighted standard deviation (ddof 0) of the finite values, 0 without any; scaled, so that no square overflows.

    ``even``: all weights are one positive number.
    """
    if not (even and len(values) and np.isfinite(values.min()) and np.isfinite(values.max())):
        finite = np.isfinite(values) & (weights > 0.0)
        values, weights = values[finite], weights[finite]
    if not len(values) or (low := values.min()) == (high := values.max()):
        return 0.0
    exponent = int(np.frexp(max(-low, high))[1])
    scaled, share = _scaled(values, -exponent), (weights[0] if even else weights) / weights.sum()
    # Two arrays take all steps in turn: with new memory for each, fetching it would take most of the time.
    product = scaled * share
    centred = np.subtract(scaled, product.sum(), out=scaled)
    shift = np.multiply(centred, share, out=product).sum()
    np.multiply(centred, centred, out=product)
    product *= share
    variance = product.sum() - shift**2
    return float(np.ldexp(np.sqrt(max(variance, 0.0)), exponent))


def _scaled(values: F64, exponent: int) -> F64:
    """Values times two to that power, which takes no digits away; a product is faster where the power is a float."""
    return values * 2.0**exponent if abs(exponent) < 1000 else np.ldexp(values, exponent)


def _padded(bins: Sequence[Bins]) -> tuple[F64, I32]:
    """Edges padded with ``+inf`` and coarse positions padded with their last one, as :class:`.Schema` wants them."""
    edges = np.full((len(bins), max([1, *(len(found.edges) for found in bins)])), np.inf)
    drift = np.zeros((len(bins), max([1, *(len(found.drift) for found in bins)])), np.int32)
    for row, found in enumerate(bins):
        edges[row, : len(found.edges)] = found.edges
        drift[row] = found.drift[-1]
        drift[row, : len(found.drift)] = found.drift
    return edges, drift


def _categories(sources: Sequence[Source], weights: F64, limit: int) -> Categories:
    """The table of every categorical column's texts."""
    table = Categories([source.spec.name for source in sources], limit)
    for position, source in enumerate(sources):
        table.slots(position, source.texts(weights, limit))
    return table


def _groups(batch: PredictionBatch, segments: Sequence[str], limit: int) -> Categories:
    """The table of every declared segment's values."""
    table = Categories(segments, limit)
    for position, name in enumerate(segments):
        column = segment_column(batch, name)
        if column is not None:
            table.slots(position, frequent(column, batch.weights, limit, fractions=True))
    return table
