"""Detect rows that no longer lie where the reference's rows lie, whatever each feature alone looks like."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import isnan, nan, sqrt
from typing import ClassVar, Final

import numpy as np

from collector_processor.columns.batch import F64
from collector_processor.monitors.attributes import MODEL_KEYS, model_attributes
from collector_processor.monitors.base import WINDOW, Measurement, Metric
from collector_processor.monitors.drift import LeastRows
from collector_processor.reference.profile import Reference
from collector_processor.settings.base import Settings
from collector_processor.statistics.fits.reconstruction import SIGMAS, Reconstruction
from collector_processor.statistics.parts.reconstruction_sums import ReconstructionSums
from collector_processor.window.closed import Window
from otel_ml import semconv

ERROR = Metric(
    semconv.MULTIVARIATE_RECONSTRUCTION,
    semconv.UNIT_RATIO,
    "mean distance of rows from the principal components of the reference, in standard deviations",
    MODEL_KEYS,
)
LOWER = Metric(
    semconv.MULTIVARIATE_RECONSTRUCTION_LOWER,
    semconv.UNIT_RATIO,
    f"`{ERROR.name}` minus three standard errors, at least 0",
    MODEL_KEYS,
)
UPPER = Metric(
    semconv.MULTIVARIATE_RECONSTRUCTION_UPPER,
    semconv.UNIT_RATIO,
    f"`{ERROR.name}` plus three standard errors",
    MODEL_KEYS,
)
LOWER_LIMIT = Metric(
    semconv.MULTIVARIATE_RECONSTRUCTION_LOWER_LIMIT,
    semconv.UNIT_RATIO,
    f"least `{ERROR.name}` that ten parts of the reference and chance explain",
    MODEL_KEYS,
)
UPPER_LIMIT = Metric(
    semconv.MULTIVARIATE_RECONSTRUCTION_UPPER_LIMIT,
    semconv.UNIT_RATIO,
    f"greatest `{ERROR.name}` that ten parts of the reference and chance explain",
    MODEL_KEYS,
)
BREACHED = Metric(
    semconv.MULTIVARIATE_RECONSTRUCTION_BREACHED,
    semconv.UNIT_BREACH,
    f"whether `{ERROR.name}` is outside of its limits: 1 if so",
    MODEL_KEYS,
)
SHARE = Metric(
    semconv.MULTIVARIATE_RECONSTRUCTION_SHARE,
    semconv.UNIT_RATIO,
    "share of a feature in the change of the squared distances, of the features that changed most; only of a breach",
    (*MODEL_KEYS, semconv.FEATURE_NAME),
)
_NAMED: Final = 5
"""Most features that a breach names."""


class ReconstructionMonitor:
    """How far rows are from the space in which most of the reference's rows lie (:class:`.Reconstruction`).

    Features that depend on each other leave most directions empty. Rows that leave that space make the mean distance
    larger; rows in its middle, such as those of a default value, make it smaller. The figure, its standard error, and
    at windows as large as a tenth of the reference its limits, are those of NannyML's reconstruction error.
    """

    name: ClassVar[str] = "reconstruction"
    metrics: ClassVar[Sequence[Metric]] = (ERROR, LOWER, UPPER, LOWER_LIMIT, UPPER_LIMIT, BREACHED, SHARE)
    sections: ClassVar[Mapping[str, type[Settings]]] = {WINDOW: LeastRows}

    def __init__(self, least: LeastRows) -> None:
        self._min_rows = least.min_rows

    def evaluate(self, window: Window, reference: Reference) -> list[Measurement]:
        """Return the error with its band and limits, and of a breach the features that changed most."""
        fit, part = reference.schema.fit(Reconstruction), window.pane.further[ReconstructionSums]
        if fit is None or not len(part.rows) or part.rows[2] < self._min_rows or not part.rows[0] > 0.0:
            return []
        mean, error, independent = _mean(part)
        low, high = fit.limits(independent)
        breached = mean < low or mean > high
        shares = _shares(fit, part) if breached else np.zeros(0)
        worst = [place for place in np.argsort(-shares, kind="stable")[:_NAMED].tolist() if shares[place] > 0.0]
        names = [reference.schema.columns[position].name for position in fit.positions.tolist()]
        model = model_attributes(window.model)
        words = _words(mean, low, high, [(names[place], float(shares[place])) for place in worst]) if breached else ""

        def measured() -> Iterator[Measurement]:
            for metric, value in (
                (ERROR, mean),
                (LOWER, max(mean - SIGMAS * error, 0.0)),
                (UPPER, mean + SIGMAS * error),
                (LOWER_LIMIT, low),
                (UPPER_LIMIT, high),
                (BREACHED, float(breached)),
            ):
                if not isnan(value):
                    yield Measurement(metric.name, value, metric.unit, model, window.end_ns, words=words)
            for place in worst:
                attributes = (*model, (semconv.FEATURE_NAME, names[place]))
                yield Measurement(SHARE.name, float(shares[place]), SHARE.unit, attributes, window.end_ns, words=words)

        return list(measured())


def _mean(part: ReconstructionSums) -> tuple[float, float, float]:
    """Return the mean error, its standard error (ddof 1; NaN of one row), and how many independent rows it is of."""
    total, squared = part.rows[:2].tolist()
    mean = float(part.errors[0]) / total
    independent = total * total / squared
    if independent <= 1.0:
        return mean, nan, independent
    return mean, sqrt(max(float(part.errors[1]) / total - mean**2, 0.0) / (independent - 1.0)), independent


def _shares(fit: Reconstruction, part: ReconstructionSums) -> F64:
    """Return the share of each feature, ``[K]``, in what the mean squared residuals changed in the main direction."""
    change = part.squares / part.rows[0] - fit.squares
    change = np.maximum(change if change.sum() > 0.0 else -change, 0.0)
    return change / change.sum() if change.sum() > 0.0 else change


def _words(mean: float, low: float, high: float, worst: Sequence[tuple[str, float]]) -> str:
    """Return, for example, ``reconstruction error 1.42, above 1.30; most of it: age 61 %, income 20 %``."""
    limit = f"above {high:.3g}" if mean > high else f"below {low:.3g}"
    features = ", ".join(f"{name[:40]} {share:.0%}" for name, share in worst).replace("%", " %")
    return f"reconstruction error {mean:.3g}, {limit}" + (f"; most of the change: {features}" if features else "")
