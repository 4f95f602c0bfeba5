"""``python -m benchmarks.bench_peers``: other tools on the same tables, each in its own environment (issue 3)."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks import page
from benchmarks.peers import section, table
from benchmarks.peers.catalog import EVERYTHING, OURS, PEERS, Peer, chosen, script_of
from benchmarks.peers.environments import NotInstalledError, python_of
from benchmarks.peers.runs import Run, RunError, Tables, run

ROOT = Path(__file__).parents[1]
CACHE = ROOT / ".peers"
"""Environments and tables, not in git."""
REFERENCE_SHARE = 10
"""The reference has one row for so many current ones."""
_LEAST_ROWS, _LEAST_RUNS = 20_000, 3
Work = Callable[[], Run]
Advance = Callable[[str], None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Compares the tools that are asked for."""
    names = ", ".join(peer.name for peer in PEERS)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_peers", description=__doc__)
    parser.add_argument("--peers", default="", help=f"only these, comma-separated: {names}")
    parser.add_argument("--rows", type=int, default=1_000_000, help="current rows; the reference has a tenth of them")
    parser.add_argument("--runs", type=int, default=_LEAST_RUNS, help="how often each case is run")
    parser.add_argument("--threads", type=int, default=1, help="threads that every tool may use")
    parser.add_argument("--write", action="store_true", help=f"write docs/{page.PAGE.name} too")
    options = parser.parse_args(arguments)
    try:
        peers = chosen(options.peers)
    except ValueError as error:
        parser.error(str(error))
    if options.rows < _LEAST_ROWS:
        parser.error(f"--rows is {options.rows}; it must be {_LEAST_ROWS} or more")
    if options.runs < 1 or options.threads < 1:
        parser.error("--runs and --threads must be 1 or more")
    if options.write and (options.peers or options.runs < _LEAST_RUNS):
        parser.error(f"--write needs all tools and {_LEAST_RUNS} runs or more")
    outcome = compare(peers, options.rows, options.runs, options.threads)
    found = section.lines(outcome)
    print("\n".join(found))
    if options.write:
        print(page.write_peers(found).name, "written", file=sys.stderr)
    return 1 if outcome.failed else 0


def compare(peers: Sequence[Peer], rows: int, rounds: int, threads: int, cache: Path = CACHE) -> section.Outcome:
    """Installs the tools, runs all cases in turns, ours among them, and returns what was found."""
    outcome = section.Outcome(peers, rows // REFERENCE_SHARE, rows, rounds, threads)
    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        console=Console(stderr=True), transient=True,
    ) as bar:  # fmt: skip
        task = bar.add_task("tables", total=None)

        def advance(what: str) -> None:
            bar.update(task, description=what, advance=1)
            if not bar.console.is_terminal:
                print(what, file=sys.stderr, flush=True)

        tables = Tables(
            table.written(cache / "tables", "reference", outcome.reference_rows),
            table.written(cache / "tables", "current", rows),
        )
        pythons = _installed(outcome, cache, lambda what: bar.update(task, description=what))
        works = _works(outcome, pythons, tables)
        bar.reset(task, total=len(works) * rounds)
        for number in range(rounds):
            _round(outcome, works, lambda what, number=number: advance(f"{what} ({number + 1}/{rounds})"))
    return outcome


def _installed(outcome: section.Outcome, cache: Path, progress: Advance) -> dict[str, Path]:
    """The interpreters of the tools that can be installed; of the others the outcome says why not."""
    pythons: dict[str, Path] = {}
    for peer in outcome.peers:
        progress(f"installing {peer.title}")
        try:
            pythons[peer.name] = python_of(peer, cache)
        except NotInstalledError as error:
            outcome.failed[peer.name] = str(error)
    return pythons


def _works(outcome: section.Outcome, pythons: dict[str, Path], tables: Tables) -> dict[section.Key, Work]:
    """What is to be run, ours first."""
    wanted = [(peer, case) for peer in outcome.peers if peer.name in pythons for case in peer.cases]
    ours = dict.fromkeys((EVERYTHING, *(case.ours for _, case in wanted)))
    works: dict[section.Key, Work] = {
        (OURS, name): partial(run, sys.executable, script_of(OURS), name, tables, outcome.threads, ROOT)
        for name in ours
    }
    for peer, case in wanted:
        works[peer.name, case.name] = partial(run, pythons[peer.name], peer.script, case.name, tables, outcome.threads)
    return works


def _round(outcome: section.Outcome, works: dict[section.Key, Work], advance: Advance) -> None:
    """One run of everything that has not failed before."""
    for (tool, case), work in works.items():
        advance(f"{tool}: {case}")
        if tool in outcome.failed:
            continue
        try:
            outcome.runs.setdefault((tool, case), []).append(work())
        except RunError as error:
            if tool == OURS:
                raise
            outcome.failed[tool] = f"{case}: {error}"


if __name__ == "__main__":
    sys.exit(main())
