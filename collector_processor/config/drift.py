"""Whether the drift methods that a configuration names exist, for its own columns' kinds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from collector_processor.drift import DRIFT_METHODS
from collector_processor.drift.base import Kind
from collector_processor.pipeline.settings import MlMonitor


def drift_problems(connector: str, monitor: MlMonitor) -> Iterator[str]:
    """What is wrong with the names of methods and thresholds, the models' own among them."""
    by_kind: dict[Kind, list[str]] = {
        "numeric": [method.name for method in DRIFT_METHODS if "numeric" in method.kinds],
        "categorical": [method.name for method in DRIFT_METHODS if "categorical" in method.kinds],
    }
    everything = sorted({name for names in by_kind.values() for name in names})
    settings = {f"connectors.{connector}.drift": monitor.drift}
    for name, model in monitor.models.items():
        if model.drift is not None:
            settings[f"connectors.{connector}.models.{name}.drift"] = model.drift
    for path, drift in settings.items():
        checks: list[tuple[str, Sequence[str], Sequence[str]]] = [
            ("numeric", drift.numeric, by_kind["numeric"]),
            ("categorical", drift.categorical, by_kind["categorical"]),
            ("thresholds", tuple(drift.thresholds), everything),
        ]
        for name, threshold in drift.thresholds.items():
            if not 0 < threshold < math.inf:
                yield f"{path}.thresholds.{name}: must be a number above 0, not {threshold:g}"
        for key, names, choices in checks:
            for name in names:
                if name not in choices:
                    yield f"{path}.{key}: unknown method {name!r}; allowed: {', '.join(choices)}"
