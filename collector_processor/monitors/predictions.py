"""``ml.predictions``: number of predictions, by class and error; the only cumulative counter of a model."""

from __future__ import annotations

import numpy as np

from collector_processor.columns.batch import Column, ModelKey, PredictionBatch
from collector_processor.monitors.base import Measurement, Metric
from otel_ml import semconv

OTHER = "other"
PREDICTIONS = Metric(
    semconv.PREDICTIONS,
    semconv.UNIT_PREDICTION,
    "predictions since the service started, with sampling weights",
    (semconv.MODEL_NAME, semconv.MODEL_VERSION, semconv.PREDICTION_CLASS, semconv.ERROR_TYPE),
    "counter",
)


class PredictionCounter:
    """Counts one model's predictions by class and error type, at most ``limit`` of each; the rest are ``other``.

    >>> counter = PredictionCounter(ModelKey("fraud"), start_ns=0, limit=10)
    >>> counter.add(PredictionBatch(
    ...     ModelKey("fraud"), np.zeros(3, np.int64), np.zeros((3, 2), np.uint64), np.ones(3), np.zeros(3),
    ...     prediction=Column(codes=np.array([0, 1, 0], np.int32), categories=("no", "yes"))))
    >>> [(dict(item.attributes)["ml.prediction.class"], item.value) for item in counter.measurements(5)]
    [('no', 2.0), ('yes', 1.0)]
    """

    def __init__(self, key: ModelKey, start_ns: int, limit: int) -> None:
        self._key = key
        self._start_ns = start_ns
        self._limit = limit
        self._totals: dict[tuple[str, str], float] = {}
        self._seen: tuple[set[str], set[str]] = (set(), set())

    @property
    def total(self) -> float:
        """All predictions so far."""
        return sum(self._totals.values())

    def add(self, batch: PredictionBatch) -> None:
        """Count a batch."""
        classes, class_codes = _texts(batch.prediction, len(batch))
        errors, error_codes = _texts(batch.error, len(batch))
        pairs = class_codes * len(errors) + error_codes
        weights = np.bincount(pairs, batch.weights, len(classes) * len(errors))
        for pair in np.flatnonzero(weights):
            self.count(classes[pair // len(errors)], errors[pair % len(errors)], float(weights[pair]))

    def count(self, class_: str, error: str, weight: float) -> None:
        """Count predictions of one class and error type; nothing for a weight of 0 or less."""
        if weight > 0.0:
            name = self._bounded(0, class_), self._bounded(1, error)
            self._totals[name] = self._totals.get(name, 0.0) + weight

    def _bounded(self, which: int, name: str) -> str:
        seen = self._seen[which]
        if name in seen or len(seen) < self._limit:
            seen.add(name)
            return name
        return OTHER

    def measurements(self, time_ns: int) -> list[Measurement]:
        """Return the totals so far."""
        model = ((semconv.MODEL_NAME, self._key.name), (semconv.MODEL_VERSION, self._key.version))
        measurements: list[Measurement] = []
        for (class_, error), total in self._totals.items():
            extra = ((semconv.PREDICTION_CLASS, class_),) if class_ else ()
            extra += ((semconv.ERROR_TYPE, error),) if error else ()
            measurements.append(
                Measurement(
                    PREDICTIONS.name, total, PREDICTIONS.unit, model + extra, time_ns, "counter", self._start_ns
                )
            )
        return measurements


def _texts(column: Column | None, rows: int) -> tuple[tuple[str, ...], np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """Return the texts of a column, the empty text last, and each row's position among them."""
    if column is None or column.codes is None:
        return ("",), np.zeros(rows, np.int64)
    codes = column.codes.astype(np.int64)
    codes[codes < 0] = len(column.categories)
    return (*column.categories, ""), codes
