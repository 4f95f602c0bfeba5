"""Estimated performance of a multiclass model beside NannyML's, chunk by chunk."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from collector_processor.columns.batch import F64, I32, Column, ModelKey, PredictionBatch
from collector_processor.monitors.estimate_settings import EstimateSettings
from collector_processor.monitors.estimated_classes import FIGURES, EstimatedClassesMonitor
from collector_processor.monitors.estimated_performance import ESTIMATED_METRICS
from collector_processor.monitors.further_performance import FurtherPerformanceSettings
from collector_processor.monitors.performance import LeastLabels
from collector_processor.reference.build import build_reference
from collector_processor.reference.profile import Reference
from collector_processor.statistics.accumulate import accumulate
from collector_processor.statistics.pane import Pane
from collector_processor.window.closed import Window
from otel_ml import semconv
from verification.oracle import Oracle
from verification.topic import Check, Findings, Progress, Table, Topic, largest
from verification.topics.cbpe import ENDS

ORACLE = Oracle("nannyml")
MODEL = ModelKey("m", "1")
CALL = 1000
"""Rows of a call, of which none is left out of the estimate."""
KINDS = ("two decimals", "no equal scores")


def batch(classes: Sequence[str], scores: F64, predicted: I32) -> PredictionBatch:
    """Return rows as a batch."""
    rows = len(scores)
    return PredictionBatch(
        MODEL, np.zeros(rows, np.int64), np.zeros((rows, 2), np.uint64), np.ones(rows), np.full(rows, np.nan),
        prediction=Column(None, predicted, tuple(classes)), scores=dict(zip(classes, scores.T, strict=True)),
    )  # fmt: skip


def pane_of(reference: Reference, rows: PredictionBatch) -> Pane:
    """Return the pane of rows that come in calls."""
    pane = Pane.empty(reference.schema)
    for start in range(0, len(rows), CALL):
        accumulate(pane, reference.schema, rows.take(slice(start, start + CALL)))
    return pane


def measured(reference: Reference, pane: Pane) -> dict[tuple[str, str], float]:
    """Return the figures of all classes, each with the ends of its band and limits."""
    names = {ESTIMATED_METRICS[name].name: (name, "value") for name in FIGURES}
    parts = {name: part for part, name in ENDS.items()}
    monitor = EstimatedClassesMonitor(FurtherPerformanceSettings(), LeastLabels(), EstimateSettings(band="nannyml"))
    found: dict[tuple[str, str], float] = {}
    for item in monitor.evaluate(Window(MODEL, 0, 1, reference.schema, pane), reference):
        attributes = dict(item.attributes)
        if semconv.PERFORMANCE_CLASS not in attributes:
            key = names.get(item.name) or (attributes[semconv.PERFORMANCE_METRIC], parts[item.name])
            found[key] = item.value
    return found


def run(quick: bool, progress: Progress) -> Findings:
    """Compare every chunk."""
    errors: dict[tuple[str, str, str], list[float]] = {}
    splits, versions, table = list[float](), dict[str, str](), list[tuple[Any, ...]]()
    for kind in KINDS[-1 if quick else 0 :]:
        progress(f"NannyML, {kind}")
        answer = ORACLE.ask({"spread": kind != KINDS[0]}, script="nannyml_classes")
        versions |= answer.versions
        classes: list[str] = answer.value["classes"]
        scores, predicted, label = (np.array(values) for values in answer.value["reference"])
        rows = batch(classes, scores, predicted.astype(np.int32))
        reference = build_reference("m", rows, label_classes=Column(None, label.astype(np.int32), tuple(classes)))
        scores, predicted = (np.array(values) for values in answer.value["analysis"])
        rows, size = batch(classes, scores, predicted.astype(np.int32)), len(scores) // 10
        for chunk, start in enumerate(range(0, len(scores), size)):
            part = rows.take(slice(start, start + size))
            found = measured(reference, pane_of(reference, part))
            splits.append(_of_splits(reference, part, found))
            for name in FIGURES:
                theirs = answer.value["chunks"][name]
                for end in ("value", *ENDS):
                    errors.setdefault((kind, name, end), []).append(abs(found[name, end] - theirs[end][chunk]))
        table.append((kind, *(largest(errors[kind, name, "value"]) for name in FIGURES)))

    def worst(figures: Sequence[str], ends: Sequence[str], kinds: Sequence[str] = KINDS) -> float:
        return largest(
            error for (kind, name, end), each in errors.items() for error in each
            if name in figures and end in ends and kind in kinds
        )  # fmt: skip

    confusion, bands, limits = FIGURES[:-2], list(ENDS)[:2], list(ENDS)[2:]
    return Findings(
        data="tenths of the synthetic data set of three classes that NannyML bundles",
        checks=[
            Check.at_most("figures of the confusion, largest difference", worst(confusion, ["value"]), 1e-12),
            Check.at_most("ROC AUC without equal scores", worst(["roc_auc"], ["value"], KINDS[1:]), 1e-7),
            *(
                [Check.at_most("ROC AUC with equal scores", worst(["roc_auc"], ["value"], KINDS[:1]), 1e-5)]
                if not quick
                else []
            ),
            Check.at_most(
                "average precision without equal scores", worst(["average_precision"], ["value"], KINDS[1:]), 1e-4
            ),
            Check.at_most("limits, largest difference", worst(FIGURES, limits), 1e-9),
            Check.at_most("bands of the confusion, largest difference", worst(confusion, bands), 1e-9),
            Check.at_most("bands of the ROC AUC without equal scores", worst(["roc_auc"], bands, KINDS[1:]), 1e-7),
            Check.at_most("figures of the confusion if the rows are split, largest difference", largest(splits), 0.0),
        ],
        tables=[Table("Largest difference from NannyML, whose order of equal scores is that of a sort:",
                      ("scores", *FIGURES), table)],
        versions=versions,
    )  # fmt: skip


def _of_splits(reference: Reference, rows: PredictionBatch, whole: dict[tuple[str, str], float]) -> float:
    """Return how far figures of the confusion are from those of the same rows in three panes that are added up."""
    total = Pane.empty(reference.schema)
    for start, end in pairwise((0, len(rows) // 7, len(rows) // 2, len(rows))):
        total.add(pane_of(reference, rows.take(slice(start, end))))
    again = measured(reference, total)
    return largest(abs(again[key] - value) for key, value in whole.items() if key[0] in FIGURES[:-2])


TOPIC = Topic("Estimated performance of many classes", run, oracles=("nannyml",), page="methods/cbpe.md")
