"""Where ``otel-ml`` starts: says what to install where only the instrumentation is there, as in an app."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Final

from collector_processor.own.install import install

# What the command line imports, whatever it is asked to do.
_NEEDED: Final = (
    *("rich", "yaml", "pydantic", "numpy", "scipy", "pyarrow", "grpc", "google.protobuf", "prometheus_client"),
    *("requests", "httptools", "opentelemetry.sdk", "opentelemetry.proto"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; its exit code, or 1 and what to install."""
    if os.getpid() == 1:
        # The system keeps from process 1, a container's, what it does not handle; imports alone take seconds.
        for number in (signal.SIGTERM, signal.SIGQUIT):
            signal.signal(number, lambda received, _: os._exit(128 + received))
    words = sys.argv[1:] if arguments is None else list(arguments)
    if words[:1] == ["doctor"]:  # for an app, which has no more than the instrumentation
        from otel_ml.__main__ import main as doctor

        return doctor(words)
    missing = [name for name in _NEEDED if not _present(name)]
    if missing:
        message = f"only the instrumentation is installed (no {', '.join(missing)})"
        sys.stderr.write(f"error: {message}; for this command: {install('processor')}\n")
        return 1
    from collector_processor.cli.main import main as run

    return run(arguments)


def _present(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False


if __name__ == "__main__":
    sys.exit(main())
