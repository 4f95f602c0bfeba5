"""The alerts section: what is accepted, what it becomes, and every mistake in the user's words."""

from __future__ import annotations

import re
from typing import Any, get_args

import pytest
import yaml

from collector_processor.alerts.rules import BUILT_IN_RULES, DEFAULT_RULES, AlertRule, Severity
from collector_processor.alerts.settings import GAUGES, Alerts
from collector_processor.config import Config, ConfigError, default_config, parse_config
from collector_processor.own.telemetry import Telemetry
from collector_processor.pipeline.pace import stale_ns
from collector_processor.service.build import Builder
from otel_ml import semconv

MINUTE = 60 * 10**9


def config(alerts: Any = None, exporters: Any = None, window: Any = None) -> Config:
    document = {
        "receivers": {"otlp": None},
        "connectors": {"ml_monitor": {"window": window or {}}},
        "exporters": {"prometheus": None, **(exporters or {})},
        "service": {
            "pipelines": {
                "traces": {"receivers": ["otlp"], "exporters": ["ml_monitor"]},
                "metrics": {"receivers": ["ml_monitor"], "exporters": ["prometheus"]},
            }
        },
        **({} if alerts is None else {"alerts": alerts}),
    }
    return parse_config(yaml.safe_dump(document))


def rules(alerts: Any) -> dict[str, AlertRule]:
    return {rule.name: rule for rule in config(alerts).alerts.resolved()}


def problems(alerts: Any, exporters: Any = None) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as error:
        config(alerts, exporters)
    return error.value.problems


def test_without_a_section_the_built_in_rules_are_on_and_tell_nobody() -> None:
    for found in (default_config().alerts, config().alerts, Alerts()):
        assert found.resolved() == DEFAULT_RULES
        assert found.notify == ()


def test_built_in_rules_keep_their_own_laws() -> None:
    assert len({rule.name for rule in BUILT_IN_RULES}) == len(BUILT_IN_RULES)
    for rule in BUILT_IN_RULES:
        assert rule.measurement in GAUGES
        assert {key for key, _ in rule.where} <= set(GAUGES[rule.measurement].attributes)
        assert rule.severity in get_args(Severity)
        assert rule.summary
        assert rule.description
        assert rule.runbook == f"docs/runbooks/{rule.name}.md"
        assert rule.enabled
        assert rule.clear == rule.threshold


@pytest.mark.parametrize("defaults", [True, False])
@pytest.mark.parametrize("name", ["feature_drift", "prediction_drift"])
def test_a_rule_on_scores_is_on_if_the_configuration_names_it(name: str, defaults: bool) -> None:
    (built_in,) = (rule for rule in BUILT_IN_RULES if rule.name == name)
    assert name not in rules({"defaults": defaults})
    assert rules({"defaults": defaults, "rules": {name: {}}})[name] == built_in
    assert rules({"defaults": defaults, "rules": {name: None}})[name] == built_in
    assert rules({"defaults": defaults, "rules": {name: {"for": "1h"}}})[name].hold_ns == 3600 * 10**9
    assert name not in rules({"defaults": defaults, "rules": {name: {"enabled": False}}})


def test_a_silence_of_an_optional_rule_is_still_right() -> None:
    assert config({"silences": [{"rules": ["feature_drift"]}]}).alerts.silences


def test_a_built_in_rule_is_changed_where_it_says_so_and_nowhere_else() -> None:
    (before,) = (rule for rule in DEFAULT_RULES if rule.name == "latency")
    latency = rules({"rules": {"latency": {"above": 0.2}}})["latency"]
    assert (latency.threshold, latency.clear) == (0.2, 0.2)
    assert (latency.measurement, latency.where, latency.hold_ns, latency.min_rows, latency.runbook) == (
        before.measurement, before.where, before.hold_ns, before.min_rows, before.runbook,
    )  # fmt: skip
    assert latency.description == ""  # it spoke of the other threshold
    assert rules({"rules": {"latency": {"for": "1h"}}})["latency"].description == before.description
    assert rules({"rules": {"latency": {"clear": 0.5}}})["latency"].clear == 0.5


def test_a_rule_can_be_left_out_and_all_built_in_ones_together() -> None:
    assert "silence" not in rules({"rules": {"silence": {"enabled": False}}})
    assert rules({"defaults": False}) == {}
    assert list(rules({"defaults": False, "rules": {"silence": None, "mine": {"enabled": False, **MINE}}})) == [
        "silence"
    ]


BREACH = {"measurement": semconv.DRIFT_BREACHED, "above": 0.5}
DROP = {"measurement": semconv.PERFORMANCE_DROP, "above": 0.1}
MINE = {"measurement": semconv.PERFORMANCE + "accuracy", "below": 0.8}


def choosing(rule: Any, key: str, value: str) -> Any:
    return {**rule, "where": {key: value}}


def test_a_rule_of_ones_own_has_what_it_was_given() -> None:
    found = rules(
        {
            "rules": {
                "premium": {
                    **MINE,
                    "where": {semconv.MODEL_NAME: "flight-delay", semconv.SEGMENT_VALUE: ["gold", "silver"]},
                    "clear": 0.82,
                    "for": "10m",
                    "min_rows": 500,
                    "severity": "critical",
                    "summary": "premium",
                    "runbook": "https://example.org",
                }
            }
        }
    )["premium"]
    assert found == AlertRule(
        "premium", semconv.PERFORMANCE + "accuracy", "below",
        where=(
            (semconv.MODEL_NAME, ("flight-delay",)), (semconv.SEGMENT_VALUE, ("gold", "silver")),
            (semconv.PERFORMANCE_SOURCE, (semconv.SOURCE_LABELS,)),
        ),
        threshold=0.8, clear=0.82, hold_ns=10 * MINUTE, min_rows=500, severity="critical", summary="premium",
        runbook="https://example.org",
    )  # fmt: skip


def test_a_version_that_looks_like_a_number_is_its_text() -> None:
    where = {semconv.MODEL_VERSION: [7, 1.5, True, "x"]}
    pair, _ = rules({"rules": {"mine": {**MINE, "where": where}}})["mine"].where
    assert pair == (semconv.MODEL_VERSION, ("7", "1.5", "true", "x"))


@pytest.mark.parametrize(
    ("rule", "where", "said"),
    [
        ({"measurement": "drift.share", "above": 1}, "measurement", r"unknown metric 'drift\.share'; allowed: ml\."),
        ({"measurement": semconv.PREDICTIONS, "above": 1}, "measurement", "unknown metric"),
        ({"above": 1}, "measurement", "required"),
        ({**MINE, "above": 1}, "", "has above and below; a rule needs exactly one of above, below, absent_for"),
        ({**MINE, "absent_for": "1m"}, "", "has below and absent_for"),
        ({"measurement": semconv.DRIFT_SHARE}, "", "needs exactly one of above, below, absent_for"),
        ({**MINE, "clear": 0.7}, "clear", "0.7 is below the threshold 0.8"),
        ({"measurement": semconv.DRIFT_SHARE, "above": 0.1, "clear": 0.2}, "clear", "0.2 is above the threshold 0.1"),
        ({"measurement": semconv.DRIFT_SHARE, "absent_for": "1m", "clear": 1}, "clear", "remove clear"),
        ({"measurement": semconv.DRIFT_SHARE, "absent_for": "0s"}, "absent_for", "at least 1s"),
        ({"measurement": semconv.DRIFT_SHARE, "above": float("nan")}, "above", "must be a number"),
        ({"measurement": semconv.DRIFT_SHARE, "above": float("inf")}, "above", "must be a number"),
        (choosing(MINE, semconv.FEATURE_NAME, "a"), f"where.{semconv.FEATURE_NAME}", r"an attribute of .*accuracy;"),
        ({**MINE, "where": {semconv.MODEL_NAME: []}}, f"where.{semconv.MODEL_NAME}", "must list at least one value"),
        (choosing(BREACH, semconv.COLUMN_ROLE, "featur"), f"where.{semconv.COLUMN_ROLE}", "'featur'; allowed: feature"),
        (choosing(BREACH, semconv.DRIFT_METHOD, "PSI"), f"where.{semconv.DRIFT_METHOD}", "'PSI'; allowed: psi"),
        (choosing(MINE, semconv.PERFORMANCE_SOURCE, "label"), f"where.{semconv.PERFORMANCE_SOURCE}", "'label'; "),
        (choosing(DROP, semconv.PERFORMANCE_METRIC, "mcc"), f"where.{semconv.PERFORMANCE_METRIC}", "value 'mcc'; "),
        ({**MINE, "severity": "page"}, "severity", "'info', 'warning' or 'critical'"),
        ({**MINE, "for": 10}, "for", "10 is not a duration"),
        ({**MINE, "min_rows": -1}, "min_rows", "greater than or equal to 0"),
        ({**MINE, "hold": "1m"}, "hold", "unknown key; allowed: .*above, below, absent_for, clear, for, min_rows"),
        ({**MINE, "where": {semconv.MODEL_NAME: {"a": 1}}}, f"where.{semconv.MODEL_NAME}", "expected a string"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_rule_is_told_with_its_path_and_the_choices(rule: Any, where: str, said: str) -> None:
    (problem,) = (
        each
        for each in problems({"rules": {"mine": rule}})
        if each.startswith(f"alerts.rules.mine{'.' * bool(where)}{where}")
    )
    assert re.search(said, problem), problem


@pytest.mark.parametrize("figure", ["mcc", "specificity", "average_precision", "quantile_loss", "mae"])
def test_a_rule_on_the_end_of_an_interval_may_be_about_any_figure(figure: str) -> None:
    mine = {"measurement": semconv.PERFORMANCE_LOWER, "below": 0.5, "where": {semconv.PERFORMANCE_METRIC: figure}}
    assert rules({"rules": {"mine": mine}})["mine"].where == ((semconv.PERFORMANCE_METRIC, (figure,)),)


@pytest.mark.parametrize("name", ["a b", "", "x" * 101, "-x", "a\nb", "größe"])
def test_a_rule_has_a_name_that_fits_everywhere(name: str) -> None:
    assert any("not a valid name" in problem for problem in problems({"rules": {name: MINE}}))


def test_all_mistakes_are_told_at_once() -> None:
    found = problems({"notify": ["nobody"], "rules": {"a": {"above": 1}, "b": {**MINE, "clear": 0.1}}})
    assert [problem.partition(":")[0] for problem in found] == [
        "alerts.rules.a.measurement", "alerts.rules.b.clear", "alerts.notify",
    ]  # fmt: skip


def test_only_what_is_configured_and_takes_alerts_can_be_told() -> None:
    exporters = {
        "alertmanager/a": {"endpoint": "http://localhost:9093"},
        "otlphttp": {"endpoint": "http://localhost:1"},
    }
    found = config({"notify": ["alertmanager/a", "otlphttp"]}, exporters)
    assert set(found.exporters) == {"prometheus", "alertmanager/a", "otlphttp"}
    assert found.unused == ()
    assert problems({"notify": ["alertmanager"]}, exporters) == (
        "alerts.notify: 'alertmanager' is not configured; available: alertmanager/a, otlphttp",
    )
    (problem,) = problems({"notify": ["prometheus"]})
    assert problem.startswith(
        "alerts.notify: 'prometheus' does not accept alerts; types that do: otlp_grpc, otlp_http, debug"
    )


@pytest.mark.parametrize(
    ("silence", "said"),
    [
        ({"until": "2026-12-01"}, "a time needs a time zone"),
        ({"from": "2026-12-02T00:00:00Z", "until": "2026-12-01T00:00:00Z"}, "until: must be after from"),
        ({"where": {"model": "x"}}, r"where\.model: not an attribute; allowed: ml\.model\.name"),
        ({"rules": ["nope"]}, "unknown rule 'nope'; available: feature_change"),
        ({"till": "x"}, "unknown key; allowed: where, rules, from, until, comment"),
    ],
)
def test_a_mistake_in_a_silence_is_told(silence: Any, said: str) -> None:
    (problem,) = problems({"silences": [silence]})
    assert problem.startswith("alerts.silences.0")
    assert re.search(said, problem), problem


@pytest.mark.parametrize(
    ("exporters", "said"),
    [
        ({"alertmanager": {}}, "exporters.alertmanager.endpoint: required"),
        ({"alertmanager": {"endpoint": "localhost:9093"}}, "not a URL; write http://host:port"),
        ({"alertmanager": {"endpoint": "http://x", "resend": "10ms"}}, "resend: must be at least 1s"),
        ({"apprise": {"urls": []}}, "exporters.apprise.urls"),
        ({"apprise": {"urls": "json://s3cr3t"}}, "exporters.apprise.urls"),
        ({"apprise": {"urls": [{"json://s3cr3t": 1}]}}, "exporters.apprise.urls.0"),
    ],
)
def test_a_mistake_in_a_destination_is_told_and_no_secret_with_it(exporters: Any, said: str) -> None:
    text = "\n".join(problems(None, exporters))
    assert said in text
    assert "s3cr3t" not in text


def test_nobody_is_told_without_end() -> None:
    assert problems({"repeat": "0s"}) == ("alerts.repeat: must be at least 1s; 4h is typical",)


def test_a_destination_of_alerts_is_no_destination_of_measurements() -> None:
    document = yaml.safe_dump(
        {
            "receivers": {"otlp": None},
            "connectors": {"ml_monitor": None},
            "exporters": {"apprise": {"urls": ["json://localhost"]}},
            "service": {"pipelines": {"metrics": {"receivers": ["ml_monitor"], "exporters": ["apprise"]}}},
        }
    )
    with pytest.raises(
        ConfigError, match=r"metrics\.exporters: 'apprise' accepts only alerts; list it in alerts\.notify"
    ):
        parse_config(document)


def test_addresses_and_headers_are_never_shown() -> None:
    exporters = {
        "apprise": {"urls": ["json://s3cr3t"]},
        "alertmanager": {"endpoint": "http://localhost", "headers": {"authorization": "s3cr3t"}},
    }
    assert "s3cr3t" not in repr(config({"notify": ["apprise", "alertmanager"]}, exporters))


def test_silences_and_times_reach_the_engine() -> None:
    silence = {"where": {semconv.MODEL_NAME: "a"}, "from": "1970-01-01T00:00:01Z", "until": "1970-01-01T02:00:00+01:00"}
    found = config({"silences": [silence], "repeat": "1h", "series": 7}, {"debug": None})
    engine = Builder(found, Telemetry(), "me").alerting().engine
    ((kept,), repeat_ns, limit) = engine._silences, engine._repeat_ns, engine._limit
    assert (kept.where, kept.from_ns, kept.until_ns) == (((semconv.MODEL_NAME, ("a",)),), 10**9, 3600 * 10**9)
    assert (repeat_ns, limit) == (60 * MINUTE, 7)


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        ({}, 13 * MINUTE),
        ({"size": "10s", "every": "1s", "allowed_lateness": "1s"}, 5 * MINUTE),
        ({"size": "1d", "every": "1h"}, 190 * MINUTE),
        ({"size": "5000 rows"}, 7 * 1440 * MINUTE),
    ],
)
def test_a_breach_may_go_unmeasured_for_some_windows(window: Any, expected: int) -> None:
    assert stale_ns(config(window=window).monitor) == expected
