"""Serves the newest measurements of each model for Prometheus to scrape."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar as SampleExemplar

from collector_processor.exporters.naming import labels, prometheus_name
from collector_processor.exporters.prometheus.openmetrics import openmetrics_text
from collector_processor.monitors.base import Exemplar, Measurement
from collector_processor.own.telemetry import Telemetry
from collector_processor.security.guard import Guard
from collector_processor.serving.admin import AdminServer
from collector_processor.serving.http_connection import HttpLimits
from collector_processor.serving.prometheus_text import metrics_handler
from collector_processor.serving.routes import Routes
from otel_ml.semconv import MODEL_NAME, MODEL_VERSION

Series = tuple[str, tuple[tuple[str, str], ...]]
"""Name and labels in Prometheus."""


class _Point(NamedTuple):
    """The newest value of a series, its time, and a prediction that it is about."""

    value: float
    time_ns: int
    exemplar: Exemplar | None

    def openmetrics(self) -> SampleExemplar | None:
        """Return the exemplar as ``prometheus_client`` has it, at the time of the value."""
        if self.exemplar is None:
            return None
        return SampleExemplar(self.exemplar._asdict(), self.value, self.time_ns / 1e9)


@dataclass(slots=True)
class _Shown:
    """The published series of one model: gauges of its newest window, and counters.

    ``updated_s`` is when anything last arrived, ``closed_s`` when gauges of the newest window did.
    """

    updated_s: float
    closed_s: float
    window_ns: int | None = None
    gauges: dict[Series, _Point] = field(default_factory=dict["Series", _Point])
    counters: dict[Series, _Point] = field(default_factory=dict["Series", _Point])

    def __len__(self) -> int:
        return len(self.gauges) + len(self.counters)


class PrometheusExporter:
    """Answers ``GET /metrics`` on ``endpoint`` (``host:port``) in text or OpenMetrics format, gzipped on request.

    A model (name and version) has the gauges of its newest window only: a series that is not in the newest window
    disappears immediately. Gauges expire when no window has closed for ``expiration_s``, which must be longer than the
    time between windows, and counters when no count has arrived for that time. ``max_series`` bounds all models
    together; new series beyond it are dropped and counted. Samples have no time stamps unless ``send_timestamps`` is
    set: with stamps, Prometheus does not notice when a series ends. ``descriptions`` are help texts by metric
    name. ``secure`` gives the context of TLS, ``guard`` says who may scrape. With ``exemplars``, OpenMetrics has the
    first exemplar of each measurement.
    """

    def __init__(
        self,
        name: str,
        endpoint: str,
        telemetry: Telemetry,
        *,
        expiration_s: float,
        max_series: int,
        send_timestamps: bool = False,
        descriptions: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.monotonic,
        secure: Callable[[], ssl.SSLContext] | None = None,
        guard: Guard | None = None,
        limits: HttpLimits | None = None,
        exemplars: bool = False,
    ) -> None:
        self._name = name
        self._telemetry = telemetry
        self._expiration_s = expiration_s
        self._max_series = max_series
        self._send_timestamps = send_timestamps
        self._exemplars = exemplars
        self._descriptions = dict(descriptions or {})
        self._clock = clock
        self._lock = threading.Lock()
        self._models: dict[tuple[str, str], _Shown] = {}
        self._families: dict[str, tuple[str, str]] = {}
        """Kind and help text of every name that was ever published; the monitors' names are a closed set."""
        self._count = 0
        registry = CollectorRegistry()
        registry.register(_Families(self._collect))
        routes = Routes()
        routes.add("/metrics", metrics_handler(registry, openmetrics_text if exemplars else None))
        self._server = AdminServer(
            f"exporters.{name}.endpoint",
            endpoint,
            routes,
            secure=secure,
            guard=guard,
            telemetry=telemetry,
            limits=limits,
        )

    @property
    def name(self) -> str:
        """The component id from the configuration."""
        return self._name

    @property
    def port(self) -> int:
        """The port that it listens on; 0 before the start."""
        return self._server.port

    def start(self) -> None:
        """Start to answer; ``OSError`` names the address and its configuration key if it is not available."""
        self._server.start()

    def export(self, measurements: Sequence[Measurement]) -> None:
        """Publish those of the measurements that belong to the newest window of their model."""
        by_model: dict[tuple[str, str], list[Measurement]] = {}
        for item in measurements:
            attributes = dict(item.attributes)
            by_model.setdefault((attributes.get(MODEL_NAME, ""), attributes.get(MODEL_VERSION, "")), []).append(item)
        with self._lock:
            self._expire()
            for model, items in by_model.items():
                self._show(model, items)

    def shutdown(self, timeout_s: float) -> None:
        """Stop answering; safe to call without start."""
        self._server.stop(timeout_s)

    def _show(self, model: tuple[str, str], items: Sequence[Measurement]) -> None:
        now_s = self._clock()
        shown = self._models.setdefault(model, _Shown(now_s, now_s))
        shown.updated_s = now_s
        ends_ns = [item.time_ns for item in items if item.kind == "gauge"]
        if ends_ns:
            shown.closed_s = now_s
            if shown.window_ns is None or max(ends_ns) > shown.window_ns:
                self._clear(shown)
                shown.window_ns = max(ends_ns)
        for item in items:
            name = self._name_of(item)
            if name is None:
                continue
            if item.kind == "counter":
                self._put(shown.counters, (name, labels(item.attributes)), item)
            elif item.time_ns == shown.window_ns:
                self._put(shown.gauges, (name, labels(item.attributes)), item)

    def _clear(self, shown: _Shown) -> None:
        """Remove the gauges of a window."""
        self._count -= len(shown.gauges)
        shown.gauges.clear()

    def _put(self, kind: dict[Series, _Point], series: Series, item: Measurement) -> None:
        known = kind.get(series)
        if known is None:
            if self._count >= self._max_series:
                self._telemetry.dropped(("export", "series_limit"), 1)
                return
            self._count += 1
        elif item.time_ns < known.time_ns:
            return
        exemplar = item.exemplars[0] if item.exemplars and self._exemplars else None
        kind[series] = _Point(item.value, item.time_ns, exemplar)

    def _name_of(self, item: Measurement) -> str | None:
        """Return the name to publish; None if it is not valid, or taken by a metric of another kind."""
        try:
            name = prometheus_name(item.name, item.unit, item.kind)
        except ValueError:
            self._telemetry.dropped(("export", "name"), 1)
            return None
        kind, _ = self._families.setdefault(name, (item.kind, self._descriptions.get(item.name, item.name)))
        if kind != item.kind:
            self._telemetry.dropped(("export", "kind_conflict"), 1)
            return None
        return name

    def _expire(self) -> None:
        limit = self._clock() - self._expiration_s
        for model in [model for model, shown in self._models.items() if shown.updated_s < limit]:
            self._count -= len(self._models.pop(model))
        for shown in self._models.values():
            if shown.closed_s < limit:
                self._clear(shown)

    def _collect(self) -> Iterator[Family]:
        """Yield all families that have a series, each in one piece, as the format requires."""
        families: dict[str, Family] = {}
        with self._lock:
            self._expire()
            for shown in self._models.values():
                for (name, pairs), point in (*shown.gauges.items(), *shown.counters.items()):
                    family = families.get(name)
                    if family is None:
                        kind, text = self._families[name]
                        # The format adds the suffix of a counter to the name of its family.
                        own_name = name.removesuffix("_total") if kind == "counter" else name
                        family = families[name] = Family(own_name, text, kind)
                    stamp = point.time_ns / 1e9 if self._send_timestamps else None
                    family.add_sample(name, dict(pairs), point.value, stamp, point.openmetrics())
        yield from families.values()


class _Families(Collector):
    """Gives a registry the families of the exporter."""

    def __init__(self, collect: Callable[[], Iterator[Family]]) -> None:
        self._collect = collect

    def collect(self) -> Iterator[Family]:
        return self._collect()
