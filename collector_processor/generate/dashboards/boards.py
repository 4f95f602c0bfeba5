"""All boards, with the alert thresholds of the configuration."""

from __future__ import annotations

from typing import Final

from collector_processor.config import Config, default_config
from collector_processor.generate.catalog import Catalog
from collector_processor.generate.dashboards.fleet import fleet_board
from collector_processor.generate.dashboards.model import model_board
from collector_processor.generate.dashboards.plan import Board, Bounds, Limits, Traces
from collector_processor.generate.dashboards.service import service_board
from collector_processor.monitors.drift import DriftSettings
from collector_processor.pipeline.pace import look_back, windows_of
from otel_ml import semconv

_STEP_S: Final = 60
"""Used if all windows are of rows, because their duration is unknown."""


def boards(
    config: Config | None = None, *, traces: Traces = "jaeger", catalog: Catalog | None = None
) -> tuple[Board, ...]:
    """Return the three boards: all models, one model, and the service itself.

    The step between samples is the time between windows, and values hold until the next window is expected. The alert
    thresholds of the configuration are drawn as lines, and its first drift method is selected by default. ``traces`` is
    the kind of data source that trace links open. ``catalog`` is read from the registries when absent.
    """
    settings = config or default_config()
    known = (catalog or Catalog.of_registries()).given_by(settings.monitor).holding(look_back(settings.monitor))
    limits = alert_limits(settings)
    method = next(iter(settings.monitor.of(DriftSettings).numeric), "")
    step_s = window_step_s(settings)
    return (
        fleet_board(known, limits, step_s),
        model_board(known, limits, traces, method, step_s),
        service_board(known),
    )


def window_step_s(config: Config) -> int:
    """Return how often measurements arrive at least: the longest step of all windows of time, in whole seconds.

    >>> window_step_s(default_config())
    60
    """
    steps_ns = [window.step.ns for window in windows_of(config.monitor) if window.step.ns]
    return max(-(-max(steps_ns) // 10**9), 1) if steps_ns else _STEP_S


def alert_limits(config: Config) -> Limits:
    """Return the thresholds of the alert rules for all models, by measurement; silence has none.

    >>> alert_limits(default_config())["ml.latency.p99"]
    Bounds(ceilings=(1.0,), floors=())
    """
    limits: dict[str, Bounds] = {}
    for rule in config.alerts.resolved():
        if rule.enabled and rule.condition != "absent" and not _of_some_models(rule.where):
            ceilings, floors = limits.get(rule.measurement, Bounds())
            if rule.condition == "above":
                ceilings = tuple(sorted({*ceilings, rule.threshold}))
            else:
                floors = tuple(sorted({*floors, rule.threshold}))
            limits[rule.measurement] = Bounds(ceilings, floors)
    return limits


def _of_some_models(where: tuple[tuple[str, tuple[str, ...]], ...]) -> bool:
    return any(key == semconv.MODEL_NAME for key, _ in where)
