"""``python -m otel_ml``: what an application's environment can do without the packages of the service."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from otel_ml.doctor import command


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return 0, 1 if it found a problem, or 2 if it was used in a wrong way."""
    parser = argparse.ArgumentParser("python -m otel_ml", description="Instrumentation of models for OpenTelemetry.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    command.configure(commands.add_parser("doctor", help=command.HELP))
    options = parser.parse_args(arguments)
    try:
        return int(options.run(options))
    except ValueError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
