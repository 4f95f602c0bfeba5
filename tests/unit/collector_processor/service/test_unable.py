"""Which rules cannot fire for a model, and why."""

from __future__ import annotations

import numpy as np
import pytest

from collector_processor.alerts.rules import BUILT_IN_RULES, AlertRule
from collector_processor.alerts.settings import Alerts
from collector_processor.columns.batch import Column, ModelKey, PredictionBatch
from collector_processor.pipeline.settings import MlMonitor
from collector_processor.reference.build import build_reference
from collector_processor.reference.profile import Reference
from collector_processor.service.unable import unable


def reference(*, outputs: bool = True, labels: bool = True) -> Reference:
    numbers = np.arange(600)
    classes = Column(None, (numbers % 2).astype(np.int32), ("no", "yes"))
    batch = PredictionBatch(
        ModelKey("m"), np.zeros(600, np.int64), np.zeros((600, 2), np.uint64), np.ones(600), np.full(600, np.nan),
        features={"x": Column(numbers.astype(float))}, prediction=classes if outputs else None,
    )  # fmt: skip
    return build_reference("m", batch, label_classes=classes if labels else None)


def reasons(given: Reference | None, **settings) -> dict[str, str]:
    monitor = MlMonitor.model_validate(settings)
    found = {rule.name: unable(rule, "m", monitor, given) for rule in BUILT_IN_RULES}
    return {name: reason for name, reason in found.items() if reason}


def own(**keys) -> AlertRule:
    return Alerts.model_validate({"defaults": False, "rules": {"own": {"above": 0.5, **keys}}}).resolved()[0]


def test_with_a_whole_reference_every_rule_can_fire():
    found = reasons(reference())
    # They are about scores or attributions as well.
    assert set(found) <= {"missing_outputs", "concept_drift", "harmful_shift", "weighted_drift"}
    assert found["concept_drift"] == "its reference has no calibrated scores"
    assert found["harmful_shift"] == "performance is not estimated before labels come: its reference has no scores"


def test_alarms_of_labels_and_estimates_say_what_they_lack():
    found = reasons(reference(labels=False))
    assert found["error_rise"] == found["concept_drift"] == "its reference has fewer than 100 labels"
    assert found["harmful_shift"] == "performance is not estimated before labels come: its reference has no labels"


def test_a_model_whose_fairness_is_configured_needs_a_segment():
    assert "fairness" not in reasons(reference())
    found = reasons(reference(), fairness={"segments": ["sex"]})
    assert found["fairness"].startswith("no segment of its reference is compared (declared: none)")


def test_without_labels_the_rule_on_performance_waits():
    assert reasons(reference(labels=False))["performance_drop"] == (
        "its reference has no labels; it fires only after the first 1000 labels"
    )


def test_without_outputs_predictions_cannot_drift():
    assert reasons(reference(outputs=False, labels=False))["prediction_drift"] == (
        "its reference has no prediction and no score"
    )


def test_without_methods_nothing_drifts():
    found = reasons(reference(), drift={"numeric": [], "categorical": []})
    assert found["feature_drift"] == found["prediction_drift"] == "no drift method runs"


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        (
            own(measurement="ml.quality.missing", where={"ml.feature.name": "y"}),
            "its reference has no feature y",
        ),
        (
            own(measurement="ml.performance.accuracy", where={"ml.segment.name": "region"}),
            "its reference has no segment region",
        ),
        (
            own(measurement="ml.performance.drop", where={"ml.performance.metric": "rmse"}),
            "a model of the task binary_classification has no rmse",
        ),
        (own(measurement="ml.performance.lower", where={"ml.performance.metric": "specificity"}), ""),
        (
            own(measurement="ml.performance.lower", where={"ml.performance.metric": "quantile_loss"}),
            "a model of the task binary_classification has no quantile_loss",
        ),
        (
            own(measurement="ml.drift.breached", where={"ml.drift.method": "hellinger"}),
            "the drift method hellinger does not run for this model",
        ),
        (own(measurement="ml.quality.missing_shift"), "no monitor that is on measures ml.quality.missing_shift"),
        (own(measurement="ml.drift.share", where={"ml.model.name": "other", "ml.model.version": "1"}), ""),
    ],
)
def test_a_rule_of_the_user_says_what_it_misses(rule, reason):
    assert unable(rule, "m", MlMonitor(), reference()) == reason


def test_figures_that_alarms_watch_are_no_columns_of_the_reference():
    def why(role: str, given: Reference, **drift: object) -> str:
        rule = own(measurement="ml.drift.alarm", where={"ml.column.role": role})
        return unable(rule, "m", MlMonitor.model_validate({"drift": drift}), given)

    assert why("error", reference()) == ""
    assert why("brier", reference()) == "its reference has no brier"  # it has no scores
    assert (
        why("latency", reference(), latency_objective="1s")
        == "its reference has no durations of calls; only a learned one has"
    )
