"""How each step scales with the number of columns, from 10 to 5,000: nothing may be worse than linear.

A line gives the time of one step at every width. Its baseline is the time per column at 500 columns in the same run: at
5,000 columns a step may take at most twice that per column, since a wide table no longer fits the processor's caches.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from statistics import median
from time import process_time
from urllib.request import urlopen

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

from benchmarks import traffic
from benchmarks.bench_statistics import default_monitors, measured, window_of
from benchmarks.measure import Row
from collector_processor.columns.batch import PredictionBatch
from collector_processor.decode import DECODERS, DecodeLimits
from collector_processor.exporters.otlp.encoder import MetricsEncoder
from collector_processor.exporters.prometheus.exporter import PrometheusExporter
from collector_processor.monitors.base import Measurement
from collector_processor.own.telemetry import Telemetry
from collector_processor.reference.build import build_reference
from collector_processor.reference.profile import Reference
from otel_ml import Config, Model, semconv

WIDTHS = (10, 100, 500, 2000, 5000)
ROWS = 100
_BASE, _WIDEST, _ALLOWED = 500, 5000, 2.0
_WIDE = 2000
_REACH_ARROW_S = 0.020
_START_NS = 1_760_000_000_000_000_000
_LIMITS = DecodeLimits(features=10_000, cells=10**9)


@dataclass(frozen=True, slots=True)
class Step:
    """One step: ``prepare(width)`` returns the work that is timed."""

    what: str
    prepare: Callable[[int], Callable[[], object]]


def rows(progress: Callable[[str], None]) -> Iterator[Row]:
    """All lines about width."""
    for step in steps():
        progress(f"width: {step.what}")
        times = {width: _time(step.prepare(width)) for width in WIDTHS}
        yield _row(step.what, times)
        if step.what.startswith("decode Arrow ("):
            yield Row(
                f"{step.what}: {ROWS} rows × {_WIDE:,} columns",
                f"{times[_WIDE] * 1e3:.1f} ms",
                f"≤ {_REACH_ARROW_S * 1e3:.0f} ms",
                _REACH_ARROW_S / times[_WIDE],
                why="each column is a Python object with a name and a place",
            )


def _time(work: Callable[[], object]) -> float:
    """The median CPU time of all threads."""
    work()
    found: list[float] = []
    for _ in range(3):
        begin = process_time()
        work()
        found.append(process_time() - begin)
    return median(found)


def _row(what: str, times: dict[int, float]) -> Row:
    base, widest = times[_BASE] / _BASE, times[_WIDEST] / _WIDEST
    return Row(
        f"{what}, by columns",
        ", ".join(f"{taken * 1e3:.2f} ms ({width:,})" for width, taken in times.items()),
        f"≤ {_ALLOWED:.0f}× per column from {_BASE} to {_WIDEST:,}",
        _ALLOWED / (widest / base),
        f"{base * 1e6:.2f} µs per column at {_BASE}; {widest / base:.2f}× that at {_WIDEST:,}",
        "worse than linear",
    )


def steps() -> Iterator[Step]:
    """Every step, from the application to the exporters."""
    forms = (
        ("flat spans", _flat),
        ("maps", _maps),
        ("arrays", _arrays),
        ("Arrow", _arrow),
        ("Arrow texts", _arrow_texts),
        ("an Arrow struct", _arrow_struct),
    )
    for what, body in forms:
        for decoder in DECODERS:
            yield Step(f"decode {what} ({decoder.name})", partial(_decoding, decoder.decode_traces, body))
    inputs = (
        ("one row, a mapping", lambda width: dict(zip(_names(width), _table(width)[0].tolist(), strict=True))),
        (f"{ROWS} rows, numpy", _table),
        (f"{ROWS} rows, pandas", lambda width: pd.DataFrame(_table(width), columns=_names(width))),
        (f"{ROWS} rows, polars", lambda width: pl.DataFrame(_table(width), schema=_names(width))),
        (f"{ROWS} rows, lists", lambda width: _table(width).tolist()),
        (f"{ROWS} rows, mappings", lambda width: pd.DataFrame(_table(width), columns=_names(width)).to_dict("records")),
    )
    for what, features in inputs:
        yield Step(f"emit {what}", partial(_emitting, features))
    yield Step("build a reference of 1,000 rows", lambda width: partial(_reference, _batch(width, 1000)))
    yield Step(f"count {ROWS} rows", lambda width: partial(window_of, _small_reference(width), _batch(width)))
    yield Step("evaluate a window, default monitors", _evaluating)
    yield Step("encode its measurements for OTLP", _encoding)
    yield Step("show its measurements at /metrics", _showing)


def _names(width: int) -> list[str]:
    return [f"feature_{i:04}" for i in range(width)]


def _table(width: int, count: int = ROWS) -> np.ndarray:
    return np.random.default_rng(width).standard_normal((count, width))


def _batch(width: int, count: int = ROWS) -> PredictionBatch:
    return traffic.batch(count, numeric=width * 4 // 5, categorical=width // 5, seed=count)


def _reference(batch: PredictionBatch) -> object:
    return build_reference(traffic.MODEL, batch, positive_class=traffic.POSITIVE, max_features=10_000)


def _small_reference(width: int) -> Reference:
    """A reference of 1,000 rows."""
    return traffic.reference(1000, width * 4 // 5, width // 5)


def _decoding(
    decode: Callable[[bytes, int, DecodeLimits], object], body: Callable[[int], bytes], width: int
) -> Callable[[], object]:
    return partial(decode, body(width), _START_NS, _LIMITS)


def _request(spans: list[list[KeyValue]]) -> bytes:
    made = [
        Span(
            name=semconv.SPAN_PREDICT,
            trace_id=os.urandom(16),
            span_id=os.urandom(8),
            start_time_unix_nano=_START_NS,
            end_time_unix_nano=_START_NS + 1000,
            attributes=[KeyValue(key=semconv.MODEL_NAME, value=AnyValue(string_value=traffic.MODEL)), *attributes],
        )
        for attributes in spans
    ]
    return ExportTraceServiceRequest(
        resource_spans=[ResourceSpans(scope_spans=[ScopeSpans(spans=made)])]
    ).SerializeToString()


def _cell(value: float) -> AnyValue:
    return AnyValue(double_value=value)


def _flat(width: int) -> bytes:
    names = [semconv.FEATURE + name for name in _names(width)]
    return _request(
        [
            [KeyValue(key=k, value=_cell(v)) for k, v in zip(names, row, strict=True)]
            for row in _table(width, 10).tolist()
        ]
    )


def _maps(width: int) -> bytes:
    names = _names(width)
    return _request(
        [
            [
                KeyValue(
                    key=semconv.FEATURES,
                    value=AnyValue(
                        kvlist_value=KeyValueList(
                            values=[KeyValue(key=k, value=_cell(v)) for k, v in zip(names, row, strict=True)]
                        )
                    ),
                )
            ]
            for row in _table(width, 10).tolist()
        ]
    )


def _arrays(width: int) -> bytes:
    columns = zip(_names(width), _table(width, 10).T.tolist(), strict=True)
    return _request(
        [
            [
                KeyValue(key=semconv.FEATURE + name, value=AnyValue(array_value=ArrayValue(values=map(_cell, cells))))
                for name, cells in columns
            ]
        ]
    )


def _arrow(width: int) -> bytes:
    return _stream({semconv.FEATURE + name: cells for name, cells in zip(_names(width), _table(width).T, strict=True)})


def _arrow_texts(width: int) -> bytes:
    texts = pa.array([f"level {row % 8}" for row in range(ROWS)]).dictionary_encode()
    return _stream({semconv.FEATURE + name: texts for name in _names(width)})


def _arrow_struct(width: int) -> bytes:
    cells = [pa.array(column) for column in np.ascontiguousarray(_table(width).T)]
    return _stream({semconv.FEATURES: pa.StructArray.from_arrays(cells, names=_names(width))})


def _stream(columns: dict[str, object]) -> bytes:
    """A span whose rows are one Arrow stream."""
    table, sink = pa.table(columns), pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    stream = AnyValue(bytes_value=sink.getvalue().to_pybytes())
    return _request([[KeyValue(key=semconv.BATCH, value=stream)]])


class _Nothing(SpanProcessor):
    """Takes spans and does nothing."""


def _emitting(features: Callable[[int], object], width: int) -> Callable[[], object]:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(_Nothing())
    config = Config(max_span_bytes=2**30, max_features=10_000)
    model = Model(traffic.MODEL, features=_names(width), config=config, tracer_provider=provider)
    given = features(width)

    def call() -> None:
        with model.predict(given):
            pass

    return call


def _evaluating(width: int) -> Callable[[], object]:
    reference, monitors = _small_reference(width), default_monitors()
    window = window_of(reference, _batch(width))
    return lambda: list(measured(monitors, window, reference))


def _measurements(width: int) -> list[Measurement]:
    reference = _small_reference(width)
    window = window_of(reference, _batch(width))
    return list(measured(default_monitors(), window, reference))


def _encoding(width: int) -> Callable[[], object]:
    found = _measurements(width)
    encoder = MetricsEncoder("benchmark", "cumulative", {}, Telemetry())
    return lambda: list(encoder.parts(found))


def _showing(width: int) -> Callable[[], object]:
    found = _measurements(width)
    exporter = PrometheusExporter("prometheus", "localhost:0", Telemetry(), expiration_s=3600, max_series=10**7)
    exporter.start()

    def work() -> bytes:
        exporter.export(found)
        with urlopen(f"http://localhost:{exporter.port}/metrics") as answer:
            return answer.read()

    return work
