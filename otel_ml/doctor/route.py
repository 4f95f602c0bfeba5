"""Where spans and metrics go under ``opentelemetry-instrument``, as the standard variables say."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Final
from urllib.parse import unquote, urlsplit

from otel_ml.config import misspelt, resolve
from otel_ml.doctor.findings import Findings
from otel_ml.problems import forget

GRPC, HTTP = "grpc", "http/protobuf"
_PORTS: Final = {GRPC: 4317, HTTP: 4318}
_OTLP: Final = {
    "otlp": "",
    "otel_ml_otlp": "",
    "otlp_proto_grpc": GRPC,
    "otlp_proto_http": HTTP,
}
"""Exporters that speak OTLP, and their protocol if the name decides it."""
_CONSOLES: Final = ("console", "otel_ml_console")
_DEFAULT_TIMEOUT_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Route:
    """One destination of a signal that speaks OTLP."""

    protocol: str
    url: str
    headers: Mapping[str, str]
    timeout_s: float
    certificate: str | None = None
    client_certificate: str | None = None
    client_key: str | None = None

    @property
    def secure(self) -> bool:
        """Whether it uses TLS."""
        return self.url.startswith("https://")

    @property
    def host(self) -> str:
        """The host to connect to."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """The port to connect to."""
        parts = urlsplit(self.url)
        return parts.port or (443 if self.secure else 80)

    def described(self) -> str:
        """Return the destination in words, without what is secret."""
        names = ", ".join(self.headers)
        return f"{self.protocol} to {shown(self.url)}" + (f", with headers {names}" if names else "")


def shown(url: str) -> str:
    """Return an address without credentials.

    >>> shown("https://user:secret@example.com:4318/v1/traces?token=x")
    'https://example.com:4318/v1/traces'
    """
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{place}{parts.path}"


def exporters(signal: str) -> list[str]:
    """Return the names of the exporters of a signal, such as ``TRACES``; the distro's default is ``otlp``."""
    raw = os.environ.get(f"OTEL_{signal}_EXPORTER", "otlp")
    return [name.strip() for name in raw.split(",") if name.strip()]


def route_of(signal: str, exporter: str) -> Route | None:
    """Return where an exporter sends a signal; None if it does not speak OTLP. Raises ``ValueError``."""
    if exporter not in _OTLP:
        return None
    protocol = _OTLP[exporter] or _setting(signal, "PROTOCOL") or GRPC
    if protocol not in _PORTS:
        raise ValueError(f"the OTLP protocol {protocol!r} is unknown; allowed: {GRPC}, {HTTP}")
    try:
        timeout_s = float(_setting(signal, "TIMEOUT") or _DEFAULT_TIMEOUT_S)
    except ValueError:
        timeout_s = _DEFAULT_TIMEOUT_S
    return Route(
        protocol,
        _url(signal, protocol),
        _headers(_setting(signal, "HEADERS") or ""),
        timeout_s,
        _setting(signal, "CERTIFICATE"),
        _setting(signal, "CLIENT_CERTIFICATE"),
        _setting(signal, "CLIENT_KEY"),
    )


def _setting(signal: str, name: str) -> str | None:
    for variable in (f"OTEL_EXPORTER_OTLP_{signal}_{name}", f"OTEL_EXPORTER_OTLP_{name}"):
        if value := os.environ.get(variable, "").strip():
            return value
    return None


def _url(signal: str, protocol: str) -> str:
    own = os.environ.get(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT", "").strip()
    url = own or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").strip() or f"http://localhost:{_PORTS[protocol]}"
    if "://" not in url:
        insecure = (_setting(signal, "INSECURE") or "").lower() == "true"
        url = f"{'http' if insecure or protocol == HTTP else 'https'}://{url}"
    if protocol == HTTP and not own:
        return f"{url.rstrip('/')}/v1/{signal.lower()}"
    return url


def _headers(raw: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in raw.split(","))
    return {name.strip().lower(): unquote(value.strip()) for name, equals, value in pairs if equals and name.strip()}


def check_routes(findings: Findings) -> list[Route]:
    """Note where traces and metrics go, report what keeps them here, and return the routes of traces."""
    if _is_disabled():
        findings.problem("OTEL_SDK_DISABLED is true, so nothing is sent", "unset OTEL_SDK_DISABLED")
    routes: list[Route] = []
    for signal in ("TRACES", "METRICS"):
        for name in exporters(signal):
            try:
                route = route_of(signal, name)
            except ValueError as error:
                findings.problem(str(error), "correct OTEL_EXPORTER_OTLP_PROTOCOL")
                continue
            findings.fact("route", signal.lower(), route.described() if route else f"exporter {name}")
            if signal == "TRACES":
                _check_exporter(findings, name, route)
                routes += [] if route is None else [route]
    _check_sampler(findings)
    return routes


def exporter_entry(name: str) -> EntryPoint | None:
    """Return the entry point of a span exporter."""
    if name == "otlp":
        name = "otlp_proto_http" if _setting("TRACES", "PROTOCOL") == HTTP else "otlp_proto_grpc"
    return next(iter(entry_points(group="opentelemetry_traces_exporter", name=name)), None)


def _check_exporter(findings: Findings, name: str, route: Route | None) -> None:
    if name == "none":
        findings.problem("OTEL_TRACES_EXPORTER is none, so no prediction is sent", "unset OTEL_TRACES_EXPORTER")
    elif exporter_entry(name) is None:
        package = {GRPC: "-proto-grpc", HTTP: "-proto-http"}[route.protocol] if route else ""
        known = ", ".join(sorted(entry.name for entry in entry_points(group="opentelemetry_traces_exporter")))
        remedy = (
            f"pip install opentelemetry-exporter-otlp{package}" if route else f"OTEL_TRACES_EXPORTER can be: {known}"
        )
        findings.problem(f"the exporter {name} is not installed", remedy)
    elif name in _CONSOLES:
        findings.warn(
            f"OTEL_TRACES_EXPORTER={name} prints predictions and sends none",
            f"add the sender: OTEL_TRACES_EXPORTER=otlp,{name}",
        )
    if route is None or _other_port(route) is None:
        return
    findings.warn(
        f"port {route.port} is usually for {_other_port(route)}, but the protocol is {route.protocol}",
        f"set OTEL_EXPORTER_OTLP_PROTOCOL={_other_port(route)}, or use port {_PORTS[route.protocol]}",
    )


def _other_port(route: Route) -> str | None:
    return next((name for name, port in _PORTS.items() if port == route.port and name != route.protocol), None)


def _check_sampler(findings: Findings) -> None:
    sampler = os.environ.get("OTEL_TRACES_SAMPLER", "").strip() or "parentbased_always_on"
    argument = os.environ.get("OTEL_TRACES_SAMPLER_ARG", "").strip()
    follow = resolve().follow_sampler
    every = "sampled predictions only" if follow else "every prediction is sent, whatever the sampler decides"
    findings.fact("route", "sampler", f"{sampler}{f' ({argument})' if argument else ''}; {every}")
    if follow and sampler not in ("always_on", "parentbased_always_on"):
        findings.warn(
            f"OTEL_ML_FOLLOW_SAMPLER is true and the sampler is {sampler}: figures come from a sample",
            "unset OTEL_ML_FOLLOW_SAMPLER, and every prediction is counted while traces stay sampled",
        )


class _Kept(logging.Handler):
    """Keeps messages instead of showing them."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the message of a record."""
        self.messages.append(record.getMessage().removesuffix(" (logged once)"))


def check_variables(findings: Findings) -> bool:
    """Note the variables of this package, report those that do not exist or have a wrong value; return if it is on."""
    forget()
    kept, logger = _Kept(), logging.getLogger("otel_ml")
    spreads, logger.propagate = logger.propagate, False
    logger.addHandler(kept)
    try:
        settings = resolve()
    finally:
        logger.removeHandler(kept)
        logger.propagate = spreads
    for name in sorted(os.environ):
        if name.startswith("OTEL_ML_") and misspelt(name) is None:
            findings.fact("settings", name, "***" if "SALT" in name else os.environ[name])
    for message in kept.messages:
        findings.problem(message, "correct or unset the variable; docs/instrumentation.md lists them all")
    if not settings.enabled:
        findings.problem("OTEL_ML_ENABLED is false, so no prediction is observed", "unset OTEL_ML_ENABLED")
    elif not settings.capture_features:
        findings.fact("settings", "features", "none leaves this process")
    return settings.enabled and not _is_disabled()


def _is_disabled() -> bool:
    return os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
