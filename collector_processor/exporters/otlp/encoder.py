"""OTLP requests of measurements: metric data of the SDK, encoded by the official encoder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from typing import Final, Literal

from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from collector_processor.exporters.delivery.measurement_queue import Part
from collector_processor.exporters.otlp.delta import Deltas, Series, Total
from collector_processor.monitors.base import Measurement
from collector_processor.own.telemetry import Telemetry
from otel_ml.semconv import PROCESSOR_SCOPE, SCHEMA_URL

Temporality = Literal["cumulative", "delta"]
REQUEST_BYTES: Final = 3 * 2**20
"""The maximum estimated size of one request; gRPC servers reject more than 4 MiB by default."""
_NO_TOTALS: Final[Mapping[Series, Total]] = {}
_SCOPE: Final = InstrumentationScope(PROCESSOR_SCOPE, version("otel-ml"), SCHEMA_URL)
_POINT_BYTES: Final = 48
_ATTRIBUTE_BYTES: Final = 12
_EXEMPLAR_BYTES: Final = 52
_TEMPORALITIES: Final = {"cumulative": AggregationTemporality.CUMULATIVE, "delta": AggregationTemporality.DELTA}


class MetricsEncoder:
    """Turns measurements into OTLP requests; for ``delta`` it tracks what was delivered.

    Every request has the resource ``service.name`` = ``otel-ml`` and ``service.instance.id``, and the scope
    :data:`.PROCESSOR_SCOPE`, so that the service's own receivers detect a loop. ``descriptions`` are texts by metric
    name.
    """

    def __init__(
        self, instance_id: str, temporality: Temporality, descriptions: Mapping[str, str], telemetry: Telemetry
    ) -> None:
        self._resource = Resource({"service.name": "otel-ml", "service.instance.id": instance_id})
        self._temporality: Temporality = temporality
        self._descriptions = dict(descriptions)
        self._deltas = Deltas(telemetry)

    def parts(self, measurements: Sequence[Measurement]) -> Iterator[Part]:
        """Yield the requests of a batch, each encoded only when it is needed."""
        for request in _split(measurements):
            points, totals = (request, _NO_TOTALS) if self._temporality == "cumulative" else self._deltas.of(request)
            if points:
                yield self._part(points, totals)

    def _part(self, points: Sequence[Measurement], totals: Mapping[Series, Total]) -> Part:
        delivered = partial(self._deltas.delivered, totals)
        return Part(self._body(points), len(points), delivered, partial(self._divided, points, totals))

    def _divided(self, points: Sequence[Measurement], totals: Mapping[Series, Total]) -> Sequence[Part]:
        """Return half of the series each: what is delivered of a series is then known, even if one half is not."""
        series = [*dict.fromkeys((item.name, item.attributes) for item in points)]
        if len(series) == 1:
            return ()
        first = frozenset(series[: len(series) // 2])
        parts: list[Part] = []
        for side in (True, False):
            own = [item for item in points if ((item.name, item.attributes) in first) is side]
            parts.append(self._part(own, {key: total for key, total in totals.items() if (key in first) is side}))
        return parts

    def _body(self, measurements: Sequence[Measurement]) -> bytes:
        return encode_metrics(self._metrics(measurements)).SerializeToString()

    def _metrics(self, measurements: Sequence[Measurement]) -> MetricsData:
        """Return one metric for each name, unit and kind, in order of appearance."""
        grouped: dict[tuple[str, str, str], list[NumberDataPoint]] = {}
        for item in measurements:
            # OTLP has no times before 1970.
            time_ns, value = max(item.time_ns, 0), float(item.value)
            exemplars = [
                Exemplar(None, value, time_ns, int(each.span_id, 16), int(each.trace_id, 16)) for each in item.exemplars
            ]
            point = NumberDataPoint(dict(item.attributes), max(item.start_ns, 0), time_ns, value, exemplars)
            grouped.setdefault((item.name, item.unit, item.kind), []).append(point)
        temporality = _TEMPORALITIES[self._temporality]
        metrics = [
            Metric(
                name,
                self._descriptions.get(name, ""),
                unit,
                Sum(points, temporality, is_monotonic=True) if kind == "counter" else Gauge(points),
            )
            for (name, unit, kind), points in grouped.items()
        ]
        return MetricsData([ResourceMetrics(self._resource, [ScopeMetrics(_SCOPE, metrics, SCHEMA_URL)], "")])


def _split(measurements: Sequence[Measurement]) -> Iterator[Sequence[Measurement]]:
    """Yield the measurements in order, in parts that each make a request of at most about ``REQUEST_BYTES``."""
    start, size = 0, 0
    for position, item in enumerate(measurements):
        cost = _POINT_BYTES + _EXEMPLAR_BYTES * len(item.exemplars)
        cost += sum(_ATTRIBUTE_BYTES + _utf8_bytes(key) + _utf8_bytes(value) for key, value in item.attributes)
        if size + cost > REQUEST_BYTES and position > start:
            yield measurements[start:position]
            start, size = position, 0
        size += cost
    if start < len(measurements):
        yield measurements[start:]


def _utf8_bytes(text: str) -> int:
    """Return an upper bound of the length of a text in UTF-8."""
    return len(text) if text.isascii() else 4 * len(text)
