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
"""Rows of a group in the promise: smaller ones have realized rates that are too uncertain to compare with."""
BY_DEFAULT = 100
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


def measured(reference: Reference, rows: Rows, least: int) -> tuple[dict[Key, float], float]:
    """Return the figures of a window by name, segment, group and source, and half the widest realized interval.

    The interval is that of the true positive rate of a group beside the reference group.
    """
    predictions, labels = batch(rows)
    schema = reference.schema.fork()
    pane = Pane.empty(schema)
    accumulate(pane, schema, predictions)
    outcomes = reference_outcomes(schema, predictions, labels)
    assert outcomes is not None
    accumulate_outcomes(pane, schema, outcomes)
    monitor = FairnessMonitor(FairnessSettings(metrics=FIGURES, min_rows=least))
    found: dict[Key, float] = {}
    ends: dict[tuple[str, str], list[float]] = {}
    for each in monitor.evaluate(Window(MODEL, 0, 60, schema, pane), reference):
        keys = dict(each.attributes)
        segment, value = keys.get(semconv.SEGMENT_NAME, ""), keys.get(semconv.SEGMENT_VALUE, "")
        source = keys.get(semconv.PERFORMANCE_SOURCE, "")
        if semconv.FAIRNESS_METRIC not in keys:
            found[each.name.removeprefix(semconv.FAIRNESS), segment, value, source] = each.value
        elif (
            each.name in (semconv.FAIRNESS_LOWER, semconv.FAIRNESS_UPPER)
            and source == semconv.SOURCE_LABELS
            and keys[semconv.FAIRNESS_METRIC] == FIGURES[0]
        ):
            ends.setdefault((segment, value), []).append(each.value)
    return found, max((abs(high - low) / 2.0 for low, high in ends.values()), default=0.0)


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
    off: dict[tuple[str, str, bool, int], list[float]] = {}
    widest = 0.0
    for year in years[1:]:
        progress(str(year))
        window = {name: values[rows["year"] == year] for name, values in rows.items()}
        for least in (LEAST, BY_DEFAULT):
            found, half = measured(reference, window, least)
            widest = max(widest, half) if least == LEAST else widest
            for (name, segment, value, source), realized in found.items():
                estimated = found.get((name, segment, value, semconv.SOURCE_ESTIMATED))
                if source != semconv.SOURCE_LABELS or estimated is None or name not in FIGURES:
                    continue
                off.setdefault((name, segment, bool(value), least), []).append(100.0 * abs(estimated - realized))
                if not value and least == LEAST:
                    table.append((year, segment, name.replace("_", " "), 100.0 * realized, 100.0 * estimated))
    worst = {key: largest(values) for key, values in off.items()}

    def error(name: str, segment: str, *, pairs: bool, least: int) -> float:
        return worst.get((name, segment, pairs, least), float("nan"))

    return Findings(
        data=f"{len(rows['year']):,} census rows of Massachusetts (NannyML's data set); {years[0]} is the reference",
        checks=[
            Check.at_most(
                f"gap of true positive rates by {segment}, groups of {LEAST:,} rows or more, largest error in points",
                error(FIGURES[0], segment, pairs=False, least=LEAST), 2.0,
            )
            for segment in SEGMENTS
        ],
        tables=[
            Table(
                f"Gaps over the groups of a year, max − min, in points. Groups have at least {LEAST:,} rows.",
                ("year", "segment", "figure", "realized", "estimated"),
                table,
            ),
            Table(
                "The largest error over all years in points. *Gap* is max − min over all groups, *pair* any group "
                f"beside the largest one. The realized true positive rates of such a pair are known to ± "
                f"{100.0 * widest:.1f} points or better (95 %, groups of {LEAST:,} rows or more). By default smaller "
                "groups are compared, "
                "too: their realized rates are noise, and those with few labels in the reference have no estimate, so "
                "that the two gaps are over different groups.",
                (
                    "figure", "segment", f"gap, {LEAST:,} rows", f"pair, {LEAST:,} rows", "gap, by default",
                    "pair, by default",
                ),
                [
                    (
                        name.replace("_", " "), segment,
                        *(error(name, segment, pairs=pairs, least=least)
                          for least in (LEAST, BY_DEFAULT) for pairs in (False, True)),
                    )
                    for name in FIGURES for segment in SEGMENTS
                ],
            ),
        ],
        versions=dict(asked.versions),
    )  # fmt: skip


TOPIC = Topic("Fairness before the labels", run, oracles=("nannyml",), page="methods/fairness.md")
