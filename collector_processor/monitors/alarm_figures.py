"""Figures of a model that alarms watch beside its columns: squared errors of scores, slow calls, attributions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from collector_processor.columns.batch import F64
from collector_processor.detectors.bounded import Bets, mean_limits
from collector_processor.detectors.dictionary import Dictionary, dictionary
from collector_processor.monitors.drift_words import percent
from collector_processor.monitors.independence import independent_rows, rows_per_weight
from collector_processor.reference.profile import Reference
from collector_processor.statistics.fits.attribution_baseline import AttributionBaseline
from collector_processor.statistics.latency import latency_bins
from collector_processor.statistics.pane import Pane
from collector_processor.statistics.parts.attribution_means import AttributionMeans
from collector_processor.statistics.parts.label_moments import SCORED, LabelMoments
from collector_processor.window.closed import Window
from otel_ml.semconv import Change

LEAST_LABELS: Final = 100
"""Labeled rows with a score that a reference needs."""
LEAST_CALLS: Final = 100
"""Calls with a duration that a reference needs."""
_FOURTH: Final = SCORED.index("brier_2")


@dataclass(frozen=True, slots=True)
class Brier:
    """The squared error of the score of labeled rows, as one column of bounded values."""

    dictionary: Bets
    mean: float

    @classmethod
    def of(cls, reference: Reference, tolerance: float, doubt: float) -> Brier:
        """Return the block of a reference that :func:`has_brier`."""
        count, total, squares = _error_sums(reference.pane)[0].tolist()
        label = next(i for i, column in enumerate(reference.schema.columns) if column.role == "label")
        scale = float(independent_rows(reference.pane, reference.schema)[label])
        low, high = mean_limits(count * scale, total * scale, squares * scale, doubt)
        return cls(Bets.of(np.array([low - tolerance]), np.array([high + tolerance])), total / count)

    def cells(self, window: Window) -> F64:
        """Return the number of labels, Σ x and Σ x², ``[1, 3]``."""
        return np.maximum(_error_sums(window.pane), 0.0)

    def change(self, column: int, cell: int, *, gained: bool) -> Change:
        """Return the value of ``ml.drift.change``."""
        return "mean_up" if gained else "mean_down"

    def words(self, column: int, cell: int, window: Window, *, gained: bool) -> str:
        """Return what changed, for a person."""
        return f"the squared error of the score has {'risen' if gained else 'fallen'}, before {self.mean:.3g}"


def has_brier(reference: Reference) -> bool:
    """Return whether a reference shows how large squared errors of scores are."""
    schema = reference.schema
    if schema.task != "binary_classification" or not any(column.role == "label" for column in schema.columns):
        return False
    return float(_error_sums(reference.pane)[0, 0]) * rows_per_weight(reference.pane) >= LEAST_LABELS


def _error_sums(pane: Pane) -> F64:
    """Return the number of labels with a probability as score, Σ (p − y)² and Σ (p − y)⁴, ``[1, 3]``."""
    moments = pane.further[LabelMoments].scored
    if not len(pane.outcomes.scored) or not len(moments):
        return np.zeros((1, 3))
    count, total, _ = pane.outcomes.scored[0].tolist()
    # Profiles of version 0.1 have no fourth powers, which are at most the squares.
    return np.array([[count, total, float(moments[0, _FOURTH]) if moments[0, 0] else total]])


@dataclass(frozen=True, slots=True)
class SlowCalls:
    """Calls that take longer than the objective, as one column of two cells."""

    dictionary: Dictionary
    objective_s: float
    share: float

    @classmethod
    def of(cls, reference: Reference, tolerance: float, doubt: float, objective_s: float) -> SlowCalls:
        """Return the block of a reference that :func:`has_latency`."""
        cells = _slow_cells(reference.pane, objective_s)
        found = dictionary(cells * rows_per_weight(reference.pane), np.array([[False, True]]), 0, tolerance, doubt)
        return cls(found, objective_s, float(cells[0, 1] / cells.sum()))

    def cells(self, window: Window) -> F64:
        """Return calls within the objective, and slower ones, ``[1, 2]``."""
        return np.maximum(_slow_cells(window.pane, self.objective_s), 0.0)

    def change(self, column: int, cell: int, *, gained: bool) -> Change:
        """Return the value of ``ml.drift.change``."""
        return "slow_up" if gained else "slow_down"

    def words(self, column: int, cell: int, window: Window, *, gained: bool) -> str:
        """Return what changed, for a person."""
        which = f"{'more' if gained else 'fewer'} calls take longer than {self.objective_s:g} s"
        return f"{which}, before {percent(self.share)}"


@dataclass(frozen=True, slots=True)
class Attributions:
    """The mean absolute attribution of each feature, cut off where the reference has few: columns of bounded values."""

    dictionary: Bets
    means: F64

    @classmethod
    def of(cls, reference: Reference, tolerance: float, doubt: float) -> Attributions:
        """Return the block of a reference with :func:`attribution_caps`; ``doubt`` is that of one feature."""
        sums, caps = reference.pane.further[AttributionMeans].sums, attribution_caps(reference)[1]
        scale = float(independent_rows(reference.pane, reference.schema).min(initial=1.0))
        limits = np.array(
            [mean_limits(count, total, squares, doubt) for count, total, squares in (sums * scale).tolist()]
        )
        means = sums[:, 1] / np.maximum(sums[:, 0], 1e-300) * caps
        return cls(Bets.of(limits[:, 0] - tolerance, limits[:, 1] + tolerance), means)

    def cells(self, window: Window) -> F64:
        """Return the number of attributions, Σ x and Σ x², ``[C, 3]``."""
        return np.maximum(window.pane.further[AttributionMeans].sums, 0.0)

    def change(self, column: int, cell: int, *, gained: bool) -> Change:
        """Return the value of ``ml.drift.change``."""
        return "mean_up" if gained else "mean_down"

    def words(self, column: int, cell: int, window: Window, *, gained: bool) -> str:
        """Return what changed, for a person."""
        return f"the mean absolute attribution has {'risen' if gained else 'fallen'}, before {self.means[column]:.3g}"


def attribution_caps(reference: Reference) -> tuple[tuple[str, ...], F64]:
    """Return the features whose mean absolute attributions can be watched, and where they are cut off."""
    baseline = reference.schema.fit(AttributionBaseline)
    if baseline is None or baseline.caps is None:
        return (), np.zeros(0)
    return baseline.names, baseline.caps


def lacks_caps(reference: Reference) -> bool:
    """Return whether a reference has attributions, but was built before their caps were."""
    baseline = reference.schema.fit(AttributionBaseline)
    return baseline is not None and baseline.caps is None


def has_latency(reference: Reference) -> bool:
    """Return whether a reference shows how long calls take."""
    return float(reference.pane.latency[0].sum()) * rows_per_weight(reference.pane) >= LEAST_CALLS


def _slow_cells(pane: Pane, objective_s: float) -> F64:
    """Return calls within an objective and slower ones, ``[1, 2]``; durations are known to 1 %."""
    within = int(latency_bins(np.array([objective_s]))[0]) + 1
    return np.array([[pane.latency[0, :within].sum(), pane.latency[0, within:].sum()]])
