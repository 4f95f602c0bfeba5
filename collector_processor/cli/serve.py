"""``otel-ml serve``."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from collector_processor.cli.main import Parser
from collector_processor.cli.options import config_of, config_option
from collector_processor.config.load import Config, parse_config
from collector_processor.own.logs import log_to_stderr
from collector_processor.service.run import run_service
from collector_processor.service.workers.supervisor import Source


def configure(parser: Parser) -> None:
    """Describe the command."""
    parser.description = (
        "Receive OTLP and publish monitoring metrics until SIGTERM, SIGQUIT or Ctrl-C. Accepted requests are "
        "processed before the service exits. Without --config, it receives OTLP on localhost:4317 (gRPC) and "
        "localhost:4318 (HTTP), publishes measurements on :9464/metrics, its own metrics on :8888/metrics and its "
        "health on :13133, and learns a reference from the first 5,000 rows of each model, or its "
        "first day. SIGHUP reloads the file."
    )
    config_option(parser)
    parser.add_argument(
        "--workers", type=int, default=1, metavar="N", help="number of processes that receive requests (default: 1)"
    )
    parser.set_defaults(run=_serve)


def _serve(options: argparse.Namespace) -> int:
    config = config_of(options)
    log_to_stderr(config.log_level)
    source = None if options.workers == 1 else Source.read(options.config)
    read = None if options.config is None else partial(_read, options.config)
    return run_service(config, workers=options.workers, source=source, read=read)


def _read(path: Path) -> tuple[Config, Source]:
    # One reading for both, so that a file that changes in between cannot give this process and the workers two.
    source = Source.read(path)
    return parse_config(source.text, source=str(path), base=source.base), source
