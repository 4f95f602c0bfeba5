"""Find the slices of one or two cells on which the model has become worse than on the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
from pydantic import Field

from collector_processor.columns.batch import F64, I64, Mask
from collector_processor.detectors.shiryaev_roberts import selected
from collector_processor.monitors.attributes import MODEL_KEYS, model_attributes
from collector_processor.monitors.base import Measurement, Metric
from collector_processor.reference.profile import Reference
from collector_processor.settings.base import Settings
from collector_processor.statistics.fits.slice_cells import MISSING, SliceCells
from collector_processor.statistics.parts.slice_sums import SliceSums, place
from collector_processor.window.closed import Window
from otel_ml import semconv

_KEYS: Final = (*MODEL_KEYS, semconv.SLICE)
LOSS = Metric(
    semconv.SLICE_LOSS,
    semconv.UNIT_RATIO,
    "mean error of the worst slices: share of wrong classes, or |error| as a share of the reference's .99 quantile",
    _KEYS,
)
LIFT = Metric(semconv.SLICE_LIFT, semconv.UNIT_RATIO, "mean error of a slice divided by that of all rows", _KEYS)
SHARE = Metric(semconv.SLICE_SHARE, semconv.UNIT_RATIO, "share of the labeled rows that are in a slice", _KEYS)
SCORE = Metric(
    semconv.SLICE_SCORE,
    semconv.UNIT_SCORE,
    "SliceLine's score: above 0, a slice is large and bad",
    _KEYS,
)
WORSE = Metric(
    semconv.SLICE_WORSE,
    semconv.UNIT_SLICE,
    "slices with more errors than chance explains, given all rows and the slice's part in the reference",
    MODEL_KEYS,
)
_ODDS: Final = np.array([1.25, 1.5, 2.0, 3.0, 5.0])
"""Alternatives: the odds of an error in a slice against those of all rows."""


class SliceSettings(Settings):
    """Which slices are searched and named."""

    alpha: float = Field(default=0.6, gt=0, le=1, description="SliceLine's weight of errors against size")
    min_rows: int = Field(default=100, ge=1, description="least labeled rows of a slice")
    min_share: float = Field(default=0.01, ge=0, lt=1, description="least share of the labeled rows in a slice")
    false_discoveries: float = Field(
        default=0.05, gt=0, lt=1, description="tolerated share of wrong slices among those that `worse` counts"
    )
    named: int = Field(default=5, ge=1, le=50, description="most slices that a window names")


@dataclass(frozen=True, slots=True)
class Slices:
    """Slices ``[S]`` of one cell (``one`` = ``other``) or two: rows as equal ones, mean error, score, log e-value."""

    one: I64
    other: I64
    rows: F64
    loss: F64
    score: F64
    evidence: F64


class SliceMonitor:
    """Slices found exactly at levels 1 and 2, from sums over a sample of the labeled rows.

    Score: S. Sagadeeva and M. Boehm, "SliceLine", SIGMOD 2021. For the search over thousands of slices, each has an
    e-value against the null that its rows are a random draw of all rows (without replacement), times the lift that it
    already had in the reference; e-Benjamini–Hochberg (R. Wang and A. Ramdas, JRSS-B 84, 2022) selects.
    """

    name: ClassVar[str] = "slices"
    metrics: ClassVar[Sequence[Metric]] = (LOSS, LIFT, SHARE, SCORE, WORSE)
    sections: ClassVar[Mapping[str, type[Settings]]] = {"slices": SliceSettings}

    def __init__(self, settings: SliceSettings) -> None:
        self._settings = settings

    def evaluate(self, window: Window, reference: Reference) -> list[Measurement]:
        """Return the worst slices, and how many are worse beyond chance."""
        fit, part = reference.schema.fit(SliceCells), window.pane.further[SliceSums]
        if fit is None or not len(part.rows):
            return []
        settings = self._settings
        found = found_slices(fit, part, reference.pane.further[SliceSums], settings)
        if not len(found.one):
            return []
        worse = selected(found.evidence, settings.false_discoveries)
        order = np.argsort(-np.where(worse, found.evidence, -np.inf), kind="stable")
        by_score = np.argsort(-found.score, kind="stable")
        shown = [*order[: int(worse.sum())].tolist(), *(at for at in by_score.tolist() if not worse[at])]
        shown = [at for at in shown if worse[at] or found.score[at] > 0.0][: settings.named]
        overall, total = part.rows[1] / part.rows[0], part.rows[0] ** 2 / part.rows[2]
        model = model_attributes(window.model)
        measurements: list[Measurement] = []
        words: list[str] = []
        for at in shown:
            text = slice_text(reference, fit, int(found.one[at]), int(found.other[at]))
            says = f"{text}: error {found.loss[at]:.3g} against {overall:.3g} of all rows"
            if worse[at]:
                words.append(says)
            for metric, value in (
                (LOSS, found.loss[at]), (LIFT, found.loss[at] / overall), (SHARE, found.rows[at] / total),
                (SCORE, found.score[at]),
            ):  # fmt: skip
                attributes = (*model, (semconv.SLICE, text))
                measurements.append(
                    Measurement(metric.name, float(value), metric.unit, attributes, window.end_ns, words=says)
                )
        count = float(np.count_nonzero(worse))
        measurements.append(Measurement(WORSE.name, count, WORSE.unit, model, window.end_ns, words="; ".join(words)))
        return measurements


def found_slices(fit: SliceCells, part: SliceSums, before: SliceSums, settings: SliceSettings) -> Slices:
    """Return all slices that are large enough, of levels 1 and 2; none without errors."""
    none = np.zeros(0)
    weight, loss, squares = part.rows.tolist()
    if not (weight > 0.5 and squares > 0.0 and loss > 0.0):
        return Slices(none.astype(np.int64), none.astype(np.int64), none, none, none, none)
    scale = weight / squares  # equal rows by weight: a row that stands for others is one row
    counts, losses = np.maximum(part.counts, 0.0), np.clip(part.losses, 0.0, np.maximum(part.counts, 0.0))
    n, overall = weight * scale, min(loss / weight, 1.0)
    large = counts * scale >= max(settings.min_rows, settings.min_share * n)
    one, other = _pairs_of_cells(fit, large)
    at = place(one, other, int(fit.starts[-1]))
    rows, errors = counts[at] * scale, losses[at] * scale
    share = np.minimum(overall * _lift(before, at), 0.999)
    with np.errstate(divide="ignore"):
        mean = errors / rows
        score = settings.alpha * (mean / overall - 1.0) - (1.0 - settings.alpha) * (n / rows - 1.0)
    logs = errors[:, None] * np.log(_ODDS) - rows[:, None] * np.log1p(share[:, None] * (_ODDS - 1.0))
    return Slices(one, other, rows, mean, score, np.logaddexp.reduce(logs, axis=1) - np.log(len(_ODDS)))


def _pairs_of_cells(fit: SliceCells, large: Mask) -> tuple[I64, I64]:
    """Return the slices that are large: single cells and pairs of cells of two features."""
    total = int(fit.starts[-1])
    one, other = np.triu_indices(total)
    kept = np.flatnonzero(large)
    one, other = one[kept], other[kept]
    owner = np.repeat(np.arange(len(fit.positions)), fit.sizes)
    apart = (owner[one] != owner[other]) | (one == other)
    return one[apart], other[apart]


def _lift(before: SliceSums, at: I64) -> F64:
    """Return the lift that each slice had in the reference, plus a standard error, at least 1."""
    weight, loss, squares = before.rows.tolist()
    if not (weight > 0.5 and loss > 0.0):
        return np.ones(len(at))
    scale = weight / squares
    rows, errors = before.counts[at] * scale, before.losses[at] * scale
    most = (errors + np.sqrt(errors + 1.0)) / np.maximum(rows, 1.0)
    return np.where(rows >= 1.0, np.maximum(most / (loss / weight), 1.0), 1.0)


def slice_text(reference: Reference, fit: SliceCells, one: int, other: int) -> str:
    """Return a slice in words: ``age 30 to 42, country de``."""
    return ", ".join(_cell_text(reference, fit, cell) for cell in sorted({one, other}))


def _cell_text(reference: Reference, fit: SliceCells, cell: int) -> str:
    row = int(np.searchsorted(fit.starts, cell, side="right")) - 1
    code, position, cut = cell - int(fit.starts[row]), int(fit.positions[row]), fit.cuts[row]
    schema = reference.schema
    name = schema.columns[position].name[:40]
    if code == MISSING:
        return f"{name} missing"
    if position >= len(schema.numeric):
        names = schema.categories.names(position - len(schema.numeric))
        return f"{name} {names[code - 1][:40]}" if code <= cut[0] else f"{name} other"
    edges = schema.edges[position]
    low = None if code == 1 else f"{edges[cut[code - 2] - 1]:.6g}"
    high = None if code > len(cut) else f"{edges[cut[code - 1] - 1]:.6g}"
    if low is None:
        return f"{name} below {high}"
    return f"{name} from {low}" if high is None else f"{name} {low} to {high}"
