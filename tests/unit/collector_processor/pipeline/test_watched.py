"""Rules of one model under watch: its settings become rules of windows and monitors, and no monitor stops another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from collector_processor.columns.batch import Column, ModelKey, PredictionBatch
from collector_processor.monitors import MONITOR_TYPES
from collector_processor.monitors.base import Measurement, Metric, OptIn
from collector_processor.monitors.fold import Fold
from collector_processor.monitors.predictions import PredictionCounter
from collector_processor.own.telemetry import Telemetry
from collector_processor.pipeline.settings import MlMonitor, ModelConfig, WindowConfig
from collector_processor.pipeline.watched import Model, begin, window_policy
from collector_processor.reference.build import build_reference
from collector_processor.reference.profile import Reference
from collector_processor.window.closed import Window

KEY = ModelKey("fraud", "7")
S = 10**9


def rows(count: int, *features: str) -> PredictionBatch:
    column = Column(np.arange(count) % 10.0)
    return PredictionBatch(
        KEY,
        np.full(count, S, np.int64),
        np.zeros((count, 2), np.uint64),
        np.ones(count),
        np.full(count, 0.01),
        dict.fromkeys(features or ("amount", "country"), column),
    )


def watched(config: MlMonitor | None = None, settings: ModelConfig | None = None) -> tuple[Model, Telemetry]:
    """A model with a reference of two features."""
    telemetry = Telemetry()
    model = Model(KEY, settings or ModelConfig(), PredictionCounter(KEY, 0, 10), 0)
    begin(model, build_reference("fraud", rows(1000)), config or MlMonitor(), telemetry)
    return model, telemetry


def window_of(model: Model, count: int) -> Window:
    """One closed window of so many rows."""
    assert model.watch is not None
    model.watch.windows.add(rows(count), now_ns=2 * S)
    windows = model.watch.windows.close(now_ns=10**6 * S)
    return next(window for window in windows if window.pane.rows[1])


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"size": "1h"}, (3600 * S, 60 * S, 0, 0)),
        ({"size": "30s"}, (30 * S, 30 * S, 0, 0)),
        ({"size": "1h", "every": "5m"}, (3600 * S, 300 * S, 0, 0)),
        ({"size": "5000 rows"}, (0, 0, 5000, 5000)),
        ({"size": "5000 rows", "every": "1000 rows"}, (0, 0, 5000, 1000)),
    ],
)
def test_the_settings_of_a_window_become_its_policy(
    config: dict[str, str], expected: tuple[int, int, int, int]
) -> None:
    policy = window_policy(WindowConfig.model_validate({**config, "allowed_lateness": "7s"}))
    assert (policy.size_ns, policy.every_ns, policy.rows, policy.every_rows) == expected
    assert policy.allowed_lateness_ns == 7 * S


def test_every_registered_monitor_that_is_not_opt_in_watches_every_model() -> None:
    model, _ = watched()
    assert model.watch is not None
    opt_in = {kind for kind in MONITOR_TYPES if any(issubclass(part, OptIn) for part in kind.sections.values())}
    watching = [*model.watch.monitors, *(fold.monitor for fold in model.watch.folds)]
    assert {type(monitor) for monitor in watching} == {kind for kind in MONITOR_TYPES if kind not in opt_in}
    assert len(watching) == len(MONITOR_TYPES) - len(opt_in)


def test_a_models_own_drift_settings_go_before_the_connectors() -> None:
    own = ModelConfig.model_validate({"drift": {"numeric": ["ks"], "thresholds": {"ks": 0.9}}})
    model, _ = watched(settings=own)
    assert model.watch is not None
    found = model.watch.evaluate(window_of(model, 1000))
    methods = {dict(item.attributes).get("ml.drift.method") for item in found if item.name == "ml.drift.score"}
    assert methods == {"ks"}
    assert {item.value for item in found if item.name == "ml.drift.threshold"} == {0.9}


def test_drift_is_not_judged_below_the_windows_least_rows() -> None:
    model, _ = watched(MlMonitor(window=WindowConfig(min_rows=101)))
    assert model.watch is not None
    found = {item.name for item in model.watch.evaluate(window_of(model, 100))}
    assert "ml.window.rows" in found
    assert "ml.drift.score" not in found


class Broken:
    """A monitor with a bug."""

    name = "broken"
    metrics: Sequence[Metric] = ()

    def evaluate(self, window: Window, reference: Reference) -> list[Measurement]:
        raise ZeroDivisionError("a bug")


def test_a_monitor_that_raises_is_counted_and_told_and_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    model, telemetry = watched()
    assert model.watch is not None
    window = window_of(model, 1000)
    expected = model.watch.evaluate(window)
    first, *others = model.watch.monitors
    found = replace(model.watch, monitors=(first, Broken(), *others), folds=folds_of(model)).evaluate(window)
    assert found == expected
    assert telemetry.registry.get_sample_value("otel_ml_errors_total", {"stage": "monitor_broken"}) == 1
    assert "monitor_broken failed; the service continues" in caplog.messages
    assert caplog.records[-1].exc_info is not None
    assert telemetry.registry.get_sample_value("otel_ml_evaluate_seconds_count") == 2


def folds_of(model: Model) -> tuple[Fold, ...]:
    assert model.watch is not None
    return tuple(Fold.begun(fold.monitor, model.watch.reference) for fold in model.watch.folds)


def test_a_watch_begins_with_tables_of_its_own_and_ends_the_learning() -> None:
    model, _ = watched()
    assert model.watch is not None
    assert model.learner is None
    assert model.watch.windows.schema is not model.watch.reference.schema
    model.watch.windows.schema.classes.slots(0, ("new",))
    assert model.watch.reference.schema.classes.names(0) == []


def test_unknown_features_are_told_once_a_model_and_only_a_few_by_name(caplog: pytest.LogCaptureFixture) -> None:
    model, _ = watched()
    caplog.clear()
    model.check_features(rows(1, "amount"))
    assert caplog.messages == []
    unknown = [f"f{number:02}" for number in range(13)]
    for _ in range(2):
        model.check_features(rows(1, "amount", *unknown))
    named = ", ".join(f"'{name}'" for name in unknown[:10])
    assert caplog.messages == [f"model 'fraud@7': reference has no feature {named} and 3 more; it has: amount, country"]


def test_withheld_features_are_said_once_and_kept_in_the_models_state(caplog: pytest.LogCaptureFixture) -> None:
    model, _ = watched()
    for _ in range(2):
        model.check_features(replace(rows(1, "amount"), withheld="country,not in the reference"))
    said = "features that a sender withholds have no figures, unless it counts them (docs/privacy.md): country"
    assert caplog.messages.count(f"model 'fraud@7': {said}") == 1
    assert model.problems["withheld"] == said
