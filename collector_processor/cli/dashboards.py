"""``otel-ml dashboards``."""

from __future__ import annotations

import argparse
from pathlib import Path

from collector_processor.cli.main import Parser
from collector_processor.cli.options import config_of, config_option, report


def configure(parser: Parser) -> None:
    """Describe the command."""
    parser.description = "Write a JSON file for each Grafana dashboard, and the files that provision them."
    parser.add_argument("--out", type=Path, metavar="DIR", required=True, help="folder to write to")
    config_option(parser)
    parser.add_argument(
        "--traces",
        choices=("jaeger", "tempo"),
        default="jaeger",
        help="kind of data source that trace links open (default: jaeger)",
    )
    parser.set_defaults(run=_dashboards)


def _dashboards(options: argparse.Namespace) -> int:
    from collector_processor.generate.dashboards import write_dashboards

    for path in write_dashboards(options.out, config_of(options), traces=options.traces):
        report(path, "written")
    return 0
