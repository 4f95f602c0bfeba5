"""One pair of twenty features loses its correlation while every feature keeps its distribution."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from collector_processor.columns.batch import F64, Column, ModelKey, PredictionBatch
from collector_processor.monitors.pairs import pair_changes
from collector_processor.reference.build import build_reference
from collector_processor.reference.profile import Reference
from collector_processor.statistics.accumulate import accumulate
from collector_processor.statistics.fits.pair_scores import PairScores
from collector_processor.statistics.pane import Pane
from collector_processor.statistics.parts.pair_moments import PairMoments
from verification.topic import Check, Findings, Progress, Table, Topic, versions

MODEL = ModelKey("pairs", "1")
FEATURES, ALPHA, TOLERANCE = 20, 0.001, 0.1


def cells(random: Generator, rows: int, correlation: float) -> F64:
    """Return 20 features: two correlated as given, two by .9, one skewed, two of 0 and 1, one heavy-tailed."""
    x = random.standard_normal((rows, FEATURES))
    for one, other, r in ((0, 1, correlation), (2, 3, 0.9)):
        x[:, other] = r * x[:, one] + np.sqrt(1.0 - r * r) * x[:, other]
    x[:, 4] = np.exp(x[:, 4])
    x[:, 5], x[:, 6] = x[:, 5] > 2.3, x[:, 6] > 0.0
    x[:, 7] = random.standard_t(2, rows)
    return x


def batch(x: F64) -> PredictionBatch:
    """Return rows without predictions."""
    rows = len(x)
    features = {f"f{j:02}": Column(x[:, j].copy()) for j in range(x.shape[1])}
    ids = np.arange(1, 2 * rows + 1, dtype=np.uint64).reshape(rows, 2)
    return PredictionBatch(MODEL, np.zeros(rows, np.int64), ids, np.ones(rows), np.full(rows, np.nan), features)


def excess(reference: Reference, fit: PairScores, x: F64, tolerance: float = TOLERANCE) -> F64:
    """Return the change of each pair in a window of these rows, as a share of its limit."""
    schema = reference.schema
    pane = Pane.empty(schema)
    accumulate(pane, schema, batch(x))
    return pair_changes(fit, pane.further[PairMoments], tolerance, ALPHA, 100).excess


def run(quick: bool, progress: Progress) -> Findings:
    """Simulate windows with and without a change."""
    random = np.random.default_rng(11)
    windows = 40 if quick else 2000
    reference = build_reference("pairs", batch(cells(random, 20_000, 0.6)))
    fit = reference.schema.fit(PairScores)
    assert fit is not None
    progress("changed windows")
    changed = [excess(reference, fit, cells(random, 2000, 0.4)) for _ in range(windows)]
    found = sum(bool(each.max() > 1.0) for each in changed)
    right = sum(int(np.argmax(each)) == 0 for each in changed)
    rows, quiet = [], {}
    for size in (500, 2000, 4000):
        progress(f"unchanged windows of {size} rows")
        same = [cells(random, size, 0.6) for _ in range(windows)]
        alarms = [sum(bool(excess(reference, fit, x, each).max() > 1.0) for x in same) for each in (TOLERANCE, 1e-6)]
        quiet[size] = alarms[0]
        rows.append((size, windows, *alarms))
    most = 0.0 if quick else 0.001 * windows
    return Findings(
        data=f"{windows:,} windows of 2,000 rows, {FEATURES} features (190 pairs); a reference of 20,000 rows",
        checks=[
            Check.at_least("windows in which .6 → .4 is found", found / windows, 0.99),
            Check.at_least("windows in which the pair is named", right / windows, 0.99),
            Check.at_most("false alarms in windows of 2,000 rows", float(quiet[2000]), most),
        ],
        tables=[
            Table(
                "Windows in which nothing changed, and in how many of them a pair is in breach:",
                ("rows", "windows", "with the tolerance of .1", "without"),
                rows,
            )
        ],
        versions=versions("numpy", "scipy"),
    )


TOPIC = Topic("Changed correlations, by pair", run, page="methods/pair_moments.md")
