"""How a process of the service logs: to standard error, a message a line."""

from __future__ import annotations

import logging
import sys


def log_to_stderr(level: str, who: str = "") -> None:
    """Sets logging up for this process; ``who`` stands before each message."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine(f"%(asctime)s %(levelname)-7s %(name)s: {who}%(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler])
    # Its "Started server process" says nothing that "ready" does not, and under the name uvicorn.error.
    logging.getLogger("uvicorn.error").setLevel(max(logging.WARNING, logging.getLogger().level))


class _OneLine(logging.Formatter):
    """Keeps a message on its line: names in it come over the network, and must not look like lines of ours."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 -- the name that the base class calls
        """The line without the trace."""
        record.message = "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in record.message)
        return super().formatMessage(record)
