"""``otel-ml completion``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from collector_processor.cli.main import Parser, parser_of

SHELLS = ("bash", "zsh", "tcsh")


def configure(parser: Parser) -> None:
    """Describe the command."""
    parser.description = (
        'Print the completion for a shell. For bash, add to ~/.bashrc: eval "$(otel-ml completion bash)"'
    )
    parser.add_argument("shell", choices=SHELLS, help="shell that runs the completion")
    parser.set_defaults(run=_completion)


def _completion(options: argparse.Namespace) -> int:
    import shtab

    whole = parser_of(None)
    for argument in whole.every_argument():
        if argument.type is Path:
            vars(argument)["complete"] = shtab.FILE
    sys.stdout.write(shtab.complete(whole, shell=options.shell) + "\n")
    return 0
