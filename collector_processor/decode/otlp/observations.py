"""Counts by bucket that applications send as metrics: ``ml.feature.observations`` and ``ml.prediction.observations``.

Only points that can be counted are read; the others are rejected with a reason, and forwarded like all metrics.
Exemplars are ignored.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final, NamedTuple

import numpy as np
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AggregationTemporality,
    DataPointFlags,
    Metric,
    NumberDataPoint,
    ResourceMetrics,
)

from collector_processor.columns.batch import Column, ModelKey
from collector_processor.columns.observations import CUMULATIVE, DELTA, ObservationBatch
from collector_processor.decode.limits import Tally
from collector_processor.decode.rules.attributes import Value, read
from collector_processor.decode.rules.cells import UnreadableError
from collector_processor.decode.rules.identity import ResourceModel, identity_of, resource_model_of
from otel_ml import semconv

NAMES: Final = (semconv.METRIC_FEATURE_OBSERVATIONS, semconv.METRIC_PREDICTION_OBSERVATIONS)
LARGEST: Final = 2.0**53
"""Counts beyond it are not exact."""
_TEMPORALITIES: Final = {
    AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA: DELTA,
    AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE: CUMULATIVE,
}
_NOT_RECORDED: Final = DataPointFlags.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK
_LATEST: Final = 2**63 - 1
_OVERFLOW: Final = "otel.metric.overflow"
_OUTPUTS: Final = ("prediction", "score")
_OF_SENDER: Final = (
    semconv.MODEL_NAME, semconv.MODEL_VERSION, semconv.REFERENCE_ID, semconv.OBSERVATION_IN_SPAN, _OVERFLOW,
)  # fmt: skip
_PLAIN: Final = (str, bool, type(None))


class _Sender(NamedTuple):
    """What all points of a batch have in common."""

    model: ModelKey
    digest: str
    reference: str
    temporality: str
    in_span: str


@dataclass(slots=True)
class _Texts:
    """A column of texts under construction."""

    codes: list[int] = field(default_factory=list[int])
    known: dict[str, int] = field(default_factory=dict[str, int])

    def add(self, text: str | None) -> None:
        """Append a cell, missing without a text."""
        self.codes.append(-1 if text is None else self.known.setdefault(text, len(self.known)))

    def column(self) -> Column:
        """Return the column."""
        return Column(None, np.array(self.codes, np.int32), tuple(self.known))


@dataclass(slots=True)
class _Points:
    """The points of one sender under construction."""

    start_ns: list[int] = field(default_factory=list[int])
    time_ns: list[int] = field(default_factory=list[int])
    counts: list[float] = field(default_factory=list[float])
    roles: _Texts = field(default_factory=_Texts)
    names: _Texts = field(default_factory=_Texts)
    buckets: _Texts = field(default_factory=_Texts)

    def add(self, point: NumberDataPoint, of: tuple[str | None, str, str], received_ns: int) -> None:
        """Append a point: its role, name and bucket."""
        count, time_ns, start_ns = _count(point), point.time_unix_nano or received_ns, point.start_time_unix_nano
        if time_ns > _LATEST or start_ns > time_ns:
            raise UnreadableError("its time is before its start, or too late")
        role, name, bucket = of
        self.start_ns.append(start_ns)
        self.time_ns.append(time_ns)
        self.counts.append(count)
        self.roles.add(role)
        self.names.add(name)
        self.buckets.add(bucket)

    def batch(self, sender: _Sender) -> ObservationBatch:
        """Return the batch of these points."""
        return ObservationBatch(
            sender.model,
            sender.digest,
            sender.reference,
            sender.temporality,
            sender.in_span,
            np.array(self.start_ns, np.int64),
            np.array(self.time_ns, np.int64),
            np.array(self.counts, np.float64),
            self.roles.column(),
            self.names.column(),
            self.buckets.column(),
        )


class Observations:
    """Collects the counts of one request."""

    def __init__(self, received_ns: int, tally: Tally) -> None:
        self._received_ns = received_ns
        self._tally = tally
        self._points: dict[_Sender, _Points] = {}

    def batches(self) -> tuple[ObservationBatch, ...]:
        """Return what was collected."""
        return tuple(points.batch(sender) for sender, points in self._points.items())

    def take(self, resource_metrics: ResourceMetrics) -> None:
        """Read the counts of one resource."""
        found = [metric for scope in resource_metrics.scope_metrics for metric in scope.metrics if metric.name in NAMES]
        if not found:
            return
        model = resource_model_of(resource_metrics.resource.attributes)
        resource = resource_metrics.resource.SerializeToString(deterministic=True)
        digest = blake2b(resource, digest_size=8).hexdigest()
        for metric in found:
            self._take(metric, model, digest)

    def _take(self, metric: Metric, model: ResourceModel, digest: str) -> None:
        temporality = _TEMPORALITIES.get(metric.sum.aggregation_temporality)
        if metric.WhichOneof("data") != "sum" or not metric.sum.is_monotonic or temporality is None:
            self._tally.reject(f"metric {metric.name!r}", "not a monotonic sum, delta or cumulative")
            return
        if not self._tally.take_rows(len(metric.sum.data_points)):
            return
        take = _feature if metric.name == semconv.METRIC_FEATURE_OBSERVATIONS else _output
        known: dict[tuple[Value, ...], _Points | None] = {}
        for point in metric.sum.data_points:
            if point.flags & _NOT_RECORDED:
                continue
            try:
                values = read(point.attributes)[0]
                shown = tuple(map(values.get, _OF_SENDER))
                # Nearly all points of a metric have one sender. Only texts and truth values are alike as keys.
                plain = all(type(value) in _PLAIN for value in shown)
                points = known.get(shown) if plain else None
                if points is None:
                    points = self._of_sender(values, model, digest, temporality)
                    if plain:
                        known[shown] = points
                if points is not None:
                    points.add(point, take(values), self._received_ns)
            except UnreadableError as error:
                self._tally.reject(f"point of {metric.name!r}", str(error))

    def _of_sender(
        self, values: dict[str, Value], model: ResourceModel, digest: str, temporality: str
    ) -> _Points | None:
        """Return the points of the sender of a point; None if there are too many of them."""
        if _OVERFLOW in values:
            raise UnreadableError("the application has more series than the cardinality limit of its SDK")
        identity = identity_of(values, model, self._tally.limits.text_length)
        reference = _text(values, semconv.REFERENCE_ID) or ""
        in_span = values.get(semconv.OBSERVATION_IN_SPAN, False)
        if not isinstance(in_span, bool):
            raise UnreadableError(f"{semconv.OBSERVATION_IN_SPAN} is not a truth value")
        sender = _Sender(
            ModelKey(identity.name, identity.version), digest, reference, temporality, "true" if in_span else ""
        )
        points = self._points.get(sender)
        if points is None:
            if len(self._points) >= self._tally.limits.models:
                self._tally.drop("models_over_limit")
                return None
            points = self._points[sender] = _Points()
        return points


def _count(point: NumberDataPoint) -> float:
    kind = point.WhichOneof("value")
    if kind is None:
        raise UnreadableError("it has no value")
    count = float(point.as_int if kind == "as_int" else point.as_double)
    if not math.isfinite(count) or not 0.0 <= count <= LARGEST:
        raise UnreadableError(f"{count:g} is not a count")
    return count


def _feature(values: dict[str, Value]) -> tuple[str, str, str]:
    name, bucket = _text(values, semconv.FEATURE_NAME), _text(values, semconv.FEATURE_BUCKET)
    if not name or bucket is None:
        raise UnreadableError(f"{semconv.FEATURE_NAME} or {semconv.FEATURE_BUCKET} is missing")
    return "feature", name, bucket


def _output(values: dict[str, Value]) -> tuple[str | None, str, str]:
    role, bucket = _text(values, semconv.COLUMN_ROLE), _text(values, semconv.PREDICTION_BUCKET)
    if role is None and bucket is None:
        return None, "", _text(values, semconv.ERROR_TYPE) or ""
    if role not in _OUTPUTS or bucket is None:
        raise UnreadableError(
            f"{semconv.COLUMN_ROLE} must be one of {', '.join(_OUTPUTS)}, with a {semconv.PREDICTION_BUCKET}"
        )
    return role, role, bucket


def _text(values: dict[str, Value], name: str) -> str | None:
    value = values.get(name)
    if value is None or isinstance(value, str):
        return value
    raise UnreadableError(f"{name} is not a string")
