"""Settings that are valid one by one, and with which a figure or an alert can never come."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from collector_processor.alerts.rules import AlertRule
from collector_processor.config import Config
from collector_processor.monitors.missing_shift import MissingShiftSettings
from collector_processor.pipeline.settings import MlMonitor, ModelConfig, WindowConfig
from collector_processor.reference.profile import Reference
from collector_processor.service.build import is_monitor, monitored
from collector_processor.settings.base import Settings
from otel_ml import semconv

_MONITOR: Final = "connectors.ml_monitor"
_SHARES: Final = (
    semconv.LABELS_COVERAGE, semconv.DRIFT_SHARE, semconv.DRIFT_WEIGHTED_SHARE, semconv.QUALITY_MISSING,
    semconv.QUALITY_OUT_OF_RANGE, semconv.QUALITY_UNSEEN, semconv.QUALITY_WRONG_TYPE, semconv.QUALITY_ERROR_RATE,
)  # fmt: skip
"""Metrics whose values are from 0 to 1."""


def contradictions(config: Config, references: Mapping[str, Reference]) -> Iterator[str]:
    r"""Yield a line for each contradiction, with the key to change.

    >>> from collector_processor.config.load import DEFAULT, parse_config
    >>> text = DEFAULT.replace("ml_monitor:\n", "ml_monitor: {window: {size: 200 rows}}\n", 1)
    >>> next(contradictions(parse_config(text), {}))
    'connectors.ml_monitor.window: min_rows is 500, but a window has only 200 rows: drift is never measured'
    """
    yield from _paths(config)
    monitor = config.monitor
    yield from _windows(f"{_MONITOR}.window", monitor.window, monitor, ModelConfig())
    for name, model in monitor.models.items():
        if model.window is not None:
            yield from _windows(f"{_MONITOR}.models.{name}.window", model.window, monitor, model)
        yield from _columns(f"{_MONITOR}.models.{name}", model, references.get(name))
    if not monitor.labels.wait:
        yield f"{_MONITOR}.labels.wait: 0 means that no label is joined: performance is never measured"
    for rule in config.alerts.resolved():
        yield from _rule(f"alerts.rules.{rule.name}", rule, monitor)
    steps = [(window.step.ns, key) for key, window in _all_windows(monitor) if window.step.ns]
    for name, settings in config.exporters.items():
        keeps_ns = settings.keeps_ns()
        for step_ns, key in steps:
            if keeps_ns is not None and keeps_ns < step_ns:
                yield (
                    f"exporters.{name}: a figure expires after {keeps_ns / 1e9:g} s, but a window of {key} closes only "
                    f"every {step_ns / 1e9:g} s: in between there is none"
                )


def _paths(config: Config) -> Iterator[str]:
    """Predictions that are not monitored, and measurements that go nowhere."""
    measured = any(is_monitor(name) for flow in config.pipelines_of("metrics") for name in flow.receivers)
    if measured and not monitored(config):
        yield "service.pipelines: no traces, logs or metrics pipeline sends to ml_monitor, so nothing is measured"
    if monitored(config) and not measured and not config.alerts.notify:
        yield (
            "service.pipelines: no metrics pipeline takes the measurements of ml_monitor, and alerts.notify is empty: "
            "they are only at /status"
        )


def _all_windows(monitor: MlMonitor) -> Iterator[tuple[str, WindowConfig]]:
    yield f"{_MONITOR}.window", monitor.window
    for name, model in monitor.models.items():
        if model.window is not None:
            yield f"{_MONITOR}.models.{name}.window", model.window


def _windows(key: str, window: WindowConfig, monitor: MlMonitor, model: ModelConfig) -> Iterator[str]:
    """Windows of fewer rows than a monitor wants."""
    rows = window.size.rows
    for least, figure in (("min_rows", "drift"), ("min_labels", "performance")):
        wanted = getattr(window, least, 0)
        if 0 < rows < wanted:
            yield f"{key}: {least} is {wanted}, but a window has only {rows} rows: {figure} is never measured"
    shift: Settings = monitor.section("missing_shift", model)
    if isinstance(shift, MissingShiftSettings) and shift.enabled and 0 < rows < shift.min_cells:
        yield f"{key}: missing_shift.min_cells is {shift.min_cells}; a window has only {rows} rows: it takes several"


def _columns(key: str, model: ModelConfig, reference: Reference | None) -> Iterator[str]:
    """Names of features that the reference does not have."""
    if reference is None:
        return
    known = [column.name for column in reference.schema.columns if column.role == "feature"]
    unknown = [name for name in model.categorical if name not in known]
    if unknown:
        yield f"{key}.categorical: {', '.join(unknown)} not in its reference, which has: {', '.join(known[:10])}"


def _rule(key: str, rule: AlertRule, monitor: MlMonitor) -> Iterator[str]:
    """Thresholds that a share cannot pass, and windows that can never be large enough."""
    never = {"above": rule.threshold >= 1, "below": rule.threshold <= 0}.get(rule.condition, False)
    if never and rule.measurement in _SHARES:
        beyond = f"{rule.condition} {rule.threshold:g}"
        yield f"{key}.{rule.condition}: {rule.measurement} is from 0 to 1, so it is never {beyond}"
    rows = [window.size.rows for _, window in _all_windows(monitor)]
    if rule.min_rows and all(0 < size < rule.min_rows for size in rows):
        yield f"{key}.min_rows: {rule.min_rows}, but a window has at most {max(rows)} rows: the rule never judges one"
