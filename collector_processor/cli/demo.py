"""``otel-ml demo``."""

from __future__ import annotations

import argparse
from pathlib import Path

from collector_processor.cli.main import Parser
from collector_processor.own.install import install
from collector_processor.settings.values import duration_ns


def configure(parser: Parser) -> None:
    """Describe the command."""
    parser.description = (
        "Train a model on real flights from 2013, serve it with FastAPI, and monitor it while the rest of "
        f"the year is replayed. Needs no network. Install it with: {install('demo')}"
    )
    parser.add_argument("--duration", default="180s", help="how long the replay takes, such as 60s (default: 180s)")
    parser.add_argument("--no-live", action="store_true", help="show no live screen; exit after the final table")
    parser.add_argument(
        "--port", type=int, default=None, help="port of the Prometheus endpoint (default: 9464, or a free one)"
    )
    parser.add_argument(
        "--folder", type=Path, default=Path("otel-ml-demo"), help="where to write files (default: otel-ml-demo)"
    )
    parser.set_defaults(run=_demo)


def _demo(options: argparse.Namespace) -> int:
    try:
        from collector_processor.demo import run_demo
    except ModuleNotFoundError as error:
        raise OSError(f"the demo needs {error.name}; install it with: {install('demo')}") from None
    try:
        duration_s = duration_ns(options.duration) / 1e9
    except ValueError as error:
        raise ValueError(f"--duration: {error}") from None
    return run_demo(duration_s=duration_s, live=not options.no_live, port=options.port, folder=options.folder)
