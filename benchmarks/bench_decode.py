"""How many prediction spans a second the decoders turn into columns, against each other in the same run.

One prediction per span: 20 numeric and 5 categorical features, 5 identity attributes, 1000 spans a request, one thread.
Run: ``python benchmarks/bench_decode.py [--spans 1000] [--seconds 2]``.
"""

from __future__ import annotations

import argparse
import functools
import random
import time
from collections.abc import Callable

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from collector_processor.decode import DECODERS, DEFAULT_LIMITS
from otel_ml import semconv

START_NS = 1_760_000_000_000_000_000


def text(key: str, value: str) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(string_value=value))


def number(key: str, value: float) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(double_value=value))


def prediction(random_: random.Random, index: int) -> Span:
    score = random_.random()
    attributes = [
        text(semconv.MODEL_NAME, "fraud"),
        text(semconv.MODEL_VERSION, "2025-10-01"),
        text(semconv.MODEL_TASK, "binary_classification"),
        text(semconv.PREDICTION_CLASS, "fraud" if score > 0.5 else "genuine"),
        number(semconv.PREDICTION_SCORE, score),
        *(number(f"{semconv.FEATURE}numeric_{i:02d}", random_.gauss(0, 1)) for i in range(20)),
        *(text(f"{semconv.FEATURE}category_{i}", f"level {random_.randrange(4 << 2 * i)}") for i in range(5)),
    ]
    return Span(
        name=f"{semconv.SPAN_PREDICT} fraud",
        trace_id=random_.randbytes(16),
        span_id=random_.randbytes(8),
        start_time_unix_nano=START_NS + index * 1_000_000,
        end_time_unix_nano=START_NS + index * 1_000_000 + 350_000,
        kind=Span.SPAN_KIND_INTERNAL,
        flags=0x101,
        attributes=attributes,
    )


def request_of(spans: int) -> bytes:
    random_ = random.Random(7)
    scope = ScopeSpans(spans=[prediction(random_, index) for index in range(spans)])
    scope.scope.name = semconv.INSTRUMENTATION_SCOPE
    resource = Resource(attributes=[text("service.name", "checkout"), text("host.name", "host-1")])
    return ExportTraceServiceRequest(
        resource_spans=[ResourceSpans(resource=resource, scope_spans=[scope])]
    ).SerializeToString()


def best_s(call: Callable[[], object], seconds: float) -> float:
    """The shortest of the runs that fit into so many seconds: what the machine can do when nobody disturbs it."""
    best, until = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < until:
        begin = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - begin)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spans", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=2.0, help="for each decoder")
    options = parser.parse_args()
    body = request_of(options.spans)
    print(f"{options.spans} spans a request, {len(body) / options.spans:.0f} B a span")
    rates: dict[str, float] = {}
    for decoder in reversed(DECODERS):
        decode = functools.partial(decoder.decode_traces, body, START_NS, DEFAULT_LIMITS)
        rows = sum(map(len, decode().predictions))
        if rows != options.spans:
            raise SystemExit(f"{decoder.name} gave {rows} rows")
        rates[decoder.name] = options.spans / best_s(decode, options.seconds)
        ratio = rates[decoder.name] / rates["fallback"]
        print(f"decode {decoder.name:9s} {rates[decoder.name] / 1e3:9.0f} k spans/s  {ratio:5.1f} x")


if __name__ == "__main__":
    main()
