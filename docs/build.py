"""Writes the reference pages from the code: ``python docs/build.py`` (``--check`` only compares).

Metrics come from the registries of the monitors and of the service, and keys from the classes of the settings, so that
no page can describe something that does not exist.
"""

from __future__ import annotations

import sys
import types
import typing
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from collector_processor.alerts.settings import Alerts
from collector_processor.config.load import CONNECTORS
from collector_processor.drift import DRIFT_METHODS
from collector_processor.exporters.naming import prometheus_name
from collector_processor.exporters.registry import EXPORTERS
from collector_processor.extensions.registry import EXTENSIONS
from collector_processor.monitors import monitor_metrics
from collector_processor.monitors.predictions import PREDICTIONS
from collector_processor.own.drops import DROPS
from collector_processor.own.metrics import OWN_METRICS
from collector_processor.receivers.registry import RECEIVERS
from collector_processor.serving.settings import AdminListener
from collector_processor.settings.values import Extent, duration_ns, size_bytes

HERE = Path(__file__).parent
GENERATED = "<!-- Written by docs/build.py; change the code, not this page. -->"


def metrics_page() -> str:
    """Return the page of every metric that the service derives or reports about itself."""
    lines = [
        GENERATED,
        "# Metrics",
        "",
        "## What the service derives",
        "",
        "Every gauge describes one window. Over OTLP, its time is when the window closed. All metrics have the "
        "attributes `ml.model.name` and `ml.model.version`.",
        "",
        "| metric | Prometheus | unit | kind | attributes | meaning |",
        "|---|---|---|---|---|---|",
    ]
    metrics = [*monitor_metrics(), PREDICTIONS]
    for metric in metrics:
        own = ", ".join(f"`{name}`" for name in metric.attributes if not name.startswith("ml.model."))
        name = prometheus_name(metric.name, metric.unit, metric.kind)
        row = (f"`{metric.name}`", f"`{name}`", f"`{metric.unit}`", metric.kind, own, metric.description)
        lines.append("| " + " | ".join(row) + " |")
    lines += ["", "## Drift methods", "", "| method | columns | default threshold | meaning |", "|---|---|---|---|"]
    for method in DRIFT_METHODS:
        text = (type(method).__doc__ or "").partition("\n")[0]
        lines.append(f"| `{method.name}` | {', '.join(method.kinds)} | {method.threshold:g} | {text} |")
    lines += ["", "## What the service reports about itself", ""]
    lines += ["Served at `service.telemetry.metrics.endpoint`, path `/metrics`.", ""]
    lines += ["| metric | kind | labels | meaning |", "|---|---|---|---|"]
    for own in OWN_METRICS.values():
        labels = ", ".join(f"`{label}`" for label in own.labels)
        lines.append(f"| `{own.name}` | {own.kind} | {labels} | {own.description} |")
    lines += ["", "## What is dropped", ""]
    lines += [
        "`otel_ml_dropped_total` counts drops. `intentional` is `true` if a policy or a limit asked for the drop, and",
        "`false` if an error caused it; the alert [service_drops](runbooks/service_drops.md) fires on the latter.",
        "",
        "| stage | reason | intentional | left out |",
        "|---|---|---|---|",
    ]
    for (stage, reason), drop in DROPS.items():
        lines.append(f"| `{stage}` | `{reason}` | `{str(drop.intentional).lower()}` | {drop.left_out} |")
    return "\n".join(lines) + "\n"


def configuration_page() -> str:
    """Return the page of every key of the configuration file."""
    lines = [
        GENERATED,
        "# Configuration",
        "",
        "The grammar is that of the OpenTelemetry Collector: `type/name` ids, `${env:NAME}` and",
        "`${env:NAME:-default}`, durations such as `10m` or `7d`, and sizes such as `64MiB`. A variable stays inside",
        "its value, whatever characters it contains; a value that is one variable may be a whole list or mapping.",
        "Merge keys (`<<: *name`) work.",
        "",
        "`otel-ml validate --config FILE` checks a file. The service does not start with an invalid file; it reports",
        "every mistake with its line and path. Relative paths of references and of the state start from the folder of",
        "the file.",
        "Without a file, the service listens on localhost, learns references, and serves `/metrics` on port 9464.",
        "",
    ]
    sections: list[tuple[str, type[BaseModel]]] = [
        *((f"receivers.{name}", component.settings) for name, component in RECEIVERS.components.items()),
        *((f"connectors.{name}", settings) for name, settings in CONNECTORS.items()),
        *((f"exporters.{name}", component.settings) for name, component in EXPORTERS.components.items()),
        *((f"extensions.{name}", component.settings) for name, component in EXTENSIONS.components.items()),
        ("alerts", Alerts),
    ]
    for path, settings in sections:
        text = (settings.__doc__ or "").partition("\n")[0]
        lines += [f"## `{path}`", "", text, "", "| key | default | meaning |", "|---|---|---|"]
        lines += list(_keys(settings, ""))
        lines.append("")
    lines += [
        "## `service`", "", "| key | default | meaning |", "|---|---|---|",
        "| `pipelines.traces`, `.logs`, `.metrics` | | `receivers` and `exporters` of each signal; `ml_monitor` is an "
        "exporter of traces, logs and [counts in metrics](privacy.md), and, in another pipeline, a receiver of "
        "metrics |",
        "| `extensions` | | extensions to start |",
        *_keys(AdminListener, "telemetry.metrics."),
        "| `telemetry.logs.level` | `info` | debug, info, warning, error |",
        "",
    ]  # fmt: skip
    return "\n".join(lines)


def _keys(settings: type[BaseModel], prefix: str) -> Iterator[str]:
    for own_name, item in settings.model_fields.items():
        name = item.alias or own_name
        nested = _nested(item.annotation)
        path = f"{prefix}{name}"
        if nested is not None and _is_mapping(item.annotation):
            path += ".<name>"
        default = item.get_default(call_default_factory=True) if nested is None else None
        shown = "required" if item.is_required() else _shown(item, default)
        yield f"| `{path}` | {shown} | {(item.description or '').replace(' | ', ', ')} |"
        if nested is not None and nested not in (settings,):
            yield from _keys(nested, path + ".")


def _is_mapping(annotation: object) -> bool:
    return typing.get_origin(annotation) is dict


def _nested(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return annotation if issubclass(annotation, BaseModel) and annotation is not SecretStr else None
    for part in typing.get_args(annotation):
        nested = _nested(part)
        if nested is not None:
            return nested
    return None


def _shown(item: FieldInfo, value: object) -> str:
    if value is None or value is PydanticUndefined or value in ("", (), {}):
        return ""
    if isinstance(value, Extent):
        return f"`{value.rows} rows`" if value.rows else f"`{_duration(value.ns)}`"
    reads = [getattr(each, "func", None) for each in item.metadata]
    if duration_ns in reads and isinstance(value, int):
        return f"`{_duration(value)}`"
    if size_bytes in reads and isinstance(value, int):
        return f"`{_size(value)}`"
    if isinstance(value, tuple):
        return f"`[{', '.join(str(item) for item in value)}]`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _size(value: int) -> str:
    return f"{value // 2**20}MiB" if value % 2**20 == 0 else f"{value // 2**10}KiB"


def _duration(value_ns: int) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        if value_ns % (size * 10**9) == 0:
            return f"{value_ns // (size * 10**9)}{unit}"
    return f"{value_ns // 10**6}ms"


PAGES = {"metrics.md": metrics_page, "configuration.md": configuration_page}


def main(check: bool) -> int:
    """Write the pages, or print which ones are out of date."""
    stale = [name for name, page in PAGES.items() if not (HERE / name).exists() or (HERE / name).read_text() != page()]
    if check:
        print("out of date: " + ", ".join(stale) if stale else "up to date")
        return 1 if stale else 0
    for name in stale:
        (HERE / name).write_text(PAGES[name]())
    return 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
