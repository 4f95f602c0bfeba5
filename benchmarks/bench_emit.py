"""The instrumentation: what a prediction costs its caller, beside the bare SDK span with the same attributes."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from functools import partial
from statistics import mean, median

import numpy as np
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.util.types import AttributeValue

from benchmarks import traffic
from benchmarks.measure import Row, rate, seconds, together
from otel_ml import Config, Model, flush, semconv
from otel_ml.testing import capture

CALLS, ROUNDS = 20, 300
"""Few calls a round and many rounds: a slow moment of the machine then meets both sides of a ratio."""
ROWS, BATCHES = 10_000, 25
_REACH_RATIO, _REACH_ROWS = 1.3, 1e6
_REACH_METERED, _REACH_GATHERED_US = 1.6, 10.0


class _Nothing(SpanProcessor):
    """Takes spans and does nothing."""


class NowhereExporter(SpanExporter):
    """Takes batches and does nothing."""

    def export(self, spans: object) -> SpanExportResult:
        return SpanExportResult.SUCCESS


def rows(progress: Callable[[str], None]) -> Iterator[Row]:
    """All lines about emitting."""
    progress("instrumentation: one row")
    yield from _one_row()
    progress("instrumentation: switched off")
    yield from _off()
    progress("instrumentation: 10,000 rows")
    yield from _many_rows()


def _features() -> dict[str, float | str]:
    rng = np.random.default_rng(0)
    numbers, kinds = traffic.names()
    found: dict[str, float | str] = {name: float(rng.standard_normal()) for name in numbers}
    return found | {name: f"category-{rng.integers(8)}" for name in kinds}


def _predicting(model: Model) -> Callable[[], None]:
    """Calls of one row, as an application makes them."""
    features = _features()

    def calls() -> None:
        for _ in range(CALLS):
            with model.predict(features) as prediction:
                prediction.record(class_=traffic.POSITIVE, score=0.81)

    return calls


def _one_row() -> Iterator[Row]:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(_Nothing())
    meters = MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False)
    make = partial(
        Model, traffic.MODEL, version=traffic.KEY.version, task=traffic.TASK, positive_class=traffic.POSITIVE
    )
    tracer = provider.get_tracer("benchmark")
    attributes = _span_attributes()

    def bare() -> None:
        for _ in range(CALLS):
            with tracer.start_as_current_span(f"{semconv.SPAN_PREDICT} {traffic.MODEL}") as span:
                span.set_attributes(attributes)

    plain = _predicting(make(tracer_provider=provider))
    metered = _predicting(make(tracer_provider=provider, meter_provider=meters))
    columnar = Config(emit="columnar")
    gathered = _predicting(make(tracer_provider=provider, meter_provider=meters, config=columnar))
    gc.collect()
    found = together((bare, plain, metered, gathered), ROUNDS)
    flush()
    bare_us, plain_us, metered_us, gathered_us = (median(times) / CALLS * 1e6 for times in found)
    factor = plain_us / bare_us
    yield Row(
        "instrumented `predict` of one row, 25 features",
        f"{factor:.2f}× ({plain_us:.0f} µs)",
        "≤ 1.3×",
        _REACH_RATIO / factor,
        f"bare SDK span, same attributes: {bare_us:.0f} µs",
        "`predict` looks at each value once (missing, redaction, conversion) before the SDK checks it again",
    )
    yield Row(
        "the same with the metrics of the call on (three histograms)",
        f"{metered_us / bare_us:.2f}× ({metered_us:.0f} µs)",
        "≤ 1.6×",
        _REACH_METERED / (metered_us / bare_us),
        f"{bare_us:.0f} µs",
        "three measurements of the SDK, which another thread records; the caller's does if 10,000 calls wait",
    )
    yield Row(
        "the same, and many calls in one span (`OTEL_ML_EMIT=columnar`)",
        f"{gathered_us:.1f} µs, mean {mean(found[3]) / CALLS * 1e6:.1f} µs ({gathered_us / bare_us:.2f}×)",
        "≤ 10 µs",
        _REACH_GATHERED_US / gathered_us,
        f"{bare_us:.0f} µs",
        "it keeps the values and the time; another thread encodes them",
    )


def _span_attributes() -> dict[str, AttributeValue]:
    """What the span of such a call carries, as emitted."""
    with capture() as captured:
        model = Model(traffic.MODEL, version=traffic.KEY.version, task=traffic.TASK)
        with model.predict(_features()) as prediction:
            prediction.record(class_=traffic.POSITIVE, score=0.81)
        [span] = captured.spans
    return dict(span.attributes or {})


def _off() -> Iterator[Row]:
    os.environ["OTEL_SDK_DISABLED"] = "true"
    try:
        disabled = _predicting(Model(traffic.MODEL, tracer_provider=TracerProvider(shutdown_on_exit=False)))
        disabled()
        disabled_us = seconds(disabled, ROUNDS) / CALLS * 1e6
    finally:
        del os.environ["OTEL_SDK_DISABLED"]
    without = _predicting(Model(traffic.MODEL))
    off = _predicting(Model(traffic.MODEL, config=Config(enabled=False)))
    live = TracerProvider(shutdown_on_exit=False)
    suppressed = _predicting(Model(traffic.MODEL, tracer_provider=live))
    without_us, off_us = (seconds(work, ROUNDS) / CALLS * 1e6 for work in (without, off))
    with suppress_instrumentation():
        suppressed_us = seconds(suppressed, ROUNDS) / CALLS * 1e6
    yield Row(
        "`predict` when it is off",
        f"no SDK {without_us:.1f} µs, `OTEL_SDK_DISABLED` {disabled_us:.1f} µs, "
        f"`OTEL_ML_ENABLED=false` {off_us:.1f} µs, suppressed {suppressed_us:.1f} µs",
    )


def _many_rows() -> Iterator[Row]:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(NowhereExporter()))
    rng = np.random.default_rng(0)
    numbers, kinds = traffic.names()
    model = Model(traffic.MODEL, task=traffic.TASK, positive_class=traffic.POSITIVE, tracer_provider=provider)
    columns: dict[str, np.ndarray] = {name: rng.standard_normal(ROWS) for name in numbers}
    mixed = dict(columns)
    for name in kinds:
        mixed[name] = np.array([f"category-{i}" for i in rng.integers(0, traffic.CATEGORIES, ROWS)], object)
    score = rng.random(ROWS)

    def call(features: dict[str, np.ndarray]) -> None:
        with model.predict(features) as prediction:
            prediction.record(score=score)

    call(columns)
    call(mixed)
    numeric_s, mixed_s = (median(times) for times in together((lambda: call(columns), lambda: call(mixed)), BATCHES))
    provider.shutdown()
    yield Row(
        "instrumented `predict` of 10,000 rows × 20 numbers, the caller's thread",
        f"{rate(ROWS / numeric_s)} rows ({numeric_s * 1e3:.1f} ms a call)",
        "≥ 1 M rows/s",
        ROWS / numeric_s / _REACH_ROWS,
        why="pyarrow copies and frames the columns",
    )
    yield Row(
        "the same with 5 text columns (Python strings) more",
        f"{rate(ROWS / mixed_s)} rows ({mixed_s * 1e3:.1f} ms a call)",
    )
