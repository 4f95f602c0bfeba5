"""One receiving process by itself: what becomes of it when the one that counts is gone."""

from __future__ import annotations

import fcntl
import socket
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import closing, contextmanager

from urllib3.util.wait import wait_for_read

from collector_processor.service.workers.link import Link

START_S = 60.0
TEXT = """
receivers: { otlp: { protocols: { http: { endpoint: "localhost:0" } } } }
connectors: { ml_monitor: {} }
exporters: { debug: {} }
service:
  telemetry: { metrics: { endpoint: "localhost:0" } }
  pipelines:
    traces: { receivers: [otlp], exporters: [ml_monitor] }
    metrics: { receivers: [ml_monitor], exporters: [debug] }
"""


@contextmanager
def started(ports: Mapping[str, int] | None = None) -> Generator[tuple[subprocess.Popen[bytes], Link]]:
    """A worker that is ready, and our end of its link."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "collector_processor.service.workers.process", str(theirs.fileno())],
            pass_fds=(theirs.fileno(),),
        )
    ours.settimeout(START_S)
    try:
        with closing(Link(ours)) as link:
            begin = {
                "text": TEXT,
                "base": ".",
                "ports": dict(ports or {}),
                "workers": 1,
                "number": 1,
                "instance_id": "x",
            }
            link.send_value("begin", {**begin, "log_level": "info"})
            message = link.receive()
            assert message is not None
            assert message.kind == "ready", message.head
            yield process, link
    finally:
        process.kill()
        process.wait()


def test_a_worker_tells_what_it_counted_unasked_for_it_may_be_killed() -> None:
    with started() as (_, link):
        message = link.receive()

    assert message is not None
    assert message.kind == "counted"
    assert "otel_ml_journal_entries" in {family[0] for family in message.value()}


def test_a_worker_ends_when_its_parent_is_gone_with_something_unread() -> None:
    with started() as (process, link):
        link.send_value("metrics")
        assert wait_for_read(link.sock, START_S)
        link.close()

        assert process.wait(START_S) == 1


def test_a_worker_hears_the_end_though_nobody_reads_what_it_tells() -> None:
    with closing(socket.create_server(("localhost", 0))) as free:
        port = free.getsockname()[1]
    with started({"receivers.otlp.protocols.http": port}) as (process, link):
        assert _connects(port)
        while _more_comes(link):
            pass
        link.send_value("stop", 1.0)
        assert _comes_true(lambda: not _connects(port), START_S)
        while (message := link.receive()) is not None:
            assert message.kind in ("metrics", "counted")

        assert process.wait(START_S) == 0


def _more_comes(link: Link) -> bool:
    """Asks for metrics; whether there is room for them between the worker and us."""
    before = _unread(link)
    link.send_value("metrics")
    return _comes_true(lambda: _unread(link) > before, 1.5)


def _unread(link: Link) -> int:
    octets = bytearray(4)
    fcntl.ioctl(link.sock, termios.FIONREAD, octets)
    return int.from_bytes(octets, sys.byteorder)


def _connects(port: int) -> bool:
    try:
        socket.create_connection(("localhost", port), timeout=START_S).close()
    except OSError:
        return False
    return True


def _comes_true(condition: Callable[[], bool], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        threading.Event().wait(0.005)
    return True
