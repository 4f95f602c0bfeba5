"""Drift of every column: how far its distribution in the window differs from the reference's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from math import inf
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from collector_processor.columns.batch import F64, I64, Mask
from collector_processor.drift import BY_FINE_BINS, DRIFT_METHODS, drift_method
from collector_processor.drift.method import Comparison, DriftMethod
from collector_processor.monitors.attributes import (
    COLUMN_KEYS,
    DRIFT_KEYS,
    MODEL_KEYS,
    column_attributes,
    drift_attributes,
    model_attributes,
)
from collector_processor.monitors.base import WINDOW, Measurement, Metric
from collector_processor.monitors.comparisons import (
    categorical_comparisons,
    numeric_comparison,
    reference_blocks,
    text_cells,
)
from collector_processor.monitors.drift_compat import compat_points
from collector_processor.monitors.drift_words import Drifted, column_words, drifted_columns, share_words, worst_of
from collector_processor.monitors.independence import independent_rows
from collector_processor.monitors.left_out import NAMED, LeftOut
from collector_processor.monitors.weighted_share import WEIGHTED_SHARE, weighted_share, weights_left_out
from collector_processor.reference.profile import Reference
from collector_processor.reference.task import listed
from collector_processor.settings.base import Settings
from collector_processor.statistics.parts.observed import Observed
from collector_processor.statistics.schema import ColumnSpec
from collector_processor.window.closed import Window
from otel_ml import semconv

SCORE = Metric(
    semconv.DRIFT_SCORE, semconv.UNIT_SCORE, "distance of the column's distribution from the reference's", DRIFT_KEYS
)
THRESHOLD = Metric(semconv.DRIFT_THRESHOLD, semconv.UNIT_SCORE, "score above which the column is in breach", DRIFT_KEYS)
BREACHED = Metric(
    semconv.DRIFT_BREACHED, semconv.UNIT_BREACH, "1 if the score is above the threshold, else 0", DRIFT_KEYS
)
P_VALUE = Metric(
    semconv.DRIFT_P_VALUE,
    semconv.UNIT_RATIO,
    "probability of such a score without drift (methods that test)",
    DRIFT_KEYS,
)
DRIFTED = Metric(
    semconv.DRIFT_DRIFTED,
    semconv.UNIT_BREACH,
    "1 if the column has drifted: it is in breach under a method that decides (`drift.features_by`, "
    "`drift.outputs_by`); else 0",
    COLUMN_KEYS,
)
SHARE = Metric(semconv.DRIFT_SHARE, semconv.UNIT_RATIO, "share of the evaluated features that have drifted", MODEL_KEYS)
LEAST_CELLS = 0.5
"""A column with fewer cells is empty: retracted labels leave rounding errors."""


def _above_zero(threshold: float) -> float:
    if not 0 < threshold < inf:
        raise ValueError(f"must be a number above 0, not {threshold:g}")
    return threshold


class DriftSettings(Settings):
    """Which drift methods run, and when a column is in breach."""

    numeric: tuple[str, ...] = Field(
        default=("psi", "js", "ks", "wasserstein"), description="methods for numeric columns"
    )
    categorical: tuple[str, ...] = Field(
        default=("psi", "js", "l_infinity", "cohen_h"), description="methods for categories"
    )
    features_by: tuple[str, ...] = Field(
        default=("js",),
        min_length=1,
        description="methods that decide whether a feature has drifted (any of them); if none of them runs for its "
        "kind, the first that runs decides",
    )
    outputs_by: tuple[str, ...] = Field(
        default=("js", "cohen_h"), min_length=1, description="the same for predictions, scores and labels"
    )
    thresholds: dict[str, Annotated[float, AfterValidator(_above_zero)]] = Field(
        default_factory=dict, description="threshold by method, overriding its default"
    )
    compat: Literal["", "nannyml", "evidently"] = Field(
        default="",
        description="also report the drift figures of this tool; build the profile with `--compat`",
    )
    alpha: float = Field(
        default=0.001,
        gt=0,
        lt=1,
        description="tolerated probability of a false alarm; small windows get higher thresholds",
    )

    @field_validator("numeric", "categorical")
    @classmethod
    def _of_kind(cls, names: tuple[str, ...], field: ValidationInfo) -> tuple[str, ...]:
        _check_methods(names, [method.name for method in DRIFT_METHODS if field.field_name in method.kinds])
        return names

    @field_validator("features_by", "outputs_by")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        _check_methods(names, [method.name for method in DRIFT_METHODS])
        return names

    @field_validator("thresholds")
    @classmethod
    def _of_methods(cls, thresholds: dict[str, float]) -> dict[str, float]:
        _check_methods(thresholds, sorted(method.name for method in DRIFT_METHODS))
        return thresholds


def _check_methods(names: Iterable[str], choices: Sequence[str]) -> None:
    unknown = ", ".join(repr(name) for name in names if name not in choices)
    if unknown:
        raise ValueError(f"unknown method {unknown}; allowed: {', '.join(choices)}")


class LeastRows(Settings):
    """How many rows a window needs before drift is evaluated."""

    min_rows: int = Field(default=500, ge=1, description="least rows for drift to be evaluated")


@dataclass(frozen=True, slots=True)
class _Verdict:
    """The results of one method for all columns of one kind, each ``[F]``; NaN for a column without a result."""

    score: F64
    threshold: F64
    p_value: F64

    @classmethod
    def none(cls, columns: int) -> _Verdict:
        """Return a verdict without results."""
        return cls(*(np.full(columns, np.nan) for _ in range(3)))

    def measured(self) -> Mask:
        """Return which columns have a score."""
        return np.isfinite(self.score)

    def breached(self) -> Mask:
        """Return which scores are above their threshold."""
        with np.errstate(invalid="ignore"):
            return self.score > self.threshold


class DriftMonitor:
    """Drift scores, thresholds and breaches of every column, and the share of features in breach.

    Every feature, prediction, score and label column of the reference is compared by each method of its kind. The
    threshold is the larger of the method's (``thresholds`` by method name, else its default) and the score that chance
    alone exceeds with probability ``alpha`` at the sizes of window and reference: small windows raise no
    false alarms.

    A window with fewer than ``min_rows`` rows (not weighted), a label column with fewer labels, and a column without
    cells on either side are not evaluated.

    ``ml.drift.drifted`` and ``ml.drift.share`` are what alerts should use. Few methods decide, because each further one
    adds false alarms, and only such that a single row cannot move: Wasserstein's distance is a mean, and one value of
    1e9 moves it as far as one likes. By default Jensen and Shannon's distance decides, and for outputs also Cohen's h,
    because rare classes matter there.
    """

    name: ClassVar[str] = "drift"
    metrics: ClassVar[Sequence[Metric]] = (SCORE, THRESHOLD, BREACHED, P_VALUE, DRIFTED, SHARE, WEIGHTED_SHARE)
    sections: ClassVar[Mapping[str, type[Settings]]] = {"drift": DriftSettings, WINDOW: LeastRows}
    takes_counts: ClassVar[bool] = True

    def __init__(self, settings: DriftSettings, least: LeastRows) -> None:
        self._numeric, self._categorical = _methods(settings.numeric), _methods(settings.categorical)
        self._features_by, self._outputs_by = settings.features_by, settings.outputs_by
        self._thresholds = settings.thresholds
        self._alpha = settings.alpha
        self._min_rows = least.min_rows
        self._compat = settings.compat

    def evaluate(self, window: Window, reference: Reference) -> list[Measurement]:
        """Return the window's drift, method by method."""
        measurements: list[Measurement] = []
        evaluated, found = list[str](), list[Drifted]()
        enough = window.pane.rows[1] >= self._min_rows
        independent = independent_rows(window.pane, window.schema, reference)
        counted = window.pane.further[Observed].numeric()
        for columns, methods, cells, comparisons in (
            (reference.schema.numeric, self._numeric, window.pane.counts.sum(axis=1), _numeric_comparisons),
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
            verdicts = self._verdicts(methods, allowed, counted, comparisons(window, reference, independent))
            for method, verdict in zip(methods, verdicts, strict=True):
                measurements += _measurements(window, columns, method.name, verdict)
            features = np.array([column.role == "feature" for column in columns], np.bool_)
            measured, drifted = self._decided(columns, methods, verdicts, features)
            measurements += _decisions(window, reference, columns, measured, drifted)
            evaluated += [columns[place].name for place in np.flatnonzero(features & measured).tolist()]
            found += [each for each in drifted if each.column.role == "feature"]
        if self._compat and enough and not counted.any():
            metrics = (SCORE, THRESHOLD, BREACHED, P_VALUE)
            measurements += compat_points(self._compat, metrics, self._min_rows, window, reference)
        if evaluated:
            worst = worst_of(found)
            share = len(worst) / len(evaluated)
            measurements.append(
                Measurement(
                    SHARE.name,
                    share,
                    SHARE.unit,
                    model_attributes(window.model),
                    window.end_ns,
                    words=share_words(share, worst, window, reference),
                )
            )
            measurements += weighted_share(window, reference, evaluated, worst)
        return measurements

    def left_out_of(self, window: Window, reference: Reference, measured: Sequence[Measurement]) -> Iterator[LeftOut]:
        """Yield what needs fine bins, of columns that senders count by coarse ones."""
        del measured
        columns = np.flatnonzero(window.pane.further[Observed].numeric()).tolist()
        names = [method.name for method in self._numeric if method.name in BY_FINE_BINS]
        if columns and (names or self._compat):
            left_out = [*names, *([f"compat: {self._compat}"] if self._compat else [])]
            words = listed([reference.schema.numeric[place].name for place in columns], NAMED)
            yield LeftOut(
                "counted", len(names) * len(columns), f"{', '.join(left_out)} of {words}: senders count them by decile"
            )

    def left_out(self, reference: Reference) -> Iterator[str]:
        """Yield what the attributions of the reference do not cover."""
        return weights_left_out(reference)

    def _decided(
        self,
        columns: tuple[ColumnSpec, ...],
        methods: Sequence[DriftMethod],
        verdicts: Sequence[_Verdict],
        features: Mask,
    ) -> tuple[Mask, list[Drifted]]:
        """Return which columns have a score under a method that decides, and those that have drifted."""
        measured, drifted = np.zeros_like(features), list[Drifted]()
        numeric = methods is self._numeric
        for names, chosen in ((self._features_by, features), (self._outputs_by, ~features)):
            pairs = [*zip(methods, verdicts, strict=True)]
            for method, verdict in [pair for pair in pairs if pair[0].name in names] or pairs[:1]:
                measured |= chosen & verdict.measured()
                drifted += drifted_columns(
                    columns, method.name, verdict.score, verdict.threshold, chosen & verdict.breached(), numeric=numeric
                )
        return measured, drifted

    def _verdicts(
        self,
        methods: Sequence[DriftMethod],
        allowed: Mask,
        counted: Mask,
        comparisons: Iterator[tuple[I64, Comparison]],
    ) -> list[_Verdict]:
        """Return each method's result for each allowed column; of cells that were ``counted``, none by fine bins."""
        verdicts = [_Verdict.none(len(allowed)) for _ in methods]
        for positions, comparison in comparisons:
            if not allowed[positions].any():
                continue
            for method, verdict in zip(methods, verdicts, strict=True):
                score = method.score(comparison)
                least = self._thresholds.get(method.name, method.threshold)
                measured = allowed & ~counted if method.name in BY_FINE_BINS else allowed
                verdict.score[positions] = np.where(measured[positions], score, np.nan)
                verdict.threshold[positions] = np.maximum(least, method.noise(comparison, self._alpha))
                p_value = method.p_value(comparison, score)
                if p_value is not None:
                    verdict.p_value[positions] = p_value
        return verdicts


def _numeric_comparisons(window: Window, reference: Reference, independent: F64) -> Iterator[tuple[I64, Comparison]]:
    """Yield numeric columns block by block: their positions and their comparison."""
    for block in reference.prepared(reference_blocks):
        yield np.arange(block.start, block.stop), numeric_comparison(block, window, independent)


def _decisions(
    window: Window,
    reference: Reference,
    columns: tuple[ColumnSpec, ...],
    measured: Mask,
    drifted: Sequence[Drifted],
) -> Iterator[Measurement]:
    """Return whether each column has drifted; outputs, which have alerts, say what changed."""
    attributes = column_attributes(window.model, columns)
    worst = {each.position: each for each in worst_of(drifted)}
    for place in np.flatnonzero(measured).tolist():
        found = worst.get(place)
        words = ""
        if found is not None and found.column.role != "feature":
            words = column_words(found, window, reference)
        yield Measurement(
            DRIFTED.name, float(found is not None), DRIFTED.unit, attributes[place], window.end_ns, words=words
        )


def _measurements(
    window: Window, columns: tuple[ColumnSpec, ...], method: str, verdict: _Verdict
) -> Iterator[Measurement]:
    """Return the measurements of one method: all scores, all thresholds, all breaches, all p-values."""
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


def _methods(names: Sequence[str]) -> tuple[DriftMethod, ...]:
    """Return the methods with these names, each once."""
    return tuple(drift_method(name) for name in dict.fromkeys(names))
