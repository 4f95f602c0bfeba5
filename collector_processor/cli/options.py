"""What several commands share: the option of the configuration file, and the width of what they print."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

from collector_processor.config import Config, default_config, load_config

_WIDE = 240


def config_option(parser: argparse.ArgumentParser, *, required: bool = False) -> None:
    """Add ``--config``."""
    default = "" if required else " (default: the built-in configuration)"
    parser.add_argument("--config", type=Path, metavar="FILE", required=required, help=f"configuration file{default}")


def config_of(options: argparse.Namespace) -> Config:
    """Return the configuration that ``--config`` names, or the built-in one."""
    return default_config() if options.config is None else load_config(options.config)


def width() -> int | None:
    """Return None, for the width of the terminal; a large width for a pipe, where no line should wrap."""
    return None if sys.stdout.isatty() else _WIDE


def names(text: str) -> tuple[str, ...]:
    """Return the names in a list such as ``a,b``.

    >>> names("age, country,")
    ('age', 'country')
    """
    return tuple(part.strip() for part in text.split(",") if part.strip())


def report(path: Path, text: str) -> None:
    """Say on stderr what became of a file."""
    Console(stderr=True, soft_wrap=True, highlight=False).print(f"{path}: {text}", style="green", markup=False)
