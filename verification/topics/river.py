"""Stream detectors beside River's own, alarm by alarm, in one piece and restored in the middle."""

from __future__ import annotations

import numpy as np

from collector_processor.monitors.stream_detectors import DETECTORS, RowDetector
from verification.oracle import Oracle
from verification.oracles.row_streams import stream
from verification.topic import Check, Findings, Progress, Table, Topic, largest

ORACLE = Oracle("river")
OF_VALUES = ("adwin", "page_hinkley")


def alarms(name: str, values: list[float], cut: int) -> tuple[list[int], RowDetector]:
    """Return the rows of alarms, with the state saved and restored before the row ``cut``."""
    first, second = DETECTORS[name](), DETECTORS[name]()
    found = [row for row, value in enumerate(values[:cut]) if first.see(value)]
    second.restore(first.state())
    return found + [row for row, value in enumerate(values[cut:], cut) if second.see(value)], second


def run(quick: bool, progress: Progress) -> Findings:
    """Compare a few short streams (quick) or 100 of 100,000 rows."""
    seeds, rows = (range(4), 5_000) if quick else (range(100), 100_000)
    names = [list(DETECTORS) if seed % 2 == 0 else list(OF_VALUES) for seed in seeds]
    progress(f"{len(seeds)} streams of {rows} rows in River")
    answer = ORACLE.ask({"seeds": list(seeds), "rows": rows, "names": names})
    different, off, total = dict.fromkeys(DETECTORS, 0), list[float](), dict.fromkeys(DETECTORS, 0)
    for seed, expected in zip(seeds, answer.value, strict=True):
        values = stream(seed, rows).tolist()
        cut = int(np.random.default_rng(seed).integers(rows))
        for name, of_river in expected.items():
            found, detector = alarms(name, values, cut)
            different[name] += found != of_river["alarms"]
            total[name] += len(found)
            if name == "adwin":
                sizes = detector.state()[1:4]
                off += [
                    abs(mine - of_river[key]) for mine, key in zip(sizes, ("width", "total", "variance"), strict=True)
                ]
    return Findings(
        data=f"{len(seeds)} streams of {rows:,} rows, half of errors and half of numbers, that change nine times each",
        checks=[
            *(
                Check.equal(f"{name}: streams with another alarm than River's", count, 0)
                for name, count in different.items()
            ),
            Check.at_most("ADWIN's width, total and variance at the end, largest difference", largest(off), 1e-9),
        ],
        tables=[Table("Alarms in all streams:", tuple(total), [tuple(total.values())])],
        versions=answer.versions,
    )


TOPIC = Topic("River's stream detectors", run, oracles=("river",), page="methods/river.md")
