"""Makes tracer and instruments once per provider, and redirects all of them while a test captures."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import Final, Protocol
from weakref import WeakKeyDictionary, WeakSet, ref

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Histogram, MeterProvider, NoOpHistogram, Observation
from opentelemetry.trace import TracerProvider

from otel_ml.delivery.gather import Gatherer
from otel_ml.emit.counted import CountedTracer
from otel_ml.emit.observations import MAX_ERRORS, Observations, Observed
from otel_ml.emit.profile import Profile
from otel_ml.emit.redaction import Redaction
from otel_ml.problems import report
from otel_ml.semconv import (
    COLUMN_ROLE,
    ERROR_TYPE,
    FEATURE_BUCKET,
    FEATURE_NAME,
    INSTRUMENTATION_SCOPE,
    METRIC_ATTRIBUTIONS_DROPPED,
    METRIC_FEATURE_OBSERVATIONS,
    METRIC_PREDICTION_DURATION,
    METRIC_PREDICTION_OBSERVATIONS,
    METRIC_PREDICTION_ROWS,
    METRIC_PREDICTION_SCORE,
    METRIC_PREDICTIONS_DROPPED,
    OBSERVATION_IN_SPAN,
    OBSERVATIONS_PART,
    PREDICTION_BUCKET,
    REFERENCE_ID,
    SCHEMA_URL,
    UNIT_OBSERVATION,
    UNIT_PREDICTION,
    UNIT_RATIO,
    UNIT_ROW,
    UNIT_SECOND,
)

DURATION_EDGES_S: Final = (1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
ROW_EDGES: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 100_000, 1_000_000)
SCORE_EDGES: Final = tuple(step / 20 for step in range(1, 21))
"""Twenty buckets from 0 to 1; a score that is not a probability falls into the overflow bucket."""


MAX_OBSERVED: Final = 256
"""Models whose feature observations one meter counts."""
SERIES: Final = 1990
"""Series of one instrument: beyond 2,000, the SDK puts everything together."""


def _record_all(records: Iterable[Callable[[], object]]) -> None:
    for record in records:
        record()


class Movable(Protocol):
    """An object that uses the current providers."""

    def bind(self) -> None:
        """Get tracer and instruments from the current providers."""
        ...


class Meters:
    """The instruments of section 3 of the semantic conventions, on one meter."""

    def __init__(self, provider: MeterProvider | None) -> None:
        meter = metrics.get_meter(INSTRUMENTATION_SCOPE, package_version(), provider, SCHEMA_URL)
        self.duration = meter.create_histogram(
            METRIC_PREDICTION_DURATION,
            UNIT_SECOND,
            "Duration of a prediction call.",
            explicit_bucket_boundaries_advisory=DURATION_EDGES_S,
        )
        self.rows = meter.create_histogram(
            METRIC_PREDICTION_ROWS,
            UNIT_ROW,
            "Rows of a prediction call.",
            explicit_bucket_boundaries_advisory=ROW_EDGES,
        )
        self.score = meter.create_histogram(
            METRIC_PREDICTION_SCORE,
            UNIT_RATIO,
            "Scores of predictions; an even sample of a batch.",
            explicit_bucket_boundaries_advisory=SCORE_EDGES,
        )
        self.unexplained = meter.create_counter(
            METRIC_ATTRIBUTIONS_DROPPED,
            UNIT_PREDICTION,
            "Predictions of the sample that is explained that were sent without attributions.",
        )
        # Weak, because this object lives as long as its provider does.
        self._provider = (lambda: None) if provider is None else ref(provider)
        self.waiting = Gatherer[Callable[[], object]]("measurements", _record_all, lambda rows: None)
        """Measurements that are still to be recorded."""
        self._dropped: dict[tuple[tuple[str, str], ...], int] = {}
        meter.create_observable_counter(
            METRIC_PREDICTIONS_DROPPED,
            [self._read_dropped],
            UNIT_PREDICTION,
            "Predictions that were gathered and not sent.",
        )
        self._observations: dict[object, tuple[Mapping[str, str], Observations]] = {}
        self._parts: list[_Part] = []

    def drop(self, model_attributes: Mapping[str, str], rows: int) -> None:
        """Count predictions that were gathered and are not sent."""
        key = tuple(model_attributes.items())
        with _lock:
            self._dropped[key] = self._dropped.get(key, 0) + rows

    def _read_dropped(self, options: CallbackOptions) -> Iterator[Observation]:
        # Callbacks run before anything is collected: what waits belongs to this collection.
        self.waiting.drain()
        for key, rows in list(self._dropped.items()):
            yield Observation(rows, dict(key))

    def active(self) -> bool:
        """Return whether measurements go anywhere, as far as the API shows."""
        # A proxy waits for a provider; if a later API hides that, recording into the proxy is harmless.
        real: Histogram | None = getattr(self.duration, "_real_instrument", self.duration)
        return real is not None and type(real) is not NoOpHistogram

    def observe(
        self,
        model_attributes: Mapping[str, str],
        profile: Profile,
        redaction: Redaction,
        positive_class: str | None = None,
    ) -> Observations | None:
        """Return the counts of a model's features and outputs by the profile's buckets, read at each collection.

        Every handle of one model shares them, and they outlive the handle, because a counter must not fall. Beyond
        :data:`MAX_OBSERVED` models the result is None, and a report.
        """
        observations = Observations(profile, redaction, positive_class)
        key = (tuple(model_attributes.items()), observations.series(), profile.id, redaction.captures, positive_class)
        with _lock:
            existing = self._observations.get(key)
            if existing is not None:
                return existing[1]
            if len(self._observations) >= MAX_OBSERVED:
                report(
                    "observed models",
                    "features of %d models are counted, the limit; others are not",
                    MAX_OBSERVED,
                )
                return None
            self._observations[key] = (model_attributes, observations)
            self._distribute(model_attributes, observations)
        return observations

    def _distribute(self, model_attributes: Mapping[str, str], observations: Observations) -> None:
        """Deal the features of a model out to instruments, each on its own meter, none with too many series."""
        identity = {**model_attributes, **({REFERENCE_ID: observations.profile.id} if observations.profile.id else {})}
        for name, labels in observations.series():
            if len(labels) > SERIES:
                report("buckets", "feature %r has %d buckets, at most %d are counted", name, len(labels), SERIES)
                continue
            # The values of one process may leave in spans or not, in separate series.
            self._part(2 * len(labels)).add(identity, observations, name)
        if observations.profile.outputs or observations.profile.id:
            series = sum(len(buckets.labels) for buckets in observations.profile.outputs.values())
            self._part(2 * (series + MAX_ERRORS)).predictions.append((identity, observations))

    def _part(self, series: int) -> _Part:
        """Return the part that takes that many more series: the last, or a new one."""
        if not self._parts or self._parts[-1].series + series > SERIES:
            self._parts.append(_Part(self._provider(), len(self._parts)))
        self._parts[-1].series += series
        return self._parts[-1]


class _Part:
    """The counts that one instrument of each kind reports."""

    def __init__(self, provider: MeterProvider | None, number: int) -> None:
        self.series = 0
        self.predictions: list[tuple[Mapping[str, str], Observations]] = []
        self._features: dict[int, tuple[Mapping[str, str], Observations, list[str]]] = {}
        attributes = {OBSERVATIONS_PART: number} if number else None
        meter = metrics.get_meter(INSTRUMENTATION_SCOPE, package_version(), provider, SCHEMA_URL, attributes)
        meter.create_observable_counter(
            METRIC_FEATURE_OBSERVATIONS,
            [self._read_features],
            UNIT_OBSERVATION,
            "Feature values by bucket of the reference profile.",
        )
        meter.create_observable_counter(
            METRIC_PREDICTION_OBSERVATIONS,
            [self._read_predictions],
            UNIT_OBSERVATION,
            "Predictions, and their outputs by bucket of the reference profile.",
        )

    def add(self, identity: Mapping[str, str], observations: Observations, name: str) -> None:
        """Add a feature of a model."""
        self._features.setdefault(id(observations), (identity, observations, []))[2].append(name)

    def _read_features(self, options: CallbackOptions) -> Iterator[Observation]:
        del options
        return _summed(
            (identity, each)
            for identity, observations, names in list(self._features.values())
            for each in observations.read_features(tuple(names))
        )

    def _read_predictions(self, options: CallbackOptions) -> Iterator[Observation]:
        del options
        return _summed(
            (identity, each)
            for identity, observations in list(self.predictions)
            for each in observations.read_outputs()
        )


def _summed(counted: Iterable[tuple[Mapping[str, str], Observed]]) -> Iterator[Observation]:
    # One model with two profiles or redactions has series in common, and a series must be reported once.
    totals: dict[tuple[tuple[str, str | bool], ...], int] = {}
    for identity, each in counted:
        key = (*identity.items(), *_described(each, REFERENCE_ID in identity))
        totals[key] = totals.get(key, 0) + each.total
    for key, count in totals.items():
        yield Observation(count, dict(key))


def _described(each: Observed, identified: bool) -> Iterator[tuple[str, str | bool]]:
    """Yield what a count is of, as attributes."""
    if each.role == "feature":
        yield FEATURE_NAME, each.name
        yield FEATURE_BUCKET, each.bucket
    elif each.role is not None:
        yield COLUMN_ROLE, each.role
        yield PREDICTION_BUCKET, each.bucket
    if each.error:
        yield ERROR_TYPE, each.error
    if identified:
        yield OBSERVATION_IN_SPAN, each.in_span


_lock = threading.Lock()
_global_meters: Meters | None = None
_meters: WeakKeyDictionary[MeterProvider, Meters] = WeakKeyDictionary()
_movable: WeakSet[Movable] = WeakSet()
_captured: tuple[TracerProvider, MeterProvider] | None = None


def follow(movable: Movable) -> None:
    """Call ``bind`` of this object whenever the providers change."""
    _movable.add(movable)


def tracer(provider: TracerProvider | None, *, follow_sampler: bool) -> CountedTracer:
    """Return the tracer of this package, for ``provider``, a running capture, or the global provider."""
    if provider is None and _captured is not None:
        provider = _captured[0]
    return CountedTracer(
        provider,
        follow_sampler=follow_sampler,
        name=INSTRUMENTATION_SCOPE,
        version=package_version(),
        schema_url=SCHEMA_URL,
    )


def meters(provider: MeterProvider | None) -> Meters:
    """Return the instruments of ``provider``, a running capture, or the global provider; made once."""
    global _global_meters
    if provider is None and _captured is not None:
        provider = _captured[1]
    with _lock:
        if provider is None:
            _global_meters = _global_meters or Meters(None)
            return _global_meters
        existing = _meters.get(provider)
        if existing is None:
            existing = _meters[provider] = Meters(provider)
        return existing


@contextmanager
def captured(tracer_provider: TracerProvider, meter_provider: MeterProvider) -> Generator[None]:
    """Redirect every model from the global providers to these, until the end of the block."""
    global _captured
    before, _captured = _captured, (tracer_provider, meter_provider)
    _move()
    try:
        yield
    finally:
        _captured = before
        _move()


def _move() -> None:
    for movable in list(_movable):
        movable.bind()


@lru_cache(maxsize=1)
def package_version() -> str:
    """Return the version of this distribution, empty if it is not installed."""
    try:
        return version("otel-ml")
    except PackageNotFoundError:
        return ""


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
