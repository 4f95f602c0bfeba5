"""``drift.compat: nannyml`` beside NannyML itself, on its own data sets: figures, limits and alerts of every chunk."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from benchmarks.bench_peers import CACHE
from collector_processor.monitors.drift import DriftMonitor, DriftSettings, LeastRows
from collector_processor.reference.build import build_reference
from collector_processor.reference.file import parse_reference, reference_text
from otel_ml import semconv
from verification.oracle import Oracle
from verification.tables import batch, window
from verification.topic import Check, Findings, Progress, Table, Topic, largest

TOOL = "nannyml"
DATA = {
    "car_loan": "synthetic car loan",
    "employment": "employment in Massachusetts",
    "california": "California housing",
}
EXACT = ("jensen_shannon", "hellinger", "l_infinity", "chi2")
READ = {"kolmogorov_smirnov": 1.0 / 512.0, "wasserstein": 1.0 / 64.0}
"""How far those may be off that bins do not give exactly: both tools read D at bins; W is in standard deviations."""
_NAMES = {
    semconv.DRIFT_SCORE: "value",
    semconv.DRIFT_THRESHOLD: "upper",
    semconv.DRIFT_BREACHED: "alert",
}
Figures = dict[tuple[str, str], dict[str, float]]


def ours(tool: str, reference: pd.DataFrame, chunks: list[pd.DataFrame]) -> Iterator[Figures]:
    """Yield our figures of each chunk by column and method, from a profile that went through its file."""
    built = build_reference("table", batch(reference), compat=tool)
    built = parse_reference(reference_text(built), "profile")
    monitor = DriftMonitor(DriftSettings(numeric=(), categorical=(), compat=tool), LeastRows(min_rows=1))
    for rows in chunks:
        found: Figures = {}
        for item in monitor.evaluate(window(built, batch(rows)), built):
            said = dict(item.attributes)
            method = said[semconv.DRIFT_METHOD].removeprefix(f"{tool}_")
            figures = found.setdefault((said[semconv.FEATURE_NAME], method), {})
            figures[_NAMES.get(item.name, item.name)] = item.value
        yield found


def run(quick: bool, progress: Progress) -> Findings:
    """Compare every chunk of three data sets (quick: of one)."""
    off: dict[tuple[str, str], list[float]] = {}
    limits: list[float] = []
    alerts, agree, versions = 0, 0, {}
    for data in list(DATA)[: 1 if quick else None]:
        progress(f"NannyML: {data}")
        folder = CACHE / "data" / f"nannyml-{data}"
        answer = Oracle(TOOL).ask({"dataset": data, "folder": str(folder)})
        versions = dict(answer.versions)
        reference, analysis = (pd.read_parquet(folder / f"{side}.parquet") for side in ("reference", "analysis"))
        theirs = answer.value["figures"]
        ends = sorted({(each["start"], each["end"]) for each in theirs})
        progress(f"ours: {data}")
        found = list(ours(TOOL, reference, [analysis.iloc[start : end + 1] for start, end in ends]))
        for each in theirs:
            mine = found[each["chunk"]].get((each["column"], each["method"]))
            if mine is None:
                continue
            unit = float(reference[each["column"]].std(ddof=0)) if each["method"] == "wasserstein" else 1.0
            off.setdefault((each["method"], data), []).append(abs(mine["value"] - each["value"]) / (unit or 1.0))
            if each["method"] in EXACT and each["upper"] is not None:
                limits.append(abs(mine["upper"] - each["upper"]))
            if each["method"] in EXACT and "alert" in mine:
                alerts, agree = alerts + 1, agree + (bool(mine["alert"]) == each["alert"])
    methods = list(dict.fromkeys(method for method, _ in off))
    worst = {
        method: largest(x for (name, _), each in off.items() if name == method for x in each) for method in methods
    }
    return Findings(
        data="the bundled " + ", ".join(list(DATA.values())[: 1 if quick else None]),
        checks=[
            *(Check.at_most(f"`{method}`", worst[method], READ.get(method, 1e-6)) for method in methods),
            Check.at_most("upper limits of the first four", largest(limits), 1e-6),
            Check.equal("alerts of the first four that agree", agree, alerts),
        ],
        tables=[
            Table(
                "The largest difference of any chunk and column; `wasserstein` in standard deviations of the column.",
                ["method", "data", "figures compared", "largest difference"],
                [[f"`{method}`", DATA[data], len(each), largest(each)] for (method, data), each in sorted(off.items())],
            )
        ],
        versions=versions,
    )


TOPIC = Topic("Numbers of others: NannyML", run, oracles=(TOOL,), page="methods/compat.md")
