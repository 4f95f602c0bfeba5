"""``otel-ml verify``: how alarms keep their promise on traffic that is drawn from a reference profile."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from collector_processor.cli.main import EXIT_FAILED, Parser
from collector_processor.cli.options import width
from collector_processor.monitors.alarms import AlarmMonitor, AlarmSettings
from collector_processor.monitors.simulation import Delay, delays, false_alarms, kept
from collector_processor.reference.file import load_reference
from collector_processor.settings.values import alarms_per_minute

_YEAR_MINUTES = 525_600
_MOST_ROWS = 1e6


def configure(parser: Parser) -> None:
    """Describe the command."""
    defaults = AlarmSettings.model_fields
    parser.description = (
        "Simulate traffic that is drawn from a reference profile, first unchanged, then with one feature changed, and "
        "report how many false alarms there were and how long each change took to find. Exit code 1: more false "
        "alarms than chance explains (1 %)."
    )
    parser.add_argument("--reference", required=True, type=Path, metavar="FILE", help="reference profile")
    parser.add_argument(
        "--false-alarms",
        default=defaults["false_alarms"].default,
        metavar="RATE",
        help="promised false alarms, as in drift.false_alarms (default: %(default)s)",
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        default=defaults["tolerance"].default,
        help="share of the rows that may be elsewhere, as in drift.tolerance (default: %(default)s)",
    )
    parser.add_argument(
        "--rows", type=_rows, default=100.0, metavar="N", help="rows a minute (default: 100); more rows, shorter delays"
    )
    parser.add_argument("--years", type=_count(100), default=5, metavar="N", help="years to simulate (default: 5)")
    parser.add_argument("--runs", type=_count(1000), default=5, metavar="N", help="runs of each change (default: 5)")
    parser.add_argument(
        "--seed", type=_count(2**32), default=1, metavar="N", help="seed of the simulation (default: 1)"
    )
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.set_defaults(run=_verify)


def _rows(text: str) -> float:
    rows = float(text)
    if not 0.0 < rows <= _MOST_ROWS:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and at most {_MOST_ROWS:,.0f}")
    return rows


def _count(most: int) -> Any:
    def parse(text: str) -> int:
        count = int(text)
        if not 0 < count <= most:
            raise argparse.ArgumentTypeError(f"{text} is not from 1 to {most}")
        return count

    parse.__name__ = "number"
    return parse


def _settings(options: argparse.Namespace) -> AlarmSettings:
    try:
        return AlarmSettings(false_alarms=options.false_alarms, tolerance=options.tolerance)
    except ValidationError as error:
        first = error.errors()[0]
        option = str(first["loc"][0]).replace("_", "-")
        raise ValueError(f"--{option}: {first['msg'].removeprefix('Value error, ')}") from None


def _verify(options: argparse.Namespace) -> int:
    settings = _settings(options)
    per_year = alarms_per_minute(settings.false_alarms) * _YEAR_MINUTES
    if per_year <= 0.0:
        raise ValueError("--false-alarms is 0, which raises no alarms; there is nothing to verify")
    reference = load_reference(options.reference)
    monitor, random = AlarmMonitor(settings), np.random.default_rng(options.seed)
    err = Console(stderr=True, soft_wrap=True, highlight=False)
    with Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TimeElapsedColumn(),
        console=err, transient=True, disable=not err.is_terminal,
    ) as bar:  # fmt: skip
        task = bar.add_task("years without a change", total=None)

        def progress(done: int, total: int, step: str) -> None:
            bar.update(task, completed=done, total=total, description=step)

        measured = false_alarms(monitor, reference, options.rows, options.years, random, progress)
        found = delays(monitor, reference, options.rows, options.runs, random, progress)
    holds = kept(per_year * options.years, measured)
    if options.json:
        document = _document(options, reference.model_name, per_year, measured, found, holds=holds)
        Console(highlight=False, soft_wrap=True).print(json.dumps(document, indent=2), markup=False)
    else:
        _print(options, settings, len(reference.schema.columns), measured, found, holds=holds)
    return 0 if holds else EXIT_FAILED


def _document(
    options: argparse.Namespace, model: str, per_year: float, measured: int, found: list[Delay], *, holds: bool
) -> dict[str, Any]:
    return {
        "model": model,
        "promised_per_year": per_year,
        "years": options.years,
        "false_alarms": measured,
        "kept": holds,
        "rows_per_minute": options.rows,
        "delays": [
            {
                "change": each.shift.name,
                "runs": each.runs,
                "found": len(each.minutes),
                "median_minutes": each.median,
                "median_rows": None if each.median is None else each.median * options.rows,
            }
            for each in found
        ],
    }


def _print(
    options: argparse.Namespace,
    settings: AlarmSettings,
    columns: int,
    measured: int,
    found: list[Delay],
    *,
    holds: bool,
) -> None:
    out = Console(highlight=False, width=width())
    number, _, unit = settings.false_alarms.partition(" per ")
    promised, years = "alarm" if number == "1" else "alarms", "year" if options.years == 1 else "years"
    out.print(
        f"Promised {number} false {promised} a {unit}; measured {measured} in {options.years} simulated {years} of "
        f"{columns} columns at {options.rows:,g} rows a minute.",
        style="green" if holds else "red",
        markup=False,
    )
    if not holds:
        out.print("That is more than chance explains.", style="red")
    if not found:
        out.print("The reference has no feature that varies, so no change was simulated.")
        return
    table = Table("change of one feature", "found within a day", "median delay", "in rows", box=None, pad_edge=False)
    for each in found:
        delay = "over a day" if each.median is None else f"{each.median:,g} min"
        rows = "" if each.median is None else f"{math.ceil(each.median * options.rows):,}"
        table.add_row(each.shift.name, f"{len(each.minutes)} of {each.runs}", delay, rows)
    out.print(table)
