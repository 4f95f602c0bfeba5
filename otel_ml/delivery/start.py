"""Makes delivery safe in this process; see the modules beside this one."""

from __future__ import annotations

import threading

from otel_ml.delivery.children import flush_children
from otel_ml.delivery.console import print_batches
from otel_ml.delivery.requests import limit_requests
from otel_ml.delivery.servers import flush_servers

_lock = threading.Lock()


def start() -> None:
    """Limit requests, flush child processes and servers from now on; further calls do nothing."""
    with _lock:  # two threads may make the first model
        limit_requests()
        print_batches()
        flush_children()
        flush_servers()
