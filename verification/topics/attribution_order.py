"""nDCG of attributions beside scikit-learn's, and windows in which chance alone changes the order."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import ndcg_score

from collector_processor.monitors.ndcg import OrderNoise, ndcg
from verification.topic import Check, Findings, Progress, Table, Topic, largest, versions

ROWS = (500, 5000)


def run(quick: bool, progress: Progress) -> Findings:
    """Compare random orders, and count unchanged windows below their limit."""
    random = np.random.default_rng(5)
    progress("scikit-learn")
    errors: list[float] = []
    for size in (2, 10, 100, 1000):
        for _ in range(5 if quick else 100):
            baseline, current = random.exponential(size=size), random.exponential(size=size)
            current = np.round(current, 1) if random.random() < 0.5 else current
            errors.append(abs(ndcg(baseline, current) - float(ndcg_score([baseline], [current]))))
    rows: list[tuple[str, int, float, float, float]] = []
    windows, reference_rows = (400, 2000) if quick else (10_000, 2000)
    for name, means in (
        ("alike", np.ones(20)),
        ("from 1 to 20", np.arange(1.0, 21.0)),
        ("halving", 0.5 ** np.arange(20)),
    ):
        for size in ROWS:
            progress(f"{name}, {size} rows")
            spread = means  # as wide as large: |φ| is exponential
            below = below_fixed = 0
            limits: list[float] = []
            for window in range(windows):
                if window % 100 == 0:  # another reference
                    baseline = np.abs(means + spread / np.sqrt(reference_rows) * random.standard_normal(20))
                    limit = OrderNoise(baseline, spread**2, np.full(20, float(reference_rows))).limit(size)
                    limits.append(limit)
                value = ndcg(baseline, means + spread / np.sqrt(size) * random.standard_normal(20))
                below += value < min(0.9, limit)
                below_fixed += value < 0.9
            rows.append((name, size, float(np.mean(limits)), below / windows, below_fixed / windows))
    return Findings(
        data=f"{len(errors)} random orders of 2 to 1,000 features; {windows:,} windows of 20 features in each row",
        checks=[
            Check.at_most("nDCG, difference from scikit-learn", largest(errors), 1e-12),
            Check.at_most("unchanged windows below the limit", max(row[3] for row in rows), 0.01 if quick else 0.005),
        ],
        tables=[
            Table(
                "Unchanged windows below the limit, and below .9 whatever their size:",
                ("mean attributions", "rows", "limit of chance", "share below the limit", "share below .9"),
                rows,
            )
        ],
        versions=versions("numpy", "scikit-learn"),
    )


TOPIC = Topic("The order of attributions", run, page="methods/attributions.md")
