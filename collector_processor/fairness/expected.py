"""What calibrated scores expect of each group before the labels come, corrected by what the reference showed of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from collector_processor.columns.batch import F64, I64
from collector_processor.fairness.counts import Counts, Favorable
from collector_processor.reference.profile import Reference
from collector_processor.statistics.pane import Pane
from collector_processor.statistics.parts.estimated import EstimatedSums
from collector_processor.statistics.schema import Schema
from collector_processor.statistics.vectors import grown

LEAST_LABELS: Final = 100.0
"""Labels of the reference that a group needs: with fewer, nobody knows whether its scores are calibrated."""


def expected_counts(
    schema: Schema, reference: Reference, pane: Pane, groups: I64, favorable: Favorable, known: Counts
) -> Counts | None:
    """Return ``known`` with tp, fp, fn and tn as they are expected of all predictions; None without a calibration.

    Σ p̂ over the rows of a group that were predicted as one class is what is expected of their labels. It is corrected
    by how far it was off in the reference, in the same group and class (:func:`corrections`). The noise is that of as
    many labels, which is at least that of Σ p̂ (the delta method, with p̂² ≤ p̂), and that of the reference's own labels:
    the variance is 1 + n / n_ref times as large. Groups with few labels in the reference have no rows.
    """
    now = _sums(pane, len(schema.groups) + 1)
    then = _sums(reference.pane, len(schema.groups) + 1)
    if now is None or then is None:
        return None
    slot = schema.classes.find(0, schema.positive_class)
    by_class = grown(
        reference.pane.outcomes.by_class,
        (max(len(then), len(reference.pane.outcomes.by_class)), 3, len(schema.classes)),
    )
    if slot is None:
        return None
    labels = by_class[groups, 1].sum(axis=1)
    weight, positive = now[groups, :, 0], now[groups, :, 1]
    positive = np.clip(positive + weight * corrections(then[groups], by_class[groups], slot), 0.0, weight)
    cells = (positive[:, 1], weight[:, 1] - positive[:, 1], positive[:, 0], weight[:, 0] - positive[:, 0])
    tp, fp, fn, tn = (np.where(labels >= LEAST_LABELS, cell, 0.0) for cell in cells)
    if favorable.other:
        tp, fp, fn, tn = tn, fn, fp, tp
    judged = tp + fp + fn + tn
    with np.errstate(divide="ignore"):
        doubt = 1.0 + np.where(labels > 0.0, judged / np.where(labels > 0.0, labels, 1.0), 0.0)
    return replace(
        known, tp=tp, fp=fp, fn=fn, tn=tn, right=tp + tn, judged=judged, label_weight=known.weight, doubt=doubt,
        scored=np.zeros(len(groups)),
    )  # fmt: skip


def corrections(then: F64, by_class: F64, slot: int) -> F64:
    """Return how much higher the share of positives was in the reference than expected, by group and prediction [g, 2].

    ``then`` ``[g, 2, 2]`` are weight and Σ p̂ of the rows predicted as negative and as positive, ``by_class``
    ``[g, 3, K]`` what their labels were. A difference that chance explains is taken back as far as that (the positive
    part of James and Stein's estimate), so that small groups are not corrected by noise.
    """
    hits, labeled, predicted = by_class[:, :, slot].T
    rows = np.stack((by_class[:, 1].sum(axis=1) - predicted, predicted), axis=1)
    positive = np.stack((labeled - hits, hits), axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        share, expected = positive / rows, then[:, :, 1] / then[:, :, 0]
        off = share - expected
        noise = np.clip(expected * (1.0 - expected), 0.0, 0.25) / rows
        kept = np.maximum(1.0 - noise / off**2, 0.0)
    return np.where(np.isfinite(off) & np.isfinite(kept), off * kept, 0.0)


def _sums(pane: Pane, groups: int) -> F64 | None:
    """Return weight and Σ p̂ of the rows predicted as negative and as positive ``[G, 2, 2]``; None without any."""
    by_class = pane.further[EstimatedSums].by_class
    if not by_class.size or not by_class[0, :, 0].any():
        return None
    whole = grown(by_class, (max(groups, len(by_class)), 2, 3))
    return np.stack((whole[:, :, 0], whole[:, :, 1] + whole[:, :, 2]), axis=2)
