"""What is installed, and which instrumentors load."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import Distribution, EntryPoint, PackageNotFoundError, entry_points, version
from typing import Any, Final

from opentelemetry.instrumentation.dependencies import get_dependency_conflicts, get_dist_dependency_conflicts

from otel_ml.activity import NOT_OBSERVED
from otel_ml.doctor.findings import Findings

_PACKAGES: Final = (
    "otel-ml",
    "opentelemetry-api",
    "opentelemetry-sdk",
    "opentelemetry-distro",
    "opentelemetry-instrumentation",
    "opentelemetry-exporter-otlp",
    "opentelemetry-exporter-otlp-proto-grpc",
    "opentelemetry-exporter-otlp-proto-http",
)
_INSTALL: Final = "pip install 'otel-ml[otlp]'"
_DISABLED: Final = "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"


def installed(name: str) -> str | None:
    """Return the version of a distribution, None if it is not installed.

    >>> installed("no-such-distribution")
    """
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def check_packages(findings: Findings) -> None:
    """Note the versions of what is needed, and report what is missing."""
    findings.fact("installed", "python", f"{platform.python_version()} at {sys.executable}")
    for name in _PACKAGES:
        found = installed(name)
        if found is not None:
            findings.fact("installed", name, found)
    if installed("opentelemetry-sdk") is None:
        findings.problem("the OpenTelemetry SDK is not installed, so nothing is sent", _INSTALL)
    elif not list(entry_points(group="opentelemetry_configurator")):
        findings.problem(
            "opentelemetry-distro is not installed, so `opentelemetry-instrument` sets up nothing",
            f"{_INSTALL}; or call otel_ml.setup() in the application",
        )


def check_instrumentors(findings: Findings) -> None:
    """Note which of our instrumentors `opentelemetry-instrument` loads, and why it does not load the others."""
    ours = [entry for entry in entry_points(group="opentelemetry_instrumentor") if entry.value.startswith("otel_ml.")]
    if not ours:
        findings.problem(
            "otel-ml has no entry points here, so `opentelemetry-instrument` does not load it",
            "install otel-ml in the environment of the application (a copy on PYTHONPATH is not enough)",
        )
        return
    disabled = {name.strip() for name in os.environ.get(_DISABLED, "").split(",")} - {""}
    reasons = {entry.name: _reason(entry, disabled) for entry in ours}
    for name, reason in reasons.items():
        findings.fact("instrumentors", name, reason or "loads")
    named = sorted(set(reasons) & disabled) or (["*"] if "*" in disabled else [])
    if named:
        findings.problem(f"{_DISABLED} names {', '.join(named)}", f"remove it from {_DISABLED}")
    elif all(reasons[entry.name] for entry in ours if _has_models(entry)):
        others = [name for name in NOT_OBSERVED if installed(name)]
        has = f"; {', '.join(others)} is installed, but not observed without code" if others else ""
        findings.warn(
            f"no library whose models are observed without code is installed here{has}",
            "run the doctor in the environment of the application; other models need"
            " `with otel_ml.Model('name').predict(features) as prediction:`",
        )


def _has_models(entry: EntryPoint) -> bool:
    """Return whether an instrumentor observes models; that of a web framework only returns their ids."""
    try:
        return bool(entry.load().has_models)
    except Exception:  # noqa: BLE001 - `_reason` reports it
        return True


def _reason(entry: EntryPoint, disabled: set[str]) -> str:
    """Return why an instrumentor does not load; empty if it does."""
    if "*" in disabled or entry.name in disabled:
        return f"disabled by {_DISABLED}"
    try:
        dist: Distribution | None = entry.dist
        conflict: Any = None if dist is None else get_dist_dependency_conflicts(dist)
        conflict = conflict or get_dependency_conflicts(entry.load()().instrumentation_dependencies())
    except Exception as error:  # noqa: BLE001 - an instrumentor that cannot be imported is what we look for
        return f"cannot be loaded: {type(error).__name__}: {error}"
    if conflict is None:
        return ""
    if getattr(conflict, "found", None):
        return f"needs {conflict.required}; installed is {conflict.found}"
    required = getattr(conflict, "required", None) or " or ".join(getattr(conflict, "required_any", ()))
    return f"{required} is not installed"
