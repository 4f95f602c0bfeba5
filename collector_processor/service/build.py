"""Build the running parts from a checked configuration, each by its own component."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TypeVar

from collector_processor.alerts.alerting import Alerting
from collector_processor.alerts.engine import Engine
from collector_processor.alerts.notice import Destination
from collector_processor.alerts.settings import SilenceSettings
from collector_processor.alerts.silences import Silence
from collector_processor.config import Config
from collector_processor.config.load import ADMIN_KEY, CONNECTORS
from collector_processor.exporters.base import Exporter
from collector_processor.exporters.component import ExporterContext, Forwarder
from collector_processor.exporters.registry import EXPORTERS
from collector_processor.extensions.component import ExtensionContext, Server, Storage
from collector_processor.extensions.registry import EXTENSIONS
from collector_processor.journal.base import Journal, Signal
from collector_processor.monitors import monitor_metrics
from collector_processor.monitors.predictions import PREDICTIONS
from collector_processor.own.telemetry import Telemetry
from collector_processor.pipeline.pace import stale_ns
from collector_processor.receivers.admission import Admission
from collector_processor.receivers.component import Receiver, ReceiverContext
from collector_processor.receivers.registry import RECEIVERS
from collector_processor.security.authentication import Authenticator, guard_of
from collector_processor.security.server_tls import server_context
from collector_processor.serving.admin import AdminServer
from collector_processor.serving.routes import Handler, Routes
from collector_processor.status.board import Board

Built = TypeVar("Built")
_S = 1e9


def is_monitor(name: str) -> bool:
    """Return whether one end of a pipeline is the connector."""
    return name.partition("/")[0] in CONNECTORS


def monitored(config: Config) -> list[Signal]:
    """Return the signals whose predictions, labels and counts the connector takes."""
    signals: tuple[Signal, ...] = ("traces", "logs", "metrics")
    return [
        signal
        for signal in signals
        if any(is_monitor(name) for pipeline in config.pipelines_of(signal) for name in pipeline.exporters)
    ]


def _built(key: str, build: Callable[..., Built], *arguments: object) -> Built:
    """Return what a component builds; an error that is not about its settings names the component, too."""
    try:
        return build(*arguments)
    except (OSError, ValueError):
        raise
    except Exception as error:
        raise ValueError(f"{key}: this component cannot be built: {type(error).__name__}: {error}") from error


def storage_of(config: Config, telemetry: Telemetry) -> Storage | None:
    """Build the storage of the state; None where the configuration has none."""
    for name, settings in config.extensions.items():
        build = EXTENSIONS.component(name).storage
        if build is not None:
            context = ExtensionContext(name, telemetry)
            return _built(context.key, build, settings, context)
    return None


class Builder:
    """Builds the parts of one service from its configuration."""

    def __init__(self, config: Config, telemetry: Telemetry, instance_id: str, board: Board | None = None) -> None:
        self._config = config
        self._telemetry = telemetry
        self._instance_id = instance_id
        self._board = Board() if board is None else board
        self.authenticators: dict[str, Authenticator] = {}
        for name, settings in config.extensions.items():
            build = EXTENSIONS.component(name).authenticator
            if build is not None:
                context = ExtensionContext(name, telemetry)
                self.authenticators[name] = _built(context.key, build, settings, context)

    def authenticator(self, name: str) -> Authenticator:
        """Return the authenticator of an extension, which the configuration has."""
        return self.authenticators[name]

    def receivers(
        self, admission: Admission, *, shared: bool = False, held: Mapping[str, int] | None = None, first: bool = True
    ) -> list[Receiver]:
        """Build every configured receiver; see :class:`.ReceiverContext` for ``shared`` and ``held``.

        Only the ``first`` of several processes builds the receivers of which there may be one.
        """
        receivers: list[Receiver] = []
        for name, settings in self._config.receivers.items():
            component = RECEIVERS.component(name)
            if component.alone and not first:
                continue
            context = ReceiverContext(name, admission, self._telemetry, self.authenticators, shared, held or {})
            receivers += _built(context.key, component.receivers, settings, context)
        return receivers

    def exporters(self) -> list[Exporter]:
        """Build the exporters of measurements: those of the metrics pipelines that the connector feeds."""
        fed = [flow for flow in self._config.pipelines_of("metrics") if any(map(is_monitor, flow.receivers))]
        names = [name for flow in fed for name in flow.exporters]
        return [self._exporter(name) for name in dict.fromkeys(names)]

    def _exporter(self, name: str) -> Exporter:
        build = EXPORTERS.component(name).measurements
        if build is None:
            raise TypeError(f"exporters.{name} takes no measurements")
        context = self._context(name)
        return _built(context.key, build, self._config.exporters[name], context)

    def forwarders(self, journal: Journal) -> dict[str, Forwarder]:
        """Build a forwarder for each exporter in a pipeline of originals, for the signals of those pipelines."""
        wanted: dict[str, list[Signal]] = {}
        signals: tuple[Signal, ...] = ("traces", "logs", "metrics")
        for signal in signals:
            flows = [flow for flow in self._config.pipelines_of(signal) if not all(map(is_monitor, flow.receivers))]
            for name in dict.fromkeys(name for flow in flows for name in flow.exporters):
                if name in self._config.exporters:
                    wanted.setdefault(name, []).append(signal)
        return dict(self._forwarders(wanted, journal))

    def _forwarders(self, wanted: Mapping[str, Sequence[Signal]], journal: Journal) -> Iterator[tuple[str, Forwarder]]:
        for name, signals in wanted.items():
            build = EXPORTERS.component(name).originals
            if build is not None:
                context = self._context(name)
                yield name, _built(context.key, build, self._config.exporters[name], context, journal, signals)

    def destination(self, name: str, built: Exporter | None = None) -> Destination:
        """Build an alert destination that ``alerts.notify`` names; ``built`` is its measurements exporter, if any."""
        build = EXPORTERS.component(name).alerts
        if build is None:
            raise TypeError(f"exporters.{name} takes no alerts")
        context = self._context(name, built)
        return _built(context.key, build, self._config.exporters[name], context)

    def alerting(self, exporters: Sequence[Exporter] = ()) -> Alerting:
        """Build the engine of alerts and its destinations; an exporter of measurements may be one of them."""
        built = {exporter.name: exporter for exporter in exporters}
        destinations = [self.destination(name, built.get(name)) for name in dict.fromkeys(self._config.alerts.notify)]
        return Alerting(self.engine(), destinations, self._telemetry)

    def engine(self) -> Engine:
        """Build the engine that judges measurements by the rules."""
        alerts = self._config.alerts
        return Engine(
            alerts.resolved(),
            self._telemetry,
            silences=[_silence(settings) for settings in alerts.silences],
            repeat_ns=alerts.repeat,
            stale_ns=stale_ns(self._config.monitor),
            limit=alerts.series,
        )

    def servers(self, status: Callable[[], str], counts: Callable[[], Mapping[str, int]]) -> dict[str, Server]:
        """Build the extensions that serve their own address, by id; see :class:`.ExtensionContext`."""
        servers: dict[str, Server] = {}
        for name, settings in self._config.extensions.items():
            build = EXTENSIONS.component(name).server
            if build is not None:
                context = ExtensionContext(name, self._telemetry, status, counts)
                servers[name] = _built(context.key, build, settings, context)
        return servers

    def admin(self, handlers: Mapping[str, Handler], changes: Mapping[str, Handler]) -> AdminServer:
        """Build the server of the service's own address from its handlers by path: those that read, and ``changes``."""
        settings = self._config.admin
        routes = Routes()
        for path, handler in handlers.items():
            routes.add(path, handler)
        for path, handler in changes.items():
            routes.add(path, handler, changes=True)
        return AdminServer(
            f"{ADMIN_KEY}.endpoint",
            settings.endpoint,
            routes,
            telemetry=self._telemetry,
            limits=settings.http_limits(),
            secure=None if settings.tls is None else partial(server_context, settings.tls, ADMIN_KEY),
            guard=guard_of(self.authenticators, settings.auth, self._telemetry, ADMIN_KEY, what="address"),
        )

    def _context(self, name: str, built: Exporter | None = None) -> ExporterContext:
        metrics = [PREDICTIONS, *monitor_metrics()]
        return ExporterContext(
            name,
            self._telemetry,
            self._instance_id,
            expiration_s=stale_ns(self._config.monitor) / _S,
            max_series=self._config.monitor.limits.series,
            descriptions={metric.name: metric.description for metric in metrics},
            authenticators=self.authenticators,
            built=built,
            board=self._board,
        )


def _silence(settings: SilenceSettings) -> Silence:
    return Silence(
        tuple(settings.where.items()), settings.rules, _ns(settings.begin), _ns(settings.until), settings.comment
    )


def _ns(moment: datetime | None) -> int | None:
    return None if moment is None else round(moment.timestamp()) * 10**9
