"""Waiting for what happens in another thread or process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

DEADLINE_S = 60.0


def wait_until(
    condition: Callable[[], object], timeout_s: float = DEADLINE_S, explain: Callable[[], object] = str
) -> None:
    """Poll until the condition holds; fail after ``timeout_s`` with what ``explain`` then says."""
    deadline, pause = time.monotonic() + timeout_s, threading.Event()
    while not condition():
        assert time.monotonic() < deadline, f"it did not happen in {timeout_s:g} s {explain()}"
        pause.wait(0.01)
