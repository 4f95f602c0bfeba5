"""Summarize a column of a reference in a few numbers that a person can check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from collector_processor.reference.profile import Reference
from collector_processor.statistics.bins import finite_edges
from collector_processor.statistics.schema import OTHER

TOP = 5
"""How many of the most frequent categories are shown."""


@dataclass(frozen=True, slots=True)
class Summary:
    """Share of missing cells; minimum, maximum, mean and standard deviation, or the top categories with their shares.

    Numbers are None where the reference has no values.
    """

    missing: float
    low: float | None = None
    high: float | None = None
    mean: float | None = None
    std: float | None = None
    top: tuple[tuple[str, float], ...] | None = None
    categories: int = 0

    def as_mapping(self) -> Mapping[str, object]:
        """Return the summary for a file, rounded for people."""
        if self.top is None:
            named = {"min": self.low, "max": self.high, "mean": self.mean, "std": self.std}
            rounded = {name: None if value is None else float(f"{value:.6g}") for name, value in named.items()}
            return {"missing": round(self.missing, 6), **rounded}
        return {"missing": round(self.missing, 6), "top": {name: round(share, 6) for name, share in self.top}}


def column_summary(reference: Reference, position: int) -> Summary:
    """Return the summary of the column at a position of ``schema.columns``."""
    schema, pane = reference.schema, reference.pane
    missing, wrong = float(pane.missing[position]), float(pane.wrong_type[position])
    if position >= len(schema.numeric):
        column = position - len(schema.numeric)
        slots = schema.categories.column_slots(column)
        counts = np.zeros(len(schema.categories))
        counts[: len(pane.category_counts)] = pane.category_counts
        by_category, total = counts[slots], float(counts[slots].sum())
        order = [place for place in np.argsort(-by_category, kind="stable")[:TOP].tolist() if by_category[place] > 0.0]
        names = [OTHER, *schema.categories.names(column)]
        top = tuple((names[place], float(by_category[place]) / total) for place in order)
        return Summary(_share(missing, missing + wrong + total), top=top, categories=len(slots) - 1)
    counts = pane.counts[position]
    total = float(counts.sum())
    share = _share(missing, missing + wrong + total)
    if total <= 0.0 or not np.isfinite(schema.low[position]):
        return Summary(share)
    edges = schema.edges[position, : finite_edges(schema.edges[position])]
    anchors = np.concatenate((edges[:1], edges))
    mean = _mean(counts[: len(anchors)] / total, anchors, pane.excess[position, : len(anchors)] / total)
    return Summary(
        share, float(schema.low[position]), float(schema.high[position]), mean, float(reference.spread[position])
    )


def _mean(shares: np.ndarray, anchors: np.ndarray, excess: np.ndarray) -> float:
    return float((shares * anchors + excess).sum())


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0.0 else 0.0
