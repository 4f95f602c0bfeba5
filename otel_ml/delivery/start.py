"""Makes delivery safe in this process; see the modules beside this one."""

from __future__ import annotations

from otel_ml.delivery.children import flush_children
from otel_ml.delivery.console import print_batches
from otel_ml.delivery.requests import limit_requests


def start() -> None:
    """Limit requests and flush child processes from now on; further calls do nothing."""
    limit_requests()
    print_batches()
    flush_children()
