"""Drift of every column: how far its distribution in the window is from the reference's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat

import numpy as np

from collector_processor.columns.batch import F64, I64, Mask
from collector_processor.drift import drift_method
from collector_processor.drift.base import Comparison, DriftMethod, Kind
from collector_processor.monitors.attributes import DRIFT_KEYS, MODEL_KEYS, drift_attributes, model_attributes
from collector_processor.monitors.base import Measurement, Metric
from collector_processor.monitors.comparisons import (
    Block,
    categorical_comparisons,
    numeric_comparison,
    reference_blocks,
    text_cells,
)
from collector_processor.reference.profile import Reference
from collector_processor.statistics.schema import ColumnSpec
from collector_processor.window.base import Window
from otel_ml import semconv

SCORE = Metric(
    semconv.DRIFT_SCORE, semconv.UNIT_SCORE, "distance of the column's distribution from the reference's", DRIFT_KEYS
)
THRESHOLD = Metric(semconv.DRIFT_THRESHOLD, semconv.UNIT_SCORE, "score above which the column is in breach", DRIFT_KEYS)
BREACHED = Metric(
    semconv.DRIFT_BREACHED, semconv.UNIT_BREACH, "1 where the score is above the threshold, else 0", DRIFT_KEYS
)
P_VALUE = Metric(
    semconv.DRIFT_P_VALUE,
    semconv.UNIT_RATIO,
    "probability of such a score without drift (methods that test)",
    DRIFT_KEYS,
)
SHARE = Metric(semconv.DRIFT_SHARE, semconv.UNIT_RATIO, "share of the judged features that are in breach", MODEL_KEYS)
LEAST_CELLS = 0.5
"""A column with fewer cells is empty: retracted labels leave rounding errors behind."""
_PREPARED = 4
"""References whose side is kept prepared by one monitor, oldest out first."""


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What one method says of all columns of one kind, each ``[F]``; NaN where it says nothing."""

    score: F64
    threshold: F64
    p_value: F64

    @classmethod
    def none(cls, columns: int) -> _Verdict:
        """Nothing said yet."""
        return cls(*(np.full(columns, np.nan) for _ in range(3)))

    def breached(self) -> Mask:
        """Which scores are above their threshold."""
        with np.errstate(invalid="ignore"):
            return self.score > self.threshold


class DriftMonitor:
    """Drift scores, thresholds and breaches of every column, and the share of features in breach.

    Every feature, prediction, score and label column of the reference is compared by each method of its kind. The
    threshold is the larger of the method's (``thresholds`` by method name, else its default) and the score that chance
    alone exceeds with probability ``alpha`` at the sizes of window and reference: small windows ring no false alarms.

    Nothing is said of a window with fewer than ``min_rows`` rows (not weighted), of a label column with fewer labels,
    of a column without cells on either side. ``ml.drift.share`` takes, for each feature, the first method of its kind.

    Raises ``ValueError`` for unknown methods, methods of the other kind, and numbers out of range.
    """

    name = "drift"
    metrics: Sequence[Metric] = (SCORE, THRESHOLD, BREACHED, P_VALUE, SHARE)

    def __init__(
        self,
        *,
        numeric_methods: Sequence[str] = ("psi", "js", "ks", "wasserstein"),
        categorical_methods: Sequence[str] = ("psi", "js", "l_infinity", "chi2"),
        thresholds: Mapping[str, float] | None = None,
        alpha: float = 0.001,
        min_rows: int = 500,
    ) -> None:
        if not 0.0 < alpha < 1.0:
            raise ValueError(f"alpha is {alpha}; it must be between 0 and 1")
        if min_rows < 0:
            raise ValueError(f"min_rows is {min_rows}; it must be 0 or more")
        self._numeric = _methods(numeric_methods, "numeric")
        self._categorical = _methods(categorical_methods, "categorical")
        self._thresholds = _checked(thresholds or {})
        self._alpha = alpha
        self._min_rows = min_rows
        self._prepared: list[tuple[Reference, tuple[Block, ...]]] = []

    def evaluate(self, window: Window, reference: Reference) -> list[Measurement]:
        """The window's drift, method by method."""
        found: list[Measurement] = []
        judged = breached = 0
        enough = window.pane.rows[1] >= self._min_rows
        for columns, methods, cells, comparisons in (
            (reference.schema.numeric, self._numeric, window.pane.counts.sum(axis=1), self._numeric_comparisons),
            (
                reference.schema.categorical,
                self._categorical,
                text_cells(window.pane, window.schema.categories),
                categorical_comparisons,
            ),
        ):
            of_label = np.array([column.role == "label" for column in columns], np.bool_)
            allowed = np.where(of_label, cells >= self._min_rows, enough) & (cells > LEAST_CELLS)
            if not methods or not allowed.any():
                continue
            verdicts = self._verdicts(methods, allowed, comparisons(window, reference))
            for method, verdict in zip(methods, verdicts, strict=True):
                found += _measurements(window, columns, method.name, verdict)
            features = np.array([column.role == "feature" for column in columns], np.bool_)
            judged += int(np.count_nonzero(features & np.isfinite(verdicts[0].score)))
            breached += int(np.count_nonzero(features & verdicts[0].breached()))
        if judged:
            share = breached / judged
            found.append(Measurement(SHARE.name, share, SHARE.unit, model_attributes(window.model), window.end_ns))
        return found

    def _verdicts(
        self, methods: Sequence[DriftMethod], allowed: Mask, comparisons: Iterator[tuple[I64, Comparison]]
    ) -> list[_Verdict]:
        """What each method says of each allowed column."""
        verdicts = [_Verdict.none(len(allowed)) for _ in methods]
        for positions, comparison in comparisons:
            if not allowed[positions].any():
                continue
            for method, verdict in zip(methods, verdicts, strict=True):
                score = method.score(comparison)
                least = self._thresholds.get(method.name, method.threshold)
                verdict.score[positions] = np.where(allowed[positions], score, np.nan)
                verdict.threshold[positions] = np.maximum(least, method.noise(comparison, self._alpha))
                p_value = method.p_value(comparison, score)
                if p_value is not None:
                    verdict.p_value[positions] = p_value
        return verdicts

    def _numeric_comparisons(self, window: Window, reference: Reference) -> Iterator[tuple[I64, Comparison]]:
        """Numeric columns block by block: their positions and their comparison."""
        for block in self._blocks(reference):
            yield np.arange(block.start, block.stop), numeric_comparison(block, window)

    def _blocks(self, reference: Reference) -> tuple[Block, ...]:
        """The reference's side, prepared once as long as the same reference comes."""
        for known, blocks in self._prepared:
            if known is reference:
                return blocks
        blocks = reference_blocks(reference)
        self._prepared = [*self._prepared, (reference, blocks)][-_PREPARED:]
        return blocks


def _measurements(
    window: Window, columns: tuple[ColumnSpec, ...], method: str, verdict: _Verdict
) -> Iterator[Measurement]:
    """The data points of one method: all scores, all thresholds, all breaches, all p-values."""
    attributes = drift_attributes(window.model, columns, method)
    for metric, values in (
        (SCORE, verdict.score),
        (THRESHOLD, verdict.threshold),
        (BREACHED, verdict.breached().astype(np.float64)),
        (P_VALUE, verdict.p_value),
    ):
        places = np.flatnonzero(np.isfinite(verdict.score) & np.isfinite(values))
        yield from map(
            Measurement,
            repeat(metric.name),
            values[places].tolist(),
            repeat(metric.unit),
            [attributes[place] for place in places.tolist()],
            repeat(window.end_ns),
        )


def _methods(names: Sequence[str], kind: Kind) -> tuple[DriftMethod, ...]:
    """The methods of those names, each once; all must work on the kind."""
    methods = tuple(drift_method(name) for name in dict.fromkeys(names))
    for method in methods:
        if kind not in method.kinds:
            raise ValueError(
                f"drift method '{method.name}' works on {', '.join(method.kinds)} columns, not {kind} ones"
            )
    return methods


def _checked(thresholds: Mapping[str, float]) -> dict[str, float]:
    """Thresholds of known methods, all of them finite and 0 or more."""
    for name, threshold in thresholds.items():
        method = drift_method(name)
        if not 0.0 <= threshold < float("inf"):
            raise ValueError(f"threshold of drift method '{method.name}' is {threshold}; it must be 0 or more")
    return dict(thresholds)
