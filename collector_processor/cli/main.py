"""The ``otel-ml`` command: serve, validate, components, reference, dashboards, rules, alerts, demo."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from collector_processor.cli.alerts import add_alert_commands, describe_alerts
from collector_processor.cli.generate import add_commands
from collector_processor.config import Config, ConfigError, default_config, load_config
from collector_processor.own.logs import log_to_stderr
from collector_processor.service.checks import check_setup, exposures, load_references
from collector_processor.service.run import run_service
from collector_processor.service.workers.supervisor import Source
from otel_ml import semconv

EXIT_OK, EXIT_FAILED, EXIT_USAGE = 0, 1, 2
_WIDE = 240


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 success, 1 failure, 2 invalid usage or configuration."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except (ConfigError, ValueError) as error:
        _fail(str(error))
        return EXIT_USAGE
    except OSError as error:
        _fail(str(error) if error.filename is None else f"{error.filename}: {error.strerror}")
        return EXIT_FAILED
    except KeyboardInterrupt:
        return 130


def _fail(message: str) -> None:
    Console(stderr=True, soft_wrap=True, highlight=False).print("error:", message, style="red", markup=False)


def _width() -> int | None:
    """Return None, for the width of the terminal; a large width for a pipe, where no line should wrap."""
    return None if sys.stdout.isatty() else _WIDE


class _Help(argparse.HelpFormatter):
    """Leaves room for the indentation of commands, which argparse forgets, so that names and texts share a line."""

    def add_argument(self, action: argparse.Action) -> None:
        super().add_argument(action)
        if action.nargs == argparse.PARSER:
            self._action_max_length += self._indent_increment


class _Parser(argparse.ArgumentParser):
    """A parser with our help format; argparse uses the same class for the commands."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=_Help, **options)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="otel-ml",
        description="Model monitoring for OpenTelemetry.",
        epilog="Run 'otel-ml COMMAND --help' for details. "
        "Exit codes: 0 success, 1 failure, 2 invalid usage or configuration.",
    )
    parser.add_argument("--version", action="version", version=f"otel-ml {version('otel-ml')}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    serve = commands.add_parser(
        "serve",
        help="run the service: OTLP in, metrics out",
        description="Receive OTLP and publish monitoring metrics until SIGTERM or Ctrl-C. Accepted requests are "
        "processed before the service exits. Without --config, it receives OTLP on localhost:4317 (gRPC) and "
        "localhost:4318 (HTTP), publishes measurements on :9464/metrics, its own metrics on :8888/metrics and its "
        "health on :13133, and learns a reference from the first 5,000 rows of each model.",
    )
    serve.add_argument(
        "--config", type=Path, metavar="FILE", help="configuration file (default: the built-in configuration)"
    )
    serve.add_argument(
        "--workers", type=int, default=1, metavar="N", help="number of processes that receive requests (default: 1)"
    )
    serve.set_defaults(run=_serve)

    validate = commands.add_parser(
        "validate",
        help="check a configuration without starting the service",
        description="Check a configuration and the files it refers to. Print its pipelines, references and alerts.",
    )
    validate.add_argument("--config", type=Path, metavar="FILE", required=True, help="configuration file")
    validate.set_defaults(run=_validate)

    components = commands.add_parser(
        "components",
        help="list receivers, exporters, monitors, drift methods and more",
        description="List every receiver, connector, exporter, extension, monitor and drift method, the decoder in "
        "use, and which parts are compiled.",
    )
    components.set_defaults(run=_components)

    reference = commands.add_parser("reference", help="build or show a reference profile")
    _reference_parser(reference)

    add_commands(commands)
    add_alert_commands(commands)

    demo = commands.add_parser(
        "demo",
        help="train, serve and monitor a model on real data, on this machine",
        description="Train a model on real flights from 2013, serve it with FastAPI, and monitor it while the rest of "
        "the year is replayed. Needs no network. Install it with: pip install 'otel-ml[demo]'",
    )
    demo.add_argument("--duration", default="180s", help="how long the replay takes, such as 60s (default: 180s)")
    demo.add_argument("--no-live", action="store_true", help="show no live screen; exit after the final table")
    demo.add_argument("--port", type=int, default=9464, help="port of the Prometheus endpoint (default: 9464)")
    demo.set_defaults(run=_demo)
    return parser


def _reference_parser(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    build = commands.add_parser(
        "build",
        help="build a reference profile from training or validation data",
        description="Build a reference profile from a table. The profile contains statistics only, no rows. "
        f"Columns with names such as {semconv.FEATURE}age or {semconv.PREDICTION_SCORE} need no option.",
    )
    build.add_argument("table", metavar="DATA", type=Path, help="Parquet, CSV or Arrow file")
    build.add_argument("--model", required=True, metavar="NAME", help="name of the model, as the application sends it")
    build.add_argument("--out", required=True, type=Path, metavar="FILE", help="where to write the profile (JSON)")
    build.add_argument("--task", choices=semconv.TASKS, default="", help="task of the model (default: inferred)")
    build.add_argument(
        "--positive-class", default="", metavar="CLASS", help="class that score, precision and recall are about"
    )
    build.add_argument(
        "--features", type=_names, default=None, metavar="A,B", help="feature columns (default: all other columns)"
    )
    build.add_argument("--categorical", type=_names, default=(), metavar="A,B", help="columns to treat as categories")
    build.add_argument("--segments", type=_names, default=(), metavar="A,B", help="columns to split metrics by")
    for name, text in (
        ("prediction", "column of the predicted class or value"),
        ("score", "column of the probability of the positive class, or of the predicted class"),
        ("label", "column of the true class or value"),
        ("weight", "column of the row weights"),
    ):
        build.add_argument(f"--{name}", default=None, metavar="COLUMN", help=text)
    build.set_defaults(run=_reference_build)

    show = commands.add_parser("show", help="print a reference profile")
    show.add_argument("file", metavar="FILE", type=Path, help="reference profile")
    show.set_defaults(run=_reference_show)


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _config(path: Path | None) -> Config:
    return default_config() if path is None else load_config(path)


def _serve(options: argparse.Namespace) -> int:
    config = _config(options.config)
    log_to_stderr(config.log_level)
    source = None if options.workers == 1 else Source.read(options.config)
    return run_service(config, workers=options.workers, source=source)


def _validate(options: argparse.Namespace) -> int:
    config = load_config(options.config)
    check_setup(config)
    references = load_references(config)
    out = Console(soft_wrap=True, highlight=False)
    out.print(f"{options.config}: valid", style="green", markup=False)
    for signal, pipeline in config.pipelines.items():
        out.print(f"  {signal}: {', '.join(pipeline.receivers)} → {', '.join(pipeline.exporters)}", markup=False)
    for name, reference in references.items():
        rows = reference.pane.rows[1]
        out.print(f"  model '{name}': reference of {rows:,.0f} rows from {reference.source}", markup=False)
    for line in describe_alerts(config):
        out.print(f"  {line}", markup=False)
    for path in config.unused:
        out.print(f"  {path}: configured but not used", style="yellow", markup=False)
    for notice in exposures(config):
        out.print(f"  {notice}", style="yellow", markup=False)
    return EXIT_OK


def _components(_: argparse.Namespace) -> int:
    from collector_processor.cli.components import components

    table = Table(box=None, pad_edge=False)
    for heading in ("kind", "name", "description"):
        table.add_column(heading)
    for component in components():
        table.add_row(component.kind, Text(component.name), Text(component.text))
    Console(soft_wrap=True, highlight=False, width=_width()).print(table)
    return EXIT_OK


def _reference_build(options: argparse.Namespace) -> int:
    from collector_processor.reference.build import build_reference
    from collector_processor.reference.file import save_reference
    from collector_processor.reference.read_table import ColumnMapping, read_table

    mapping = ColumnMapping(
        features=options.features,
        prediction=options.prediction,
        score=options.score,
        label=options.label,
        weight=options.weight,
        segments=options.segments,
    )
    folder: Path = options.out.parent
    if not folder.is_dir():
        raise OSError(f"--out: folder {folder} does not exist")
    out = Console(stderr=True, soft_wrap=True, highlight=False)
    with Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(), console=out, transient=True, disable=not out.is_terminal,
    ) as bar:  # fmt: skip
        task = bar.add_task("reading", total=None)

        def progress(done: int, total: int, step: str) -> None:
            bar.update(task, completed=done, total=total, description=step)

        table = read_table(options.table, mapping, model=options.model, task=options.task, progress=progress)
        reference = build_reference(
            options.model,
            table.predictions,
            task=options.task,
            positive_class=options.positive_class,
            segments=options.segments,
            categorical=options.categorical,
            label_classes=table.label_classes,
            label_values=table.label_values,
            source=options.table.name,
            progress=progress,
        )
    save_reference(reference, options.out)
    rows = reference.pane.rows[1]
    out.print(f"{options.out}: {rows:,.0f} rows, {len(reference.schema.columns)} columns", style="green", markup=False)
    return EXIT_OK


def _reference_show(options: argparse.Namespace) -> int:
    from collector_processor.reference.file import load_reference
    from collector_processor.reference.show import describe

    Console(highlight=False, width=_width()).print(describe(load_reference(options.file)))
    return EXIT_OK


def _demo(options: argparse.Namespace) -> int:
    from collector_processor.settings.values import duration_ns

    try:
        from collector_processor.demo import run_demo
    except ModuleNotFoundError as error:
        raise OSError(f"the demo needs {error.name}; install it with: pip install 'otel-ml[demo]'") from None
    try:
        duration_s = duration_ns(options.duration) / 1e9
    except ValueError as error:
        raise ValueError(f"--duration: {error}") from None
    return run_demo(duration_s=duration_s, live=not options.no_live, port=options.port)


if __name__ == "__main__":
    sys.exit(main())
