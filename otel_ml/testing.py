"""Captures predictions, labels and metrics in memory, for tests of applications (and of this package).

    from otel_ml.testing import capture

    def test_the_service_reports_its_predictions():
        with capture() as captured:
            client.post("/predict", json={"age": 37})
        assert captured.predictions[0].features == {"age": 37}

Needs the OpenTelemetry SDK (``pip install opentelemetry-sdk``).
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

from otel_ml.emit import instruments
from otel_ml.encode.stream_reader import columns
from otel_ml.explain.queue import queue as explanations
from otel_ml.semconv import (
    ATTRIBUTION,
    BATCH,
    ERROR_TYPE,
    FEATURE,
    FEATURES,
    LABEL_CLASS,
    LABEL_VALUE,
    MODEL_NAME,
    MODEL_VERSION,
    PREDICTION_CLASS,
    PREDICTION_ID,
    PREDICTION_ROWS,
    PREDICTION_SCORE,
    PREDICTION_SCORES,
    PREDICTION_VALUE,
    SEGMENT,
    SPAN_LABEL,
    SPAN_PREDICT,
)

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    from opentelemetry.sdk.trace.sampling import Sampler

Cell = bool | int | float | str
Row = dict[str, Any]
_SETTLE_S: Final = 30.0
_INSTALL: Final = "otel_ml.testing needs the OpenTelemetry SDK: pip install opentelemetry-sdk"


@dataclass(frozen=True)
class CapturedPrediction:
    """One row of a prediction, read from whatever form it travels in; missing features are absent."""

    model: str
    id: str
    version: str = ""
    features: Mapping[str, Cell] = field(default_factory=dict[str, Cell])
    class_: str | None = None
    score: float | None = None
    value: float | None = None
    scores: Mapping[str, float] = field(default_factory=dict[str, float])
    segments: Mapping[str, str] = field(default_factory=dict[str, str])
    attributions: Mapping[str, float] = field(default_factory=dict[str, float])
    error_type: str | None = None
    time_ns: int = 0


@dataclass(frozen=True)
class CapturedLabel:
    """One label, read from whatever form it travels in."""

    model: str
    id: str
    class_: str | None = None
    value: float | None = None
    time_ns: int = 0


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
        """All finished spans, including those of other instrumentations; it waits for predictions being explained."""
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


def read_predictions(span: ReadableSpan) -> Iterator[CapturedPrediction]:
    """Yield the rows of one prediction span, whatever its form."""
    attributes = dict(span.attributes or {})
    context = span.get_span_context()
    default = "" if context is None else f"{context.trace_id:032x}:{context.span_id:016x}"
    single = PREDICTION_ROWS not in attributes
    for position, row in enumerate(_rows(attributes)):
        own = default if single else f"{default}:{position}"
        yield CapturedPrediction(
            model=str(attributes[MODEL_NAME]),
            id=row.get(PREDICTION_ID) or own,
            version=str(attributes.get(MODEL_VERSION, "")),
            features=_under(FEATURE, row),
            class_=row.get(PREDICTION_CLASS),
            score=row.get(PREDICTION_SCORE),
            value=row.get(PREDICTION_VALUE),
            scores=_present(row.get(PREDICTION_SCORES) or {}),
            segments=_under(SEGMENT, row),
            attributions=_under(ATTRIBUTION, row),
            error_type=cast("str | None", attributes.get(ERROR_TYPE)),
            time_ns=span.start_time or 0,
        )


def read_labels(span: ReadableSpan) -> Iterator[CapturedLabel]:
    """Yield the labels of one label span."""
    attributes = dict(span.attributes or {})
    for row in _rows(attributes):
        yield CapturedLabel(
            model=str(attributes[MODEL_NAME]),
            id=str(row.get(PREDICTION_ID, "")),
            class_=row.get(LABEL_CLASS),
            value=row.get(LABEL_VALUE),
            time_ns=span.start_time or 0,
        )


def _rows(attributes: Mapping[str, Any]) -> list[Row]:
    """Return attributes row by row, without missing cells, and with the ``ml.features`` map flattened."""
    if BATCH in attributes:
        return _table_rows(columns(attributes[BATCH]), attributes[PREDICTION_ROWS])
    flat = {name: value for name, value in attributes.items() if name not in (FEATURES, PREDICTION_SCORES)}
    flat.update({FEATURE + key: value for key, value in (attributes.get(FEATURES) or {}).items()})
    scores: Mapping[str, Any] = attributes.get(PREDICTION_SCORES) or {}
    rows = attributes.get(PREDICTION_ROWS)
    if rows is None:
        return [_present({**flat, PREDICTION_SCORES: dict(scores)})]
    return [
        _present(
            {
                **{name: cells[row] for name, cells in flat.items() if isinstance(cells, tuple)},
                PREDICTION_SCORES: {name: cells[row] for name, cells in scores.items()},
            }
        )
        for row in range(rows)
    ]


def _table_rows(table: list[tuple[str, list[Any]]], count: int) -> list[Row]:
    rows: list[Row] = [{} for _ in range(count)]
    prefix = f"{PREDICTION_SCORES}."
    for name, cells in table:
        for row, cell in zip(rows, cells, strict=True):
            if cell is None or _is_nan(cell):  # a name may come twice: its numbers and its texts
                continue
            if name.startswith(prefix):
                row.setdefault(PREDICTION_SCORES, {})[name[len(prefix) :]] = cell
            else:
                row[name] = cell
    return rows


def _present(row: Mapping[str, Any]) -> Row:
    return {name: cell for name, cell in row.items() if cell is not None and not _is_nan(cell)}


def _is_nan(cell: object) -> bool:
    return isinstance(cell, float) and math.isnan(cell)


def _under(prefix: str, row: Row) -> Row:
    return {name[len(prefix) :]: cell for name, cell in row.items() if name.startswith(prefix)}


def _is_instant(span: ReadableSpan) -> bool:
    return span.start_time == span.end_time


def _amount(point: Any) -> float:
    return point.sum if hasattr(point, "sum") else point.value
