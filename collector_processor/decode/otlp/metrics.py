"""Read metrics: the counts in them, how many points there are, and whether they come from this service."""

from __future__ import annotations

from collections.abc import Iterable

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric, ResourceMetrics

from collector_processor.columns.batch import Decoded, MalformedRequestError
from collector_processor.decode.fallback import parsed
from collector_processor.decode.limits import DEFAULT_LIMITS, DecodeLimits, Tally
from collector_processor.decode.otlp.observations import Observations
from otel_ml import semconv

INSTANCE_ID = "service.instance.id"


class LoopError(MalformedRequestError):
    """Raised if a request of ``items`` points or records has some from this service: a pipeline leads back into it."""

    def __init__(self, message: str, items: int = 1) -> None:
        super().__init__(message)
        self.items = items


def decode_metrics(
    body: bytes, own_instance_id: str = "", received_ns: int = 0, limits: DecodeLimits = DEFAULT_LIMITS
) -> Decoded:
    """Return the counts in an ``ExportMetricsServiceRequest``; its other points are counted, and not read further.

    Raises :class:`LoopError` if the request has metrics with the processor's scope from the resource whose
    ``service.instance.id`` is ``own_instance_id`` (never if empty), and :class:`.batch.MalformedRequestError` if it is
    not such a request.

    >>> decode_metrics(b"").items
    0
    """
    items, looped = 0, False
    tally = Tally(limits)
    observations = Observations(received_ns, tally)
    for resource_metrics in parsed(ExportMetricsServiceRequest, body).resource_metrics:
        own = own_instance_id and _instance_id(resource_metrics) == own_instance_id
        for scope_metrics in resource_metrics.scope_metrics:
            if own and scope_metrics.metrics and scope_metrics.scope.name == semconv.PROCESSOR_SCOPE:
                looped = True
            items += sum(map(_points, scope_metrics.metrics))
        observations.take(resource_metrics)
    if looped:
        raise LoopError(
            f"these metrics come from this service ({INSTANCE_ID} {own_instance_id}): "
            "a pipeline leads from this service back into it",
            items,
        )
    return Decoded(
        items=items,
        rejected=tally.rejected,
        message=tally.message(),
        dropped=tally.dropped,
        observations=observations.batches(),
    )


def _instance_id(resource_metrics: ResourceMetrics) -> str:
    instance_id = ""
    for attribute in resource_metrics.resource.attributes:
        if attribute.key == INSTANCE_ID:
            instance_id = attribute.value.string_value
    return instance_id


def _points(metric: Metric) -> int:
    """Return the number of data points of a metric; only the part that is set has any."""
    parts: Iterable[int] = (
        len(metric.gauge.data_points),
        len(metric.sum.data_points),
        len(metric.histogram.data_points),
        len(metric.exponential_histogram.data_points),
        len(metric.summary.data_points),
    )
    return sum(parts)
