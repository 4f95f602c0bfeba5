"""``python -m benchmarks``: prints what was to be reached beside what was measured."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence

from benchmarks import (
    bench_counts,
    bench_emit,
    bench_events,
    bench_explain,
    bench_labels,
    bench_monitors,
    bench_scale,
    bench_service,
    bench_statistics,
    bench_width,
    bench_wire,
    bench_zero_code,
    page,
)
from benchmarks.measure import Row

Suite = Callable[[Callable[[str], None]], Iterator[Row]]
SUITES = (
    "decode",
    "service",
    "emit",
    "statistics",
    "labels",
    "monitors",
    "width",
    "zero_code",
    "explain",
    "counts",
    "events",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the suites that are asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("suites", nargs="*", help=f"only these: {', '.join(SUITES)}")
    parser.add_argument("--full", action="store_true", help="ten million pending predictions instead of one")
    parser.add_argument("--scale", action="store_true", help="how it scales, instead of the targets")
    parser.add_argument(
        "--write", action="store_true", help=f"write docs/{page.PAGE.name} too, or its part about monitors"
    )
    options = parser.parse_args(arguments)
    unknown = set(options.suites) - set(SUITES)
    if unknown:
        parser.error(f"no such suite: {', '.join(sorted(unknown))}; there are: {', '.join(SUITES)}")
    if options.write and options.suites not in ([], ["monitors"]):
        parser.error("--write needs all suites, or monitors alone")
    suites: dict[str, Suite] = {
        "decode": bench_wire.rows,
        "service": bench_service.rows,
        "emit": bench_emit.rows,
        "statistics": bench_statistics.rows,
        "labels": lambda progress: bench_labels.rows(progress, options.full),
        "monitors": bench_monitors.rows,
        "width": bench_width.rows,
        "zero_code": bench_zero_code.rows,
        "explain": bench_explain.rows,
        "counts": bench_counts.rows,
        "events": bench_events.rows,
    }
    start = time.monotonic()
    scaling = bench_scale.lines(_progress) if options.scale else None
    chosen = [] if options.scale and not options.write else options.suites or SUITES
    found: dict[str, list[Row]] = {}
    for name in chosen:
        before = os.getloadavg()[0]
        found[name] = list(suites[name](_progress))
        if name == "monitors" and options.write:
            page.write_monitors(found[name], (before, os.getloadavg()[0]))
    every = [row for rows in found.values() for row in rows]
    print(page.machine())
    print(page.shown(every) if every else "")
    print("\n".join(scaling or ()))
    print(f"{time.monotonic() - start:.0f} s")
    if options.write and not options.suites:
        page.write([row for name, rows in found.items() if name != "monitors" for row in rows], scaling)
    if options.write:
        print(page.PAGE.name, "written")
    return 0


def _progress(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
