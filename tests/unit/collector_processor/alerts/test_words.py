"""An alert says what is wrong: the columns, how much, and what changed in them."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from collector_processor.alerts.engine import Engine
from collector_processor.alerts.kept import engine_state, restore_engine
from collector_processor.alerts.notice import Notice
from collector_processor.alerts.rules import AlertRule
from collector_processor.alerts.settings import Alerts
from collector_processor.alerts.text import LINE_LENGTH, body, links, title
from collector_processor.columns.batch import Column, ModelKey, PredictionBatch
from collector_processor.monitors.base import Exemplar
from collector_processor.monitors.drift import DriftMonitor, DriftSettings, LeastRows
from collector_processor.own.telemetry import Telemetry
from collector_processor.reference.build import build_reference
from collector_processor.statistics.accumulate import accumulate
from collector_processor.statistics.pane import Pane
from collector_processor.window.closed import Window
from support.engine import BEGIN, MINUTE, Bench, item

MODEL = ModelKey("fraud", "7")
DRIFT = AlertRule("drift", "ml.drift.share", "above", threshold=0.3)
ROWS = 2000


def batch(seed: int, *, country: str = "", shift: float = 0.0, positive: float = 0.3, name: str = "items"):
    random = np.random.default_rng(seed)
    codes = random.choice(3, ROWS, p=[0.6, 0.3, 0.1])
    if country:
        codes[: ROWS // 8] = 3
    return PredictionBatch(
        MODEL, np.zeros(ROWS, np.int64), np.zeros((ROWS, 2), np.uint64), np.ones(ROWS), np.full(ROWS, np.nan),
        features={
            "country": Column(None, codes.astype(np.int32), ("DE", "FR", "IT", country or "ES")),
            name: Column(random.normal(10.0 + 5.0 * shift, 5.0, ROWS)),
            "age": Column(random.normal(40.0, 9.0, ROWS)),
        },
        prediction=Column(None, (random.random(ROWS) < positive).astype(np.int32), ("no", "yes")),
    )  # fmt: skip


def notices(
    reference: PredictionBatch, current: PredictionBatch, alerts: Alerts | None = None, *, categories: int = 100
) -> dict[str, Notice]:
    built = build_reference("fraud", reference, max_categories=categories)
    schema = built.schema.fork()
    pane = Pane.empty(schema)
    accumulate(pane, schema, current)
    found = DriftMonitor(DriftSettings(), LeastRows()).evaluate(Window(MODEL, 0, 60 * 10**9, schema, pane), built)
    rules = [
        replace(rule, hold_ns=0)
        for rule in (alerts or Alerts(rules={"feature_drift": None, "prediction_drift": None})).resolved()
        if rule.name in ("feature_drift", "prediction_drift")
    ]
    engine = Engine(rules, Telemetry())
    engine.judge([replace(item, time_ns=660 * 10**9) for item in found], 0)
    restored = Engine(rules, Telemetry())
    restore_engine(restored, json.loads(json.dumps(engine_state(engine))), 0)  # words survive a restart
    for group in restored.groups.values():
        assert group.firing.keys() == engine.groups[group.rule.name, MODEL].firing.keys()
        assert [each.words for each in group.firing.values()] == [
            each.words for each in engine.groups[group.rule.name, MODEL].firing.values()
        ]
    return {notice.rule.name: notice for notice in engine.sweep({MODEL: 0}, 0)}


def test_the_title_names_the_worst_features_and_what_changed():
    found = notices(batch(0), batch(1, country="XK", shift=0.6))
    text = title(found["feature_drift"])
    assert text.startswith("[warning] fraud 7: 67 % of features drifted: ")
    assert "country (js " in text
    assert "new value 'XK' 12 %" in text
    assert "items (js " in text
    assert "median 9.88 → 12.9" in text
    assert "age" not in text
    assert "67 % of features drifted" in body(found["feature_drift"])


def test_a_class_that_became_more_frequent_is_named_with_its_share():
    text = title(notices(batch(0), batch(1, positive=0.6))["prediction_drift"])
    assert text.startswith("[warning] fraud 7: predictions have drifted from the reference: prediction (")
    assert re.search(r"class '(no|yes)' \d+ % → \d+ %\)", text), text


def test_categories_beyond_the_limit_have_no_name():
    text = title(notices(batch(0), batch(1, country="XK"), categories=3)["feature_drift"])
    assert "new other values 12 %" in text, text


@pytest.mark.parametrize("name", ["x" * 500, "line\nbreak", "\u202eright to left"])
def test_names_from_the_network_stay_on_one_bounded_line(name):
    text = title(notices(batch(0, name=name), batch(1, country=name, shift=0.9, name=name))["feature_drift"])
    assert text.isprintable()
    assert len(text) < LINE_LENGTH + 100


def test_links_are_absolute_and_name_the_model_and_the_time():
    urls = {
        "runbooks": "https://docs.example/otel-ml/",
        "board": "https://grafana.example/d/model?var-model={model}&from={from}&to={to}",
        "traces": "https://tempo.example/search?q={model}",
    }
    alerts = Alerts.model_validate({"links": urls, "rules": {"feature_drift": {}}})
    lines = body(notices(batch(0), batch(1, country="XK", shift=0.6), alerts)["feature_drift"]).splitlines()
    assert "What to do: https://docs.example/otel-ml/docs/runbooks/feature_drift.md" in lines
    assert "Board: https://grafana.example/d/model?var-model=fraud&from=0&to=660000" in lines
    assert "Traces: https://tempo.example/search?q=fraud" in lines


def test_an_alert_links_to_the_trace_of_a_prediction_if_it_has_one() -> None:
    settings = Alerts.model_validate({"links": {"trace": "https://jaeger.example/trace/{trace}?model={model}"}})
    bench = Bench(settings.links.of(DRIFT))
    first, second = (item(0.5, BEGIN + MINUTE, ("ml.feature.name", name)) for name in ("age", "country"))
    exemplar = Exemplar("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
    [notice] = bench.after(MINUTE, first, replace(second, exemplars=(exemplar,)))
    link = "https://jaeger.example/trace/0af7651916cd43dd8448eb211c80319c?model=fraud"
    assert dict(links(notice)) == {"Trace": link}
    assert f"Trace: {link}" in body(notice).splitlines()
    [notice] = Bench(settings.links.of(DRIFT)).after(MINUTE, first)
    assert dict(links(notice)) == {}


def test_a_link_to_a_trace_has_a_place_for_it() -> None:
    with pytest.raises(ValueError, match=r"must have \{trace\} where the trace id belongs, not 'https://jaeger'"):
        Alerts.model_validate({"links": {"trace": "https://jaeger"}})


def test_a_link_that_is_no_url_is_refused():
    with pytest.raises(ValueError, match="must be a URL that begins with https:// or http://, not 'docs'"):
        Alerts.model_validate({"links": {"runbooks": "docs"}})


def test_an_alert_names_the_trace_of_a_prediction_that_it_is_about() -> None:
    bench, trace = Bench(DRIFT), "0af7651916cd43dd8448eb211c80319c"
    exemplars = (Exemplar(trace, "b7ad6b7169203331"), Exemplar("1" * 32, "1" * 16))
    [notice] = bench.after(MINUTE, replace(item(0.5, BEGIN + MINUTE), exemplars=exemplars))
    assert f"(for example trace {trace})" in body(notice)
    assert trace not in title(notice)
    assert not any(name == "Trace" for name, _ in links(notice))
    state = json.loads(json.dumps(engine_state(bench.engine)))
    assert trace not in json.dumps(state)


def test_an_alert_whose_newest_window_has_no_trace_names_none() -> None:
    bench = Bench(DRIFT)
    bench.after(MINUTE, replace(item(0.5, BEGIN + MINUTE), exemplars=(Exemplar("1" * 32, "1" * 16),)))
    [series] = bench.engine.books[DRIFT.name].series.values()
    assert series.trace == "1" * 32
    bench.after(MINUTE, item(0.5, BEGIN + 2 * MINUTE))
    assert series.trace == ""
