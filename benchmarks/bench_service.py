"""The whole service: requests over loopback, decoded, counted in every statistic, ids stored for the labels."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median

from benchmarks import bench_transport, traffic
from benchmarks.measure import Row, rate
from benchmarks.server import CONNECTIONS, Load, Protocol, Server
from benchmarks.traffic import Template
from collector_processor.decode import DECODERS, decoder_name

RUNS, RUN_S = 3, 1.5
SUSTAINED_S = 20.0
_REACH_HTTP, _REACH_GRPC, _REACH_ROWS, _REACH_RATIO, _REACH_GROWTH = 0.6e6, 0.35e6, 5e6, 10.0, 0.05
_WHY_DECODER = "the decoder in Python takes nine tenths of the time; the compiled one is not built here"
_WHY_SPANS = (
    "of the CPU time of a request of 1,000 spans, with two busy cores, the decoding threads take 47 % (half of it "
    "the walk over the wire, the rest Python and waking up), the event loop takes 30 % (a third of it in the kernel, "
    "copying 1.1 MB), and the statistics thread takes 23 % (sums, the join, numpy and Python in equal parts)"
)
_WHY_ROWS = (
    "a row is 195 bytes, so 5 M rows are 1 GB. Of the CPU time, with two busy cores, the statistics thread takes 57 "
    "to 67 % (21 % counting numbers, 9 % the slots of the join, 8 % numpy, 11 to 14 % Python for 3 batches per "
    "request, and, until labels.capacity is reached, 17 % in the kernel clearing pages for the growing join), the two "
    "decoding threads take 20 to 28 % (nearly all of it Python for 28 columns per span), and the event loop takes 12 "
    "% (half of it in the kernel, mostly copying)"
)
_LONG = 100_000


@dataclass(frozen=True, slots=True)
class Ingest:
    """Medians over the runs: rows per second of one core, and rows per second on the clock."""

    per_core: float
    per_second: float

    @classmethod
    def of(cls, loads: list[Load]) -> Ingest:
        """The medians of some runs."""
        return cls(median(load.per_core for load in loads), median(load.rows / load.wall_s for load in loads))

    def __str__(self) -> str:
        return f"{rate(self.per_core)} a core ({rate(self.per_second)} on the clock)"


def ingest(server: Server, template: Template, protocol: Protocol = "http", connections: int = CONNECTIONS) -> Ingest:
    """Loads a server some times; the first, short stretch warms it up."""
    server.load(template, 0.5, protocol, connections)
    return Ingest.of([server.load(template, RUN_S, protocol, connections) for _ in range(RUNS)])


def rows(progress: Callable[[str], None]) -> Iterator[Row]:
    """All lines about the service."""
    spans, arrow = traffic.spans_template(), traffic.arrow_template()
    long = traffic.arrow_template(1, _LONG)
    for template in (spans, traffic.labels_template(), arrow, long):
        traffic.check(template)
    compiled = decoder_name() != "fallback"
    progress(f"service: HTTP, gRPC, batches ({decoder_name()} decoder)")
    with Server() as server:
        http, grpc, batches = ingest(server, spans), ingest(server, spans, "grpc"), ingest(server, arrow)
        longer = ingest(server, long, connections=1)
    slow: Ingest | None = None
    if compiled and any(decoder.name == "fallback" for decoder in DECODERS):
        progress("service: the same on the fallback decoder")
        with Server(decoder="fallback") as server:
            slow = ingest(server, spans)
    yield from _span_rows(http, grpc, slow, compiled)
    yield Row(
        f"batch rows in (Arrow, {traffic.BATCH_ROWS:,} rows a span, {arrow.rows:,} a request), whole service",
        str(batches),
        "≥ 5 M rows/s",
        batches.per_core / _REACH_ROWS,
        why=_WHY_ROWS,
    )
    yield Row("the same, 100,000 rows in one span, one sender", str(longer))
    progress("service: forwarding originals")
    yield from bench_transport.forwarding()
    progress("service: one core and several")
    yield from bench_transport.cores()
    progress(f"service: sustained load, {SUSTAINED_S:g} s")
    yield _sustained()


def _span_rows(http: Ingest, grpc: Ingest, slow: Ingest | None, compiled: bool) -> Iterator[Row]:
    why = _WHY_SPANS if compiled else _WHY_DECODER
    what = f"1,000 spans a request, 25 columns, ids stored ({decoder_name()} decoder)"
    yield Row(f"OTLP/HTTP in: {what}", str(http), "≥ 0.6 M/s a core", http.per_core / _REACH_HTTP, why=why)
    if slow is None:
        yield Row("the same service on the fallback decoder", "compiled decoder not built", "≥ 10×")
    else:
        gain = http.per_core / slow.per_core
        yield Row(
            "the same service on the fallback decoder",
            f"{gain:.1f}×",
            "≥ 10×",
            gain / _REACH_RATIO,
            f"{rate(slow.per_core)} a core",
            why,
        )
    yield Row("OTLP/gRPC in: the same", str(grpc), "≥ 0.35 M/s a core", grpc.per_core / _REACH_GRPC, why=why)


def _sustained() -> Row:
    """Resident memory under predictions and their labels, once the join is full: medians of the three thirds."""
    spans, labels = traffic.spans_template(), traffic.labels_template()
    with Server(labels=100_000) as server:
        while server.counted("otel_ml_evicted_total") == 0:
            server.load(spans, 1.0)
        samples: list[tuple[float, int]] = []
        rows, start = 0, time.monotonic()
        while (now_s := time.monotonic() - start) < SUSTAINED_S:
            rows += server.load(spans, 0.4).rows + server.load(labels, 0.1).rows
            samples.append((now_s, server.rss()))
    thirds = [
        median(rss for at, rss in samples if third <= at * 3 / SUSTAINED_S < third + 1) / 2**20 for third in range(3)
    ]
    growth = thirds[2] / thirds[0] - 1
    return Row(
        f"memory under sustained load ({SUSTAINED_S:g} s, {rows / 1e6:.2f} M predictions and labels)",
        " → ".join(f"{third:.0f}" for third in thirds) + f" MiB ({growth:+.1%})",
        "flat",
        2.0 - growth / _REACH_GROWTH if growth > 0 else 2.0,
        why="it grew by more than a twentieth from the first third to the last",
    )
