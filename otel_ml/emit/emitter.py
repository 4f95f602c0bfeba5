"""Holds what all calls of one model share: identity, redaction, tracer and instruments."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from numbers import Real
from typing import Any, TypeVar

from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider

from otel_ml.classes import canonical_class
from otel_ml.config import (
    ATTRIBUTE_ROOM,
    DEFAULT_EXPLAIN,
    ENV_FOLLOW_SAMPLER,
    ENV_MODEL_NAME,
    Config,
    Settings,
    identity,
    resolve,
)
from otel_ml.delivery.gather import Gatherer
from otel_ml.delivery.start import start
from otel_ml.emit import instruments
from otel_ml.emit.measure import Measures
from otel_ml.emit.observations import Observations
from otel_ml.emit.profile import load_profile
from otel_ml.emit.redaction import Redaction
from otel_ml.encode.batch import PayloadLimits
from otel_ml.encode.row import Attributes
from otel_ml.encode.scalar import class_text, clean_text
from otel_ml.encode.shape import Features
from otel_ml.explain.explains import Explains
from otel_ml.explain.sample import Sample
from otel_ml.problems import report
from otel_ml.semconv import (
    FRAMEWORK_NAME,
    MODEL_NAME,
    MODEL_POSITIVE_CLASS,
    MODEL_ROLE,
    MODEL_TASK,
    MODEL_THRESHOLD,
    MODEL_VERSION,
    ROLES,
    SPAN_LABEL,
    SPAN_PREDICT,
    TASKS,
    Role,
    Task,
)

_T = TypeVar("_T", bound=str)
_V = TypeVar("_V", str, "str | float")


_unnamed: dict[str, tuple[object, object]] = {}
"""Task and features of the models that take their name from the environment: one name, so one entry."""


def _check_unnamed(name: str, task: object, features: object) -> None:
    """Report a second model with the name of the environment, if its task or its features differ from the first's."""
    before = _unnamed.setdefault(name, (task, features))
    if any(None not in (old, new) and old != new for old, new in zip(before, (task, features), strict=True)):
        report(
            f"unnamed {name}",
            "two models with different features or tasks have the name %r of %s and would be monitored as one; pass a "
            "name to each Model",
            name,
            ENV_MODEL_NAME,
        )


class Emitter:
    """The state behind one :class:`~otel_ml.Model`, with the same arguments."""

    def __init__(
        self,
        name: str | None = None,
        *,
        version: str = "",
        task: Task | None = None,
        features: Sequence[str] | None = None,
        role: Role | None = None,
        framework: str | None = None,
        positive_class: object = None,
        threshold: float | None = None,
        segments: Collection[str] = (),
        reference: str | None = None,
        explainer: object = None,
        config: Config | None = None,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
    ) -> None:
        self.name, self.version = identity(name, version)
        self.task = _one_of("task", task, TASKS)
        self.role = _one_of("role", role, ROLES)
        self.positive_class = _class(positive_class)
        self.feature_names = None if features is None else _names("features", features)
        if name is None:
            _check_unnamed(self.name, self.task, self.feature_names)
        self.segment_names = _names("segments", segments)
        self.settings = resolve(config, reference=reference)
        self.redaction = Redaction(self.settings)
        self.enabled = self.settings.enabled
        self.flat_limit = min(self.settings.max_flat_features, ATTRIBUTE_ROOM)
        self.limits = PayloadLimits(self.settings.max_span_bytes, self.settings.max_string_chars)
        framework = None if framework is None else clean_text(framework, self.settings.max_string_chars)
        self.predict_span = f"{SPAN_PREDICT} {self.name}"
        self.label_span = f"{SPAN_LABEL} {self.name}"
        self.model_attributes = _present({MODEL_NAME: self.name, MODEL_VERSION: self.version})
        self.identity = _present(
            {
                **self.model_attributes,
                MODEL_TASK: self.task,
                MODEL_ROLE: self.role,
                MODEL_POSITIVE_CLASS: self.positive_class,
                MODEL_THRESHOLD: _threshold(threshold),
                FRAMEWORK_NAME: framework,
            }
        )
        if self.enabled:
            start()
        self.explainer = explainer
        self.explains = None if explainer is None else self.explaining(DEFAULT_EXPLAIN)
        self._profile = load_profile(self.settings, self.name)
        self._providers = (tracer_provider, meter_provider)
        self.observations: Observations | None = None
        self.gathers = _gathers(self.settings)
        self.gatherer: Gatherer[Any] | None = None
        """What gathers calls of one row; the first call makes it."""
        self.bind()
        instruments.follow(self)

    def bind(self) -> None:
        """Get tracer and instruments from the current providers; what was gathered goes to those before."""
        if self.gatherer is not None:
            self.gatherer.drain()
        tracer_provider, meter_provider = self._providers
        self.tracer = instruments.tracer(tracer_provider, follow_sampler=self.settings.follow_sampler)
        meters = instruments.meters(meter_provider)
        self.measures = Measures(meters, self.model_attributes)
        if self._profile is not None and self.enabled:
            self.observations = meters.observe(
                self.model_attributes, self._profile, self.redaction, self.positive_class
            )

    def explaining(self, default: int = 0) -> Explains | None:
        """Return what explains the sample that the settings ask for, else one prediction in ``default``; or None."""
        settings = self.settings
        one_in = default if settings.explain is None else settings.explain
        if not one_in or not settings.capture_features or not self.enabled:
            return None
        return Explains(Sample(one_in), self.name, self.feature_names, self.positive_class)

    def lost(self, rows: int) -> None:
        """Count predictions that were gathered and are not sent."""
        self.measures.dropped(rows)

    def count_features(self, features: Features, recorded: bool) -> None:
        """Count the features of a call by the buckets of the reference profile, if there is one."""
        if self.observations is not None:
            sent = self.tracer.sends(recorded)
            self._counting(lambda observations: observations.add_features(features, sent=sent))

    def count_row(self, outputs: Attributes, recorded: bool, failed: str | None) -> None:
        """Count a prediction and its outputs by the buckets of the reference profile, if there is one."""
        if self.observations is not None:
            sent = self.tracer.sends(recorded)
            self._counting(lambda observations: observations.add_row(outputs, sent=sent, failed=failed))

    def count_batch(self, outputs: Mapping[str, object], rows: int, recorded: bool, failed: str | None) -> None:
        """Count the predictions of a call and their outputs, as :meth:`count_row` does."""
        if self.observations is not None:
            sent = self.tracer.sends(recorded)
            self._counting(lambda observations: observations.add_batch(outputs, rows, sent=sent, failed=failed))

    def _counting(self, count: Callable[[Observations], None]) -> None:
        if self.observations is None:
            return
        try:
            count(self.observations)
        except Exception as error:  # noqa: BLE001 - counting must not cost the span its attributes
            report(f"observations {self.name}", "model %r: features are not counted", self.name, error=error)


def _gathers(settings: Settings) -> bool:
    if settings.emit != "columnar" or not settings.enabled:
        return False
    if settings.follow_sampler:
        report("gather", "calls are not gathered: %s asks for a decision of the sampler on each", ENV_FOLLOW_SAMPLER)
    return not settings.follow_sampler


def _names(what: str, names: Collection[str]) -> tuple[str, ...]:
    if isinstance(names, str):
        raise ValueError(f"{what}: {names!r} is one text; give a list of names")
    return tuple(names)


def _present(attributes: Mapping[str, _V | None]) -> dict[str, _V]:
    return {key: value for key, value in attributes.items() if value is not None and value != ""}


def _class(value: object) -> str | None:
    text = class_text(value)
    return text if text is not None and canonical_class(text) else None


def _threshold(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, Real) or math.isinf(value):
        raise ValueError(
            f"threshold {value!r} is not a number; give the least score of the positive class, such as 0.1"
        )
    return float(value)


def _one_of(what: str, value: _T | None, choices: Collection[_T]) -> _T | None:
    if value is not None and value not in choices:
        raise ValueError(f"{what} {value!r} is unknown; allowed: {', '.join(choices)}")
    return value
