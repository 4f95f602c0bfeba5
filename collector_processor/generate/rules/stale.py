"""The rule on figures that grow old although predictions arrive."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from collector_processor.config import Config
from collector_processor.generate.catalog import Catalog
from collector_processor.generate.rules.rule import MINUTE_NS, Example, Rule, go_duration
from collector_processor.own.metrics import NEWEST
from collector_processor.pipeline.pace import expected_ns
from collector_processor.pipeline.settings import MlMonitor

_NAME: Final = "service_figures_stale"
_ROWS: Final = "otel_ml_rows_total"
_WINDOWS: Final = "otel_ml_windows_closed_total"
_SEEN: Final = 15
"""Minutes in which predictions arrived, before the time that their figures may take."""
_HOLD_NS: Final = 5 * MINUTE_NS
_KEYS: Final = "job, instance, model"
_MORE: Final = 1e12
"""More predictions than a model has in a day; one closed window outweighs them in Datadog's sum."""


def stale_rules(config: Config, catalog: Catalog, runbooks: str) -> Iterator[Rule]:
    """Yield the rule; nothing if all windows are cut by rows, because they may take any time.

    It compares the time of the newest window with what it was, not with the clock: figures of a replay are old, too.
    That predictions have stopped is a matter of the rule ``silence``.
    """
    chosen = _timed(config.monitor)
    if chosen is None:
        return
    late = -(-expected_ns(config.monitor) // MINUTE_NS)
    newest, rows = (f"{catalog[name].name}{chosen}" for name in (NEWEST, _ROWS))
    by = f"by ({_KEYS})"
    unmoved = f"max {by} ({newest}) == max {by} ({newest} offset {late + _SEEN}m)"
    value = f"time() - ({unmoved}) and on ({_KEYS}) sum {by} (increase({rows}[{_SEEN}m] offset {late}m)) > 0"
    scope = "*" if not chosen else _tags(config.monitor)
    datadog = (
        f"default_zero(sum:{_ROWS}{{{scope}}} by {{model}}.as_count()) - "
        f"{_MORE:.0f} * default_zero(sum:{_WINDOWS}{{{scope}}} by {{model}}.as_count())"
    )
    yield Rule(
        _NAME, "service", value, ">", 0.0, 0.0, ("job", "instance", "model"), _HOLD_NS, "warning",
        "a model's figures are stale although predictions arrive",
        f"Predictions arrived more than {go_duration(late * MINUTE_NS)} ago, and no window with them has closed since.",
        f"{runbooks}docs/runbooks/{_NAME}.md", datadog, "sum", ("model",), 0, "Age of the newest figures: {} s.",
        tuple(_examples(_example_model(config.monitor), late)),
        datadog_ns=(late + _SEEN) * MINUTE_NS,
    )  # fmt: skip


def _by_rows(monitor: MlMonitor) -> tuple[bool, tuple[str, ...]]:
    """Return whether windows are cut by rows by default, and the models for which it is the other way."""
    default = bool(monitor.window.step.rows)
    windows = ((name, model.window) for name, model in monitor.models.items())
    return default, tuple(name for name, window in windows if window and bool(window.step.rows) != default)


def _timed(monitor: MlMonitor) -> str | None:
    """Return the matcher of models whose windows are of time; None if there are none."""
    by_rows, others = _by_rows(monitor)
    if not others:
        return None if by_rows else ""
    names = "|".join(re.escape(name).replace("\\-", "-").replace("\\ ", " ") for name in others)
    text = f"({names})(@.*)?".replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'{{model{"=~" if by_rows else "!~"}"{text}"}}'


def _tags(monitor: MlMonitor) -> str:
    """Return the same choice for Datadog."""
    by_rows, others = _by_rows(monitor)
    names = [re.sub(r"[^\w\-:./]", "_", name).lower() for name in others]
    if by_rows:
        return f"({' OR '.join(f'model:{name}*' for name in names)})"
    return " AND ".join(f"!model:{name}*" for name in names)


def _example_model(monitor: MlMonitor) -> str:
    by_rows, others = _by_rows(monitor)
    return others[0] if by_rows else "any"


def _examples(name: str, late: int) -> Iterator[Example]:
    labels = (("instance", "a:8888"), ("job", "otel-ml"), ("model", f"{name}@7"))
    text = ", ".join(f'{key}="{value}"' for key, value in labels)
    newest, rows = f"{NEWEST}{{{text}}}", f"{_ROWS}{{{text}}}"
    at, end = late + _SEEN + 20, late + _SEEN + 60
    at_ns = at * MINUTE_NS
    arriving, still = (rows, f"0+50x{end}"), (newest, f"60+0x{end}")
    yield Example("fires when windows do not close", (still, arriving), at_ns, labels, at * 60.0 - 60.0)
    yield Example("is quiet while windows close", ((newest, f"0+60x{end}"), arriving), at_ns)
    yield Example("is quiet while figures of a replay are old", ((newest, f"-9999999+1x{end}"), arriving), at_ns)
    yield Example("is quiet without predictions", (still, (rows, f"500+0x{end}")), at_ns)
    burst = (newest, f"_x8 480x{end}"), (rows, f"0 50+0x{end}")
    yield Example("is quiet after a burst that has figures", burst, at_ns)
