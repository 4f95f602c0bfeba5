"""Refuse alerts that this service sent as log events: a pipeline that leads back would loop forever."""

from __future__ import annotations

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from collector_processor.decode.fallback import parsed
from collector_processor.decode.otlp.metrics import INSTANCE_ID, LoopError
from otel_ml import semconv


def refuse_own_events(body: bytes, own_instance_id: str) -> None:
    """Raise :class:`.LoopError` if an ``ExportLogsServiceRequest`` has records with the processor's scope from the
    resource whose ``service.instance.id`` is ``own_instance_id`` (never if empty).

    >>> refuse_own_events(b"", "me")
    """
    # The id is a UUID: a body without these bytes needs no further check.
    if not own_instance_id or own_instance_id.encode() not in body:
        return
    items, looped = 0, False
    for resource_logs in parsed(ExportLogsServiceRequest, body).resource_logs:
        attributes = resource_logs.resource.attributes
        own = any(each.key == INSTANCE_ID and each.value.string_value == own_instance_id for each in attributes)
        for scope_logs in resource_logs.scope_logs:
            items += len(scope_logs.log_records)
            looped |= own and len(scope_logs.log_records) > 0 and scope_logs.scope.name == semconv.PROCESSOR_SCOPE
    if looped:
        raise LoopError(
            f"these alerts come from this service ({INSTANCE_ID} {own_instance_id}): "
            "a pipeline leads from this service back into it",
            items,
        )
