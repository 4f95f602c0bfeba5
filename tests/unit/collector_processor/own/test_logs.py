"""What the service writes to standard error, one line per message."""

from __future__ import annotations

import subprocess
import sys

import pytest

LOGGED = """
import logging
from collector_processor.own.logs import READY, log_to_stderr

log_to_stderr({level!r}, "worker 1: ")
logging.getLogger("collector_processor.service.run").info("ready")
logging.getLogger("other").warning("two\\nlines")
logging.getLogger("other").error("broken")
"""


def logged(level: str) -> list[str]:
    """The messages that come out at a level, without their times."""
    line = [sys.executable, "-c", LOGGED.format(level=level)]
    written = subprocess.run(line, capture_output=True, text=True, timeout=60, check=True).stderr
    return [entry.split(maxsplit=2)[2] for entry in written.splitlines()]


def test_each_message_is_a_line() -> None:
    assert logged("info") == [
        "INFO    collector_processor.service.run: worker 1: ready",
        "WARNING other: worker 1: two\\nlines",
        "ERROR   other: worker 1: broken",
    ]


def test_the_configured_level_holds() -> None:
    assert logged("error") == ["ERROR   other: worker 1: broken"]


@pytest.mark.parametrize("level", ["warning", "error"])
def test_where_the_service_listens_is_said_at_any_level(level: str) -> None:
    code = LOGGED.format(level=level) + 'logging.getLogger(READY).info("ready: otlp :4317")\n'
    line = [sys.executable, "-c", code]
    written = subprocess.run(line, capture_output=True, text=True, timeout=60, check=True).stderr
    assert written.splitlines()[-1].endswith("worker 1: ready: otlp :4317")
