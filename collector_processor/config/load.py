"""Turns a YAML file into a checked :class:`Config`; reports all problems at once, with their paths and the choices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from collector_processor.alerts.settings import Alerts, alert_problems
from collector_processor.config.document import DocumentError, read_document
from collector_processor.config.pipelines import SignalPipeline, known, pipelines
from collector_processor.config.reading import ConfigError, Origin, Reading
from collector_processor.exporters.registry import EXPORTERS
from collector_processor.extensions.registry import EXTENSIONS
from collector_processor.pipeline.settings import MlMonitor
from collector_processor.receivers.registry import RECEIVERS
from collector_processor.serving.settings import AdminListener
from collector_processor.settings.base import Settings, answers

CONNECTORS: Final[Mapping[str, type[MlMonitor]]] = {"ml_monitor": MlMonitor}
SECTIONS = ("receivers", "connectors", "exporters", "extensions", "alerts", "service")
ADMIN_KEY = "service.telemetry.metrics"
LOG_LEVELS = ("debug", "info", "warning", "error")
_LEVEL_NAMES: Final = {"warn": "warning"}
"""Names that the Collector has for them; every name may be in upper case."""


@dataclass(frozen=True, slots=True)
class Config:
    """A whole checked configuration. Components that no pipeline or ``service.extensions`` names are not in it."""

    receivers: Mapping[str, Settings]
    monitor: MlMonitor
    exporters: Mapping[str, Settings]
    extensions: Mapping[str, Settings]
    pipelines: Mapping[str, SignalPipeline]
    admin: AdminListener = field(default_factory=AdminListener)
    log_level: str = "info"
    unused: tuple[str, ...] = field(default=())
    """Paths of components that are configured but in no pipeline."""
    alerts: Alerts = field(default_factory=Alerts)
    origin: Origin = field(default_factory=Origin, compare=False, repr=False)

    def pipelines_of(self, signal: str) -> list[SignalPipeline]:
        """Return the pipelines of a signal: ``traces``, ``traces/2``."""
        return [flow for flow in self.pipelines.values() if flow.signal == signal]

    def parts(self) -> Iterator[tuple[str, Settings]]:
        """Return the settings of every component and all inside them, each with its path."""
        for section, settings in (
            ("receivers", self.receivers), ("exporters", self.exporters), ("extensions", self.extensions)
        ):  # fmt: skip
            for name, own in settings.items():
                yield from own.parts(f"{section}.{name}")
        yield from self.admin.parts(ADMIN_KEY)


def load_config(path: Path) -> Config:
    """Read and check a file; relative paths inside it start from its folder.

    Raises :class:`ConfigError` with all problems.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not valid UTF-8"
        raise ConfigError(Origin(str(path)), [f"the file cannot be read: {reason}"]) from None
    return parse_config(text, source=str(path), base=path.parent)


def default_config() -> Config:
    """Return the configuration without a file: OTLP on the usual ports, learned references, a Prometheus endpoint."""
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
    """Check a configuration given as YAML text, and return it.

    >>> config = parse_config(DEFAULT)
    >>> sorted(config.exporters), config.monitor.window.min_rows
    (['prometheus'], 500)
    >>> parse_config("exporters: {debug: {verbos: true}}")
    Traceback (most recent call last):
    collector_processor.config.reading.ConfigError: the configuration cannot be used:
      - line 1: exporters.debug.verbos: unknown key; allowed: verbosity; did you mean verbosity?
      - service.pipelines: required, for example traces: {receivers: [otlp], exporters: [ml_monitor]}
    """
    try:
        document = read_document(text)
    except DocumentError as error:
        raise ConfigError(Origin(source), [str(error)]) from None
    reading = Reading(base)
    origin = Origin(source, document.lines)
    try:
        config = _read(reading, reading.mapping(document.value, "", SECTIONS))
    except ValueError as error:
        raise ConfigError(origin, [*reading.problems, str(error)]) from None
    if reading.problems:
        raise ConfigError(origin, reading.problems)
    return replace(config, origin=origin)


def _read(reading: Reading, document: Mapping[str, Any]) -> Config:
    receivers = reading.components(document.get("receivers"), RECEIVERS, "receivers")
    connectors = _connectors(reading, document.get("connectors"))
    exporters = reading.components(document.get("exporters"), EXPORTERS, "exporters")
    extensions = reading.components(document.get("extensions"), EXTENSIONS, "extensions")
    service = reading.mapping(document.get("service"), "service", ("extensions", "pipelines", "telemetry"))
    admin, log_level = _own_telemetry(reading, service.get("telemetry"))
    flows = pipelines(reading, service.get("pipelines"), receivers, connectors, exporters)
    enabled = reading.names(service.get("extensions"), "service.extensions")
    known(reading, enabled, "service.extensions", "extensions", extensions)
    sections = {"receivers": receivers, "exporters": exporters, "extensions": extensions}
    for path, settings in (*_parts(sections, reading.invalid), *admin.parts(ADMIN_KEY)):
        reading.problems += answers(path, settings.mistakes)
        reading.problems += _authenticator_problems(path, settings, list(extensions), enabled)

    alerts = _alerts(reading, document.get("alerts"), exporters)
    used = set(enabled).union(alerts.notify, *(flow.receivers + flow.exporters for flow in flows.values()))
    monitor = next(iter(connectors.values()), MlMonitor())
    return Config(
        receivers=_of(receivers, used),
        monitor=monitor,
        exporters=_of(exporters, used),
        extensions=_of(extensions, used),
        pipelines=flows,
        admin=admin,
        log_level=log_level,
        unused=tuple(f"{section}.{name}" for section, items in sections.items() for name in items if name not in used),
        alerts=alerts,
    )


def _connectors(reading: Reading, value: object) -> dict[str, MlMonitor]:
    connectors: dict[str, MlMonitor] = {}
    for name, settings in reading.mapping(value, "connectors").items():
        kind, slash, rest = name.partition("/")
        if kind not in CONNECTORS or (slash and not rest):
            reading.problems.append(f"connectors.{name}: unknown type {kind!r}; allowed: {', '.join(CONNECTORS)}")
            continue
        connectors[name] = reading.settings(settings, f"connectors.{name}", CONNECTORS[kind])
    if len(connectors) > 1:
        reading.problems.append(f"connectors: only one ml_monitor is allowed; configured are {', '.join(connectors)}")
    return connectors


def _parts(sections: Mapping[str, Mapping[str, Settings]], invalid: Set[str]) -> Iterator[tuple[str, Settings]]:
    for section, components in sections.items():
        for name, settings in components.items():
            path = f"{section}.{name}"
            if path not in invalid:
                yield from settings.parts(path)


def _authenticator_problems(
    path: str, settings: Settings, extensions: Sequence[str], enabled: Sequence[str]
) -> Iterator[str]:
    """Return the authenticators that are not configured, or not started."""
    able = [name for name in extensions if EXTENSIONS.component(name).authenticator is not None]
    types = [kind for kind, component in EXTENSIONS.components.items() if component.authenticator is not None]
    for key, name in settings.authenticators(path):
        if name not in able:
            choices = ", ".join(able) or f"none; configure extensions.{types[0]}"
            yield f"{key}: {name!r} is not a configured {' or '.join(types)}; available: {choices}"
        elif name not in enabled:
            yield f"{key}: {name!r} is not in service.extensions"


def _alerts(reading: Reading, value: object, exporters: Mapping[str, object]) -> Alerts:
    before = len(reading.problems)
    alerts = reading.settings(value, "alerts", Alerts)
    if len(reading.problems) == before:
        able = [kind for kind, component in EXPORTERS.components.items() if component.alerts is not None]
        fitting = [name for name in exporters if EXPORTERS.type_of(name) in able]
        reading.problems += alert_problems(alerts, list(exporters), fitting, able)
    return alerts


def _of(components: Mapping[str, Settings], used: set[str]) -> dict[str, Settings]:
    return {name: item for name, item in components.items() if name in used}


def _own_telemetry(reading: Reading, value: object) -> tuple[AdminListener, str]:
    telemetry = reading.mapping(value, "service.telemetry", ("metrics", "logs"))
    admin = reading.settings(telemetry.get("metrics"), ADMIN_KEY, AdminListener)
    logs = reading.mapping(telemetry.get("logs"), "service.telemetry.logs", ("level",))
    level = logs.get("level", "info")
    name = _LEVEL_NAMES.get(str(level).lower(), str(level).lower())
    if name not in LOG_LEVELS:
        reading.problems.append(f"service.telemetry.logs.level: {level!r}; allowed: {', '.join(LOG_LEVELS)}")
    return admin, name
