"""The interval of every figure of realized performance, from the sums of a pane."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from collector_processor.columns.batch import F64, Mask
from collector_processor.monitors import class_intervals, ranking_intervals
from collector_processor.monitors.attributes import Attributes
from collector_processor.monitors.class_intervals import Key
from collector_processor.monitors.further_performance import (
    CLASS_METRICS,
    MICRO,
    FurtherPerformanceSettings,
    average_precision,
    balanced,
    lift,
    listed_classes,
    matthews,
    pinball,
)
from collector_processor.monitors.independence import rows_per_weight
from collector_processor.monitors.intervals import (
    FEW,
    Interval,
    Level,
    between,
    class_squares,
    complete,
    of_mean,
    root,
)
from collector_processor.monitors.performance import (
    VARIANCE_FLOOR,
    class_sums,
    performance,
    roc_auc,
    without_rounding,
)
from collector_processor.statistics.labeled import EPSILON
from collector_processor.statistics.pane import Pane
from collector_processor.statistics.parts.label_moments import ERRORS, LIMIT, SCORED, LabelMoments
from collector_processor.statistics.schema import Schema
from collector_processor.statistics.vectors import grown
from otel_ml import semconv

FAR: Final = 1e-4
"""Least Σ(y − ȳ)² relative to Σ(y − c)² for the fourth powers of y − ȳ to be precise."""


def intervals(schema: Schema, pane: Pane, level: Level) -> dict[Key, Interval]:
    """Return the interval of each figure of :func:`.performance`, by (name, average); NaN ends for none."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        values = {(score.name, score.average): score.values for score in performance(schema, pane.outcomes)}
        found = dict(_of_values(pane, level) if schema.task == "regression" else _of_classes(schema, pane, level))
    return {key: Interval(values[key], each.down, each.up) for key, each in found.items() if key in values}


def further_intervals(
    schema: Schema, pane: Pane, settings: FurtherPerformanceSettings, level: Level
) -> Iterator[tuple[str, Attributes, Interval]]:
    """Yield the name of each further figure, its attributes besides the group's, and its interval."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if schema.task == "regression":
            if settings.quantile is not None:
                yield "quantile_loss", (), _quantile_loss(pane, settings.quantile, level)
            return
        by_class, squares = class_sums(schema, pane.outcomes), class_squares(pane)
        yield "mcc", (), class_intervals.matthews(matthews(by_class), by_class, squares, level)
        if schema.task == "binary_classification":
            yield from _further_binary(schema, pane, settings, by_class, squares, level)
            return
        known = np.isfinite(balanced(by_class))
        yield "balanced_accuracy", (), class_intervals.macro_recall(by_class, squares, level).where(known)
        value = by_class[:, 0].sum(axis=1) / by_class[:, 1].sum(axis=1)
        correct = class_intervals.accuracy(value, by_class, squares, level)
        for name in CLASS_METRICS:
            yield name, ((semconv.PERFORMANCE_AVERAGE, MICRO),), correct
        for slot in listed_classes(by_class[0], settings.classes) if len(by_class) else ():
            pairs = ((semconv.PERFORMANCE_CLASS, schema.classes.name(slot)),)
            for name, each in class_intervals.of_class(by_class[:1, :, slot], squares[:1, :, slot], level).items():
                yield name, pairs, each


def _further_binary(
    schema: Schema, pane: Pane, settings: FurtherPerformanceSettings, by_class: F64, squares: F64, level: Level
) -> Iterator[tuple[str, Attributes, Interval]]:
    positive = schema.classes.find(0, schema.positive_class) if schema.positive_class else None
    if positive is None or positive >= by_class.shape[2]:
        return
    specificity = class_intervals.specificity(by_class, squares, positive, level)
    recall = class_intervals.of_class(by_class[:, :, positive], squares[:, :, positive], level)["recall"]
    yield "specificity", (), specificity
    yield "balanced_accuracy", (), class_intervals.mean_of_two(recall, specificity)
    column = next((row for row, spec in enumerate(schema.numeric) if spec.role == "score"), None)
    if column is None:
        return
    hits, edges = pane.outcomes.score_hits, schema.edges[column]
    weights, kept = _weights_of_classes(schema, pane), _both_classes(hits.sum(axis=2), level)
    value = average_precision(hits, edges)
    yield "average_precision", (), ranking_intervals.average_precision(value, hits, weights, level).where(kept)
    for share in settings.lift_at:
        found = ranking_intervals.lift(lift(hits, edges, share), hits, weights, share, level)
        yield "lift", ((semconv.PERFORMANCE_AT, f"{share:g}"),), found.where(kept)


def _of_classes(schema: Schema, pane: Pane, level: Level) -> Iterator[tuple[Key, Interval]]:
    by_class, squares = class_sums(schema, pane.outcomes), class_squares(pane)
    value = by_class[:, 0].sum(axis=1) / by_class[:, 1].sum(axis=1)
    yield ("accuracy", ""), class_intervals.accuracy(value, by_class, squares, level)
    if schema.task != "binary_classification":
        yield from class_intervals.averages(by_class, squares, level)
        yield ("log_loss", ""), _score_losses(pane, level)["log_loss"]
        return
    slot = schema.classes.find(0, schema.positive_class) if schema.positive_class else None
    if slot is not None and slot < by_class.shape[2]:
        found = class_intervals.of_class(by_class[:, :, slot], squares[:, :, slot], level)
        yield from (((name, ""), each) for name, each in found.items())
    hits, calibration = pane.outcomes.score_hits, pane.outcomes.calibration
    weights = _weights_of_classes(schema, pane)
    column = next((row for row, spec in enumerate(schema.numeric) if spec.role == "score"), None)
    if column is not None:
        value = roc_auc(hits, schema.edges[column])
        kept = _both_classes(hits.sum(axis=2), level)
        yield ("roc_auc", ""), ranking_intervals.roc_auc(value, hits, weights, level).where(kept)
    count, _, positive = calibration.sum(axis=2).T
    kept = _both_classes(np.stack((count - positive, positive), axis=1), level)
    for name, each in _score_losses(pane, level).items():
        yield (name, ""), each.where(kept)
    scored = without_rounding(calibration)
    value = np.abs(scored[:, 1] - scored[:, 2]).sum(axis=1) / scored[:, 0].sum(axis=1)
    weight = 1.0 / _independent(pane, 1.0, _moment(pane, "scored", "squares") / pane.outcomes.scored[:, 0])
    yield ("calibration_error", ""), ranking_intervals.calibration_error(value, calibration, weight, level).where(kept)


def _score_losses(pane: Pane, level: Level) -> dict[str, Interval]:
    """Return the intervals of Brier score and log loss; without moments, from what is known of them at least."""
    rows, brier, loss = np.maximum(pane.outcomes.scored, 0.0).T
    done = complete(pane)
    count = _independent(pane, rows, _moment(pane, "scored", "squares") / rows)
    brier, loss = brier / rows, loss / rows
    # A row's loss is at most −ln ε: without moments, one row may have all of it.
    seconds = {"brier": _brier_second(pane), "log_loss": -np.log(EPSILON) * loss}
    found: dict[str, Interval] = {}
    for name, short, value in (("brier", "brier", brier), ("log_loss", "loss", loss)):
        second, third = (_moment(pane, "scored", f"{short}_{power}") / rows for power in (2, 3))
        second = np.where(done, second, np.nan if level.covered else seconds[name])
        found[name] = of_mean(value, second, third, count, level)
    return found


def _brier_second(pane: Pane) -> F64:
    """Return the mean of the squared Brier scores of rows, from the calibration table: each bin at its mean score."""
    count, score, positive = np.moveaxis(np.maximum(pane.outcomes.calibration, 0.0), 1, 0)
    p = np.where(count > 0.0, score / np.where(count > 0.0, count, 1.0), 0.0)
    return (positive * (1.0 - p) ** 4 + (count - positive) * p**4).sum(axis=1) / count.sum(axis=1)


def _of_values(pane: Pane, level: Level) -> Iterator[tuple[Key, Interval]]:
    """Yield the intervals of a regression."""
    rows, absolute, squared, relative, shifted, shifted_2, _, zeros = pane.outcomes.errors.T
    moment = {name: _moment(pane, "errors", name) for name in ERRORS}
    # Even a row of a small weight that was cut off shows in the sums.
    uncut = (squared < 1e-10 * LIMIT**2) & (relative < 1e-5 * LIMIT) & (shifted_2 < 1e-10 * LIMIT**2)
    done = complete(pane) & uncut
    count = _independent(pane, rows, moment["squares"] / rows)
    mae = of_mean(absolute / rows, squared / rows, moment["absolute_3"] / rows, count, level)
    yield ("mae", ""), mae.where(done) if level.covered else mae
    square = of_mean(squared / rows, moment["error_4"] / rows, moment["error_6"] / rows, count, level)
    yield ("rmse", ""), root(square).where(done)
    nonzero = rows + zeros
    part = of_mean(
        relative / nonzero,
        moment["relative_2"] / nonzero,
        moment["relative_3"] / nonzero,
        count * nonzero / rows,
        level,
    )
    yield ("mape", ""), part.where(done)
    variation = shifted_2 - shifted**2 / rows
    middle = shifted / rows
    of_error = moment["error_2_label_2"] - 2.0 * middle * moment["error_2_label"] + middle**2 * squared
    of_label = moment["label_4"] - 4.0 * middle * moment["label_3"] + 6.0 * middle**2 * shifted_2
    fourth = of_label - 3.0 * middle**4 * rows
    precise = done & (variation > max(FAR, VARIANCE_FLOOR) * shifted_2)
    yield (
        ("r2", ""),
        _explained(squared, variation, moment["error_4"], of_error, fourth, count / rows, level).where(precise),
    )


def _explained(
    squared: F64, variation: F64, error_4: F64, both: F64, label_4: F64, scale: F64, level: Level
) -> Interval:
    """Return the interval of R² = 1 − r with r = Σ e² / Σ (y − ȳ)², from sums of powers up to the fourth.

    Left out where a few rows have most of either sum: one wrong label may then move R² further than the interval.
    ``scale`` are independent rows per row.
    """
    ratio = squared / variation
    variance = np.maximum(error_4 - 2.0 * ratio * both + ratio**2 * label_4, 0.0) / variation**2 / scale
    spread = np.maximum(np.sqrt(error_4) / squared, np.sqrt(label_4) / variation) / np.sqrt(scale)
    most = 0.2 if level.covered else 1.0 / level.z
    kept = (spread < most) & (variance > 0.0)
    margin = level.z * np.sqrt(variance)
    if level.covered:
        factor = np.exp(margin / ratio)
        found = between(1.0 - ratio, 1.0 - ratio * factor, 1.0 - ratio / factor)
    else:
        found = between(1.0 - ratio, 1.0 - ratio - margin, np.minimum(1.0 - ratio + margin, 1.0))
    return found.where(kept)


def _quantile_loss(pane: Pane, quantile: float, level: Level) -> Interval:
    rows, squared = pane.outcomes.errors[:, 0], pane.outcomes.errors[:, 2]
    cubed, over_2, over_3 = (_moment(pane, "errors", name) for name in ("absolute_3", "over_2", "over_3"))
    second = quantile**2 * (squared - over_2) + (1.0 - quantile) ** 2 * over_2
    third = quantile**3 * (cubed - over_3) + (1.0 - quantile) ** 3 * over_3
    count = _independent(pane, rows, _moment(pane, "errors", "squares") / rows)
    value = pinball(pane.outcomes.errors, quantile)
    return of_mean(value, second / rows, third / rows, count, level).where(complete(pane))


def _both_classes(rows: F64, level: Level) -> Mask:
    """Return the groups with enough negative and positive rows ``[G, 2]`` for figures of the score."""
    return np.all(rows >= (FEW if level.covered else 0.0), axis=1)


def _weights_of_classes(schema: Schema, pane: Pane) -> F64:
    """Return Σ w² / Σ w of negative and positive rows, ``[G, 2]``: the weight of each if they have one."""
    labeled, squares = pane.outcomes.by_class[:, 1], class_squares(pane)[:, 1]
    slot = schema.classes.find(0, schema.positive_class) if schema.positive_class else None
    weights = np.full((len(labeled), 2), 1.0 / rows_per_weight(pane))
    for side, slots in enumerate((np.arange(labeled.shape[1]) != slot, np.arange(labeled.shape[1]) == slot)):
        total, squared = labeled[:, slots].sum(axis=1), squares[:, slots].sum(axis=1)
        weights[:, side] = np.where((total > 0.0) & (squared > 0.0), squared / total, weights[:, side])
    return weights


def _independent(pane: Pane, rows: F64 | float, weight: F64) -> F64:
    """Return the independent rows among ``rows`` with a weight of Σ w² / Σ w; without moments, with the usual one."""
    known = complete(pane) & (weight > 0.0)
    return rows * np.where(known, 1.0 / np.where(known, weight, 1.0), rows_per_weight(pane))


def _moment(pane: Pane, field: str, name: str) -> F64:
    """Return one column of the moments of labels ``[G]``."""
    part, groups = pane.further[LabelMoments], len(pane.outcomes.labels)
    values = part.errors[:, ERRORS.index(name)] if field == "errors" else part.scored[:, SCORED.index(name)]
    return grown(values, (max(len(values), groups),))[:groups]
