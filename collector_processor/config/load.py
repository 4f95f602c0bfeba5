"""From a YAML file to a checked :class:`Config`; every problem is reported at once, with its path and the choices."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar, cast

import yaml
from pydantic import BaseModel, ValidationError

from collector_processor.alerts.settings import Alerts, alert_problems
from collector_processor.config.auth import EXTENSION, auth_problems
from collector_processor.config.words import problem
from collector_processor.exporters.alertmanager.settings import AlertmanagerExporter
from collector_processor.exporters.apprise.settings import AppriseExporter
from collector_processor.exporters.debug.settings import DebugExporter
from collector_processor.exporters.otlp.settings import OtlpExporter
from collector_processor.exporters.prometheus.settings import PrometheusExporter
from collector_processor.extensions.bearertokenauth.settings import BearerTokenAuth
from collector_processor.extensions.file_storage.settings import FileStorage
from collector_processor.extensions.health_check.settings import HealthCheck
from collector_processor.pipeline.settings import MlMonitor
from collector_processor.receivers.otlp.settings import OtlpReceiver
from collector_processor.settings.values import endpoint, expand

SIGNALS = ("traces", "logs", "metrics")
RECEIVER_TYPES: Mapping[str, type[BaseModel]] = {"otlp": OtlpReceiver}
CONNECTOR_TYPES: Mapping[str, type[BaseModel]] = {"ml_monitor": MlMonitor}
EXPORTER_TYPES: Mapping[str, type[BaseModel]] = {
    "otlp_grpc": OtlpExporter,
    "otlp_http": OtlpExporter,
    "prometheus": PrometheusExporter,
    "debug": DebugExporter,
    "alertmanager": AlertmanagerExporter,
    "apprise": AppriseExporter,
}
EXTENSION_TYPES: Mapping[str, type[BaseModel]] = {
    "health_check": HealthCheck,
    "file_storage": FileStorage,
    EXTENSION: BearerTokenAuth,
}
ALIASES = {"otlp": "otlp_grpc", "otlphttp": "otlp_http"}
"""The Collector's former exporter types, still accepted."""
SECTIONS = ("receivers", "connectors", "exporters", "extensions", "alerts", "service")
LOG_LEVELS = ("debug", "info", "warning", "error")

C = TypeVar("C", bound=BaseModel)


class ConfigError(ValueError):
    """A configuration that cannot run; ``problems`` holds one ``path: what is wrong; what is allowed`` each."""

    def __init__(self, source: str, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        # A name in it may hold the end of a line, and would look like a problem of its own.
        lines = (problem.replace("\n", "\\n") for problem in problems)
        super().__init__(f"{source} cannot be used:\n" + "\n".join(f"  - {line}" for line in lines))


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Which receivers and exporters a signal flows between; the connector stands on either side under its id."""

    receivers: tuple[str, ...]
    exporters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Config:
    """A whole checked configuration. Components that no pipeline or ``service.extensions`` names are not in it."""

    receivers: Mapping[str, OtlpReceiver]
    monitor: MlMonitor
    exporters: Mapping[str, BaseModel]
    health_check: HealthCheck | None
    file_storage: FileStorage | None
    pipelines: Mapping[str, Pipeline]
    metrics_endpoint: str = "localhost:8888"
    log_level: str = "info"
    unused: tuple[str, ...] = field(default=())
    """Paths of components that are configured but in no pipeline."""
    authenticators: Mapping[str, BearerTokenAuth] = field(default_factory=dict[str, BearerTokenAuth])
    alerts: Alerts = field(default_factory=Alerts)


@dataclass(slots=True)
class _Reading:
    """One pass over a file: collects problems instead of stopping at the first."""

    problems: list[str] = field(default_factory=list[str])

    def mapping(self, value: object, path: str, choices: Sequence[str] = ()) -> dict[str, Any]:
        """The mapping at ``path`` (nothing counts as empty), its keys checked against the choices."""
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.problems.append(f"{path or 'the file'}: expected a mapping, got {_shown(value)}")
            return {}
        found = {str(key): item for key, item in cast("dict[object, Any]", value).items()}
        for key in found:
            if choices and key not in choices:
                where = f"{path}.{key}" if path else key
                self.problems.append(f"{where}: unknown key; allowed: {', '.join(choices)}")
        return found

    def names(self, value: object, path: str) -> tuple[str, ...]:
        """The list of component ids at ``path``."""
        if value is None:
            return ()
        if not isinstance(value, list):
            self.problems.append(f"{path}: expected a list of component ids, got {_shown(value)}")
            return ()
        return tuple(str(item) for item in cast("list[object]", value))

    def components(self, value: object, path: str, types: Mapping[str, type[BaseModel]]) -> dict[str, BaseModel]:
        """All components of a section by id, an alias's type replaced."""
        found: dict[str, BaseModel] = {}
        for name, settings in self.mapping(value, path).items():
            kind, slash, rest = name.partition("/")
            kind = kind if kind in types else ALIASES.get(kind, kind)
            if kind not in types or (slash and not rest):
                self.problems.append(f"{path}.{name}: unknown type {kind!r}; allowed: {', '.join(types)}")
                continue
            found[name] = self.settings(settings, f"{path}.{name}", types[kind])
        return found

    def settings(self, value: object, path: str, kind: type[C]) -> C:
        """The checked settings at ``path``."""
        try:
            return kind.model_validate({} if value is None else value)
        except ValidationError as error:
            self.problems += [problem(path, kind, item) for item in error.errors()]
            # What names it is not wrong for that.
            return kind.model_construct()


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, str):
        return "a text"  # not shown: it may be an address that holds a token
    return "a list" if isinstance(value, list) else repr(value)


class _UniqueKeys(yaml.SafeLoader):
    """Safe YAML in which a repeated key is an error: the later one would silently win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[object] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is repeated", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def load_config(path: Path) -> Config:
    """Reads and checks a file; relative paths inside it are taken from its folder.

    Raises :class:`ConfigError` with every problem found.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a UTF-8 text"
        raise ConfigError(str(path), [f"the file cannot be read: {reason}"]) from None
    return parse_config(text, source=str(path), base=path.parent)


def default_config() -> Config:
    """What runs with no file: OTLP on the usual ports, references learned, measurements for Prometheus to scrape."""
    return parse_config(DEFAULT, source="the built-in configuration")


DEFAULT = """
receivers:
  otlp:
connectors:
  ml_monitor:
exporters:
  prometheus:
extensions:
  health_check:
service:
  extensions: [health_check]
  pipelines:
    traces:  { receivers: [otlp], exporters: [ml_monitor] }
    logs:    { receivers: [otlp], exporters: [ml_monitor] }
    metrics: { receivers: [ml_monitor], exporters: [prometheus] }
"""


def parse_config(text: str, *, source: str = "the configuration", base: Path | None = None) -> Config:
    """Checks a configuration given as YAML text.

    >>> config = parse_config(DEFAULT)
    >>> sorted(config.exporters), config.monitor.window.min_rows
    (['prometheus'], 500)
    >>> parse_config("exporters: {prometheus: {endpont: 'localhost:9464'}}")
    Traceback (most recent call last):
    collector_processor.config.load.ConfigError: the configuration cannot be used:
      - exporters.prometheus.endpont: unknown key; allowed: endpoint, tls, metric_expiration
      - service.pipelines: required; such as traces: {receivers: [otlp], exporters: [ml_monitor]}
    """
    try:
        document: object = yaml.load(expand(text), Loader=_UniqueKeys)  # noqa: S506 -- a SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark is not None else ""
        raise ConfigError(source, [f"{where}{getattr(error, 'problem', None) or 'not YAML'}"]) from None
    except RecursionError:
        raise ConfigError(source, ["nested too deeply"]) from None
    except ValueError as error:
        raise ConfigError(source, [str(error)]) from None
    reading = _Reading()
    config = _read(reading, reading.mapping(document, "", SECTIONS))
    if reading.problems:
        raise ConfigError(source, reading.problems)
    return _with_base(config, base) if base is not None else config


def _read(reading: _Reading, document: Mapping[str, Any]) -> Config:
    receivers = reading.components(document.get("receivers"), "receivers", RECEIVER_TYPES)
    connectors = reading.components(document.get("connectors"), "connectors", CONNECTOR_TYPES)
    exporters = reading.components(document.get("exporters"), "exporters", EXPORTER_TYPES)
    extensions = reading.components(document.get("extensions"), "extensions", EXTENSION_TYPES)
    service = reading.mapping(document.get("service"), "service", ("extensions", "pipelines", "telemetry"))
    metrics_endpoint, log_level = _own_telemetry(reading, service.get("telemetry"))
    if len(connectors) > 1:
        reading.problems.append(f"connectors: one ml_monitor a service; there are {', '.join(connectors)}")
    pipelines = _pipelines(reading, service.get("pipelines"), receivers, connectors, exporters)
    enabled = reading.names(service.get("extensions"), "service.extensions")
    _known(reading, enabled, "service.extensions", "extensions", extensions)

    speaking_grpc = [name for name in exporters if component_type(name) == "otlp_grpc"]
    reading.problems += auth_problems(receivers, exporters, extensions, enabled, speaking_grpc)
    alerts = _alerts(reading, document.get("alerts"), exporters)
    flows = (pipeline.receivers + pipeline.exporters for pipeline in pipelines.values())
    used = set(enabled).union(alerts.notify, *flows)
    monitor = next((item for item in connectors.values() if isinstance(item, MlMonitor)), MlMonitor())
    sections = {"receivers": receivers, "exporters": exporters, "extensions": extensions}
    return Config(
        receivers=_of(receivers, OtlpReceiver, used),
        monitor=monitor,
        exporters=_of(exporters, BaseModel, used),
        health_check=next(iter(_of(extensions, HealthCheck, used).values()), None),
        file_storage=next(iter(_of(extensions, FileStorage, used).values()), None),
        pipelines=pipelines,
        metrics_endpoint=metrics_endpoint,
        log_level=log_level,
        unused=tuple(f"{section}.{name}" for section, items in sections.items() for name in items if name not in used),
        authenticators=_of(extensions, BearerTokenAuth, used),
        alerts=alerts,
    )


def _alerts(reading: _Reading, value: object, exporters: Mapping[str, object]) -> Alerts:
    before = len(reading.problems)
    alerts = reading.settings(value, "alerts", Alerts)
    if len(reading.problems) == before:
        reading.problems += alert_problems(alerts, {name: component_type(name) for name in exporters})
    return alerts


def component_type(name: str) -> str:
    """The type of a component id, former names replaced.

    >>> component_type("otlphttp/backup")
    'otlp_http'
    """
    kind = name.partition("/")[0]
    return ALIASES.get(kind, kind)


def _of(components: Mapping[str, BaseModel], kind: type[C], used: set[str]) -> dict[str, C]:
    return {name: item for name, item in components.items() if name in used and isinstance(item, kind)}


def _own_telemetry(reading: _Reading, value: object) -> tuple[str, str]:
    telemetry = reading.mapping(value, "service.telemetry", ("metrics", "logs"))
    metrics = reading.mapping(telemetry.get("metrics"), "service.telemetry.metrics", ("endpoint",))
    logs = reading.mapping(telemetry.get("logs"), "service.telemetry.logs", ("level",))
    address, level = metrics.get("endpoint", "localhost:8888"), logs.get("level", "info")
    try:
        endpoint(address)
    except ValueError as error:
        reading.problems.append(f"service.telemetry.metrics.endpoint: {error}")
    if level not in LOG_LEVELS:
        reading.problems.append(f"service.telemetry.logs.level: {level!r}; allowed: {', '.join(LOG_LEVELS)}")
    return str(address), str(level)


def _known(reading: _Reading, names: Sequence[str], path: str, section: str, known: Mapping[str, object]) -> None:
    for name in names:
        if name not in known:
            choices = ", ".join(known) or f"nothing: the {section} section is empty"
            reading.problems.append(f"{path}: {name!r} is not configured; there is: {choices}")


def _pipelines(
    reading: _Reading,
    value: object,
    receivers: Mapping[str, object],
    connectors: Mapping[str, object],
    exporters: Mapping[str, object],
) -> dict[str, Pipeline]:
    """The pipelines by signal, with the same checks that the Collector makes at start."""
    found: dict[str, Pipeline] = {}
    wanted = reading.mapping(value, "service.pipelines", SIGNALS)
    if not wanted:
        reading.problems.append(
            "service.pipelines: required; such as traces: {receivers: [otlp], exporters: [ml_monitor]}"
        )
    for signal, settings in wanted.items():
        path = f"service.pipelines.{signal}"
        ends = reading.mapping(settings, path, ("receivers", "exporters"))
        sources, sinks = (reading.names(ends.get(end), f"{path}.{end}") for end in ("receivers", "exporters"))
        derives = signal == "metrics"
        _known(reading, sources, f"{path}.receivers", "receivers", {**receivers, **(connectors if derives else {})})
        _known(reading, sinks, f"{path}.exporters", "exporters", {**exporters, **({} if derives else connectors)})
        for end, names in (("receivers", sources), ("exporters", sinks)):
            if not names:
                reading.problems.append(f"{path}.{end}: must name at least one")
        _forwards_only(reading, path, signal, sources, sinks, connectors)
        found[signal] = Pipeline(sources, sinks)
    return found


def _forwards_only(
    reading: _Reading,
    path: str,
    signal: str,
    sources: Sequence[str],
    sinks: Sequence[str],
    connectors: Mapping[str, object],
) -> None:
    """Originals go out as OTLP only: Prometheus and debug take measurements."""
    only_originals = signal != "metrics" or not any(name in connectors for name in sources)
    for name in sinks:
        kind = component_type(name)
        if kind in ("alertmanager", "apprise"):
            reading.problems.append(f"{path}.exporters: {name!r} takes alerts only; name it in alerts.notify")
        if only_originals and kind in ("prometheus", "debug"):
            reading.problems.append(
                f"{path}.exporters: {name!r} takes the measurements of ml_monitor only; "
                "forward originals with otlp_grpc or otlp_http"
            )


def _with_base(config: Config, base: Path) -> Config:
    """The same configuration with relative paths taken from the file's folder."""
    models = {
        name: model if model.reference is None else model.model_copy(update={"reference": base / model.reference})
        for name, model in config.monitor.models.items()
    }
    storage = config.file_storage
    if storage is not None:
        storage = storage.model_copy(update={"directory": base / storage.directory})
    return replace(config, monitor=config.monitor.model_copy(update={"models": models}), file_storage=storage)
