"""Raw rows through reference, pane and monitor, against scipy or the plain formula on the same raw rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import jensenshannon

from collector_processor.columns.batch import Column, ModelKey, PredictionBatch
from collector_processor.monitors.drift import DriftMonitor, DriftSettings, LeastRows
from collector_processor.reference.build import build_reference
from collector_processor.statistics.accumulate import accumulate
from collector_processor.statistics.pane import Pane
from collector_processor.window.closed import Window
from otel_ml import semconv

ROWS = 100_000
MODEL = ModelKey("m")
NUMERIC = ("normal", "lognormal", "pareto", "zero_inflated", "integer", "constant", "bimodal", "with_missing")
DRIFTS = (0.0, 0.1, 1.0)
METHODS = ("psi", "js", "hellinger", "l_infinity", "tvd", "chi2")
AIRLINES = np.array(["AA", "B6", "DL", "UA", "WN", "new"])
Scores = dict[tuple[str, str], float]


def numbers(drift: float, seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    modes = random.normal(-3.0, 0.5, ROWS), random.normal(3.0, 1.0, ROWS)
    return {
        "normal": random.normal(0.3 * drift, 1.0 + 0.2 * drift, ROWS),
        "lognormal": random.lognormal(0.1 * drift, 1.0, ROWS),
        "pareto": random.pareto(2.5 - 0.3 * drift, ROWS) + 1.0,
        "zero_inflated": np.where(random.random(ROWS) < 0.6 - 0.1 * drift, 0.0, random.exponential(2.0, ROWS)),
        "integer": random.poisson(4.0 + drift, ROWS).astype(float),
        "constant": np.where(random.random(ROWS) < 0.05 * drift, 8.0, 7.0),
        "bimodal": np.where(random.random(ROWS) < 0.5 + 0.1 * drift, *modes),
        "with_missing": np.where(random.random(ROWS) < 0.05, np.nan, random.normal(0.2 * drift, 1.0, ROWS)),
    }


def airlines(drift: float, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    share = np.array([0.4, 0.3, 0.2, 0.07, 0.03, 0.0]) + drift * np.array([-0.2, 0.0, 0.1, 0.0, 0.05, 0.05])
    return random.choice(len(AIRLINES), ROWS, p=share).astype(np.int32)


def batch(columns: dict[str, np.ndarray], codes: np.ndarray) -> PredictionBatch:
    features = {name: Column(values) for name, values in columns.items()}
    features["airline"] = Column(None, codes, tuple(AIRLINES.tolist()))
    nothing = np.full(ROWS, np.nan)
    return PredictionBatch(
        MODEL, np.zeros(ROWS, np.int64), np.zeros((ROWS, 2), np.uint64), np.ones(ROWS), nothing, features
    )


@dataclass(frozen=True)
class Compared:
    """One amount of drift: raw current columns, and the monitor's scores without and with an outlier in each."""

    current: dict[str, np.ndarray]
    airlines: np.ndarray
    scores: Scores
    with_outlier: Scores


@pytest.fixture(scope="module")
def raw_reference():
    return numbers(0.0, 1), airlines(0.0, 1)


@pytest.fixture(scope="module")
def compared(raw_reference) -> dict[float, Compared]:
    reference = build_reference("m", batch(*raw_reference))
    monitor = DriftMonitor(DriftSettings(numeric=(*METHODS, "ks", "wasserstein"), categorical=METHODS), LeastRows())

    def scores(columns, codes) -> Scores:
        schema = reference.schema.fork()
        pane = Pane.empty(schema)
        accumulate(pane, schema, batch(columns, codes))
        found = monitor.evaluate(Window(MODEL, 0, 1, schema, pane), reference)
        named = [(dict(m.attributes), m.value) for m in found if m.name == semconv.DRIFT_SCORE]
        return {(keys[semconv.FEATURE_NAME], keys[semconv.DRIFT_METHOD]): value for keys, value in named}

    result = {}
    for drift in DRIFTS:
        current, codes = numbers(drift, 2), airlines(drift, 2)
        spoiled = {name: np.concatenate(([1e6], values[1:])) for name, values in current.items()}
        result[drift] = Compared(current, codes, scores(current, codes), scores(spoiled, codes))
    return result


def present(values: np.ndarray) -> np.ndarray:
    return values[~np.isnan(values)]


def decile_counts(reference: np.ndarray, *sides: np.ndarray) -> list[np.ndarray]:
    """Counts of each side between the reference's deciles; a constant has a bin of its own.

    A decile on a value stands for the middle between that value and the one below.
    """
    distinct = np.unique(reference)
    deciles = np.unique(np.quantile(reference, np.arange(1, 10) / 10))
    place = np.searchsorted(distinct, deciles)
    below = distinct[np.maximum(place - 1, 0)]
    edges = np.where(distinct[place] == deciles, np.where(place > 0, (below + deciles) / 2, -np.inf), deciles)
    if len(distinct) == 1:
        edges = distinct * (1.0 - 2.0**-10), distinct * (1.0 + 2.0**-10)
        edges = np.concatenate(edges)
    elif len(edges) == 1:
        edges = np.array([edges[0], np.nextafter(deciles[0], np.inf)])
    return [np.bincount(np.searchsorted(edges, side, side="right"), minlength=len(edges) + 1) for side in sides]


def plain(name: str, reference: np.ndarray, current: np.ndarray) -> float:
    """The plain formula of a binned method."""
    p, q = reference / reference.sum(), current / current.sum()
    if name == "psi":
        p, q = np.maximum(p, 1e-4), np.maximum(q, 1e-4)
        return float(((p - q) * np.log(p / q)).sum())
    if name == "js":
        return float(jensenshannon(p, q, base=2))
    if name == "hellinger":
        return float(np.sqrt(0.5 * ((np.sqrt(p) - np.sqrt(q)) ** 2).sum()))
    if name == "chi2":
        used = (reference + current) > 0
        table = np.array([reference[used], current[used]])
        return float(stats.chi2_contingency(table, correction=False).statistic)
    gap = np.abs(p - q)
    return float(gap.max() if name == "l_infinity" else gap.sum() / 2.0)


by_drift = pytest.mark.parametrize("drift", DRIFTS)
by_feature = pytest.mark.parametrize("feature", NUMERIC)
by_method = pytest.mark.parametrize("method", METHODS)


@by_drift
@by_feature
@by_method
def test_binned_scores_are_the_plain_formulas_on_reference_deciles(compared, raw_reference, method, feature, drift):
    reference, current = present(raw_reference[0][feature]), present(compared[drift].current[feature])
    expected = plain(method, *decile_counts(reference, reference, current))
    assert compared[drift].scores[feature, method] == pytest.approx(expected, rel=1e-9, abs=1e-9)


@by_drift
@by_method
def test_categorical_scores_are_the_plain_formulas_on_counts(compared, raw_reference, method, drift):
    counts = [np.bincount(side, minlength=len(AIRLINES)) for side in (raw_reference[1], compared[drift].airlines)]
    assert compared[drift].scores["airline", method] == pytest.approx(plain(method, *counts), rel=1e-9, abs=1e-9)


@by_drift
@by_feature
def test_ks_is_scipys_to_2_in_1000(compared, raw_reference, feature, drift):
    reference, current = present(raw_reference[0][feature]), present(compared[drift].current[feature])
    expected = stats.ks_2samp(reference, current, method="asymp").statistic
    assert compared[drift].scores[feature, "ks"] == pytest.approx(expected, abs=5e-4)


@by_drift
@by_feature
def test_wasserstein_is_scipys_to_1_per_cent(compared, raw_reference, feature, drift):
    # Where F and G cross inside a bin of a heavy tail: less than a hundredth of the threshold.
    reference, current = present(raw_reference[0][feature]), present(compared[drift].current[feature])
    unit = reference.std() or 1e-3 * 7.0
    expected = stats.wasserstein_distance(reference, current) / unit
    assert compared[drift].scores[feature, "wasserstein"] == pytest.approx(expected, rel=0.01, abs=1e-3)


@by_drift
@by_feature
@pytest.mark.parametrize("method", ["psi", "js", "ks", "hellinger"])
def test_one_outlier_is_no_drift(compared, method, feature, drift):
    moved = compared[drift].with_outlier[feature, method] - compared[drift].scores[feature, method]
    assert abs(moved) < 1e-4
