"""The newest measurements of each model, up to a limit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from collector_processor.columns.batch import ModelKey
from collector_processor.monitors.attributes import Attributes
from collector_processor.monitors.base import Measurement
from collector_processor.own.telemetry import Telemetry
from collector_processor.status.state import LastWindow
from otel_ml import semconv

_Series = tuple[str, Attributes]


@dataclass(slots=True)
class _Model:
    """Gauges of the newest window, and counters; ``shown`` has both, as they were after the last tick."""

    window_ns: int | None = None
    gauges: dict[_Series, Measurement] = field(default_factory=dict[_Series, Measurement])
    counters: dict[_Series, Measurement] = field(default_factory=dict[_Series, Measurement])
    shown: tuple[Measurement, ...] = ()

    def __len__(self) -> int:
        return len(self.gauges) + len(self.counters)


class Newest:
    """Keeps what each model's newest window measured, and its counters: at most ``limit`` series across all models.

    New series beyond the limit are dropped and counted: ``otel_ml_dropped_total{stage="status",
    reason="series_limit"}``. For one thread only.
    """

    def __init__(self, limit: int, telemetry: Telemetry) -> None:
        self._limit = limit
        self._telemetry = telemetry
        self._models: dict[ModelKey, _Model] = {}
        self._count = 0

    def take(self, measurements: Iterable[Measurement]) -> None:
        """Add the measurements of a tick."""
        changed: dict[ModelKey, _Model] = {}
        dropped = 0
        for item in measurements:
            key = _model_of(item)
            model = changed.get(key)
            if model is None:
                model = changed[key] = self._models.setdefault(key, _Model())
            dropped += self._keep(model, item)
        for model in changed.values():
            model.shown = (*model.gauges.values(), *model.counters.values())
        self._telemetry.dropped(("status", "series_limit"), dropped)

    def forget_all_but(self, keys: Iterable[ModelKey]) -> None:
        """Remove models that are no longer tracked."""
        for key in self._models.keys() - set(keys):
            self._count -= len(self._models.pop(key))

    def of(self, key: ModelKey) -> tuple[tuple[Measurement, ...], LastWindow | None]:
        """Return a model's measurements, and its newest closed window if any."""
        model = self._models.get(key)
        if model is None:
            return (), None
        return model.shown, None if model.window_ns is None else _window(model.shown, model.window_ns)

    def _keep(self, model: _Model, item: Measurement) -> bool:
        """Keep one measurement; return whether there was no room for it."""
        series = item.name, item.attributes
        if item.kind == "counter":
            kept = model.counters
        else:
            if model.window_ns is None or item.time_ns > model.window_ns:
                self._count -= len(model.gauges)
                model.window_ns, model.gauges = item.time_ns, {}
            if item.time_ns < model.window_ns:
                return False
            kept = model.gauges
        if series not in kept:
            if self._count >= self._limit:
                return True
            self._count += 1
        kept[series] = item
        return False


def _model_of(item: Measurement) -> ModelKey:
    """Return the model's name and version, which come first."""
    (_, name), *rest = item.attributes
    return ModelKey(name, rest[0][1] if rest and rest[0][0] == semconv.MODEL_VERSION else "")


def _window(measurements: Sequence[Measurement], end_ns: int) -> LastWindow:
    whole = {item.name: item.value for item in measurements if len(item.attributes) == 2}
    return LastWindow(end_ns, int(whole.get(semconv.WINDOW_ROWS, 0.0)), int(whole.get(semconv.WINDOW_LABELS, 0.0)))
