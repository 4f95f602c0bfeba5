"""The panels of performance: each figure as labels say, beside what was estimated before them, with its range."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from collector_processor.exporters.naming import label_name
from collector_processor.generate.catalog import SOURCE, VERSION, Catalog
from collector_processor.generate.dashboards.generic import ONE_MODEL, WHOLE, aggregated, legend, sentence, title_of
from collector_processor.generate.dashboards.plan import NO_BOUNDS, Limits, Link, Panel, Query, grafana_unit
from collector_processor.monitors.performance import METRICS
from otel_ml import semconv

_METRIC: Final = label_name(semconv.PERFORMANCE_METRIC)
_AVERAGE: Final = label_name(semconv.PERFORMANCE_AVERAGE)
_CLASS: Final = label_name(semconv.PERFORMANCE_CLASS)
_RANGE: Final = ((semconv.PERFORMANCE_LOWER, "from"), (semconv.PERFORMANCE_UPPER, "to"))
_LIMITS: Final = ((semconv.PERFORMANCE_LOWER_LIMIT, "lowest"), (semconv.PERFORMANCE_UPPER_LIMIT, "highest"))


def performance_panels(
    catalog: Catalog, limits: Limits, links: Sequence[Link]
) -> tuple[tuple[Panel, ...], frozenset[str]]:
    """Return a panel for each figure that is both measured and bounded, and the metrics that are on them.

    A model has either classes or values, so half of the panels of a board are empty; those of the other kind come last.
    """
    ranges = [metric for metric, _ in (*_RANGE, *_LIMITS) if metric in catalog]
    figures = [metric.name for metric in METRICS.values() if metric.name in catalog]
    if not ranges or not figures:
        return (), frozenset()
    return (
        tuple(_panel(catalog, limits, links, figure) for figure in figures),
        frozenset((*figures, *ranges)),
    )


def _panel(catalog: Catalog, limits: Limits, links: Sequence[Link], figure: str) -> Panel:
    series = catalog[figure]
    return Panel(
        title_of(figure),
        f"{sentence(series.description)} By source: what the labels say, what was estimated before they came, and what "
        "is known by now of the predictions of one stretch of time. Dotted lines: the range in which each lies; "
        "dashed lines: how far it varied over ten parts of the reference.",
        tuple(_queries(catalog, figure)),
        grafana_unit(figure, series.unit),
        no_data="not measured: too few rows or labels in the window, or not available for this kind of model",
        bounds=limits.get(figure, NO_BOUNDS),
        links=tuple(links),
    )


def _queries(catalog: Catalog, figure: str) -> Iterator[Query]:
    selector = f"{ONE_MODEL},{WHOLE}"
    if _CLASS in catalog[figure].labels:
        selector += f',{_CLASS}=""'
    labels = [label for label in (SOURCE, _AVERAGE, VERSION) if label in catalog[figure].labels]
    yield Query(aggregated("max", catalog[figure].now(selector), labels), legend(labels))
    about = f'{selector},{_METRIC}="{figure.removeprefix(semconv.PERFORMANCE)}"'
    for metric, word in _RANGE:
        if metric in catalog:
            yield Query(aggregated("max", catalog[metric].now(about), labels), f"{word} {legend(labels)}")
    about = f'{ONE_MODEL},{_METRIC}="{figure.removeprefix(semconv.PERFORMANCE)}"'
    for metric, word in _LIMITS:
        if metric in catalog:
            yield Query(
                aggregated("max", catalog[metric].now(about), (VERSION,)), f"threshold {word} {{{{{VERSION}}}}}"
            )
