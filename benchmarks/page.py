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
_PEERS_END = "<!-- End of other tools. -->"


def write(rows: Sequence[Row], scaling: Sequence[str] | None) -> Path:
    """Writes the page; the part about other tools stays, and the scaling tables unless there are new ones."""
    before, peers = _parts()
    kept = before[before.index(_SCALING) :].splitlines() if _SCALING in before else []
    lines = [_MARK, "# Benchmarks", "", *_how(), "", "## Results", "", *table(rows), ""]
    missed = [row for row in rows if row.ratio is not None and row.ratio < 1.0]
    if missed:
        lines += ["## Missed targets, and why", ""]
        lines += [f"- **{row.what}** ({row.reach}): {row.why}." for row in missed]
        lines.append("")
    lines += [*peers, ""] if peers else []
    lines += [_SCALING, "", *scaling] if scaling is not None else kept
    PAGE.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    return PAGE


def write_peers(lines: Sequence[str]) -> Path:
    """Writes the part about other tools, before the scaling tables, and leaves the rest as it is."""
    rest, _ = _parts()
    place = rest.find(_SCALING)
    above, below = (rest, "") if place < 0 else (rest[:place], rest[place:])
    part = "\n".join([_PEERS, *lines, _PEERS_END])
    PAGE.write_text(f"{above.rstrip()}\n\n{part}\n\n{below}".strip() + "\n", encoding="utf-8")
    return PAGE


def _parts() -> tuple[str, list[str]]:
    """The page without the part about other tools, and that part's lines with its marks."""
    text = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    if _PEERS not in text:
        return text, []
    above, _, rest = text.partition(_PEERS)
    part, end, below = rest.partition(_PEERS_END)
    if not end:
        raise ValueError(f"{PAGE.name}: no '{_PEERS_END}' after '{_PEERS}'; nothing was written")
    return f"{above.rstrip()}\n\n{below.lstrip()}", [_PEERS, *part.strip().splitlines(), _PEERS_END]


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
