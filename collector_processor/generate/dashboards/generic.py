"""Draws the default panel of a metric from its kind, unit, labels and meaning in the registry."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from collector_processor.generate.catalog import (
    METHOD,
    MODEL,
    ROLE,
    SEGMENT,
    SEGMENT_VALUE,
    SOURCE,
    VERSION,
    Series,
)
from collector_processor.generate.dashboards.plan import NO_BOUNDS, RATE, Bounds, Link, Panel, Query, grafana_unit
from otel_ml import semconv

ONE_MODEL: Final = f'{MODEL}="$model",{VERSION}=~"$version"'
"""Selects the model of the board; the choice *All* also matches an absent version."""
WHOLE: Final = f'{SEGMENT}=""'
"""Excludes the series of segments."""
REALIZED: Final = f'{SOURCE}="{semconv.SOURCE_LABELS}"'
"""Selects what labels say of performance, not what was estimated before they came."""
ONE_SERVICE: Final = 'job=~"$job",instance=~"$instance"'
LEVELS: Final = (0.5, 0.95, 0.99)
PANELS_OF_A_ROW: Final = 3
_TIME: Final = "_timestamp_seconds"
"""The end of a name whose values are Unix times; a board shows how long ago they were."""
_SPELLED: Final = {
    "roc_auc": "ROC AUC", "mae": "MAE", "rmse": "RMSE", "mape": "MAPE", "r2": "R²", "f1": "F1", "cpu": "CPU",
    "drift.p_value": "drift p-value", "evaluate": "time to evaluate", "alert_evaluate": "time to judge alerts",
    "process_memory_rss_bytes": "process memory", "drop": "performance drop",
    "newest_window_timestamp": "age of the newest figures",
}  # fmt: skip
"""Names, or words of names, with a special spelling."""


def sentence(text: str) -> str:
    """Return a description from the registry as a sentence.

    >>> sentence("share of right predictions")
    'Share of right predictions.'
    """
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def title_of(metric: str) -> str:
    """Return the name of a metric as a heading.

    >>> [title_of(name) for name in ("ml.performance.roc_auc", "otel_ml_journal_lag", "otelcol_process_cpu_seconds")]
    ['ROC AUC', 'Journal lag', 'Process CPU']
    """
    name = metric.removeprefix("otel_ml_").removeprefix("otelcol_").removesuffix("_total")
    # The axis shows the unit.
    name = name.removesuffix("_seconds").removeprefix(semconv.PERFORMANCE).removeprefix("ml.")
    words = _SPELLED.get(name) or " ".join(_SPELLED.get(word, word) for word in re.split(r"[._]", name))
    return words[:1].upper() + words[1:]


def legend(labels: Sequence[str]) -> str:
    """Return the names of a panel's series: the values of their labels."""
    return " ".join(f"{{{{{label}}}}}" for label in labels)


def aggregated(function: str, expression: str, labels: Sequence[str]) -> str:
    """Return an aggregation that keeps some labels, so that replicas and restarts of the service are one series.

    >>> aggregated("max", "up", ["job"]), aggregated("sum", "up", [])
    ('max by (job) (up)', 'sum(up)')
    """
    return f"{function} by ({', '.join(labels)}) ({expression})" if labels else f"{function}({expression})"


def model_selector(series: Series, *, segments: bool = False) -> str:
    """Return the selector of a derived series on the model board: all rows, or each value of the chosen segment."""
    parts = [ONE_MODEL]
    if segments:
        parts.append(f'{SEGMENT}=~"$segment",{SEGMENT_VALUE}!=""')
    elif SEGMENT in series.labels:
        parts.append(WHOLE)
    if METHOD in series.labels:
        parts.append(f'{METHOD}=~"$method"')
    return ",".join(parts)


def model_panel(
    series: Series, bounds: Bounds = NO_BOUNDS, links: Sequence[Link] = (), *, by_segment: bool = False
) -> Panel:
    """Return the panel of one derived metric for one model, by version."""
    left_out = {MODEL} if by_segment else {MODEL, SEGMENT, SEGMENT_VALUE}
    labels = [label for label in series.labels if label not in left_out]
    selector = model_selector(series, segments=by_segment)
    query = _query(series, selector, labels)
    unit = grafana_unit(series.metric, series.unit)
    return Panel(
        title_of(series.metric) + (" by segment" if by_segment else ""),
        sentence(series.description) + (" One line for each value of the chosen segment." if by_segment else ""),
        (query,),
        unit if series.kind == "gauge" else "short",
        width=24 // PANELS_OF_A_ROW,
        no_data="not measured: too few rows or labels in the window, or not available for this kind of model",
        minimum=0 if unit in ("percentunit", "s") else None,
        bounds=bounds,
        links=tuple(links),
    )


def _query(series: Series, selector: str, labels: Sequence[str]) -> Query:
    shown = [label for label in labels if label != VERSION]
    names = legend([label for label in (*shown, VERSION) if label not in (METHOD, ROLE)] if shown else [VERSION])
    if METHOD in labels:
        names = f"{{{{{ROLE}}}}} {names} {{{{{METHOD}}}}}"
    if series.kind == "counter":
        return Query(aggregated("sum", f"rate({series.name}{{{selector}}}[{RATE}])", labels), names)
    return Query(aggregated("max", series.now(selector), labels), names)


def emitted_panel(series: Series, links: Sequence[Link]) -> Panel:
    """Return the panel of a metric that the application emits: rates of counters, quantiles of histograms."""
    source = "Emitted by the instrumentation inside the application, which sends it to Prometheus itself."
    missing = "no data: the application's own OpenTelemetry metrics are not in this Prometheus"
    if series.kind == "counter":
        labels = [label for label in series.labels if label not in (MODEL, VERSION)]
        query = Query(aggregated("sum", f"rate({series.name}{{{ONE_MODEL}}}[{RATE}])", labels), legend(labels))
        queries: tuple[Query, ...] = (query,)
    else:
        rate = f"rate({series.name}_bucket{{{ONE_MODEL}}}[{RATE}])"
        queries = tuple(
            Query(
                f"histogram_quantile({level}, sum by (le, {VERSION}) ({rate}))",
                f"{level:.0%} {{{{{VERSION}}}}}",
                exemplars=True,
            )
            for level in LEVELS
        )
    return Panel(
        sentence(series.description).rstrip("."),
        f"{sentence(series.description)} {source}"
        + (" Diamonds are exemplars: each one links to its trace." if series.kind == "histogram" else ""),
        queries,
        grafana_unit(series.metric, series.unit),
        no_data=missing,
        minimum=0,
        links=tuple(links),
    )


def own_panel(title: str, series: Sequence[Series], where: str = "") -> Panel:
    """Return the panel of one or more metrics of the service itself: rates, quantiles of histograms, ages of times.

    ``where`` has matchers that the series must have, too.
    """
    chosen = f"{ONE_SERVICE},{where}" if where else ONE_SERVICE
    queries = tuple(query for item in series for query in _own_queries(item, chosen, several=len(series) > 1))
    rates = all(item.kind == "counter" for item in series)
    text = "; ".join(dict.fromkeys(item.description for item in series))
    return Panel(
        title,
        sentence(text) + (" Per second." if rates else ""),
        queries,
        "short" if rates else grafana_unit(series[0].metric, series[0].unit),
        width=24 // PANELS_OF_A_ROW,
        no_data="none so far" if rates else "no data",
        minimum=0,
    )


def _own_queries(series: Series, chosen: str, *, several: bool) -> Iterator[Query]:
    names = legend(series.labels) or "{{instance}}"
    if several:
        names = f"{series.name.removesuffix('_total').rpartition('_')[2]} {names}"
    if series.kind == "histogram":
        rate = f"rate({series.name}_bucket{{{chosen}}}[{RATE}])"
        for level in LEVELS:
            yield Query(f"histogram_quantile({level}, sum by (le) ({rate}))", f"{level:.0%}")
    elif series.kind == "counter":
        labels = series.labels or ("instance",)
        yield Query(aggregated("sum", f"rate({series.name}{{{chosen}}}[{RATE}])", labels), names)
    else:
        labels = series.labels or ("instance",)
        newest = aggregated("max", f"{series.name}{{{chosen}}}", labels)
        yield Query(f"time() - {newest}" if series.name.endswith(_TIME) else newest, names)
