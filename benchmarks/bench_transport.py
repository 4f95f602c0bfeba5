"""What forwarding costs, beside the least that it can, and what a second core and a second receiving process give."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median

from benchmarks import traffic
from benchmarks.measure import Row, rate
from benchmarks.server import Load, Server, Sink

RUNS = 5
_FORWARDED = 150
_REACH_FORWARDING = 0.1
_WHY_PLAIN = (
    "the sender thread takes 0.25 to 0.4 ms, two thirds of it in the kernel: a third of that copies a body that is no "
    "longer in the caches, the rest is TCP and waking the destination; the bare figure above resends the same cached "
    "body. In addition, sending evicts data of other threads from the caches"
)


@dataclass(frozen=True, slots=True)
class _Way:
    """How requests come in and go out; ``compression`` None is the default of the setting, "" no forwarding at all."""

    what: str
    compressed: bool
    compression: str | None
    why: str = ""


_WAYS = (
    _Way("plain in, forwarded plain (default)", False, None, _WHY_PLAIN),
    _Way("plain in, `compression: gzip`", False, "gzip"),
    _Way("gzip in, forwarded as it came (default)", True, None, _WHY_PLAIN),
    _Way("gzip in, `compression: none`", True, "none"),
)


def forwarding() -> Iterator[Row]:
    """The service's CPU time with a destination of originals and without, in turns."""
    template = traffic.spans_template()
    ways = [_Way("", False, ""), _Way("", True, ""), *_WAYS]
    costs: dict[_Way, list[float]] = {way: [] for way in ways}
    bare: list[float] = []
    with Sink() as sink, ExitStack() as running:
        servers = {
            way: running.enter_context(
                Server(originals=sink if way.compression != "" else "", compression=way.compression or None)
            )
            for way in ways
        }
        for way, server in servers.items():
            server.load(template, 0.3, compress=way.compressed)
        for _ in range(RUNS):
            bare.append(_bare_s(sink, traffic.spans_body()))
            for way, server in servers.items():
                # As many requests each, and until the sink has them: the journal holds them so long.
                load = server.load(template, 30.0, requests=_FORWARDED, compress=way.compressed)
                costs[way].append(load.cpu_s / _FORWARDED)
    yield Row(
        "sending 1.1 MB over loopback and waiting for the answer, nothing else: CPU a request",
        f"{median(bare) * 1e3:.2f} ms",
    )
    for way in _WAYS:
        without = median(costs[next(other for other in ways if other.compressed == way.compressed)])
        extra = max(0.0, median(costs[way]) - without)
        share = extra / without
        yield Row(
            f"originals: {way.what}: CPU that forwarding adds to a request of 1.1 MB",
            f"{extra * 1e3:.2f} ms, {share:.0%} of the ingest",
            "< 10 %" if way.compression is None else "",
            None if way.compression is not None else 2.0 if not share else _REACH_FORWARDING / share,
            f"ingest alone: {without * 1e3:.1f} ms",
            way.why,
        )


def _bare_s(url: str, body: bytes) -> float:
    """CPU time of this thread to send a body to the sink and to read its answer."""
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    with socket.create_connection(("localhost", int(url.rpartition(":")[2]))) as connection:
        start = time.thread_time()
        for _ in range(_FORWARDED):
            connection.sendall(head)
            connection.sendall(body)
            connection.recv(4096)
        return (time.thread_time() - start) / _FORWARDED


def cores() -> Iterator[Row]:
    """Rows on the clock and a core, pinned to one core and to all, with threads only and with two receivers."""
    template, many = traffic.spans_template(), sorted(os.sched_getaffinity(0))
    found: dict[tuple[int, int], list[Load]] = {}
    with ExitStack() as running:
        servers = {workers: running.enter_context(Server(workers=workers)) for workers in (1, 2)}
        for server in servers.values():
            server.load(template, 0.3)
        for _ in range(RUNS):
            for workers, server in servers.items():
                for used in (many[:1], many):
                    server.pin(used)
                    load = server.load(template, 30.0, connections=8, requests=_FORWARDED)
                    found.setdefault((workers, len(used)), []).append(load)
    for (workers, used), loads in found.items():
        yield Row(
            f"OTLP/HTTP in, the service on {used} of {len(many)} cores, `--workers {workers}`",
            f"{rate(_median(loads, lambda load: load.rows / load.wall_s))} on the clock, "
            f"{rate(_median(loads, lambda load: load.per_core))} a core",
        )


def _median(loads: list[Load], figure: Callable[[Load], float]) -> float:
    return median(figure(load) for load in loads)
