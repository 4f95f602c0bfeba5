"""How many rows a second the decoders turn into columns, form by form, against each other in the same run.

Every form carries 20 numeric and 5 categorical features and 5 identity attributes a row, or one label; one thread, its
CPU time. Run: ``python benchmarks/bench_decode.py [--spans 1000] [--seconds 2]``.
"""

from __future__ import annotations

import argparse
import functools
import io
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from collector_processor.decode import DECODERS, DEFAULT_LIMITS, Decoded, Decoder
from otel_ml import semconv

START_NS = 1_760_000_000_000_000_000


def text(key: str, value: str) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(string_value=value))


def number(key: str, value: float) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(double_value=value))


def _identity(random_: random.Random) -> list[KeyValue]:
    score = random_.random()
    return [
        text(semconv.MODEL_NAME, "fraud"),
        text(semconv.MODEL_VERSION, "2025-10-01"),
        text(semconv.MODEL_TASK, "binary_classification"),
        text(semconv.PREDICTION_CLASS, "fraud" if score > 0.5 else "genuine"),
        number(semconv.PREDICTION_SCORE, score),
    ]


def _features(random_: random.Random, prefix: str) -> list[KeyValue]:
    return [
        *(number(f"{prefix}numeric_{i:02d}", random_.gauss(0, 1)) for i in range(20)),
        *(text(f"{prefix}category_{i}", f"level {random_.randrange(4 << 2 * i)}") for i in range(5)),
    ]


def _span(random_: random.Random, index: int, attributes: Sequence[KeyValue], name: str = semconv.SPAN_PREDICT) -> Span:
    return Span(
        name=f"{name} fraud",
        trace_id=random_.randbytes(16),
        span_id=random_.randbytes(8),
        start_time_unix_nano=START_NS + index * 1_000_000,
        end_time_unix_nano=START_NS + index * 1_000_000 + 350_000,
        kind=Span.SPAN_KIND_INTERNAL,
        flags=0x101,
        attributes=attributes,
    )


def prediction(random_: random.Random, index: int) -> Span:
    """One prediction, each feature an attribute."""
    return _span(random_, index, [*_identity(random_), *_features(random_, semconv.FEATURE)])


def _mapped(random_: random.Random, index: int) -> Span:
    scores = [number("fraud", random_.random()), number("genuine", random_.random())]
    maps = {semconv.FEATURES: _features(random_, ""), semconv.PREDICTION_SCORES: scores}
    return _span(
        random_,
        index,
        [
            *_identity(random_),
            *(KeyValue(key=key, value=AnyValue(kvlist_value=KeyValueList(values=maps[key]))) for key in maps),
        ],
    )


def _arrays(random_: random.Random, index: int, rows: int) -> Span:
    columns: dict[str, list[AnyValue]] = {}
    for _ in range(rows):
        for attribute in prediction(random_, index).attributes:
            columns.setdefault(attribute.key, []).append(attribute.value)
    shared = (semconv.MODEL_NAME, semconv.MODEL_VERSION, semconv.MODEL_TASK)
    return _span(
        random_,
        index,
        [
            KeyValue(key=key, value=cells[0] if key in shared else AnyValue(array_value=ArrayValue(values=cells)))
            for key, cells in columns.items()
        ],
    )


def _streamed(random_: random.Random, index: int, rows: int) -> Span:
    columns: dict[str, list[float | str]] = {}
    for _ in range(rows):
        for attribute in prediction(random_, index).attributes[3:]:
            value = attribute.value
            columns.setdefault(attribute.key, []).append(value.double_value or value.string_value)
    table, sink = pa.table(columns), io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    stream = KeyValue(key=semconv.BATCH, value=AnyValue(bytes_value=sink.getvalue()))
    return _span(random_, index, [*_identity(random_)[:3], stream])


def _label_attributes(random_: random.Random, index: int) -> list[KeyValue]:
    return [
        text(semconv.MODEL_NAME, "fraud"),
        text(semconv.PREDICTION_ID, f"{random_.getrandbits(128):032x}:{random_.getrandbits(64):016x}"),
        text(semconv.LABEL_CLASS, "fraud" if index % 7 else "genuine"),
    ]


def _label(random_: random.Random, index: int) -> Span:
    return _span(random_, index, _label_attributes(random_, index), semconv.SPAN_LABEL)


def _resource() -> Resource:
    return Resource(attributes=[text("service.name", "checkout"), text("host.name", "host-1")])


def _traces(spans: int, make: Callable[[random.Random, int], Span]) -> bytes:
    random_ = random.Random(7)
    scope = ScopeSpans(spans=[make(random_, index) for index in range(spans)])
    scope.scope.name = semconv.INSTRUMENTATION_SCOPE
    return ExportTraceServiceRequest(
        resource_spans=[ResourceSpans(resource=_resource(), scope_spans=[scope])]
    ).SerializeToString()


def _records(records: int) -> bytes:
    random_ = random.Random(7)
    scope = ScopeLogs(
        log_records=[
            LogRecord(
                event_name=semconv.EVENT_LABEL,
                time_unix_nano=START_NS + index,
                attributes=_label_attributes(random_, index),
            )
            for index in range(records)
        ]
    )
    return ExportLogsServiceRequest(
        resource_logs=[ResourceLogs(resource=_resource(), scope_logs=[scope])]
    ).SerializeToString()


def request_of(spans: int) -> bytes:
    """A request of so many plain prediction spans."""
    return _traces(spans, prediction)


@dataclass(frozen=True, slots=True)
class Form:
    """Requests of one form: what they hold, the request of so many rows, and which signal it is."""

    what: str
    body: Callable[[int], bytes]
    logs: bool = False

    def decode(self, decoder: Decoder, body: bytes) -> Decoded:
        """What the decoder makes of it."""
        return (decoder.decode_logs if self.logs else decoder.decode_traces)(body, START_NS, DEFAULT_LIMITS)


FORMS: Final = (
    Form("prediction spans", request_of),
    Form("label spans", lambda rows: _traces(rows, _label)),
    Form("label records", _records, logs=True),
    Form("prediction spans with maps", lambda rows: _traces(rows, _mapped)),
    Form("arrays, 10 rows a span", lambda rows: _traces(rows // 10, lambda r, i: _arrays(r, i, 10))),
    Form("arrays, 500 rows a span", lambda rows: _traces(rows // 500, lambda r, i: _arrays(r, i, 500))),
    Form("Arrow, 500 rows a span", lambda rows: _traces(rows // 500, lambda r, i: _streamed(r, i, 500))),
    Form(
        "prediction spans, an Arrow span of 20 rows among each 20",
        lambda rows: _traces(rows * 21 // 40, lambda r, i: _streamed(r, i, 20) if i % 21 == 20 else prediction(r, i)),
    ),
)
"""The forms of the contract."""


def best_s(call: Callable[[], object], seconds: float) -> float:
    """The shortest of the runs that fit into so many seconds of CPU time."""
    best, until = float("inf"), time.thread_time() + seconds
    while time.thread_time() < until:
        begin = time.thread_time()
        call()
        best = min(best, time.thread_time() - begin)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spans", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=2.0, help="for each decoder and form")
    options = parser.parse_args()
    for form in FORMS:
        body = form.body(options.spans)
        rates: dict[str, float] = {}
        for decoder in reversed(DECODERS):
            decode = functools.partial(form.decode, decoder, body)
            decoded = decode()
            rows = sum(map(len, decoded.predictions)) + sum(map(len, decoded.labels))
            if not rows or decoded.rejected or decoded.dropped:
                raise SystemExit(f"{form.what}: {decoder.name} gave {rows} rows, {decoded.message} {decoded.dropped}")
            rates[decoder.name] = rows / best_s(decode, options.seconds)
            ratio = rates[decoder.name] / rates["fallback"]
            print(
                f"{form.what:58s} {len(body) / rows:5.0f} B a row, {decoder.name:9s}"
                f" {rates[decoder.name] / 1e3:9.0f} k rows/s  {ratio:5.1f} x"
            )


if __name__ == "__main__":
    main()
