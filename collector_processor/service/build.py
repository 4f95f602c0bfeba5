"""From checked settings to components; the only place that knows both sides."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

from collector_processor.config import Config, ConfigError
from collector_processor.config.load import component_type
from collector_processor.decode.otlp.from_json import json_to_protobuf
from collector_processor.exporters.base import Exporter
from collector_processor.exporters.debug import exporter as debug
from collector_processor.exporters.debug.settings import DebugExporter
from collector_processor.exporters.delivery.retry import RetryPolicy
from collector_processor.exporters.otlp import exporter as otlp
from collector_processor.exporters.otlp.originals import OriginalsForwarder
from collector_processor.exporters.otlp.settings import OtlpExporter
from collector_processor.exporters.prometheus import exporter as prometheus
from collector_processor.exporters.prometheus.settings import PrometheusExporter
from collector_processor.journal.base import Journal, Signal
from collector_processor.monitors import monitor_metrics
from collector_processor.monitors.predictions import PREDICTIONS
from collector_processor.own.telemetry import Telemetry
from collector_processor.pipeline.pace import stale_ns
from collector_processor.receivers.admission import Admission
from collector_processor.receivers.otlp.grpc import GrpcReceiver
from collector_processor.receivers.otlp.http import HttpReceiver
from collector_processor.reference.file import load_reference
from collector_processor.reference.profile import Reference
from collector_processor.security.server_tls import check_tls, server_context
from collector_processor.service.connect import connect, credential_problems, guard
from collector_processor.service.notifiers import destination_problems, retry_policy

Receiver = GrpcReceiver | HttpReceiver
_S = 1e9
_THIS_MACHINE: Final = ("localhost", "127.0.0.1", "::1", "0.0.0.0", "::")  # noqa: S104 -- compared, not listened on


def is_monitor(name: str) -> bool:
    """Whether a pipeline's end is the connector."""
    return component_type(name) == "ml_monitor"


def monitored(config: Config) -> list[Signal]:
    """The signals whose predictions and labels the connector counts."""
    signals: tuple[Signal, ...] = ("traces", "logs")
    pipelines = config.pipelines
    return [name for name in signals if name in pipelines and any(map(is_monitor, pipelines[name].exporters))]


def load_references(config: Config) -> dict[str, Reference]:
    """The reference profiles that the models name; :class:`ConfigError` with every one that cannot be used."""
    found: dict[str, Reference] = {}
    problems: list[str] = []
    for name, model in config.monitor.models.items():
        if model.reference is None:
            continue
        path = f"connectors.ml_monitor.models.{name}"
        try:
            found[name] = load_reference(model.reference)
        except OSError as error:
            problems.append(f"{path}.reference: {model.reference} cannot be read: {error.strerror or error}")
            continue
        except ValueError as error:
            problems.append(f"{path}.reference: {error}")
            continue
        problems += _contradictions(path, found[name], model.task or "", model.positive_class, model.segments)
    if problems:
        raise ConfigError("the configuration", problems)
    return found


def check_setup(config: Config) -> None:
    """Raises :class:`ConfigError` with every file that cannot be read and every exporter that leads back in here."""
    problems: list[str] = []
    listened: dict[tuple[str, str], str] = {}
    for name, receiver in config.receivers.items():
        for protocol, settings in (("grpc", receiver.protocols.grpc), ("http", receiver.protocols.http)):
            if settings is None:
                continue
            key = f"receivers.{name}.protocols.{protocol}"
            listened[_address(settings.endpoint)] = key
            try:
                if settings.tls is not None:
                    check_tls(settings.tls, key)
            except OSError as error:
                problems.append(str(error))
    problems += [*credential_problems(config), *destination_problems(config)]
    for name, settings in config.exporters.items():
        if isinstance(settings, OtlpExporter):
            own = listened.get(_address(settings.endpoint))
            if own is not None:
                address = settings.endpoint.rpartition("@")[2]  # without a password
                problems.append(f"exporters.{name}.endpoint: {address} is {own} of this very service: a loop")
    if problems:
        raise ConfigError("the configuration", problems)


def _address(endpoint: str) -> tuple[str, str]:
    """Host and port behind an endpoint; all names of this machine are one.

    >>> _address("http://127.0.0.1:4318/otlp") == _address("localhost:4318")
    True
    """
    host, _, port = endpoint.rpartition("://")[2].partition("/")[0].rpartition("@")[2].rpartition(":")
    return "" if host.strip("[]") in _THIS_MACHINE else host.lower(), port


def _contradictions(
    path: str, reference: Reference, task: str, positive_class: str, segments: tuple[str, ...]
) -> Iterator[str]:
    """Where the configuration says something else than the reference was built with."""
    schema = reference.schema
    if task and schema.task and task != schema.task:
        yield f"{path}.task: {task}, but its reference was built for {schema.task}"
    if positive_class and schema.positive_class and positive_class != schema.positive_class:
        yield f"{path}.positive_class: {positive_class!r}, but its reference was built for {schema.positive_class!r}"
    unknown = [name for name in segments if name not in schema.groups.columns]
    if unknown:
        there = ", ".join(schema.groups.columns) or "none; build it with --segments"
        yield f"{path}.segments: {', '.join(unknown)} not in its reference, which has: {there}"


def build_receivers(
    config: Config, admission: Admission, telemetry: Telemetry, *, shared: bool = False
) -> list[Receiver]:
    """All receivers that a pipeline uses; ``shared`` ones let other processes listen where they do."""
    found: list[Receiver] = []
    for name, settings in config.receivers.items():
        key = f"receivers.{name}.protocols"
        grpc, http = settings.protocols.grpc, settings.protocols.http
        if grpc is not None:
            found.append(
                GrpcReceiver(
                    grpc.endpoint,
                    admission,
                    max_bytes=grpc.max_recv_msg_size,
                    tls=grpc.tls,
                    guard=guard(config, grpc.auth, telemetry, f"{key}.grpc"),
                    key=f"{key}.grpc",
                    shared=shared,
                )
            )
        if http is not None:
            found.append(
                HttpReceiver(
                    http.endpoint,
                    admission,
                    json_to_protobuf,
                    max_bytes=http.max_request_body_size,
                    tls=http.tls,
                    guard=guard(config, http.auth, telemetry, f"{key}.http"),
                    key=f"{key}.http",
                    shared=shared,
                )
            )
    return found


def build_exporters(config: Config, telemetry: Telemetry, instance_id: str) -> list[Exporter]:
    """The exporters of the metrics pipeline, if the connector feeds it."""
    pipeline = config.pipelines.get("metrics")
    if pipeline is None or not any(is_monitor(name) for name in pipeline.receivers):
        return []
    return [_exporter(config, name, telemetry, instance_id) for name in pipeline.exporters]


def _exporter(config: Config, name: str, telemetry: Telemetry, instance_id: str) -> Exporter:
    settings = config.exporters[name]
    metrics = [PREDICTIONS, *monitor_metrics()]
    descriptions = {metric.name: metric.description for metric in metrics}
    match settings:
        case PrometheusExporter():
            return prometheus.PrometheusExporter(
                name,
                settings.endpoint,
                telemetry,
                expiration_s=_expiration_s(config, settings),
                max_series=config.monitor.limits.series,
                descriptions=descriptions,
                secure=None if settings.tls is None else partial(server_context, settings.tls, f"exporters.{name}"),
            )
        case DebugExporter():
            return debug.DebugExporter(name, verbosity=settings.verbosity)
        case OtlpExporter():
            return otlp.OtlpExporter(
                name,
                connect(config, name, _compressing(settings)),
                telemetry,
                instance_id=instance_id,
                timeout_s=settings.timeout / _S,
                temporality=settings.temporality,
                timestamps=settings.timestamps,
                retry=_retry(settings),
                queue_size=settings.sending_queue.queue_size,
                descriptions=descriptions,
            )
        case _:
            raise TypeError(f"exporters.{name} takes no measurements")


def build_forwarders(config: Config, journal: Journal, telemetry: Telemetry) -> list[OriginalsForwarder]:
    """One forwarder an OTLP exporter that a pipeline of originals names, for the signals of those pipelines."""
    wanted: dict[str, list[Signal]] = {}
    signals: tuple[Signal, ...] = ("traces", "logs", "metrics")
    for signal in signals:
        pipeline = config.pipelines.get(signal)
        if pipeline is None or all(is_monitor(name) for name in pipeline.receivers):
            continue
        for name in pipeline.exporters:
            if isinstance(config.exporters.get(name), OtlpExporter):
                wanted.setdefault(name, []).append(signal)
    return [_forwarder(config, name, signals, journal, telemetry) for name, signals in wanted.items()]


def _forwarder(
    config: Config, name: str, signals: list[Signal], journal: Journal, telemetry: Telemetry
) -> OriginalsForwarder:
    settings = config.exporters[name]
    if not isinstance(settings, OtlpExporter):
        raise TypeError(f"exporters.{name} does not send OTLP")
    return OriginalsForwarder(
        name,
        journal,
        connect(config, name, settings),
        telemetry,
        signals=signals,
        retry=_retry(settings),
        timeout_s=settings.timeout / _S,
    )


def _expiration_s(config: Config, settings: PrometheusExporter) -> float:
    """How long a series stays without news: longer than the windows of any model are apart, unless told otherwise."""
    told_ns = settings.metric_expiration
    return (stale_ns(config.monitor) if told_ns is None else told_ns) / _S


def _compressing(settings: OtlpExporter) -> OtlpExporter:
    """The settings for measurements, which are nobody's to be left as they came."""
    return settings.model_copy(update={"compression": settings.compression or "gzip"})


def _retry(settings: OtlpExporter) -> RetryPolicy:
    return retry_policy(settings.retry_on_failure)
