"""What alarms watch of a model, by its reference: columns of each kind, and further figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from collector_processor.columns.batch import F64, Mask
from collector_processor.detectors.promise import REFERENCE_DOUBT
from collector_processor.monitors.alarm_cells import Block, Failures, Numbers, Texts
from collector_processor.monitors.alarm_figures import (
    Attributions,
    Brier,
    SlowCalls,
    attribution_caps,
    has_brier,
    has_latency,
)
from collector_processor.monitors.independence import reference_alike
from collector_processor.reference.profile import Reference
from otel_ml import semconv

_ALIKE: Final[Mapping[str, float]] = {
    semconv.ROLE_ERROR: 1.0,  # a call fails as a whole
    semconv.ROLE_BRIER: np.nan,  # as labels are
    semconv.ROLE_LATENCY: 0.0,  # a call has one duration
    semconv.ROLE_ATTRIBUTION: np.nan,  # as the most dependent feature
}
"""How far the rows of a call depend on each other: 0 not at all, 1 they are alike, NaN is not known."""
_OF_LABELS: Final = frozenset({semconv.ROLE_BRIER})


@dataclass(frozen=True, slots=True)
class Plan:
    """What a reference leads to: the columns by kind, figures behind them, and what chance alone makes alike.

    ``figures`` are the roles of what is watched beside the columns, ``features`` the feature that each is about or an
    empty text. ``shares`` ``[C]`` is how far the rows of a call depend on each other where it is known, else NaN: it is
    measured.
    """

    blocks: tuple[Block, ...]
    figures: tuple[str, ...]
    features: tuple[str, ...]
    columns: int
    chance: F64
    shares: F64
    of_labels: Mask
    of_features: Mask


@dataclass(frozen=True)
class Planned:
    """The preparation of a reference for some settings; equal ones are prepared once."""

    tolerance: float
    objective_ns: int | None

    def __call__(self, reference: Reference) -> Plan:
        """Return the plan of a reference."""
        columns, tolerance = reference.schema.columns, self.tolerance
        figures = [semconv.ROLE_ERROR]
        if has_brier(reference):
            figures.append(semconv.ROLE_BRIER)
        if self.objective_ns is not None and has_latency(reference):
            figures.append(semconv.ROLE_LATENCY)
        explained, _ = attribution_caps(reference)
        features = (*(("",) * len(figures)), *explained)
        figures += [semconv.ROLE_ATTRIBUTION] * len(explained)
        total = len(columns) + len(figures)
        each = REFERENCE_DOUBT / total
        blocks: list[Block] = []
        for kind, count in ((Numbers, len(reference.schema.numeric)), (Texts, len(reference.schema.categorical))):
            if count:
                blocks.append(kind.of(reference, tolerance, each * count))
        blocks.append(Failures.of(reference, tolerance, each))
        if semconv.ROLE_BRIER in figures:
            blocks.append(Brier.of(reference, tolerance, each))
        if semconv.ROLE_LATENCY in figures:
            blocks.append(SlowCalls.of(reference, tolerance, each, (self.objective_ns or 0) / 1e9))
        if explained:
            blocks.append(Attributions.of(reference, tolerance, each))
        no = [False] * len(figures)
        return Plan(
            tuple(blocks),
            tuple(figures),
            features,
            total,
            np.append(reference.prepared(reference_alike), np.zeros(len(figures))),
            np.array([np.nan] * len(columns) + [_ALIKE[role] for role in figures]),
            np.array([*(column.role == "label" for column in columns), *(role in _OF_LABELS for role in figures)]),
            np.array([*(column.role == "feature" for column in columns), *no]),
        )
