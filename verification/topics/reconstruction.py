"""The reconstruction error beside NannyML's, on its own data sets: figures, bands, limits and alerts of every chunk."""

from __future__ import annotations

from math import nan

import pandas as pd

from benchmarks.bench_peers import CACHE
from collector_processor.monitors.drift import LeastRows
from collector_processor.monitors.reconstruction import ReconstructionMonitor
from collector_processor.reference.build import build_reference
from collector_processor.reference.file import parse_reference, reference_text
from otel_ml import semconv
from verification.oracle import Oracle
from verification.tables import batch, window
from verification.topic import Check, Findings, Progress, Table, Topic, largest
from verification.topics.compat_nannyml import DATA

ORACLE = Oracle("nannyml")
MISSING = 0.1
PARTS = {
    "value": semconv.MULTIVARIATE_RECONSTRUCTION,
    "lower_confidence_boundary": semconv.MULTIVARIATE_RECONSTRUCTION_LOWER,
    "upper_confidence_boundary": semconv.MULTIVARIATE_RECONSTRUCTION_UPPER,
    "lower_threshold": semconv.MULTIVARIATE_RECONSTRUCTION_LOWER_LIMIT,
    "upper_threshold": semconv.MULTIVARIATE_RECONSTRUCTION_UPPER_LIMIT,
}
"""Our name of each part of a chunk's figure."""
TYPES = {"figures": ["value"], "bands": [*PARTS][1:3], "limits": [*PARTS][3:]}


def run(quick: bool, progress: Progress) -> Findings:
    """Compare every chunk of three data sets, as they are and with holes (quick: of one)."""
    off: dict[str, list[float]] = {part: [] for part in PARTS}
    agree, compared, versions = 0, 0, {}
    rows: list[list[object]] = []
    for data in list(DATA)[: 1 if quick else None]:
        for missing in (0.0, MISSING)[: 1 if quick else None]:
            progress(f"NannyML: {data}" + (", with missing cells" if missing else ""))
            folder = CACHE / "data" / f"nannyml-{data}-{missing}"
            question = {"dataset": data, "folder": str(folder), "missing": missing}
            answer = ORACLE.ask(question, script="nannyml_reconstruction")
            versions, theirs = dict(answer.versions), answer.value
            reference, analysis = (pd.read_parquet(folder / f"{side}.parquet") for side in ("reference", "analysis"))
            ends = zip(theirs["starts"], theirs["ends"], strict=True)
            found = _ours(reference, [analysis.iloc[start : end + 1] for start, end in ends])
            here: list[float] = []
            for number, mine in enumerate(found):
                for part, name in PARTS.items():
                    expected = theirs["chunks"][part][number]
                    error = 0.0 if expected is None and name not in mine else abs(mine.get(name, nan) - expected)
                    off[part].append(error)
                    here.append(error)
                compared += 1
                agree += bool(mine[semconv.MULTIVARIATE_RECONSTRUCTION_BREACHED]) == theirs["alerts"][number]
            label = DATA[data] + (", a tenth of the cells missing" if missing else "")
            rows.append([label, theirs["features"], theirs["components"], len(found), largest(here)])
    return Findings(
        data="the bundled " + ", ".join(list(DATA.values())[: 1 if quick else None]),
        checks=[
            *(
                Check.at_most(f"{what}, largest difference", largest(x for part in parts for x in off[part]), 1e-6)
                for what, parts in TYPES.items()
            ),
            Check.equal("alerts that agree", agree, compared),
        ],
        tables=[
            Table(
                "The largest difference of any figure, band and limit.",
                ["data", "features", "components", "chunks", "largest difference"],
                rows,
            )
        ],
        versions=versions,
    )


def _ours(reference: pd.DataFrame, chunks: list[pd.DataFrame]) -> list[dict[str, float]]:
    """Return our figures of each chunk by name, from a profile that went through its file."""
    built = build_reference("table", batch(reference), compat="nannyml")
    built = parse_reference(reference_text(built), "profile")
    monitor = ReconstructionMonitor(LeastRows(min_rows=1))
    return [
        {
            item.name: item.value
            for item in monitor.evaluate(window(built, batch(rows)), built)
            if not item.attributes[2:]
        }
        for rows in chunks
    ]


TOPIC = Topic("Reconstruction error", run, oracles=("nannyml",), page="methods/reconstruction.md")
