"""Logging of a service process: to standard error, one line per message."""

from __future__ import annotations

import logging
import sys


def log_to_stderr(level: str, who: str = "") -> None:
    """Set up logging for this process; ``who`` precedes each message."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine(f"%(asctime)s %(levelname)-7s %(name)s: {who}%(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler])


class _OneLine(logging.Formatter):
    """Keeps a message on one line: names in it come over the network, and must not look like other log lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 -- the name that the base class calls
        """Return the line without the traceback."""
        record.message = "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in record.message)
        return super().formatMessage(record)
