"""What a newcomer gets wrong is said: no SDK, nothing observed, wrong arguments, misspelt variables and patterns."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import TracerProvider

from otel_ml import Config, Model, activity, problems
from otel_ml.config import resolve
from otel_ml.testing import capture


@pytest.fixture(autouse=True)
def _fresh_problems() -> Iterator[None]:
    problems.forget()
    yield
    problems.forget()


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_no_sdk_is_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    model = Model("m")
    for _ in range(3):
        with model.predict({"a": 1}):
            pass
        model.label("a", class_="x")
    [warning] = warnings(caplog)
    assert "no OpenTelemetry SDK is set up" in warning
    assert "otel_ml.setup()" in warning


def test_an_sdk_that_was_turned_off_is_none(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    with Model("m").predict({"a": 1}):
        pass
    assert warnings(caplog) == []


def test_an_sdk_without_an_exporter_is_one_warning(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
    with Model("m", tracer_provider=TracerProvider(shutdown_on_exit=False)).predict({}):
        pass
    assert warnings(caplog) == []
    monkeypatch.delenv("OTEL_TRACES_EXPORTER")
    with Model("m", tracer_provider=TracerProvider(shutdown_on_exit=False)).predict({}):
        pass
    assert len(warnings(caplog)) == 1
    assert "the OpenTelemetry SDK has no span processor" in caplog.text


@pytest.mark.parametrize(
    ("modules", "level", "text"),
    [
        (["tensorflow"], logging.WARNING, "tensorflow is loaded but not observed"),
        (["xgboost", "torch"], logging.WARNING, "torch is loaded but not observed"),
        ([], logging.INFO, "scikit-learn is loaded"),
    ],
)
def test_nothing_observed_is_said_once_with_the_likely_reason(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, modules: list[str], level: int, text: str
) -> None:
    for name in activity.NOT_OBSERVED:
        monkeypatch.delitem(sys.modules, name, raising=False)
    for name in ("sklearn", *modules):
        monkeypatch.setitem(sys.modules, name, logging)
    monkeypatch.setattr(activity, "activity", activity.Activity())
    caplog.set_level(logging.INFO)
    activity.report_silence()
    activity.report_silence()
    [record] = caplog.records
    assert record.levelno == level
    assert record.getMessage().startswith("observed 0 predictions; ")
    assert text in record.getMessage()


def test_something_observed_is_not_worth_a_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with capture(), Model("m").predict({}):
        pass
    activity.report_silence()
    assert caplog.records == []


@pytest.mark.parametrize(
    ("args", "kwargs", "text"),
    [
        ([0.83], {}, r"record\(\) takes its arguments by name, such as record\(score=0.83\)"),
        ([], {"label": "x"}, "record\\(\\) has no argument 'label'; did you mean 'class_'"),
        ([], {"scor": 0.5}, "did you mean 'score'"),
        ([], {"zzz": 0.5}, "no argument 'zzz'. It has: class_, score, value"),
    ],
)
def test_wrong_arguments_of_record_are_named(args: list[object], kwargs: dict[str, object], text: str) -> None:
    with capture() as captured:
        with pytest.raises(TypeError, match=text), Model("m").predict({}) as prediction:
            prediction.record(*args, **kwargs)
        assert captured.predictions[0].error_type == "TypeError"


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_record_outside_of_the_block_is_reported(caplog: pytest.LogCaptureFixture, when: str) -> None:
    with capture():
        prediction = Model("m").predict({"a": 1})
        if when == "after":
            with prediction:
                prediction.record(score=0.5)
        assert warnings(caplog) == []
        prediction.record(score=0.5)
    assert "record() outside of the block" in caplog.text


@pytest.mark.parametrize(
    ("name", "private", "text"),
    [
        ("OTEL_ML_FEATURES_DENI", True, "did you mean OTEL_ML_FEATURES_DENY?"),
        ("OTEL_ML_FEATURE_DENY", True, "did you mean OTEL_ML_FEATURES_DENY?"),
        ("otel_ml_features_deny", True, "did you mean OTEL_ML_FEATURES_DENY?"),
        ("OTEL_FEATURES_DENY", True, "did you mean OTEL_ML_FEATURES_DENY?"),
        ("OTEL_ML_CAPTURE", True, "there are OTEL_ML_ENABLED, OTEL_ML_CAPTURE_FEATURES"),
        ("OTEL_ML_ENABLE", True, "did you mean OTEL_ML_ENABLED?"),
        ("OTEL_ML_REDACT_COLUMNS", True, "there are OTEL_ML_ENABLED"),
        ("OTEL_ML_HASH_SAL", True, "did you mean OTEL_ML_HASH_SALT?"),
        ("OTEL_ML_MODEL_NAMES", False, "did you mean OTEL_ML_MODEL_NAME?"),
        ("OTEL_ML_ENDPOINT", False, "it has no effect"),
    ],
)
def test_an_unknown_variable_is_reported_once_and_fails_closed(
    caplog: pytest.LogCaptureFixture, name: str, private: bool, text: str
) -> None:
    for _ in range(2):
        settings = resolve(Config(capture_features=True), {name: "email"})
        assert settings.capture_features is not private
        assert settings.deny == (("*",) if private else ())
    [warning] = warnings(caplog)
    assert warning.startswith(f"{name}: no such variable")
    assert text in warning


def test_variables_of_others_are_none_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    others = [
        "OTEL_SERVICE_NAME",
        "OTEL_SDK_DISABLED",
        "OTEL_TRACES_SAMPLER",
        "OTEL_BSP_SCHEDULE_DELAY",
        "PATH",
        "OTEL",
    ]
    assert resolve(None, dict.fromkeys(others, "1")).capture_features
    assert resolve(None, {"OTEL_ML_SKLEARN_METHODS": "predict", "OTEL_ML_DECODER": "python"}).capture_features
    assert warnings(caplog) == []


def test_a_pattern_that_matches_nothing_is_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    config = Config(
        features_allow=["age", "emial", "email", "plan", "region"],
        features_deny=["pass*", "email"],
        features_bucket={"age": 10, "incom": 1000},
    )
    with capture():
        model = Model("m", config=config)
        for _ in range(50):
            with model.predict({"age": 41, "email": "a@b.c", "plan": "x"}, segments={"region": "n"}):
                pass
    [warning] = warnings(caplog)
    assert "model 'm': 'emial', 'incom', 'pass*' match no feature, segment or attribution" in warning
    assert "there are: age, email, plan, region" in warning
