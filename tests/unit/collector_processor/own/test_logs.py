"""What the service says on standard error, a message a line."""

from __future__ import annotations

import subprocess
import sys

LOGGED = """
import logging
from collector_processor.own.logs import log_to_stderr

log_to_stderr({level!r}, "worker 1: ")
logging.getLogger("collector_processor.service.run").info("ready")
logging.getLogger("uvicorn.error").info("Started server process [7]")
logging.getLogger("uvicorn.error").warning("two\\nlines")
logging.getLogger("uvicorn.error").error("broken")
"""


def said(level: str) -> list[str]:
    """The messages that come out at a level, without their times."""
    line = [sys.executable, "-c", LOGGED.format(level=level)]
    told = subprocess.run(line, capture_output=True, text=True, timeout=60, check=True).stderr
    return [entry.split(maxsplit=2)[2] for entry in told.splitlines()]


def test_the_web_server_is_quiet_but_for_warnings_and_each_message_is_a_line() -> None:
    assert said("info") == [
        "INFO    collector_processor.service.run: worker 1: ready",
        "WARNING uvicorn.error: worker 1: two\\nlines",
        "ERROR   uvicorn.error: worker 1: broken",
    ]


def test_the_configured_level_holds_for_the_web_server_too() -> None:
    assert said("error") == ["ERROR   uvicorn.error: worker 1: broken"]
