"""The ``otel-ml`` command. Each command is one module, which is imported only when that command is used."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import version
from typing import Any, Final, NoReturn

EXIT_FAILED, EXIT_USAGE = 1, 2
COMMANDS: Final = {
    "serve": "run the service: OTLP in, metrics out",
    "validate": "check a configuration without starting the service",
    "components": "list receivers, exporters, monitors, drift methods and more",
    "reference": "build or show a reference profile",
    "label": "send labels from a file or a query",
    "verify": "simulate the alarms on traffic like a profile's",
    "relearn": "let a running service learn the reference of one model again",
    "dashboards": "write Grafana dashboards",
    "rules": "write alert rules for Prometheus, Grafana or Datadog",
    "alerts": "send a test alert",
    "doctor": "check the instrumentation of an application",
    "demo": "train, serve and monitor a model on real data, on this machine",
    "completion": "print the completion of this command for a shell",
}
"""Every command with its line of help; the module ``collector_processor.cli.NAME`` has ``configure(parser)``."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 success, 1 failure, 2 invalid usage or configuration."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    options = parser_of(next((word for word in words if not word.startswith("-")), "")).parse_args(words)
    try:
        return int(options.run(options))
    except ValueError as error:
        _fail(str(error))
        return EXIT_USAGE
    except OSError as error:
        _fail(str(error) if error.filename is None else f"{error.filename}: {error.strerror}")
        return EXIT_FAILED
    except KeyboardInterrupt:
        return 130


def _fail(message: str) -> None:
    from rich.console import Console

    Console(stderr=True, soft_wrap=True, highlight=False).print("error:", message, style="red", markup=False)


def parser_of(command: str | None) -> Parser:
    """Return the parser, complete for one command only; None makes it complete for all."""
    root = Parser(
        prog="otel-ml",
        description="Model monitoring for OpenTelemetry.",
        epilog="Run 'otel-ml COMMAND --help' for details. "
        "Exit codes: 0 success, 1 failure, 2 invalid usage or configuration.",
    )
    root.add_argument("--version", action="version", version=f"otel-ml {version('otel-ml')}")
    for name, text in COMMANDS.items():
        own = root.add_command(name, text)
        if command in (name, None):
            import_module(f"collector_processor.cli.{name}").configure(own)
    return root


class _Help(argparse.HelpFormatter):
    """Leaves room for the indentation of commands, which argparse forgets, so that names and texts share a line."""

    def add_argument(self, action: argparse.Action) -> None:
        super().add_argument(action)
        if action.nargs == argparse.PARSER:
            self._action_max_length += self._indent_increment


class Parser(argparse.ArgumentParser):
    """A parser with our help format, which suggests what was meant; argparse uses the same class for the commands."""

    def __init__(self, **options: Any) -> None:
        self.arguments: list[argparse.Action] = []
        self.commands: list[Parser] = []
        self._below: Any = None
        super().__init__(formatter_class=_Help, **options)

    def add_argument(self, *names: str, **options: Any) -> argparse.Action:
        """Add an argument and remember it."""
        argument = super().add_argument(*names, **options)
        self.arguments.append(argument)
        return argument

    def add_command(self, name: str, text: str, description: str = "") -> Parser:
        """Add a command below this one, described by one line of help."""
        if self._below is None:
            self._below = self.add_subparsers(title="commands", required=True, metavar="COMMAND", parser_class=Parser)
        self.commands.append(self._below.add_parser(name, help=text, description=description))
        return self.commands[-1]

    def every_argument(self) -> Iterator[argparse.Action]:
        """Yield the arguments of this command and of all below it."""
        yield from self.arguments
        for command in self.commands:
            yield from command.every_argument()

    def parse_known_args(self, args: Any = None, namespace: Any = None, **more: Any) -> Any:
        """Report an unknown flag where it was written, with the usage of that command."""
        known, unknown = super().parse_known_args(args, namespace, **more)
        if unknown and unknown[0].startswith("--"):
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return known, unknown

    def error(self, message: str) -> NoReturn:
        """Exit with the usage, the message and what was probably meant."""
        wrong, choices = "", [flag for argument in self.arguments for flag in argument.option_strings]
        before, found, listed = message.partition(" (choose from ")
        if found:
            wrong, choices = before.rpartition("invalid choice: ")[2].strip("'"), listed.rstrip(")").split(", ")
        elif message.startswith("unrecognized arguments: --"):
            wrong = message.split()[2].partition("=")[0]
        close = get_close_matches(wrong, [choice.strip("'") for choice in choices], n=1)
        super().error(f"{message}; did you mean {close[0]}?" if close else message)


if __name__ == "__main__":
    sys.exit(main())
