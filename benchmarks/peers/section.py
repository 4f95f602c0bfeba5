"""The section of ``docs/benchmarks.md`` about other tools: who took how long, and whose numbers differ by how much."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from statistics import median

from benchmarks.peers.catalog import EVERYTHING, OURS, Case, Peer
from benchmarks.peers.runs import Run, typical
from benchmarks.peers.table import CATEGORICAL, NUMERIC

REACH = 10.0
"""How many times as long the fastest peer should take."""
Key = tuple[str, str]
"""A tool's name (or :data:`.OURS`) and its case."""


@dataclass(slots=True)
class Outcome:
    """All that was found: repeated runs by tool and case, in the order of the rounds, and what failed, by tool."""

    peers: Sequence[Peer]
    reference_rows: int
    rows: int
    rounds: int
    threads: int
    runs: dict[Key, list[Run]] = field(default_factory=dict[Key, list[Run]])
    failed: dict[str, str] = field(default_factory=dict[str, str])


def lines(outcome: Outcome) -> list[str]:
    """The section, heading first."""
    return [
        "## Other tools",
        "",
        *_how(outcome),
        "",
        *times(outcome),
        "",
        *_verdict(outcome),
        "",
        *_numbers(outcome),
        "",
        *_versions(outcome),
    ]


def _how(outcome: Outcome) -> list[str]:
    threads = "one thread" if outcome.threads == 1 else f"{outcome.threads} threads"
    return f"""\
`make bench-peers` installs each tool in a separate environment, with pinned versions, and gives all of them the same
two pandas frames: {outcome.reference_rows:,} reference rows and {outcome.rows:,} current rows of {NUMERIC} numeric and
{CATEGORICAL} text columns, drawn with a fixed seed. Reading them from Parquet is not timed. Everything after that is,
including our conversion of the frames. *Fit* prepares the reference, *score* processes the current rows. Each case runs
in its own process, after a warm-up of 2,000 rows, with {threads}. Times are CPU time, medians of {outcome.rounds}
alternating runs. Memory is the peak above the loaded tables.

*otel-ml, the same* is our time for the same figures; we always compute the sums for all figures. *Times ours* is the
median ratio of CPU time over the rounds. Measured {date.today().isoformat()} on a shared
{os.cpu_count()}-core machine, {platform.system()} on {platform.machine()}.""".splitlines()


def times(outcome: Outcome) -> list[str]:
    """The table of times: everything of ours, then each tool beside ours."""
    found = ["| tool | fit | score | together | on the clock | memory | otel-ml, the same | times ours |"]
    found.append("|---|---|---|---|---|---|---|---|")
    if (OURS, EVERYTHING) in outcome.runs:
        run = typical(outcome.runs[OURS, EVERYTHING])
        count = run.scores.get("measurements", {}).get("all", 0)
        found.append(_row(f"**otel-ml**, every drift method, quality, traffic: {count:,.0f} measurements", run))
    for peer in outcome.peers:
        for case in peer.cases:
            runs = outcome.runs.get((peer.name, case.name))
            if runs:
                ours, ratio = _ours(outcome, case), ratio_to_ours(outcome, peer, case)
                beside = (_seconds(typical(ours).cpu_s), f"{ratio:.1f}×") if ours and ratio else ()
                found.append(_row(f"{peer.title}: {case.what}", typical(runs), *beside))
        if peer.name in outcome.failed:
            found.append(_cells(f"{peer.title}: {_safe(outcome.failed[peer.name])}", *["–"] * 7))
    return found


def _row(what: str, run: Run, ours: str = "–", ratio: str = "–") -> str:
    memory = f"{max(0, run.peak_bytes - run.loaded_bytes) / 1e6:,.0f} MB"
    cpu = (_seconds(run.fit_cpu_s), _seconds(run.score_cpu_s), _seconds(run.cpu_s))
    return _cells(what, *cpu, _seconds(run.wall_s), memory, ours, ratio)


def _ours(outcome: Outcome, case: Case) -> list[Run]:
    return outcome.runs.get((OURS, case.ours), [])


def ratio_to_ours(outcome: Outcome, peer: Peer, case: Case) -> float | None:
    """How many times our CPU time a tool takes for the same figures; None where one of the two is missing."""
    theirs, ours = outcome.runs.get((peer.name, case.name), []), _ours(outcome, case)
    rounds = [a.cpu_s / b.cpu_s for a, b in zip(theirs, ours, strict=False) if b.cpu_s > 0.0]
    return median(rounds) if rounds else None


def _verdict(outcome: Outcome) -> list[str]:
    """The fastest tool on equal figures beside what was to be reached."""
    ratios = [
        (ratio, peer, case)
        for peer in outcome.peers
        for case in peer.cases
        if (ratio := ratio_to_ours(outcome, peer, case)) is not None
    ]
    if not ratios:
        return ["No other tool ran."]
    ratio, peer, case = min(ratios, key=lambda found: found[0])
    reached = "reached" if ratio >= REACH else "**not** reached"
    lines = [f"Target: {REACH:.0f}× the fastest tool. Measured: {ratio:.1f}× ({peer.title}: {case.what}), {reached}."]
    parts = _parts(outcome)
    return [*lines, "", f"Where our time goes: {parts}."] if parts else lines


def _parts(outcome: Outcome) -> str:
    """What our CPU time of everything goes into, medians of the runs."""
    each = [run.scores.get("cpu_s", {}) for run in outcome.runs.get((OURS, EVERYTHING), [])]
    names = list(each[-1]) if each else []
    return ", ".join(f"{name} {_seconds(median(parts.get(name, 0.0) for parts in each))}" for name in names)


def _numbers(outcome: Outcome) -> list[str]:
    found = [
        "The same rows, the same figures? The column that differs most, of each figure:",
        "",
        "| tool | figure | columns | largest difference | there, theirs | ours | why |",
        "|---|---|---|---|---|---|---|",
    ]
    for peer in outcome.peers:
        for case in peer.cases:
            runs, ours = outcome.runs.get((peer.name, case.name)), _ours(outcome, case)
            if runs and ours:
                found += differences(peer, case, runs[-1].scores, ours[-1].scores)
    return found


_TITLES = {
    "psi": "PSI", "js": "Jensen–Shannon, base 2", "ks": "KS, D", "chi2": "χ²", "chi2_p": "p of χ²",
    "wasserstein": "Wasserstein / σ",
}  # fmt: skip


def differences(
    peer: Peer, case: Case, theirs: Mapping[str, Mapping[str, float]], ours: Mapping[str, Mapping[str, float]]
) -> Iterator[str]:
    """A line of the table for each figure and kind of column that the case has a note for."""
    for what, why in case.notes.items():
        figure, kind = what.split()
        prefix = "number_" if kind == "numeric" else "kind_"
        mine, other = ours.get(figure, {}), theirs.get(figure, {})
        names = [name for name in other if name.startswith(prefix) and name in mine]
        if not names:
            continue
        worst = max(names, key=lambda name: _apart(mine[name], other[name]))
        apart = _number(_apart(mine[worst], other[worst]))
        title = f"{_TITLES.get(figure, figure)}, {kind}"
        yield _cells(peer.title, title, str(len(names)), apart, _number(other[worst]), _number(mine[worst]), why)


def _apart(ours: float, theirs: float) -> float:
    """The absolute difference; no number on one side only is the largest there is."""
    if math.isnan(ours) or math.isnan(theirs):
        return 0.0 if math.isnan(ours) and math.isnan(theirs) else math.inf
    return 0.0 if ours == theirs else abs(ours - theirs)


def _versions(outcome: Outcome) -> list[str]:
    titles = {OURS: "otel-ml", **{peer.name: peer.title for peer in outcome.peers}}
    found: list[str] = []
    for name, title in titles.items():
        run = next((runs[-1] for (tool, _), runs in outcome.runs.items() if tool == name and runs), None)
        if run is not None:
            packages = ", ".join(f"{package} {number}" for package, number in run.versions.items())
            found.append(f"- {title}: {packages}, Python {run.python}")
    return ["Versions:", "", *found]


def _seconds(value: float) -> str:
    if value < 0.001:
        return "< 1 ms"
    return f"{value * 1e3:.0f} ms" if value < 0.1 else f"{value:.2f} s" if value < 10 else f"{value:.1f} s"


def _number(value: float) -> str:
    """Three digits, and nothing of the noise of floats."""
    if abs(value) < 1e-12:
        return "0"
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.3g}"


def _safe(text: str) -> str:
    """Text that a cell can hold: one line, no bars, not too long; no folders of the machine."""
    words = " ".join(text.split()).replace("|", "/").split(" ")
    return " ".join("…" if word.strip("'\"").startswith("/") and word != "/" else word for word in words)[:300]


def _cells(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"
