"""Sends measurements over OTLP, gRPC or HTTP: the SDK's metric data, encoded by the official encoder."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Final, Literal

from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
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

from collector_processor.exporters.delivery.grpc_sender import GrpcSender
from collector_processor.exporters.delivery.http_sender import HttpSender
from collector_processor.exporters.delivery.retry import RetryPolicy, Sender
from collector_processor.exporters.delivery.worker import DeliveryWorker, Part
from collector_processor.exporters.otlp.delta import Deltas
from collector_processor.exporters.otlp.stamps import EmissionStamps, Timestamps
from collector_processor.monitors.base import Measurement
from collector_processor.own.telemetry import Telemetry
from collector_processor.security.client_tls import ClientTls
from otel_ml.semconv import PROCESSOR_SCOPE, SCHEMA_URL

Protocol = Literal["grpc", "http"]
Temporality = Literal["cumulative", "delta"]
REQUEST_BYTES: Final = 3 * 2**20
"""Estimated size up to which measurements go into one request; gRPC servers refuse more than 4 MiB by default."""
_SCOPE: Final = InstrumentationScope(PROCESSOR_SCOPE, version("otel-ml"), SCHEMA_URL)
_POINT_BYTES: Final = 48
_ATTRIBUTE_BYTES: Final = 12
_TEMPORALITIES: Final = {"cumulative": AggregationTemporality.CUMULATIVE, "delta": AggregationTemporality.DELTA}


class OtlpExporter:
    """One OTLP destination of measurements; see :class:`.DeliveryWorker` for queue, retries and counters.

    ``endpoint``: for ``grpc`` ``host:port`` or a URL; for ``http`` the base URL, to which ``/v1/metrics`` is appended.
    A scheme decides about TLS (``https://``), else ``insecure`` does. ``temporality`` is that of counters,
    ``timestamps`` are those of gauges: when the window was closed (``emitted``), or when it ended. Every
    request carries the resource ``service.name`` = ``otel-ml`` and ``service.instance.id``, overlaid with ``resource``,
    and the scope :data:`.PROCESSOR_SCOPE`, by which a loop is told. ``descriptions`` are texts by metric name.
    ``connect`` gives the connection instead of the arguments about it.
    """

    def __init__(
        self,
        name: str,
        protocol: Protocol,
        endpoint: str,
        telemetry: Telemetry,
        *,
        instance_id: str = "",
        headers: Mapping[str, str] | None = None,
        insecure: bool = False,
        ca_file: Path | None = None,
        cert_file: Path | None = None,
        key_file: Path | None = None,
        compression: Literal["none", "gzip"] = "gzip",
        timeout_s: float = 5.0,
        temporality: Temporality = "cumulative",
        timestamps: Timestamps = "emitted",
        retry: RetryPolicy | None = None,
        queue_size: int = 1000,
        resource: Mapping[str, str] | None = None,
        descriptions: Mapping[str, str] | None = None,
        connect: Callable[[], Sender] | None = None,
    ) -> None:
        self._connect = connect or self._sender
        self._name = name
        self._protocol: Protocol = protocol
        self._endpoint = endpoint
        self._tls = (
            ClientTls(ca_file=ca_file, cert_file=cert_file, key_file=key_file)
            if _is_secure(endpoint, insecure)
            else None
        )
        self._headers = dict(headers or {})
        self._compression: Literal["none", "gzip"] = compression
        self._stamps = EmissionStamps() if timestamps == "emitted" else None
        self._batches = _Encoder(
            Resource(
                {"service.name": "otel-ml", "service.instance.id": instance_id or str(uuid.uuid4()), **(resource or {})}
            ),
            dict(descriptions or {}),
            temporality,
            Deltas(telemetry),
        )
        self._worker = DeliveryWorker(
            name, self._batches.parts, telemetry, retry=retry, timeout_s=timeout_s, queue_size=queue_size
        )

    @property
    def name(self) -> str:
        """The component id from the configuration."""
        return self._name

    def start(self) -> None:
        """Begins to deliver; a destination that is down is waited for. ``OSError`` names a missing TLS file."""
        self._worker.start(self._connect())

    def export(self, measurements: Sequence[Measurement]) -> None:
        """Takes measurements over; what does not fit the queue is dropped and counted."""
        # Now, not when a destination that is down is back.
        stamps = self._stamps
        self._worker.put(measurements if stamps is None else stamps.stamped(measurements, time.time_ns()))

    def shutdown(self, timeout_s: float) -> None:
        """Sends what is queued within the time and lets go of the connection; safe to call without start."""
        self._worker.shutdown(timeout_s)

    def _sender(self) -> Sender:
        if self._tls is not None:
            for key in ("ca_file", "cert_file", "key_file"):
                _check_readable(f"exporters.{self._name}.tls.{key}", getattr(self._tls, key))
        sender = GrpcSender if self._protocol == "grpc" else HttpSender
        endpoint = self._endpoint
        if self._protocol == "http" and "://" not in endpoint:
            endpoint = f"{'http' if self._tls is None else 'https'}://{endpoint}"
        return sender(endpoint, tls=self._tls, headers=self._headers, compression=self._compression)


def _is_secure(endpoint: str, insecure: bool) -> bool:
    """Whether to use TLS: as the endpoint's scheme says, and as configured where it has none."""
    scheme, separator, _ = endpoint.partition("://")
    return scheme == "https" if separator else not insecure


def _check_readable(key: str, path: Path | None) -> None:
    if path is None:
        return
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise OSError(f"{key}: cannot read {path}: {error.strerror or error}") from error


@dataclass(frozen=True, slots=True)
class _Encoder:
    """From measurements to OTLP requests."""

    resource: Resource
    descriptions: Mapping[str, str]
    temporality: Temporality
    deltas: Deltas

    def parts(self, measurements: Sequence[Measurement]) -> Iterator[Part]:
        """The requests of a batch, each encoded when it is asked for."""
        for some in _split(measurements):
            if self.temporality == "cumulative":
                yield Part(self._body(some), len(some))
                continue
            points, totals = self.deltas.of(some)
            if points:
                yield Part(self._body(points), len(points), partial(self.deltas.delivered, totals))

    def _body(self, measurements: Sequence[Measurement]) -> bytes:
        return encode_metrics(self._metrics(measurements)).SerializeToString()

    def _metrics(self, measurements: Sequence[Measurement]) -> MetricsData:
        """One metric a name, unit and kind, in order of appearance."""
        grouped: dict[tuple[str, str, str], list[NumberDataPoint]] = {}
        for item in measurements:
            # Times before 1970 cannot be told in OTLP.
            point = NumberDataPoint(
                dict(item.attributes), max(item.start_ns, 0), max(item.time_ns, 0), float(item.value)
            )
            grouped.setdefault((item.name, item.unit, item.kind), []).append(point)
        temporality = _TEMPORALITIES[self.temporality]
        metrics = [
            Metric(
                name,
                self.descriptions.get(name, ""),
                unit,
                Sum(points, temporality, is_monotonic=True) if kind == "counter" else Gauge(points),
            )
            for (name, unit, kind), points in grouped.items()
        ]
        return MetricsData([ResourceMetrics(self.resource, [ScopeMetrics(_SCOPE, metrics, SCHEMA_URL)], "")])


def _split(measurements: Sequence[Measurement]) -> Iterator[Sequence[Measurement]]:
    """The measurements in their order, cut so that each part makes a request of about ``REQUEST_BYTES`` at most."""
    start, size = 0, 0
    for position, item in enumerate(measurements):
        cost = _POINT_BYTES + sum(
            _ATTRIBUTE_BYTES + _utf8_bytes(key) + _utf8_bytes(value) for key, value in item.attributes
        )
        if size + cost > REQUEST_BYTES and position > start:
            yield measurements[start:position]
            start, size = position, 0
        size += cost
    if start < len(measurements):
        yield measurements[start:]


def _utf8_bytes(text: str) -> int:
    """An upper bound of a text's length in UTF-8."""
    return len(text) if text.isascii() else 4 * len(text)
