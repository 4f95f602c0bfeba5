"""How often the band around an estimate covers what the labels say later: on real flights, by size of the reference."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from collector_processor.columns.batch import F64, Column, Mask, PredictionBatch
from collector_processor.demo import flights
from collector_processor.monitors.estimate_settings import EstimateSettings
from collector_processor.monitors.estimated_performance import EstimatedPerformanceMonitor, confusion
from collector_processor.monitors.performance import LeastLabels
from collector_processor.reference.build import build_reference
from collector_processor.reference.profile import Reference
from collector_processor.statistics.accumulate import accumulate
from collector_processor.statistics.pane import Pane
from collector_processor.window.closed import Window
from otel_ml import semconv
from verification.topic import Check, Findings, Progress, Table, Topic, versions
from verification.topics.concept import MODEL, THRESHOLD, scored

CONFUSION: Final = ("accuracy", "precision", "recall", "f1", "specificity")
RANKING: Final = ("roc_auc", "average_precision")
BANDS: Final = ("95%", "nannyml")
REFERENCES: Final = {1_000: 20, 5_000: 20, 50_000: 4}
"""Rows of the reference, and how many references of random rows."""
SIZES: Final = (200, 1_000, 5_000)
WINDOWS: Final = 300
"""Windows of each size, for each size of the reference."""
FIFTH: Final = 5


def rows_of(score: F64) -> PredictionBatch:
    """Return predictions that have nothing but a score."""
    rows = len(score)
    return PredictionBatch(
        MODEL, np.zeros(rows, np.int64), np.zeros((rows, 2), np.uint64), np.ones(rows), np.full(rows, np.nan),
        score=score, positive_class=flights.DELAYED,
    )  # fmt: skip


def referenced(score: F64, late: Mask) -> Reference:
    """Return the reference of labeled rows."""
    return build_reference(
        MODEL.name, rows_of(score), task="binary_classification", positive_class=flights.DELAYED, threshold=THRESHOLD,
        label_classes=Column(None, late.astype(np.int32), (flights.ON_TIME, flights.DELAYED)),
    )  # fmt: skip


def realized(score: F64, late: Mask) -> dict[str, float]:
    """Return what the labels say."""
    cell = np.bincount(2 * (score >= THRESHOLD) + late, minlength=4).reshape(2, 2)
    by_class = np.stack((cell.sum(axis=1), cell[:, 1], np.zeros(2)), axis=1)[None]
    found = {name: float(values[0]) for name, values in confusion(by_class).items()}
    return found | {"roc_auc": roc_auc_score(late, score), "average_precision": average_precision_score(late, score)}


def ends(window: Window, reference: Reference, band: str) -> dict[str, list[float]]:
    """Return both ends of each band, by figure."""
    settings = EstimateSettings.model_validate({"band": band})
    found: dict[str, list[float]] = {}
    for item in EstimatedPerformanceMonitor(LeastLabels(), settings).evaluate(window, reference):
        if item.name in (semconv.PERFORMANCE_LOWER, semconv.PERFORMANCE_UPPER):
            found.setdefault(dict(item.attributes)[semconv.PERFORMANCE_METRIC], []).append(item.value)
    return found


def run(quick: bool, progress: Progress) -> Findings:
    """Count how often the realized figure of a window lies within the band of its estimate."""
    _, score, late = scored(8 if quick else 1)
    score, late = score[len(score) // 3 :], late[len(late) // 3 :]
    random, hits = np.random.default_rng(5), dict[tuple[int, int, str, str], list[bool]]()
    for size, references in ({1_000: 2} if quick else REFERENCES).items():
        progress(f"references of {size:,} rows")
        for _ in range(references):
            order = random.permutation(len(score))
            known, others = order[:size], order[size:]
            reference = referenced(score[known], late[known])
            for rows in SIZES:
                for _ in range(5 if quick else WINDOWS // references):
                    chosen = random.choice(others, rows, replace=False)
                    pane = Pane.empty(reference.schema)
                    accumulate(pane, reference.schema, rows_of(score[chosen]))
                    window, truth = Window(MODEL, 0, 1, reference.schema, pane), realized(score[chosen], late[chosen])
                    for band in BANDS:
                        for name, (low, high) in ends(window, reference, band).items():
                            if name in truth and name in CONFUSION + RANKING:
                                hits.setdefault((size, rows, band, name), []).append(low <= truth[name] <= high)
    covered = {key: float(np.mean(each)) for key, each in hits.items()}

    def least(names: tuple[str, ...], *, large: bool = False) -> float:
        return min(
            share
            for (size, rows, band, name), share in covered.items()
            if band == BANDS[0] and name in names and (large or rows * FIFTH <= size)
        )

    table: list[tuple[Any, ...]] = [
        (f"{size:,}", f"{rows:,}", band, *(f"{covered[size, rows, band, name]:.1%}" for name in CONFUSION + RANKING))
        for size, rows, band in dict.fromkeys(key[:3] for key in covered)
    ]
    return Findings(
        data=f"{len(score):,} flights that the model was not trained on, in references and windows of random rows; "
        f"{WINDOWS} windows of each size",
        checks=[
            Check.at_least(
                "least coverage of a figure of the confusion", least(CONFUSION, large=True), 0.6 if quick else 0.9
            ),
            Check.at_least(
                "least coverage of it, windows of a fifth of the reference or less",
                least(CONFUSION),
                0.6 if quick else 0.92,
            ),
            Check.at_least(
                "least coverage of ROC AUC and average precision, windows of a fifth or less",
                least(RANKING),
                0.6 if quick else 0.88,
            ),
        ],
        tables=[
            Table(
                "Share of windows whose labels are within the band:",
                ("reference", "window", "band", *CONFUSION, *RANKING),
                table,
            )
        ],
        versions=versions("numpy", "scikit-learn"),
    )


TOPIC = Topic("Bands of estimated performance", run, page="methods/cbpe.md")
