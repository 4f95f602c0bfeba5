"""How often the 95 % interval of each figure of performance covers the truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.random import Generator

from collector_processor.columns.batch import F64, ModelKey
from collector_processor.monitors.class_ranking import ClassRankingMonitor
from collector_processor.monitors.further_performance import FurtherPerformanceMonitor, FurtherPerformanceSettings
from collector_processor.monitors.interval_monitor import IntervalMonitor
from collector_processor.monitors.performance import LeastLabels, PerformanceMonitor
from collector_processor.reference.profile import Reference
from collector_processor.statistics.bins import fine_edges
from collector_processor.statistics.fits.calibration import Curve
from collector_processor.statistics.fits.class_curves import ClassCurves
from collector_processor.statistics.outcome_batch import OutcomeBatch
from collector_processor.statistics.outcomes import accumulate_outcomes
from collector_processor.statistics.pane import Pane
from collector_processor.statistics.schema import Categories, ColumnSpec, Schema
from collector_processor.window.closed import Window
from otel_ml import semconv
from verification.topic import Check, Findings, Progress, Table, Topic, versions

MODEL = ModelKey("intervals", "1")
LEAST = LeastLabels(min_labels=1)
SETTINGS = FurtherPerformanceSettings(quantile=0.9)
CONSERVATIVE = frozenset({"calibration_error", "roc_auc macro", "average_precision macro"})
"""Figures whose interval is wider than 95 % on purpose."""
Rows = Callable[[Generator, int], dict[str, F64]]
"""Draws rows: labels, predictions, scores and weights."""


def binary(rate: float, weights: bool = False) -> Rows:
    """Return rows of a calibrated model with an ROC AUC of .92."""

    def draw(random: Generator, rows: int) -> dict[str, F64]:
        truth = random.random(rows) < rate
        logit = random.normal(np.where(truth, 2.0, -2.0) + np.log(rate / (1.0 - rate)), 2.0)
        score = 1.0 / (1.0 + np.exp(-logit))
        found = {"labels": 1.0 + truth, "predicted": 1.0 + (score >= 0.5), "scores": score}
        # Rows that are predicted as negative are sampled, one in ten.
        return found | {"weights": np.where(score < 0.5, 10.0, 1.0)} if weights else found

    return draw


def multiclass(random: Generator, rows: int) -> dict[str, F64]:
    """Return rows of five classes, from 40 % to 5 %, that are confused with their neighbors."""
    label = random.choice(5, rows, p=[0.4, 0.3, 0.15, 0.1, 0.05])
    probability = np.clip(random.beta(8.0, 2.0, rows), 1e-6, 1.0)
    wrong = random.random(rows) > probability
    predicted = np.where(wrong, (label + random.integers(1, 3, rows)) % 5, label)
    return {"labels": label + 1.0, "predicted": predicted + 1.0, "probability": probability}


def scored_classes(random: Generator, rows: int) -> dict[str, F64]:
    """Return rows of five classes, from 34 % to 8 %, with calibrated scores of all classes."""
    scores = np.exp(random.normal([1.0, 0.6, 0.2, -0.2, -0.6], 1.5, (rows, 5)))
    scores /= scores.sum(axis=1, keepdims=True)
    label = (random.random((rows, 1)) > scores.cumsum(axis=1)[:, :4]).sum(axis=1)
    return {
        "labels": label + 1.0,
        "predicted": scores.argmax(axis=1) + 1.0,
        "probability": scores[np.arange(rows), label],
        "class_scores": scores,
    }


def regression(tails: float) -> Rows:
    """Return rows with errors of Student's distribution with ``tails`` degrees of freedom."""

    def draw(random: Generator, rows: int) -> dict[str, F64]:
        label = random.normal(100.0, 20.0, rows)
        return {"label_values": label, "predicted_values": label + 8.0 * random.standard_t(tails, rows)}

    return draw


CASES: dict[str, tuple[str, Rows]] = {
    "binary, 30 % positive": ("binary_classification", binary(0.3)),
    "binary, 2 % positive": ("binary_classification", binary(0.02)),
    "binary, 30 %, weights 1 and 10": ("binary_classification", binary(0.3, weights=True)),
    "five classes": ("multiclass_classification", multiclass),
    "five classes with scores": ("multiclass_classification", scored_classes),
    "regression, normal errors": ("regression", regression(1e6)),
    "regression, t with 10 degrees": ("regression", regression(10.0)),
}


def schema_of(task: str, random: Generator) -> Schema:
    """Return a schema with the fine bins of scores, or of labels."""
    if task == "regression":
        role, values = "label", random.normal(100.0, 20.0, 20_000)
    else:
        role, values = "score", binary(0.3)(random, 100_000)["scores"]
    bins = fine_edges(np.asarray(values), half=False)
    names = ("no", "yes") if task == "binary_classification" else tuple("abcde")
    return Schema(
        task=task,
        positive_class="yes" if task == "binary_classification" else "",
        numeric=() if task == "multiclass_classification" else (ColumnSpec(role, role),),
        edges=bins.edges[None] if task != "multiclass_classification" else np.zeros((0, 1)),
        drift_edges=np.zeros((0 if task == "multiclass_classification" else 1, 1), np.int32),
        low=np.array([bins.low]),
        high=np.array([bins.high]),
        categorical=(),
        categories=Categories([], 100),
        classes=Categories.from_pairs(("class",), 100, [(0, name) for name in names]),
        groups=Categories((), 50),
        unit="min",
        fits={} if task != "multiclass_classification" else {ClassCurves: _curves(random)},
    )


def _curves(random: Generator) -> ClassCurves:
    """Return the bins of the scores of five classes; what they are calibrated to does not matter here."""
    edges = np.quantile(scored_classes(random, 100_000)["class_scores"], np.arange(1, 1000) / 1000.0, axis=0).T
    same = Curve(np.array([0.0, 1.0]), np.array([0.0, 1.0]), 0.0, 1.0)
    return ClassCurves(np.arange(1, 6, dtype=np.int32), (same,) * 5, edges)


def window_of(schema: Schema, rows: dict[str, F64]) -> Window:
    """Return a window of joined labels."""
    size = len(next(iter(rows.values())))
    none, pane = np.full(size, np.nan), Pane.empty(schema)
    codes = {name: rows[name].astype(np.int32) for name in ("labels", "predicted") if name in rows}
    outcomes = OutcomeBatch(
        time_ns=np.zeros(size, np.int64),
        weights=rows.get("weights", np.ones(size)),
        scores=rows.get("scores", none),
        label_probability=rows.get("probability", none),
        groups=np.empty((size, 0), np.int32),
        delay_s=none,
        label_values=rows.get("label_values"),
        predicted_values=rows.get("predicted_values"),
        class_scores=rows.get("class_scores"),
        **codes,
    )
    accumulate_outcomes(pane, schema, outcomes)
    return Window(MODEL, 0, 1, schema, pane)


def figures(window: Window) -> Iterator[tuple[str, float]]:
    """Yield the figures of a window by name, with average, class or share."""
    reference = Reference(MODEL.name, window.schema, window.pane, np.zeros(len(window.schema.numeric)), "", "")
    of_labels = (kind(SETTINGS, LEAST) for kind in (FurtherPerformanceMonitor, ClassRankingMonitor))
    for monitor in (PerformanceMonitor(LEAST), *of_labels):
        for item in monitor.evaluate(window, reference):
            if item.name != semconv.PERFORMANCE_DROP:
                yield _name(item.name.removeprefix(semconv.PERFORMANCE), item.attributes), item.value


def intervals(window: Window) -> dict[str, tuple[float, float]]:
    """Return both ends of each interval by the names of :func:`figures`."""
    reference = Reference(MODEL.name, window.schema, window.pane, np.zeros(len(window.schema.numeric)), "", "")
    ends: dict[str, dict[str, float]] = {}
    for item in IntervalMonitor(SETTINGS, LEAST).evaluate(window, reference):
        name = _name(dict(item.attributes)[semconv.PERFORMANCE_METRIC], item.attributes)
        ends.setdefault(name, {})[item.name] = item.value
    return {name: (each[semconv.PERFORMANCE_LOWER], each[semconv.PERFORMANCE_UPPER]) for name, each in ends.items()}


def _name(figure: str, attributes: tuple[tuple[str, str], ...]) -> str:
    kept = (semconv.PERFORMANCE_AVERAGE, semconv.PERFORMANCE_CLASS, semconv.PERFORMANCE_AT)
    return " ".join((figure, *(value for key, value in attributes if key in kept)))


def covered(case: str, rows: int, runs: int, seed: int = 1) -> dict[str, tuple[int, int]]:
    """Return how many of ``runs`` windows had an interval, and how many of these covered the truth, by figure.

    The truth is the figure of two million rows.
    """
    task, draw = CASES[case]
    random = np.random.default_rng(seed)
    schema = schema_of(task, random)
    truth = dict(figures(window_of(schema, draw(random, 2_000_000 if runs > 100 else 200_000))))
    found = dict.fromkeys(truth, (0, 0))
    for _ in range(runs):
        for name, (low, high) in intervals(window_of(schema, draw(random, rows))).items():
            if name in truth:
                had, hit = found[name]
                found[name] = had + 1, hit + (low <= truth[name] <= high)
    return found


def run(quick: bool, progress: Progress) -> Findings:
    """Simulate windows of several sizes."""
    runs, sizes = (60, (200,)) if quick else (2000, (60, 200, 1000))
    rows: list[tuple[object, ...]] = []
    at: dict[int, list[tuple[str, float]]] = {size: [] for size in sizes}
    for case in CASES:
        progress(case)
        found = {size: covered(case, size, runs) for size in sizes}
        for name in found[sizes[0]]:
            cells: list[str] = []
            for size in sizes:
                had, hit = found[size][name]
                often = 2 * had >= runs  # of windows that rarely have one, those that do are not like the others
                cells.append(f"{100.0 * hit / had:.1f}" if often else "–")
                at[size] += [(name, hit / had)] if often else []
            rows.append((case, name, *cells))
    least = {size: min(share for _, share in found) for size, found in at.items()}
    shares = [share for name, share in at[sizes[-1]] if name not in CONSERVATIVE]
    return Findings(
        data=f"{runs:,} windows of each size, {len(CASES)} kinds of rows",
        checks=[
            *(
                Check.at_least(f"least coverage of any figure, {size} labels", share, 0.8 if quick else 0.93)
                for size, share in least.items()
            ),
            Check.at_least(
                f"figures of {sizes[-1]} labels of which 93 to 97 % are covered, as a share",
                sum(0.93 <= share <= 0.97 for share in shares) / len(shares),
                0.1 if quick else 0.9,
            ),
        ],
        tables=[
            Table(
                "How many of 100 intervals cover the truth, by labels in the window; – where at least half of the "
                "windows have no interval:",
                ("rows", "figure", *(str(size) for size in sizes)),
                rows,
            )
        ],
        versions=versions("numpy", "scipy"),
    )


TOPIC = Topic("Intervals of performance", run, page="methods/intervals.md")
