"""Which alert rules cannot fire for a model, and why: their silence looks like a model without faults."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Final

from collector_processor.alerts.rules import AlertRule
from collector_processor.drift import drift_method
from collector_processor.monitors import concept, harm
from collector_processor.monitors.alarms import AlarmMonitor, AlarmSettings
from collector_processor.monitors.certain_drop import CERTAIN_DROP
from collector_processor.monitors.drift import DriftSettings
from collector_processor.monitors.fairness_settings import FairnessSettings, compared_segments
from collector_processor.monitors.performance import DROP
from collector_processor.monitors.weighted_share import without_weights
from collector_processor.pipeline.settings import MlMonitor, ModelConfig
from collector_processor.reference.profile import Reference
from collector_processor.settings.values import alarms_per_minute
from collector_processor.statistics.parts.attribution_sums import attributed
from collector_processor.statistics.schema import Schema
from otel_ml import semconv

DROPS: Final = (DROP.name, CERTAIN_DROP.name)
"""Measurements that compare performance with that of the reference's labels."""
_OF_DRIFT: Final = semconv.DRIFT_SCORE.removesuffix("score")
_ROLES: Final = {"latency": "durations of calls; only a learned one has"}
_ALARMS: Final = frozenset(metric.name for metric in AlarmMonitor.metrics)
_WITHOUT: Final[Mapping[str, Callable[[Reference], str]]] = {
    semconv.CONCEPT_ALARM: concept.without_alarm,
    semconv.CONCEPT_ERROR_ALARM: partial(concept.without_alarm, errors=True),
    semconv.ESTIMATE_HARM_ALARM: harm.without_alarm,
    semconv.DRIFT_WEIGHTED_SHARE: without_weights,
}
"""Measurements that need more of a reference than columns, and what says why one does not have it."""
_OF_TASK = {
    "regression": ("mae", "rmse", "mape", "r2"),
    "binary_classification": (
        "accuracy", "precision", "recall", "f1", "roc_auc", "log_loss", "brier", "calibration_error",
    ),
    "multiclass_classification": ("accuracy", "precision", "recall", "f1", "log_loss"),
}  # fmt: skip
"""The figures of performance whose drop is measured."""
_FURTHER_OF_TASK = {
    "regression": ("quantile_loss",),
    "binary_classification": ("specificity", "balanced_accuracy", "mcc", "average_precision", "lift"),
    "multiclass_classification": ("specificity", "balanced_accuracy", "mcc", "roc_auc", "average_precision"),
}
"""The figures that have the ends of an interval or of a band, too."""


def unable(rule: AlertRule, name: str, monitor: MlMonitor, reference: Reference | None) -> str:
    """Return why a rule cannot fire for a model, empty if it can; without a reference, only what is known before one.

    A reason that ends by itself says when.
    """
    where = dict(rule.where)
    names = where.get(semconv.MODEL_NAME)
    if names and name not in names:
        return ""  # the rule is not about this model
    model = monitor.models.get(name, ModelConfig())
    if rule.measurement not in monitor.metrics():
        return f"no monitor that is on measures {rule.measurement}"
    reasons = _of_drift(rule, monitor, model) if rule.measurement.startswith(_OF_DRIFT) else iter(())
    for reason in reasons:
        return reason
    if reference is None:
        return ""
    if rule.measurement.startswith(semconv.FAIRNESS):
        for reason in _of_fairness(monitor, model, reference.schema):
            return reason
    for reason in _of_reference(rule, monitor, model, reference):
        return reason
    return ""


def _of_drift(rule: AlertRule, monitor: MlMonitor, model: ModelConfig) -> Iterator[str]:
    """Yield why the drift settings keep a rule silent."""
    settings = monitor.section("drift", model)
    if rule.measurement in _ALARMS:
        if isinstance(settings, AlarmSettings) and not alarms_per_minute(settings.false_alarms):
            yield "drift.false_alarms is 0"
        return
    if not isinstance(settings, DriftSettings):
        return
    running = {*settings.numeric, *settings.categorical}
    if not running:
        yield "no drift method runs"
    asked = dict(rule.where).get(semconv.DRIFT_METHOD, ())
    if asked and not running.intersection(asked):
        yield f"the drift method {' or '.join(asked)} does not run for this model"
    if rule.measurement == semconv.DRIFT_P_VALUE and not any(_tests(method) for method in running):
        yield "no drift method that runs has a p-value"


def _of_fairness(monitor: MlMonitor, model: ModelConfig, schema: Schema) -> Iterator[str]:
    """Yield why no groups can be compared, if somebody asked for it: most models have no groups of people."""
    settings = monitor.section("fairness", model)
    if not isinstance(settings, FairnessSettings) or settings == FairnessSettings():
        return
    if not compared_segments(settings, schema):
        declared = ", ".join(schema.groups.columns) or "none"
        yield (
            f"no segment of its reference is compared (declared: {declared}); declare one, and name it in "
            "fairness.segments unless its name says that it is protected"
        )


def _tests(method: str) -> bool:
    return drift_method(method).name in ("ks", "chi2", "cohen_h")


def _of_reference(rule: AlertRule, monitor: MlMonitor, model: ModelConfig, reference: Reference) -> Iterator[str]:
    """Yield why the reference keeps a rule silent."""
    schema, where = reference.schema, dict(rule.where)
    roles = [role for role in where.get(semconv.COLUMN_ROLE, ()) if role]
    present: set[str] = {column.role for column in schema.columns}
    settings = monitor.section("drift", model)
    if rule.measurement in _ALARMS and isinstance(settings, AlarmSettings):
        present.update(AlarmMonitor(settings).figures(reference))
    if roles and not present.intersection(roles):
        yield f"its reference has no {' and no '.join(_ROLES.get(role, role) for role in roles)}"
    features = [name for name in where.get(semconv.FEATURE_NAME, ()) if name]
    known = {column.name for column in schema.columns if column.role == "feature"}
    if semconv.ROLE_ATTRIBUTION in roles:
        known.update(attributed(schema))
    if features and not known.intersection(features):
        yield f"its reference has no feature {' or '.join(features)}"
    segments = [name for name in where.get(semconv.SEGMENT_NAME, ()) if name]
    if segments and not set(schema.groups.columns).intersection(segments):
        yield f"its reference has no segment {' or '.join(segments)}"
    metrics = [name for name in where.get(semconv.PERFORMANCE_METRIC, ()) if name]
    possible = _OF_TASK.get(schema.task, ())
    if rule.measurement not in DROPS:
        possible += _FURTHER_OF_TASK.get(schema.task, ())
    if metrics and possible and not set(possible).intersection(metrics):
        yield f"a model of the task {schema.task} has no {' or '.join(metrics)}"
    if rule.measurement in DROPS:
        yield from _of_labels(monitor, reference, schema)
    why = _WITHOUT.get(rule.measurement)
    if why is not None and (reason := why(reference)):
        yield reason
    if rule.measurement.startswith(_OF_DRIFT) and "feature" in (roles or ["feature"]) and "feature" not in present:
        yield "its reference has no features"


def _of_labels(monitor: MlMonitor, reference: Reference, schema: Schema) -> Iterator[str]:
    labels = reference.pane.outcomes.labels
    if not len(labels) or labels[0] < 1:
        yield f"its reference has no labels; it fires only after the first {monitor.reference.labels} labels"
    elif schema.task == "binary_classification" and not schema.positive_class:
        yield "its reference has no positive class, so only accuracy is compared"
