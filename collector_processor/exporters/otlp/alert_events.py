"""Alerts as OTLP log events, named ``ml.alert``, over the connection of an OTLP exporter."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Final

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs, SeverityNumber
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from collector_processor.alerts.notice import Notice
from collector_processor.alerts.rules import Severity
from collector_processor.alerts.text import body, condition, links, moment, offender_text, summary, title
from collector_processor.exporters.delivery.connection import Connection
from collector_processor.exporters.delivery.loop import DeliveryLoop
from collector_processor.exporters.delivery.notice_queue import NoticeQueue
from collector_processor.exporters.delivery.retry import CONSUMERS, QUEUE_SIZE, TIMEOUT_S, Delivery, RetryPolicy, Sender
from collector_processor.own.telemetry import Telemetry
from otel_ml import semconv

_SEVERITIES: Final[dict[Severity, SeverityNumber.ValueType]] = {
    "info": SeverityNumber.SEVERITY_NUMBER_INFO,
    "warning": SeverityNumber.SEVERITY_NUMBER_WARN,
    "critical": SeverityNumber.SEVERITY_NUMBER_ERROR,
}
_TEXTS: Final = {
    SeverityNumber.SEVERITY_NUMBER_INFO: "INFO",
    SeverityNumber.SEVERITY_NUMBER_WARN: "WARN",
    SeverityNumber.SEVERITY_NUMBER_ERROR: "ERROR",
}


class AlertEvents(DeliveryLoop[Sequence[Notice]]):
    """One OTLP destination of alerts; :class:`.NoticeQueue` is its source.

    A firing alert has the severity INFO, WARN or ERROR for ``info``, ``warning`` and ``critical``; a resolved one has
    INFO. The scope and the resource's ``service.instance.id`` are those of the service's measurements, so that its own
    receivers detect a loop.
    """

    def __init__(
        self,
        name: str,
        connection: Connection[Sender],
        telemetry: Telemetry,
        *,
        instance_id: str,
        retry: RetryPolicy | None = None,
        timeout_s: float = TIMEOUT_S,
        queue_size: int = QUEUE_SIZE,
        consumers: int = CONSUMERS,
    ) -> None:
        self._sending = connection
        self._instance_id = instance_id
        self._queue = NoticeQueue(name, telemetry, queue_size=queue_size)
        super().__init__(
            name,
            self._queue,
            self._attempt,
            telemetry,
            stage="notify",
            retry=retry,
            timeout_s=timeout_s,
            connection=connection,
            consumers=consumers,
        )

    def notify(self, notices: Sequence[Notice]) -> None:
        """Queue notices, except for those that only update a display."""
        self._queue.put(notices)

    def probe(self, notice: Notice) -> Sequence[str]:
        """Send one notice now."""
        delivery = self._attempt([notice], self._timeout_s)
        return () if delivery.outcome == "sent" else (delivery.message,)

    def _attempt(self, notices: Sequence[Notice], timeout_s: float) -> Delivery:
        request = event_request(notices[0], self._instance_id)
        delivery = self._sending.use(lambda sender: sender.send("logs", request, timeout_s))
        if delivery.outcome == "sent" and delivery.rejected:
            return Delivery("refused", f"rejected by the destination: {delivery.message or 'no reason given'}")
        return delivery


def event_request(notice: Notice, instance_id: str) -> bytes:
    """Return the bytes of an OTLP logs request with one event."""
    firing = notice.state == "firing"
    severity = _SEVERITIES[notice.rule.severity] if firing else SeverityNumber.SEVERITY_NUMBER_INFO
    record = LogRecord(
        time_unix_nano=max(notice.time_ns, 0),
        observed_time_unix_nano=max(notice.time_ns, 0),
        severity_number=severity,
        severity_text=_TEXTS[severity],
        event_name=semconv.EVENT_ALERT,
        body=AnyValue(string_value=f"{title(notice)}\n{body(notice)}"),
        attributes=list(_attributes(notice)),
    )
    scope = InstrumentationScope(name=semconv.PROCESSOR_SCOPE, version=version("otel-ml"))
    logs = ScopeLogs(scope=scope, log_records=[record], schema_url=semconv.SCHEMA_URL)
    resource = Resource(attributes=[_text("service.name", "otel-ml"), _text("service.instance.id", instance_id)])
    return ExportLogsServiceRequest(
        resource_logs=[ResourceLogs(resource=resource, scope_logs=[logs])]
    ).SerializeToString()


def _attributes(notice: Notice) -> Sequence[KeyValue]:
    rule, model = notice.rule, notice.model
    pairs = [
        _text(semconv.ALERT_NAME, rule.name),
        _text(semconv.ALERT_STATE, notice.state),
        _text(semconv.ALERT_REASON, notice.reason),
        _text(semconv.ALERT_SEVERITY, rule.severity),
        _text(semconv.ALERT_METRIC, rule.measurement),
        _text(semconv.ALERT_CONDITION, condition(rule)),
        _text(semconv.ALERT_SUMMARY, summary(rule)),
        _text(semconv.ALERT_STARTED, moment(notice.started_ns)),
        _text(semconv.MODEL_NAME, model.name),
        KeyValue(key=semconv.ALERT_SERIES_COUNT, value=AnyValue(int_value=notice.count)),
    ]
    if model.version:
        pairs.append(_text(semconv.MODEL_VERSION, model.version))
    if rule.runbook:
        pairs.append(_text(semconv.ALERT_RUNBOOK, rule.runbook))
    keys = {"Board": semconv.ALERT_BOARD, "Traces": semconv.ALERT_TRACES, "Trace": semconv.ALERT_TRACE}
    pairs += [_text(keys[name], url) for name, url in links(notice)]
    if notice.offenders:
        pairs.append(KeyValue(key=semconv.ALERT_VALUE, value=AnyValue(double_value=notice.value)))
        lines = [AnyValue(string_value=offender_text(rule, offender)) for offender in notice.offenders]
        pairs.append(KeyValue(key=semconv.ALERT_SERIES, value=AnyValue(array_value=ArrayValue(values=lines))))
    if notice.reason != "test":
        limit = rule.absent_ns / 1e9 if rule.condition == "absent" else rule.threshold
        pairs.append(KeyValue(key=semconv.ALERT_THRESHOLD, value=AnyValue(double_value=limit)))
    return pairs


def _text(key: str, value: str) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(string_value=value))
