"""Estimated performance beside NannyML's, chunk by chunk, on three of the data sets that it bundles."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from time import perf_counter
from typing import Any

import numpy as np

from collector_processor.columns.batch import F64, Column, ModelKey, PredictionBatch
from collector_processor.monitors.estimate_settings import EstimateSettings
from collector_processor.monitors.estimated_performance import (
    ESTIMATED_METRICS,
    EstimatedPerformanceMonitor,
)
from collector_processor.monitors.performance import LeastLabels
from collector_processor.reference.build import build_reference
from collector_processor.reference.profile import Reference
from collector_processor.statistics.accumulate import accumulate
from collector_processor.statistics.pane import Pane
from collector_processor.window.closed import Window
from otel_ml import semconv
from verification.oracle import Oracle
from verification.topic import Check, Findings, Progress, Table, Topic, largest

ORACLE = Oracle("nannyml")
MODEL = ModelKey("m", "1")
MONITOR = EstimatedPerformanceMonitor(LeastLabels(), EstimateSettings(band="nannyml"))
LEAST = 50
EVERY = 3
"""One row in this many is of the segment that is compared."""
SEGMENT = "share"
DATA = {
    "car loans": ("synthetic_car_loan_reference.csv", "synthetic_car_loan_analysis.csv",
                  ("y_pred_proba", "y_pred", "repaid")),
    "employment in Massachusetts": ("employment_MA_reference.pq", "employment_MA_analysis.pq",
                                    ("predicted_probability", "prediction", "employed")),
    "California housing": ("california_housing_reference.csv", "california_housing_analysis.csv",
                           ("y_pred_proba", "y_pred", "clf_target")),
}  # fmt: skip
ENDS = {
    "lower_confidence_boundary": semconv.PERFORMANCE_LOWER,
    "upper_confidence_boundary": semconv.PERFORMANCE_UPPER,
    "lower_threshold": semconv.PERFORMANCE_LOWER_LIMIT,
    "upper_threshold": semconv.PERFORMANCE_UPPER_LIMIT,
}
"""Our name of each end of a band or limit that NannyML gives."""


def batch(score: F64, predicted: F64) -> PredictionBatch:
    """Return rows as a batch of the classes 0 and 1."""
    rows = len(score)
    codes = (np.arange(rows) % EVERY > 0).astype(np.int32)
    return PredictionBatch(
        MODEL, np.zeros(rows, np.int64), np.zeros((rows, 2), np.uint64), np.ones(rows), np.full(rows, np.nan),
        prediction=_classes(predicted), score=score, segments={SEGMENT: Column(None, codes, ("one", "rest"))},
    )  # fmt: skip


def figures(reference: Reference, rows: PredictionBatch) -> tuple[dict[tuple[str, str], float], Pane]:
    """Return what the monitor measures of one window, by figure and its part, with the window's pane."""
    pane = Pane.empty(reference.schema)
    accumulate(pane, reference.schema, rows)
    return _measured(reference, pane), pane


def _measured(reference: Reference, pane: Pane, segment: str | None = None) -> dict[tuple[str, str], float]:
    names = {metric.name: name for name, metric in ESTIMATED_METRICS.items()}
    parts = {name: part for part, name in ENDS.items()}
    found: dict[tuple[str, str], float] = {}
    for item in MONITOR.evaluate(Window(MODEL, 0, 1, reference.schema, pane), reference):
        if dict(item.attributes).get(semconv.SEGMENT_VALUE) != segment:
            continue
        if item.name in names:
            found[names[item.name], "value"] = item.value
        else:
            found[dict(item.attributes)[semconv.PERFORMANCE_METRIC], parts[item.name]] = item.value
    return found


def _classes(values: F64) -> Column:
    return Column(None, values.astype(np.int32), ("0", "1"))


def run(quick: bool, progress: Progress) -> Findings:
    """Compare every chunk with enough rows: of one data set if quick, else of three."""
    errors: dict[tuple[str, str], list[float]] = {}
    splits, times, chunks, versions = list[float](), list[float](), 0, dict[str, str]()
    table: list[tuple[Any, ...]] = []
    for name, (first, second, columns) in list(DATA.items())[-1 if quick else 0 :]:
        progress(f"{name} in NannyML")
        question = {"reference": first, "analysis": second, "columns": columns, "every": EVERY}
        answer = ORACLE.ask(question, script="nannyml_cbpe")
        versions |= answer.versions
        score, predicted, label = (np.array(values) for values in answer.value["reference"])
        reference = build_reference(
            "m", batch(score, predicted), label_classes=_classes(label), positive_class="1", segments=[SEGMENT]
        )
        score, predicted = (np.array(values) for values in answer.value["analysis"])
        here: dict[str, list[float]] = {}
        size = len(score) // 10  # NannyML's default, which keeps the remainder
        for chunk, start in enumerate(range(0, len(score), size)):
            rows = batch(score[start : start + size], predicted[start : start + size])
            if len(rows) < LEAST:
                continue  # rounding to five decimals, as NannyML does, counts there
            chunks += 1
            found, pane = figures(reference, rows)
            begun = perf_counter()
            MONITOR.evaluate(Window(MODEL, 0, 1, reference.schema, pane), reference)
            times.append(perf_counter() - begun)
            splits.append(_of_splits(reference, rows, found))
            for (figure, part), value in found.items():
                theirs = answer.value["chunks"][figure.removesuffix("s") if figure.endswith("tives") else figure]
                error = abs(value - theirs[part][chunk])
                errors.setdefault((figure, part), []).append(error)
                if part == "value":
                    here.setdefault(figure, []).append(error)
        for figure, error in _of_segment(reference, score, predicted, answer.value["segment"]):
            errors.setdefault((figure, SEGMENT), []).append(error)
        table.append((name, *(largest(here[figure]) for figure in ESTIMATED_METRICS)))

    def worst(figures: list[str], parts: list[str]) -> float:
        return largest(error for figure in figures for part in parts for error in errors[figure, part])

    ranking = ["roc_auc", "average_precision"]
    confusion = [figure for figure in ESTIMATED_METRICS if figure not in ranking]
    bands, limits = list(ENDS)[:2], list(ENDS)[2:]
    return Findings(
        data=f"{chunks} tenths of {', '.join(row[0] for row in table)}, as NannyML bundles them",
        checks=[
            Check.at_most("figures of the confusion, largest difference", worst(confusion, ["value"]), 1e-12),
            Check.at_most("ROC AUC, largest difference", worst(["roc_auc"], ["value"]), 1e-7),
            Check.at_most("average precision, largest difference", worst(["average_precision"], ["value"]), 1e-6),
            Check.at_most("confusion of a segment, largest difference", worst(confusion, [SEGMENT]), 1e-12),
            Check.at_most("ROC AUC of a segment, largest difference", worst(["roc_auc"], [SEGMENT]), 1e-4),
            Check.at_most(
                "average precision of a segment, largest difference", worst(["average_precision"], [SEGMENT]), 5e-4
            ),
            Check.at_most("limits, largest difference", worst([*ESTIMATED_METRICS], limits), 1e-9),
            Check.at_most("bands of the confusion, largest difference", worst(confusion, bands), 1e-9),
            Check.at_most("bands of the ROC AUC, largest difference", worst(["roc_auc"], bands), 1e-7),
            Check.at_most("figures of the confusion if the rows are split, largest difference", largest(splits), 0.0),
        ],
        tables=[
            Table("Largest difference from NannyML:", ("data", *ESTIMATED_METRICS), table),
            Table("All figures of a window take, in milliseconds:", ("median",), [(float(np.median(times)) * 1e3,)]),
        ],
        versions=versions,
    )


def _of_segment(
    reference: Reference, score: F64, predicted: F64, theirs: dict[str, dict[str, list[float]]]
) -> Iterator[tuple[str, float]]:
    """Yield the difference of each figure of a segment, of which NannyML saw nothing but its own rows."""
    size = len(score[::EVERY]) // 10
    for chunk, start in enumerate(range(0, len(score), size * EVERY)):
        rows = batch(score[start : start + size * EVERY], predicted[start : start + size * EVERY])
        if len(rows) // EVERY < LEAST:
            continue
        pane = figures(reference, rows)[1]
        for (figure, part), value in _measured(reference, pane, "one").items():
            if part == "value":
                name = figure.removesuffix("s") if figure.endswith("tives") else figure
                yield figure, abs(value - theirs[name][part][chunk])


def _of_splits(reference: Reference, rows: PredictionBatch, whole: dict[tuple[str, str], float]) -> float:
    """Return how far figures of the confusion are from those of the same rows in three panes that are added up."""
    cuts = (0, len(rows) // 7, len(rows) // 2, len(rows))
    total = Pane.empty(reference.schema)
    for start, end in pairwise(cuts):
        total.add(figures(reference, rows.take(slice(start, end)))[1])
    again = _measured(reference, total)
    ranking = ("roc_auc", "average_precision")
    return largest(abs(again[key] - value) for key, value in whole.items() if key[0] not in ranking)


TOPIC = Topic("Estimated performance (CBPE)", run, oracles=("nannyml",), page="methods/cbpe.md")
