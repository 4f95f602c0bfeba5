"""``otel-ml label``."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from collector_processor.cli.main import Parser
from collector_processor.label_files.cells import Counts
from collector_processor.label_files.checkpoint import SUFFIX, Checkpoint, Position
from collector_processor.label_files.columns import LabelColumns, Wanted, label_columns
from collector_processor.label_files.courier import Courier, UndeliveredError
from collector_processor.label_files.destination import Destination, destination
from collector_processor.label_files.job import LabelJob
from collector_processor.label_files.open import FORMATS, STANDARD_INPUT, open_file
from collector_processor.label_files.queries import QueryTable
from collector_processor.label_files.table import Table, UnreadableRowError
from collector_processor.settings.values import duration_ns
from otel_ml.config import ENV_MODEL_NAME
from otel_ml.sdk import PROTOCOLS

_REPORT_S = 30.0
"""Where no bar can be shown, a line is written this often."""
_INTERRUPTED = 130


def configure(parser: Parser) -> None:
    """Describe the command."""
    parser.description = (
        "Send labels from a file or a query. Each is acknowledged by the service; a run that ends early is continued "
        "by the same command. The same label may be sent again: it counts once."
    )
    parser.epilog = (
        "Exit codes: 0 all labels were sent, 1 some were not, 2 invalid usage, 130 interrupted. The address and its "
        "headers are those of the standard variables (OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_HEADERS, …) "
        "unless options name others."
    )
    parser.add_argument(
        "file", metavar="FILE", nargs="?", help="CSV, JSON lines, Parquet or Arrow file; - is standard input"
    )
    parser.add_argument("--query", metavar="SQL", help="send the rows of a query instead of a file")
    parser.add_argument(
        "--database",
        metavar="ADDRESS",
        default="",
        help="DuckDB or SQLite file, or an address of SQLAlchemy, such as postgresql+psycopg://host/name "
        "(default: DuckDB in memory, which reads files)",
    )
    parser.add_argument("--model", metavar="NAME", help="model of all labels (default: column 'model')")
    for name, text in (
        ("id", "column of the prediction ids (default: prediction_id, id)"),
        ("class", "column of the true classes (default: class, label, target)"),
        ("value", "column of the true values of a regression (default: value, label, target)"),
        ("time", "column of the times at which the truth was known (default: time, else now)"),
        ("model-column", "column of the models (default: model)"),
    ):
        parser.add_argument(f"--{name}", metavar="COLUMN", default="", help=text)
    parser.add_argument("--format", choices=FORMATS, help="format of the file (default: by its extension; - is csv)")
    parser.add_argument("--delimiter", metavar="C", default="", help="character between the cells of a CSV file")
    parser.add_argument("--endpoint", metavar="ADDRESS", help="of the service or a Collector (default: localhost:4317)")
    parser.add_argument("--protocol", choices=PROTOCOLS, help="default: HTTP for port 4318, gRPC for others")
    parser.add_argument(
        "--header", metavar="NAME=VALUE", action="append", default=[], help="header to send; may be repeated"
    )
    parser.add_argument("--ca-file", type=Path, metavar="FILE", help="CA of the service's certificate")
    parser.add_argument(
        "--give-up-after", metavar="TIME", default="5m", help="how long to try while the service takes nothing"
    )
    parser.add_argument("--restart", action="store_true", help="send a file from its start, whatever was sent before")
    parser.add_argument(
        "--state", type=Path, metavar="FILE", help=f"where to note how far a file was sent (default: FILE{SUFFIX})"
    )
    parser.set_defaults(run=_label)


def _label(options: argparse.Namespace) -> int:
    if (options.file is None) == (options.query is None):
        raise ValueError("name one of FILE and --query")
    if options.database and options.query is None:
        raise ValueError("--database: is for --query")
    target = destination(options.endpoint, options.protocol, _headers(options.header), options.ca_file, os.environ)
    give_up_s = _give_up_s(options.give_up_after)
    model = options.model or ""
    wanted = Wanted(options.id, getattr(options, "class"), options.value, options.time, options.model_column)
    if not model and not wanted.model:
        model = os.environ.get(ENV_MODEL_NAME, "").strip()
    table = _table(options)
    sender = None
    try:
        columns = label_columns(table.where, table.names, wanted, model)
        checkpoint = _checkpoint(options, columns, model, target)
        sender = target.sender()
        with _Report(table) as report:
            courier = Courier(
                sender, target.where, timeout_s=target.timeout_s, give_up_s=give_up_s, waiting=report.waiting
            )
            job = LabelJob(table, columns, model, courier, checkpoint, _position(checkpoint, options, report))
            return _run(job, report, courier, model)
    finally:
        table.close()
        if sender is not None:
            sender.close()


def _table(options: argparse.Namespace) -> Table:
    if options.query is not None:
        return QueryTable(options.query, options.database)
    return open_file(options.file, options.format, options.delimiter)


def _headers(pairs: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for pair in pairs:
        name, found, value = pair.partition("=")
        if not (name.strip() and found):
            raise ValueError("--header: write NAME=VALUE, such as --header 'authorization=Bearer …'")
        headers[name.strip()] = value.strip()
    return headers


def _give_up_s(text: str) -> float:
    try:
        return max(duration_ns(text) / 1e9, 1e-3)
    except ValueError as error:
        raise ValueError(f"--give-up-after: {error}") from None


def _checkpoint(
    options: argparse.Namespace, columns: LabelColumns, model: str, target: Destination
) -> Checkpoint | None:
    """Return where a file's position is noted; None for what has no position that stays: queries and standard input."""
    if options.file is None or options.file == STANDARD_INPUT:
        return None
    file = Path(options.file)
    job: Mapping[str, Any] = {
        "columns": columns.names,
        "class": columns.class_,
        "value": columns.value,
        "model": model,
        "endpoint": target.where,
        "format": options.format,
        "delimiter": options.delimiter,
    }
    return Checkpoint(options.state or file.with_name(file.name + SUFFIX), file, job)


def _position(checkpoint: Checkpoint | None, options: argparse.Namespace, report: _Report) -> Position | None:
    if checkpoint is None or options.restart:
        return None
    position, why = checkpoint.load()
    if why:
        report.note(f"an earlier run ended early, but {why}: starting again")
    if position is not None:
        report.note(f"continuing after row {position.counts.rows:,}, which an earlier run sent")
        report.begin(position.counts)
    return position


def _run(job: LabelJob, report: _Report, courier: Courier, model: str) -> int:
    code, error = 0, ""
    try:
        job.run(report.progress)
    except KeyboardInterrupt:
        code, error = _INTERRUPTED, "interrupted"
    except (UnreadableRowError, UndeliveredError) as problem:
        code, error = 1, str(problem)
    report.end(job, courier, model)
    if error:
        again = "; run the same command again to continue" if job.resumable and job.counts.rows else ""
        report.problem(f"{error}; {job.counts.rows:,} rows were sent{again}")
        return code
    counts = job.counts
    if counts.rows and not counts.sent and not counts.refused:
        report.problem("no row has an id and a label")
        return 1
    return 1 if counts.refused else 0


class _Report:
    """Shows the progress on standard error, and the summary on standard output."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._err = Console(stderr=True, soft_wrap=True, highlight=False)
        self._out = Console(soft_wrap=True, highlight=False)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[rows]} rows, {task.fields[rate]}/s"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._err,
            transient=True,
            disable=not self._err.is_terminal,
        )
        self._task = self._bar.add_task("sending", total=1.0, rows="0", rate="0")
        self._first = 0
        self._started = self._said = time.monotonic()

    def __enter__(self) -> _Report:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def note(self, text: str) -> None:
        self._err.print(f"{self._table.where}: {text}", style="yellow", markup=False)

    def problem(self, text: str) -> None:
        self._err.print(f"error: {text}", style="red", markup=False)

    def begin(self, counts: Counts) -> None:
        self._first = counts.rows

    def waiting(self, reason: str) -> None:
        if self._bar.disable:
            self.note(f"waiting, because the service takes nothing: {reason}")
        self._bar.update(self._task, description=f"waiting: {reason[:60]}")

    def progress(self, counts: Counts) -> None:
        share = counts.rows / self._table.rows if self._table.rows else self._table.share()
        rate = f"{self._rate(counts):,.0f}"
        self._bar.update(
            self._task, description="sending", rows=f"{counts.rows:,}", rate=rate, completed=share or 0.0,
            total=None if share is None else 1.0,
        )  # fmt: skip
        if self._bar.disable and time.monotonic() - self._said > _REPORT_S:
            self._said = time.monotonic()
            self._err.print(f"{self._table.where}: {counts.rows:,} rows sent, {rate} a second", markup=False)

    def _rate(self, counts: Counts) -> float:
        return (counts.rows - self._first) / max(time.monotonic() - self._started, 1e-3)

    def end(self, job: LabelJob, courier: Courier, model: str) -> None:
        self._bar.stop()
        for line in summary(job, model, self._table.where, self._rate(job.counts)):
            self._out.print(line, markup=False)
        if courier.message:
            self.note(f"the service says: {courier.message}")
        if job.example:
            self.note(job.example)


def summary(job: LabelJob, model: str, where: str, rate: float) -> Iterator[str]:
    """Yield the lines that say what became of the rows; those without anything to say are left out."""
    counts = job.counts
    of = f" of model '{model}'" if model else ""
    kind = f" (as {'values' if job.kind == 'value' else 'classes'})" if job.kind else ""
    yield f"{where}: {counts.sent:,} labels{of} sent{kind}, {counts.rows:,} rows read, {rate:,.0f} rows a second"
    for count, text in (
        (counts.refused, "labels refused by the service"),
        (counts.without_id, "rows without an id"),
        (counts.without_label, "rows without a label"),
        (counts.without_model, "rows without a model"),
        (counts.not_numbers, "values that are not finite numbers"),
        (counts.not_times, "times that cannot be read, replaced by the current time"),
    ):
        if count:
            yield f"  {count:,} {text}"
