"""The page ``docs/benchmarks.md``: what was measured, on what, and why a target was missed."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path

from benchmarks.measure import Row, table
from collector_processor.decode import decoder_name

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
_PACKAGES = ("numpy", "pyarrow", "opentelemetry-sdk", "protobuf", "grpcio", "httptools", "scipy")
_MARK = "<!-- Written by `python -m benchmarks --write`; the scaling tables by `--scale --write`. -->"
_SCALING = "## How it scales"
_PEERS = "<!-- Other tools: written by `python -m benchmarks.bench_peers --write`. -->"
_MONITORS = "<!-- Every monitor: written by `python -m benchmarks monitors --write`. -->"
_ENDS = {_MONITORS: "<!-- End of every monitor. -->", _PEERS: "<!-- End of other tools. -->"}
"""The parts that are written separately, in their order, by the marks around them."""


def write(rows: Sequence[Row], scaling: Sequence[str] | None) -> Path:
    """Writes the page; parts that are written separately stay, and the scaling tables unless there are new ones."""
    before, parts = _parts()
    kept = before[before.index(_SCALING) :].splitlines() if _SCALING in before else []
    lines = [_MARK, "# Benchmarks", "", *_how(), "", "## Results", "", *table(rows), ""]
    missed = _missed(rows)
    lines += ["## Missed targets, and why", "", *missed, ""] if missed else []
    lines += [line for part in parts.values() for line in (*part, "")]
    lines += [_SCALING, "", *scaling] if scaling is not None else kept
    PAGE.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    return PAGE


def write_peers(lines: Sequence[str]) -> Path:
    """Writes the part about other tools, before the scaling tables, and leaves the rest as it is."""
    return _write_part(_PEERS, lines)


def write_monitors(rows: Sequence[Row], load: Sequence[float]) -> Path:
    """Writes the part about what everything costs together; ``load`` is that of the machine before and after."""
    before, after = load
    how = (
        f"Measured {date.today().isoformat()} on a {machine()}. The machine's load (processes that run or wait for a "
        f"core, mean of a minute) was {before:.1f} when the run began and {after:.1f} when it ended; the run itself is "
        "about two of them."
    )
    missed = _missed(rows)
    reasons = ["", "Missed, and why:", "", *missed] if missed else []
    return _write_part(_MONITORS, ["## With every monitor on", "", how, "", *table(rows), *reasons])


def _missed(rows: Sequence[Row]) -> list[str]:
    missed = [row for row in rows if row.ratio is not None and row.ratio < 1.0]
    return [f"- **{row.what}** ({row.reach}): {row.why}." for row in missed]


def _write_part(mark: str, lines: Sequence[str]) -> Path:
    rest, parts = _parts()
    parts[mark] = [mark, *lines, _ENDS[mark]]
    place = rest.find(_SCALING)
    above, below = (rest, "") if place < 0 else (rest[:place], rest[place:])
    ordered = ["\n".join(parts[known]) for known in _ENDS if known in parts]
    PAGE.write_text("\n\n".join([above.rstrip(), *ordered, below]).strip() + "\n", encoding="utf-8")
    return PAGE


def _parts() -> tuple[str, dict[str, list[str]]]:
    """The page without the parts that are written separately, and the lines of those by mark, with their marks."""
    text = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    parts: dict[str, list[str]] = {}
    for mark, end in _ENDS.items():
        if mark not in text:
            continue
        above, _, rest = text.partition(mark)
        part, found, below = rest.partition(end)
        if not found:
            raise ValueError(f"{PAGE.name}: no '{end}' after '{mark}'; nothing was written")
        text = f"{above.rstrip()}\n\n{below.lstrip()}"
        parts[mark] = [mark, *part.strip().splitlines(), end]
    return text, parts


def machine() -> str:
    """Cores, system and versions; nothing that names the machine."""
    versions = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    kind = f"{platform.system()} on {platform.machine()}"
    return (
        f"shared {os.cpu_count()}-core machine, {kind}, Python {platform.python_version()}, {versions}; "
        f"{decoder_name()} decoder"
    )


def _how() -> list[str]:
    return f"""\
`make bench` prints this table, and `python -m benchmarks --scale` prints the tables at the end. With `--full`, ten
million predictions wait for labels instead of one million.

Measured {date.today().isoformat()} on a {machine()}.

The machine is shared, so absolute figures vary by a third from run to run. The ratios are reliable: each is measured
against a baseline in the same run, alternating between the two. Figures are medians of at least three runs. Work of a
single thread is measured in CPU time, which equals wall-clock time on an idle machine. The model has 20 numeric and 5
categorical features, a class and a score; one of its spans is 1.1 kB.

*A core* means rows divided by the CPU time of the whole service process: HTTP or gRPC, decoding, counting, the join
table, own metrics. The client is another process on the same machine. *Reached* compares with targets that were set
before the code was written.

Close to a target, the result depends on the run: `predict` of one row took 1.27 to 1.32 times as long as the bare span
in six runs. The cost of forwarding is a small difference of two large times, so it varies by half. Client and
destination use the same two cores as the service, so they do not show how it scales with cores.""".splitlines()


def shown(rows: Sequence[Row]) -> str:
    """The table for a terminal, the reasons of misses below."""
    lines = table(rows)
    lines += [f"missed: {row.what}: {row.why}" for row in rows if row.ratio is not None and row.ratio < 1.0]
    return "\n".join(lines)
