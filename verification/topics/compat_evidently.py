"""``drift.compat: evidently`` beside Evidently itself: its default test of every column, PSI, and Hellinger."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine

from benchmarks.bench_peers import CACHE
from collector_processor.demo import flights
from otel_ml import semconv
from verification.oracle import Oracle
from verification.topic import Check, Findings, Progress, Table, Topic, largest
from verification.topics.compat_nannyml import ours

TOOL = "evidently"
P_VALUES = {"ks", "chisquare", "z"}
READ = {"wasserstein": 1.0 / 64.0, "ks": 0.1}
"""How far figures may be off that bins cannot give exactly."""


@dataclass(frozen=True, slots=True)
class Data:
    """A table in two parts, the second in chunks of ``size`` rows."""

    name: str
    reference: pd.DataFrame
    current: pd.DataFrame
    size: int

    @property
    def chunks(self) -> list[tuple[int, int]]:
        """Return where each chunk begins and ends."""
        return [(at, at + self.size) for at in range(0, len(self.current) - self.size + 1, self.size)]


def tables(quick: bool) -> Iterator[Data]:
    """Yield the tables: scikit-learn's are small enough for its tests, the flights large enough for its distances."""
    for load in (load_breast_cancer, load_diabetes, load_wine)[: 1 if quick else 3]:
        rows = load(as_frame=True).frame.sample(frac=1.0, random_state=0).reset_index(drop=True)
        rows["kind"] = pd.cut(rows.iloc[:, 0], 4, labels=list("abcd")).astype(object)
        rows["half"] = pd.cut(rows.iloc[:, 1], 2, labels=list("ab")).astype(object)
        half = len(rows) // 2
        yield Data(load.__name__.removeprefix("load_"), rows[:half], rows[half:].reset_index(drop=True), half // 2)
    if not quick:
        year = flights.load_flights()
        rows = year.features.assign(late=(year.arrival_delay > 15).astype(object).map({True: "yes", False: "no"}))
        before, after = (year.departure < "2013-02-01"), (year.departure >= "2013-02-01")
        yield Data("flights", rows[before], rows[after].reset_index(drop=True), 20_000)


def run(quick: bool, progress: Progress) -> Findings:
    """Compare every chunk of four tables (quick: of one)."""
    off: dict[tuple[str, str], list[float]] = {}
    left_out: dict[tuple[str, str], int] = {}
    judged, agree, versions = 0, 0, {}
    for data in tables(quick):
        progress(f"Evidently: {data.name}")
        folder = CACHE / "data" / f"evidently-{data.name}"
        folder.mkdir(parents=True, exist_ok=True)
        data.reference.to_parquet(folder / "reference.parquet")
        data.current.to_parquet(folder / "current.parquet")
        asked = {side: str(folder / f"{side}.parquet") for side in ("reference", "current")}
        answer = Oracle(TOOL).ask({**asked, "chunks": data.chunks})
        versions = dict(answer.versions)
        progress(f"ours: {data.name}")
        found = list(ours(TOOL, data.reference, [data.current.iloc[start:end] for start, end in data.chunks]))
        for each in answer.value:
            key, mine = (each["method"], data.name), found[each["chunk"]].get((each["column"], each["method"]))
            if mine is None:
                left_out[key] = left_out.get(key, 0) + 1
                continue
            value = mine[semconv.DRIFT_P_VALUE if each["method"] in P_VALUES else "value"]
            off.setdefault(key, []).append(abs(value - each["value"]))
            if each["method"] not in READ:
                judged, agree = judged + 1, agree + (bool(mine["alert"]) == each["drifted"])
    methods = sorted({method for method, _ in off})
    worst = {name: largest(x for (method, _), each in off.items() if name == method for x in each) for name in methods}
    rows = [
        [
            f"`{method}`",
            data,
            len(off.get((method, data), ())),
            largest(off.get((method, data), ())),
            left_out.get((method, data), 0),
        ]
        for method, data in sorted({*off, *left_out})
    ]
    return Findings(
        data="three tables of scikit-learn in halves, and flights of 2013 (January beside chunks of 20,000 later ones)",
        checks=[
            *(Check.at_most(f"`{method}`", worst[method], READ.get(method, 1e-6)) for method in methods),
            Check.equal("verdicts that agree, without `ks` and `wasserstein`", agree, judged),
        ],
        tables=[
            Table(
                "The largest difference of any chunk and column; of tests, that of the p-value. PSI of numbers is left "
                "out where a chunk has values outside the range of the reference.",
                ["method", "data", "figures compared", "largest difference", "left out"],
                rows,
            )
        ],
        versions=versions,
    )


TOPIC = Topic("Numbers of others: Evidently", run, oracles=(TOOL,), page="methods/compat.md")
