"""The adaptive estimate beside PAPE, which looks at the reference's rows again for each window, and CBPE."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from lightgbm import LGBMClassifier
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from collector_processor.columns.batch import F64, I64, Column, ModelKey, PredictionBatch
from collector_processor.demo import flights
from collector_processor.monitors.estimate_settings import EstimateSettings
from collector_processor.monitors.estimated_performance import EstimatedPerformanceMonitor
from collector_processor.monitors.performance import LeastLabels
from collector_processor.reference.build import build_reference
from collector_processor.reference.profile import Reference
from collector_processor.statistics.accumulate import accumulate
from collector_processor.statistics.fits.adaptive import AdaptiveTrees
from collector_processor.statistics.pane import Pane
from collector_processor.window.closed import Window
from otel_ml import semconv
from verification.oracle import Oracle
from verification.topic import Check, Findings, Progress, Table, Topic, versions

MODEL = ModelKey("m", "1")
METRICS: Final = ("accuracy", "f1", "roc_auc")
METHODS: Final = ("cbpe", "pape", "adaptive")
CHUNKS = 20
"""Chunks of each data set and model."""
LARGEST = 3_000
"""Rows of a chunk, if a third of the rows it is drawn from is not less."""
ROWS = 90_000
"""Rows of a data set: a third trains the model, a third is the reference, and chunks are drawn from a third."""
BATCH = AdaptiveTrees.whole
"""Rows that arrive together: all of that many are evaluated."""
NUMERIC: Final = {
    "flights": ("hour", "month", "weekday", "distance", "temp"),
    "employment": ("AGEP", "SCHL"),
    "housing": ("MedInc", "HouseAge", "AveRooms", "AveBedrms", "Population", "AveOccup", "Latitude", "Longitude"),
}
THRESHOLDS: Final = {"flights": 0.35, "employment": 0.5, "housing": 0.5}
MODELS: Final[dict[str, Any]] = {
    "logistic regression": lambda: make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
    "random forest": lambda: RandomForestClassifier(60, min_samples_leaf=5, random_state=0),
    "gradient boosting": lambda: HistGradientBoostingClassifier(max_iter=60, max_leaf_nodes=15, random_state=0),
}


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a data set: numbers, and codes of categories; the label; and what a model says of them."""

    numeric: tuple[str, ...]
    features: pd.DataFrame
    truth: F64
    score: F64
    threshold: float

    def take(self, rows: I64 | slice) -> Rows:
        return Rows(self.numeric, self.features.iloc[rows], self.truth[rows], self.score[rows], self.threshold)

    @property
    def predicted(self) -> F64:
        return (self.score >= self.threshold).astype(float)


def data_sets(rows: int, quick: bool) -> Iterator[tuple[str, pd.DataFrame, F64]]:
    """Yield name, features and labels of each data set, in a random order; texts are codes."""
    table = flights.load_flights()
    known = table.arrival_delay.notna().to_numpy()
    features: pd.DataFrame = table.features[known].assign(
        month=table.departure[known].dt.month.astype(float), weekday=table.departure[known].dt.day_of_week.astype(float)
    )
    order = np.random.default_rng(1).permutation(len(features))[:rows]
    late = (table.arrival_delay[known].to_numpy() > flights.LATE_MINUTES)[order].astype(float)
    columns = [*NUMERIC["flights"], "carrier", "origin", "dest"]
    yield "flights", _coded(features[columns].iloc[order], NUMERIC["flights"]), late
    for name, columns_of in Oracle("nannyml").ask({"rows": rows}, "nannyml_labeled").value.items():
        if not quick or name == "housing":
            frame = pd.DataFrame(columns_of)
            yield name, _coded(frame.drop(columns="label"), NUMERIC[name]), frame["label"].to_numpy(float)


def _coded(frame: pd.DataFrame, numeric: tuple[str, ...]) -> pd.DataFrame:
    return frame.assign(
        **{
            str(name): frame[name].astype(float) if name in numeric else pd.factorize(frame[name], sort=True)[0]
            for name in frame
        }
    )


def batch(rows: Rows) -> PredictionBatch:
    """Return rows as they are received."""
    count, columns = len(rows.truth), dict[str, Column]()
    for name in rows.features:
        cells = rows.features[name].to_numpy()
        columns[str(name)] = (
            Column(cells.astype(np.float64))
            if name in rows.numeric
            else Column(None, cells.astype(np.int32), tuple(f"c{code}" for code in range(int(cells.max()) + 1)))
        )
    return PredictionBatch(
        MODEL, np.zeros(count, np.int64), np.arange(2 * count, dtype=np.uint64).reshape(count, 2), np.ones(count),
        np.full(count, np.nan), columns, score=rows.score, positive_class="1",
        prediction=Column(None, rows.predicted.astype(np.int32), ("0", "1")),
    )  # fmt: skip


def reference_of(rows: Rows) -> Reference:
    categorical = tuple(str(name) for name in rows.features if name not in rows.numeric)
    return build_reference(
        "m", batch(rows), task="binary_classification", positive_class="1", numeric=rows.numeric,
        categorical=categorical, label_classes=Column(None, rows.truth.astype(np.int32), ("0", "1")),
    )  # fmt: skip


def ours(reference: Reference, rows: Rows) -> dict[str, dict[str, float]]:
    """Return the figures that the monitor measures of a window, by method."""
    pane = Pane.empty(reference.schema)
    for start in range(0, len(rows.truth), BATCH):
        accumulate(pane, reference.schema, batch(rows.take(slice(start, start + BATCH))))
    window = Window(MODEL, 0, 1, reference.schema, pane)
    return {
        method: {
            item.name.removeprefix(semconv.PERFORMANCE): item.value
            for item in EstimatedPerformanceMonitor(
                LeastLabels(), EstimateSettings.model_validate({"method": method})
            ).evaluate(window, reference)
        }
        for method in ("cbpe", "adaptive")
    }


def pape(reference: Rows, chunk: Rows) -> dict[str, float]:
    """Return the figures of PAPE (Białek et al., arXiv 2401.08348): the calibration is fitted again for each chunk, on
    reference rows weighted by how probable it is that they are of the chunk.
    """
    both = pd.concat([reference.features, chunk.features])
    member = np.repeat([0, 1], [len(reference.truth), len(chunk.truth)])
    codes = [name for name in both if name not in reference.numeric]
    model = LGBMClassifier(verbosity=-1, n_jobs=1).fit(both, member, categorical_feature=codes)
    q = np.asarray(model.predict_proba(reference.features))[:, 1]
    ratio = len(reference.truth) / len(chunk.truth) * q / np.maximum(0.05, 1.0 - q)
    isotonic = IsotonicRegression(out_of_bounds="clip")
    isotonic.fit(reference.score, reference.truth, sample_weight=np.maximum(ratio, 0.001))
    return expected(isotonic.predict(chunk.score), chunk)


def expected(p: F64, rows: Rows) -> dict[str, float]:
    """Return the figures that are expected of rows whose labels have these probabilities."""
    predicted, order = rows.predicted, np.argsort(-rows.score, kind="stable")
    hit, false, missed = (p * predicted).sum(), ((1 - p) * predicted).sum(), (p * (1 - predicted)).sum()
    found, passed = np.cumsum(p[order]), np.cumsum(1 - p[order])
    return {
        "accuracy": float(np.where(predicted > 0.0, p, 1.0 - p).mean()),
        "f1": float(2 * hit / (2 * hit + false + missed)),
        "roc_auc": float(np.trapezoid(found / found[-1], passed / passed[-1])),
    }


def realized(rows: Rows) -> dict[str, float]:
    return {
        "accuracy": float(accuracy_score(rows.truth, rows.predicted)),
        "f1": float(f1_score(rows.truth, rows.predicted)),
        "roc_auc": float(roc_auc_score(rows.truth, rows.score)),
    }


def tilted(rows: Rows, size: int, random: np.random.Generator) -> Rows:
    """Return ``size`` rows of a shifted population: likelier the more they have of one to three random features."""
    log_weight = np.zeros(len(rows.truth))
    for name in random.choice(rows.features.columns, random.integers(1, 4), replace=False):
        cells = rows.features[name]
        if name in rows.numeric:
            z = cells.rank(pct=True).fillna(0.5).to_numpy() * 12**0.5 - 3**0.5
        else:
            z = random.normal(size=int(cells.max()) + 1)[cells.to_numpy().astype(np.int64)]
        log_weight += random.uniform(0.5, 1.5) * random.choice([-1.0, 1.0]) * z
    weight = np.exp(np.clip(log_weight, -6.0, 6.0))
    return rows.take(np.sort(random.choice(len(weight), size, replace=False, p=weight / weight.sum())))


def run(quick: bool, progress: Progress) -> Findings:
    """Estimate accuracy, F1 and ROC AUC of tilted chunks by three methods, beside what the labels say."""
    errors: list[tuple[str, str, bool, dict[str, F64]]] = []
    for name, features, truth in data_sets(6_000 if quick else ROWS, quick):
        third = len(truth) // 3
        for kind, make in list(MODELS.items())[-1 if quick else 0 :]:
            progress(f"{name}, {kind}")
            filled = features.fillna(features.median())
            model = make().fit(filled[:third], truth[:third])
            whole = Rows(NUMERIC[name], features, truth, model.predict_proba(filled)[:, 1], THRESHOLDS[name])
            middle, last = whole.take(slice(third, 2 * third)), whole.take(slice(2 * third, 3 * third))
            reference = reference_of(middle)
            random = np.random.default_rng(1000 + len(errors))
            for _ in range(2 if quick else CHUNKS):
                chunk = tilted(last, min(LARGEST, third // 3), random)
                real = realized(chunk)
                found = {**ours(reference, chunk), "pape": pape(middle, chunk)}
                off = {
                    method: 100.0 * np.array([abs(found[method][metric] - real[metric]) for metric in METRICS])
                    for method in METHODS
                }
                errors.append((name, kind, reference.schema.fit(AdaptiveTrees) is not None, off))
    return _findings(errors)


def _findings(errors: list[tuple[str, str, bool, dict[str, F64]]]) -> Findings:
    stacked = {method: np.array([off[method] for *_, off in errors]) for method in METHODS}
    mean = {method: values.mean(axis=0) for method, values in stacked.items()}
    worst = {method: values.max(axis=0) for method, values in stacked.items()}
    checks = [
        Check.at_most(f"{metric}: mean error, as a multiple of PAPE's", _of(mean, "pape", place), 1.1)
        for place, metric in enumerate(METRICS)
    ]
    header = ("", *(f"{metric}, {method}" for metric in METRICS for method in METHODS))
    rows: list[tuple[object, ...]] = []
    for what, chosen in _groups(errors):
        part = [np.stack([errors[i][3][method] for i in chosen]).mean(axis=0) for method in METHODS]
        rows.append((what, *(float(each[place]) for place in range(len(METRICS)) for each in part)))
    rows.append(("worst of all", *(float(worst[method][place]) for place in range(len(METRICS)) for method in METHODS)))
    kinds = len({error[:2] for error in errors})
    kept = len({error[:2] for error in errors if error[2]})
    return Findings(
        data=f"{len(errors)} chunks of shifted rows: flights from New York, employment in Massachusetts and housing in"
        f" California, each with three models; trees were kept for {kept} of {kinds}",
        checks=checks,
        tables=[
            Table("Mean error in points; realized figures have an error, too, about 0.6 for 3,000 rows:", header, rows),
            Table(
                "The worst error of the adaptive estimate, as a multiple of another's worst one. That is one chunk's, "
                "no promise: with other random chunks it differs by a third.",
                ("", *METRICS),
                [(name, *(_of(worst, name, place) for place in range(len(METRICS)))) for name in ("cbpe", "pape")],
            ),
        ],
        versions=versions("numpy", "scikit-learn", "lightgbm"),
    )


def _of(figures: dict[str, F64], other: str, place: int) -> float:
    return float(figures["adaptive"][place] / figures[other][place])


def _groups(errors: list[tuple[str, str, bool, dict[str, F64]]]) -> Iterator[tuple[str, list[int]]]:
    for name, kind in dict.fromkeys(error[:2] for error in errors):
        yield f"{name}, {kind}", [i for i, error in enumerate(errors) if error[:2] == (name, kind)]
    yield "all", list(range(len(errors)))


TOPIC = Topic("Estimates that look at features", run, oracles=["nannyml"], page="methods/adaptive_estimate.md")
