"""What contradicts a model's reference: another task, other classes, another range or type under the same version.

A model that changed under its name and version gives figures that look like any other. Each check yields the kind of
the contradiction and a sentence for the log and the model's state.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

import numpy as np

from collector_processor.columns.batch import PredictionBatch
from collector_processor.labels.pending import SCORES_LIMIT
from collector_processor.monitors.comparisons import all_cells, text_cells
from collector_processor.monitors.performance import ROUNDING
from collector_processor.reference.profile import Reference
from collector_processor.reference.task import listed
from collector_processor.statistics.labeled import LIMIT_WORDS, is_extreme
from collector_processor.statistics.pane import Pane
from collector_processor.statistics.schema import Schema
from collector_processor.window.closed import Window
from otel_ml.semconv import TASKS

Misfit = Literal[
    "no_outputs",
    "task",
    "outputs",
    "third_class",
    "new_classes",
    "class_limit",
    "class_scores",
    "feature_type",
    "score_range",
    "extreme_numbers",
    "extreme_labels",
    "label_values",
    "label_spelling",
    "label_ambiguous",
]
USUALLY: Final = 0.9
"""Share of a reference's rows that must have an output, whichever it is."""
MOSTLY: Final = 0.5
"""Share of a window's cells from which on the column itself has changed, not some of its rows."""
LEAST_CELLS: Final = 100
"""Cells of a column that a window needs to say so."""
_RELEARN: Final = "run `otel-ml relearn`, build the reference again, or send another version"
_BINARY, _MULTICLASS, _REGRESSION = TASKS


def of_batch(schema: Schema, batch: PredictionBatch) -> Iterator[tuple[Misfit, str]]:
    """Yield what a batch says of its task, or has as outputs, that its reference contradicts."""
    if batch.task in TASKS and batch.task != schema.task:
        yield (
            "task",
            f"the application sends the task {batch.task}, its reference has {schema.task or 'none'}: {_RELEARN}",
        )
    yield from _extreme(batch)
    classes = batch.prediction is not None or batch.score is not None or bool(batch.scores)
    if schema.task == _REGRESSION and classes and batch.value is None:
        yield (
            "outputs",
            f"predictions have classes or scores, its reference has values; without performance: {_RELEARN}",
        )
    elif schema.task not in ("", _REGRESSION) and batch.value is not None and not classes:
        yield "outputs", f"predictions have values, its reference has classes; without performance: {_RELEARN}"
    elif not schema.task and (classes or batch.value is not None):
        yield "outputs", f"predictions have outputs, its reference has none; without performance: {_RELEARN}"


def _extreme(batch: PredictionBatch) -> Iterator[tuple[Misfit, str]]:
    """Yield whether a batch has numbers whose squares would be infinite."""
    if batch.value is not None and is_extreme(batch.value):
        yield "extreme_numbers", f"predicted values beyond {LIMIT_WORDS} are left out of errors"
    elif any(map(is_extreme, batch.attributions.values())):
        yield "extreme_numbers", f"attributions beyond {LIMIT_WORDS} are left out"


def of_reference(reference: Reference) -> Iterator[tuple[Misfit, str]]:
    """Yield whether the rows of a reference lack outputs: figures of a window would then look as usual."""
    schema, pane = reference.schema, reference.pane
    cells = all_cells(pane, pane.counts.sum(axis=1), text_cells(pane, schema.categories))
    yield from _beyond_limits(schema, pane)
    places = [place for place, spec in enumerate(schema.columns) if spec.role in ("prediction", "score")]
    present = [1.0 - float(pane.missing[place] / cells[place]) for place in places if cells[place] > 0.0]
    if not present:
        yield "no_outputs", "the rows of its reference have no class, score or value: only features are monitored"
    elif max(present) < USUALLY:
        text = f"{1.0 - max(present):.0%} of the rows of its reference have no class, score or value"
        yield "no_outputs", f"{text}: that share counts as usual"


def of_window(window: Window, reference: Reference) -> Iterator[tuple[Misfit, str]]:
    """Yield what most of a window's rows say that its reference contradicts."""
    classes = window.schema.classes.names(0)
    if window.schema.task == _BINARY and len(classes) > 2:
        text = f"a binary model has {len(classes)} classes now: {listed(classes)}; figures of the score are left out "
        yield (
            "third_class",
            text + f"while other classes than its two have more than a hundredth of the rows: {_RELEARN}",
        )
    yield from _columns(window, reference)
    yield from _scores(window, reference)
    yield from _beyond_limits(window.schema, window.pane)


def _beyond_limits(schema: Schema, pane: Pane) -> Iterator[tuple[Misfit, str]]:
    """Yield whether a multiclass model has labels that count, but not in every figure."""
    if schema.task != _MULTICLASS:
        return
    if pane.outcomes.by_class[0, :, 0].max() > ROUNDING * pane.outcomes.labels[0]:
        text = (
            f"it has more classes than the limit of {schema.classes.limit} (limits.classes when its reference was made)"
        )
        yield "class_limit", f"{text}; accuracy and the weighted recall are exact, other averages are left out"
    count, unknown, _ = pane.outcomes.scored[0].tolist()
    if count > 0.0 and unknown > 0.0:
        text = (
            f"for {unknown / (count + unknown):.0%} of the labels with scores, the probability of the true class is not"
        )
        yield "class_scores", f"{text} known (of {SCORES_LIMIT} classes it is kept); the log loss is left out"


def _columns(window: Window, reference: Reference) -> Iterator[tuple[Misfit, str]]:
    pane, schema = window.pane, window.schema
    texts = text_cells(pane, schema.categories)
    cells = all_cells(pane, pane.counts.sum(axis=1), texts)
    wrong = (pane.wrong_type > MOSTLY * cells) & (cells >= LEAST_CELLS)
    names = [schema.columns[place].name for place in np.flatnonzero(wrong) if schema.columns[place].role == "feature"]
    if names:
        text = f"most cells of {listed(names, 10)} are texts where its reference has numbers, or the opposite"
        yield "feature_type", f"{text}; they are left out of drift: {_RELEARN}"
    unseen = text_cells(pane, schema.categories, len(reference.schema.categories))
    for place, spec in enumerate(schema.categorical):
        if spec.role == "prediction" and texts[place] >= LEAST_CELLS and unseen[place] > MOSTLY * texts[place]:
            yield "new_classes", f"most predicted classes are not in its reference: {_RELEARN}"


def _scores(window: Window, reference: Reference) -> Iterator[tuple[Misfit, str]]:
    """Yield whether scores that were probabilities no longer are: the mean of an outer bin lies beyond 0 or 1."""
    schema, pane = window.schema, window.pane
    place = next((place for place, spec in enumerate(schema.numeric) if spec.role == "score"), None)
    if place is None or not (reference.schema.low[place] >= 0.0 and reference.schema.high[place] <= 1.0):
        return
    edges = schema.edges[place][np.isfinite(schema.edges[place])]
    if not len(edges):
        return
    counts, excess = pane.counts[place], pane.excess[place]
    beyond = (0, edges[0]), (len(edges), edges[-1])
    means = [anchor + excess[bin_] / counts[bin_] if counts[bin_] > 0.0 else anchor for bin_, anchor in beyond]
    if counts.sum() >= LEAST_CELLS and (means[0] < 0.0 or means[1] > 1.0):
        text = "scores are no longer probabilities, as they are in its reference; figures that need probabilities are"
        yield "score_range", f"{text} left out: {_RELEARN}"
