"""The built-in rules on what monitors measure."""

from __future__ import annotations

from collector_processor.alerts.rules import BUILT_IN_RULES, AlertRule
from collector_processor.alerts.settings import Alerts, RuleSettings
from otel_ml import semconv


def rule(name: str, alerts: Alerts | None = None) -> AlertRule:
    return next(rule for rule in (alerts.resolved() if alerts else BUILT_IN_RULES) if rule.name == name)


def test_prediction_drift_follows_the_methods_that_decide():
    """Any method would do once, so that one outlier fired it through Wasserstein's distance."""
    found = rule("prediction_drift")
    assert found.measurement == semconv.DRIFT_DRIFTED
    assert found.matches([(semconv.COLUMN_ROLE, "score")])
    assert not found.matches([(semconv.COLUMN_ROLE, "feature")])


def test_a_configuration_that_named_a_method_keeps_its_meaning():
    where = {semconv.COLUMN_ROLE: "prediction", semconv.DRIFT_METHOD: "js"}
    settings = RuleSettings.model_validate({"where": where})
    found = rule("prediction_drift", Alerts(rules={"prediction_drift": settings}))
    assert found.measurement == semconv.DRIFT_BREACHED
    assert found.where == tuple((key, (value,)) for key, value in where.items())


def test_a_rule_on_a_figure_of_performance_is_about_labels_unless_it_names_the_source():
    """An estimate has the same name, so a rule from before there was one would fire on it, and a problem fire twice."""

    def judged(**settings: object) -> set[str]:
        own = RuleSettings.model_validate({"measurement": "ml.performance.accuracy", "below": 0.8, **settings})
        found = rule("accuracy", Alerts(rules={"accuracy": own}))
        sources = (semconv.SOURCE_LABELS, semconv.SOURCE_RESTATED, semconv.SOURCE_ESTIMATED)
        return {source for source in sources if found.matches([(semconv.PERFORMANCE_SOURCE, source)])}

    assert judged() == judged(where={semconv.SEGMENT_NAME: ""}) == {"labels"}
    assert judged(where={semconv.PERFORMANCE_SOURCE: "estimated"}) == {"estimated"}
    assert judged(where={semconv.PERFORMANCE_SOURCE: ["labels", "estimated"]}) == {"labels", "estimated"}
    assert judged(measurement=semconv.PERFORMANCE + "true_positives") >= {"estimated"}, "only estimates have it"


def test_a_drop_is_that_of_labels():
    assert rule("performance_drop", Alerts()).where == rule("performance_drop").where
