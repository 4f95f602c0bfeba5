"""Captures predictions, labels and metrics in memory, for tests of applications (and of this package).

    from otel_ml.testing import capture

    def test_the_service_reports_its_predictions():
        with capture() as captured:
            client.post("/predict", json={"age": 37})
        assert captured.predictions[0].features == {"age": 37}

Needs the OpenTelemetry SDK (``pip install opentelemetry-sdk``).
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from otel_ml.delivery import gather
from otel_ml.emit import instruments
from otel_ml.encode.reading import CapturedLabel, CapturedPrediction, read_labels, read_predictions
from otel_ml.explain.queue import queue as explanations
from otel_ml.semconv import MODEL_NAME, SPAN_LABEL, SPAN_PREDICT

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    from opentelemetry.sdk.trace.sampling import Sampler

__all__ = ["Captured", "CapturedLabel", "CapturedPoint", "CapturedPrediction", "capture"]

_SETTLE_S: Final = 30.0
_INSTALL: Final = "otel_ml.testing needs the OpenTelemetry SDK: pip install opentelemetry-sdk"


@dataclass(frozen=True)
class CapturedPoint:
    """One series of a metric: a counter's ``value``, or a histogram's ``sum`` as value with its ``count``."""

    attributes: Mapping[str, Any]
    value: float
    count: int = 0


class Captured:
    """Everything emitted so far; each property reads the current state."""

    def __init__(
        self,
        tracer_provider: TracerProvider,
        meter_provider: MeterProvider,
        exporter: InMemorySpanExporter,
        reader: InMemoryMetricReader,
    ) -> None:
        self.tracer_provider = tracer_provider
        self.meter_provider = meter_provider
        self._exporter = exporter
        self._reader = reader

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        """All finished spans, including those of other instrumentations.

        It sends what has gathered, and waits for predictions that are being explained.
        """
        gather.drain()
        explanations.settle(_SETTLE_S)
        return self._exporter.get_finished_spans()

    @property
    def predictions(self) -> list[CapturedPrediction]:
        """All predictions, batches row by row, in the order in which their spans started."""
        # The spans of a split batch start together and its children end first; the call's own span comes first.
        spans = sorted(self._named(SPAN_PREDICT), key=lambda span: (span.start_time or 0, _is_instant(span)))
        return [prediction for span in spans for prediction in read_predictions(span)]

    @property
    def labels(self) -> list[CapturedLabel]:
        """All labels, in the order of their spans."""
        return [label for span in self._named(SPAN_LABEL) for label in read_labels(span)]

    def metric(self, name: str) -> list[CapturedPoint]:
        """Return the series of a metric, collected now; empty if it has none.

        >>> from otel_ml import Model
        >>> with capture() as captured:
        ...     with Model("fraud").predict({"amount": 3.0}) as prediction:
        ...         prediction.record(score=0.5)
        ...     [point] = captured.metric("ml.prediction.score")
        >>> dict(point.attributes), point.value, point.count
        ({'ml.model.name': 'fraud'}, 0.5, 1)
        """
        gather.drain()
        collected = self._reader.get_metrics_data()
        if collected is None:
            return []
        return [
            CapturedPoint(dict(point.attributes or {}), _amount(point), getattr(point, "count", 0))
            for resource in collected.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]

    def clear(self) -> None:
        """Drop the spans so far; metrics are cumulative and stay."""
        gather.drain()
        self._exporter.clear()

    def _named(self, word: str) -> list[ReadableSpan]:
        return [
            span for span in self.spans if span.name.startswith(f"{word} ") and MODEL_NAME in (span.attributes or {})
        ]


@contextmanager
def capture(*, sampler: Sampler | None = None) -> Generator[Captured]:
    """Collect in memory what every model emits within the block, instead of sending it to the global providers.

    Models with their own providers keep those. Raises :class:`ModuleNotFoundError` with the install command if the SDK
    is missing.

    >>> from otel_ml import Model
    >>> with capture() as captured, Model("price").predict({"area": 70.5}) as prediction:
    ...     prediction.record(value=310.0)
    >>> [seen.value for seen in captured.predictions]
    [310.0]
    """
    try:
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(_INSTALL) from error
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    meter_provider = MeterProvider([reader], shutdown_on_exit=False)
    tracer_provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
    tracer_provider.add_span_processor(SimpleSpanProcessor(exporter))
    with instruments.captured(tracer_provider, meter_provider):
        yield Captured(tracer_provider, meter_provider, exporter, reader)


def _is_instant(span: ReadableSpan) -> bool:
    return span.start_time == span.end_time


def _amount(point: Any) -> float:
    return point.sum if hasattr(point, "sum") else point.value
