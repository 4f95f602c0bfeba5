"""Fairness before the labels: estimated gaps of true positive rates beside the realized ones, on census rows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from collector_processor.columns.batch import Column, ModelKey, PredictionBatch
from collector_processor.monitors.fairness import FairnessMonitor
from collector_processor.monitors.fairness_settings import FairnessSettings
from collector_processor.reference.build import build_reference
from collector_processor.reference.columns import Labels
from collector_processor.reference.outcomes import reference_outcomes
from collector_processor.reference.profile import Reference
from collector_processor.statistics.accumulate import accumulate
from collector_processor.statistics.outcomes import accumulate_outcomes
from collector_processor.statistics.pane import Pane
from collector_processor.window.closed import Window
from otel_ml import semconv
from verification.oracle import Oracle
from verification.topic import Check, Findings, Progress, Table, Topic, largest

MODEL = ModelKey("employment")
CLASSES = ("0", "1")
FIGURES = ("equal_opportunity_difference", "predictive_equality_difference", "predictive_parity_difference")
LEAST = 1000
"""Rows of a group from which on the realized rate itself is known to about a point."""
SEGMENTS = {"sex": "SEX", "race": "RAC1P"}
Rows = Mapping[str, np.ndarray]
Key = tuple[str, str, str, str]


def batch(rows: Rows) -> tuple[PredictionBatch, Labels]:
    """Return the predictions and labels of some rows."""
    size = len(rows["year"])

    def texts(name: str) -> Column:
        codes = rows[name].astype(np.int32)
        return Column(None, codes, tuple(map(str, range(int(codes.max()) + 1))))

    predictions = PredictionBatch(
        MODEL, np.zeros(size, np.int64), np.zeros((size, 2), np.uint64), np.ones(size), np.full(size, np.nan),
        prediction=texts("prediction"), score=rows["predicted_probability"].astype(np.float64),
        segments={name: texts(column) for name, column in SEGMENTS.items()},
    )  # fmt: skip
    return predictions, Labels(texts("employed"))


def measured(reference: Reference, rows: Rows) -> dict[Key, float]:
    """Return the figures of a window by name, segment, group and source."""
    predictions, labels = batch(rows)
    schema = reference.schema.fork()
    pane = Pane.empty(schema)
    accumulate(pane, schema, predictions)
    outcomes = reference_outcomes(schema, predictions, labels)
    assert outcomes is not None
    accumulate_outcomes(pane, schema, outcomes)
    monitor = FairnessMonitor(FairnessSettings(metrics=FIGURES, min_rows=LEAST))
    found: dict[Key, float] = {}
    for each in monitor.evaluate(Window(MODEL, 0, 60, schema, pane), reference):
        keys = dict(each.attributes)
        if semconv.FAIRNESS_METRIC not in keys:
            key = (
                each.name.removeprefix(semconv.FAIRNESS), keys.get(semconv.SEGMENT_NAME, ""),
                keys.get(semconv.SEGMENT_VALUE, ""), keys.get(semconv.PERFORMANCE_SOURCE, ""),
            )  # fmt: skip
            found[key] = each.value
    return found


def run(quick: bool, progress: Progress) -> Findings:
    """Build a reference of 2015 and compare the years after it."""
    asked = Oracle("nannyml").ask({}, script="employment")
    rows = {name: np.array(values) for name, values in asked.value.items()}
    if quick:
        rows = {name: values[::4] for name, values in rows.items()}
    years = sorted(set(rows["year"].tolist()))
    before = {name: values[rows["year"] == years[0]] for name, values in rows.items()}
    predictions, labels = batch(before)
    reference = build_reference(
        "employment", predictions, positive_class="1", segments=list(SEGMENTS), label_classes=labels.classes
    )
    table: list[tuple[object, ...]] = []
    off: dict[tuple[str, str, bool], list[float]] = {}
    for year in years[1:]:
        progress(str(year))
        found = measured(reference, {name: values[rows["year"] == year] for name, values in rows.items()})
        for (name, segment, value, source), realized in found.items():
            estimated = found.get((name, segment, value, semconv.SOURCE_ESTIMATED))
            if source != semconv.SOURCE_LABELS or estimated is None:
                continue
            if name in FIGURES:
                off.setdefault((name, segment, bool(value)), []).append(100.0 * abs(estimated - realized))
                if not value:
                    table.append((year, segment, name.replace("_", " "), 100.0 * realized, 100.0 * estimated))
    worst = {key: largest(values) for key, values in off.items()}
    return Findings(
        data=f"{len(rows['year']):,} census rows of Massachusetts (NannyML's data set); {years[0]} is the reference",
        checks=[
            Check.at_most(f"gap of true positive rates by {segment}, largest error in points", value, 2.0)
            for (name, segment, pairs), value in worst.items()
            if name == FIGURES[0] and not pairs
        ],
        tables=[
            Table(
                f"Gaps over the groups of a year, max − min, in points. Groups have at least {LEAST:,} rows.",
                ("year", "segment", "figure", "realized", "estimated"),
                table,
            ),
            Table(
                "The largest error over all years in points: of the gap over all groups, and of any group beside the "
                "largest one. The realized rate of the smallest of these groups is itself known to ± 2.4 points.",
                ("figure", "segment", "gap", "group"),
                [
                    (name.replace("_", " "), segment, value, worst.get((name, segment, True), float("nan")))
                    for (name, segment, pairs), value in worst.items()
                    if not pairs
                ],
            ),
        ],
        versions=dict(asked.versions),
    )


TOPIC = Topic("Fairness before the labels", run, oracles=("nannyml",), page="methods/fairness.md")
