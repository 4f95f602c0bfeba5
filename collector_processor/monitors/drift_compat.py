"""The drift figures of another tool as measurements, beside those of our methods."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from math import isnan

from collector_processor.columns.batch import F64
from collector_processor.drift.compat.sides import Figure
from collector_processor.monitors.attributes import Attributes, drift_attributes
from collector_processor.monitors.base import Measurement, Metric
from collector_processor.monitors.comparisons import all_cells, text_cells
from collector_processor.monitors.independence import rows_per_weight
from collector_processor.reference.compat import compat_figures
from collector_processor.reference.profile import Reference
from collector_processor.statistics.compat import Compat
from collector_processor.window.closed import Window

logger = logging.getLogger(__name__)


def compat_points(
    tool: str,
    metrics: tuple[Metric, Metric, Metric, Metric],
    least: float,
    window: Window,
    reference: Reference,
) -> Iterator[Measurement]:
    """Return score, limit, breach and p-value of every figure of every column that has ``least`` cells.

    A column whose bins the profile lacks has fewer figures, and a figure without a limit has no breach.
    """
    compat = _part(reference, tool)
    sides = (
        (reference.schema, reference.pane, rows_per_weight(reference.pane)),
        (window.schema, window.pane, rows_per_weight(window.pane)),
    )
    columns, cells = reference.schema.columns, _cells(window)
    for position, figure in compat_figures(compat, reference.spread, *sides):
        if cells[position] < least:
            continue
        attributes = drift_attributes(window.model, columns, f"{tool}_{figure.method}")[position]
        limit = compat.limits.get(position, {}).get(figure.method, figure.threshold)
        yield from _points(metrics, figure, limit, attributes, window.end_ns)


def _points(
    metrics: tuple[Metric, Metric, Metric, Metric],
    figure: Figure,
    limit: float,
    attributes: Attributes,
    time_ns: int,
) -> Iterator[Measurement]:
    score, threshold, breached, p_value = metrics
    breach = figure.breached
    if breach is None and not isnan(limit):
        breach = figure.value > limit
    for metric, value in (
        (score, figure.value),
        (threshold, limit),
        (breached, float("nan") if breach is None else float(breach)),
        (p_value, figure.p_value),
    ):
        if not isnan(value):
            yield Measurement(metric.name, value, metric.unit, attributes, time_ns)


def _cells(window: Window) -> F64:
    """Return the cells of each column that are not missing."""
    pane = window.pane
    every = all_cells(pane, pane.counts.sum(axis=1), text_cells(pane, window.schema.categories))
    return every - pane.missing - pane.wrong_type


def _part(reference: Reference, tool: str) -> Compat:
    """Return what the profile has for the tool; the first time that it has nothing, say so."""
    found = reference.schema.fit(Compat)
    if found is not None and found.tool == tool:
        return found
    reference.prepared(_say_missing)
    return Compat(tool, {})


def _say_missing(reference: Reference) -> None:
    logger.warning(
        "model '%s': its profile has no bins and limits for drift.compat; build it with 'otel-ml reference build "
        "--compat'. Until then, figures that need them are left out",
        reference.model_name,
    )
