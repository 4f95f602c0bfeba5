"""Options: argument before variable before default, and what a bad one does."""

from __future__ import annotations

import pathlib

import pytest

from otel_ml import config
from otel_ml.config import Config, Settings, identity, resolve

ALL = {
    "OTEL_ML_ENABLED": "false",
    "OTEL_ML_CAPTURE_FEATURES": "No",
    "OTEL_ML_FEATURES_ALLOW": "age, income*",
    "OTEL_ML_FEATURES_DENY": "ssn,,card_*",
    "OTEL_ML_FEATURES_HASH": "city",
    "OTEL_ML_HASH_SALT": "pepper",
    "OTEL_ML_FEATURES_BUCKET": "age=10, income=1000",
    "OTEL_ML_REFERENCE": "/profiles/m.json",
    "OTEL_ML_MAX_SPAN_BYTES": "100000",
}


def test_defaults() -> None:
    assert resolve(None, {}) == Settings(reference_from_environment=True)


def test_variables() -> None:
    assert resolve(None, ALL) == Settings(
        enabled=False,
        capture_features=False,
        allow=("age", "income*"),
        deny=("ssn", "card_*"),
        hashed=("city",),
        salt="pepper",
        widths={"age": 10.0, "income": 1000.0},
        reference="/profiles/m.json",
        reference_from_environment=True,
        max_span_bytes=100_000,
    )


def test_arguments_overrule_variables_one_by_one() -> None:
    config = Config(enabled=True, features_deny=[], reference=pathlib.Path("own.json"))
    settings = resolve(config, ALL)
    assert settings.enabled
    assert settings.deny == ()
    assert settings.reference == "own.json"
    assert not settings.reference_from_environment
    assert settings.allow == ("age", "income*")
    assert resolve(config, ALL, reference="closer.json").reference == "closer.json"


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("OTEL_ML_ENABLED", "maybe", "'maybe' is not a switch; allowed: true, false"),
        ("OTEL_ML_CAPTURE_FEATURES", "2", "'2' is not a switch"),
        ("OTEL_ML_FEATURES_BUCKET", "age=wide", "'age=wide' is not name=width"),
        ("OTEL_ML_FEATURES_BUCKET", "age=-1", "width of 'age' is -1, it must be a finite number above 0"),
        ("OTEL_ML_FEATURES_BUCKET", "age=nan", "width of 'age' is nan"),
        ("OTEL_ML_FEATURES_BUCKET", "=1", "'=1' is not name=width"),
        ("OTEL_ML_FEATURES_HASH", "city", "needs a salt in OTEL_ML_HASH_SALT"),
    ],
)
def test_a_bad_private_variable_captures_nothing(
    caplog: pytest.LogCaptureFixture, variable: str, value: str, told: str
) -> None:
    settings = resolve(None, {variable: value})
    assert settings.enabled
    assert not settings.capture_features
    assert settings.deny == ("*",)
    assert f"{variable}: {told}" in caplog.text


@pytest.mark.parametrize("value", ["many", "-5", "100", "1e6"])
def test_a_bad_size_uses_the_default(caplog: pytest.LogCaptureFixture, value: str) -> None:
    settings = resolve(None, {"OTEL_ML_MAX_SPAN_BYTES": value})
    assert settings == Settings(reference_from_environment=True)
    assert "is not a whole number of at least 4096" in caplog.text


def test_a_good_argument_heals_a_bad_variable() -> None:
    assert resolve(Config(capture_features=True), {"OTEL_ML_CAPTURE_FEATURES": "2"}).capture_features


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"features_deny": "ssn"}, "features_deny: 'ssn' is not a list"),
        ({"features_allow": [""]}, "features_allow: '' is not a feature name"),
        ({"features_hash": [3]}, "features_hash: 3 is not a feature name"),
        ({"features_hash": 3}, "features_hash: 3 is not a list"),
        ({"features_bucket": {"age": float("inf")}}, "width of 'age' is inf"),
        ({"max_span_bytes": 10}, "max_span_bytes is 10, it must be at least 4096"),
        ({"max_string_chars": 15}, "max_string_chars is 15, it must be at least 16"),
        ({"max_flat_features": -1}, "max_flat_features is -1"),
    ],
)
def test_a_bad_argument_is_refused_at_once(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Config(**arguments)


def test_hashing_without_salt_is_refused() -> None:
    with pytest.raises(ValueError, match="features_hash needs a salt: pass hash_salt=… or set OTEL_ML_HASH_SALT"):
        resolve(Config(features_hash=["city"]), {})
    assert resolve(Config(features_hash=["city"]), {"OTEL_ML_HASH_SALT": "p"}).salt == "p"


def test_the_salt_is_never_printed() -> None:
    assert "pepper" not in repr(Config(hash_salt="pepper"))
    assert "pepper" not in repr(resolve(Config(hash_salt="pepper"), {}))


def test_identity_prefers_the_argument() -> None:
    environ = {"OTEL_ML_MODEL_NAME": "n", "OTEL_ML_MODEL_VERSION": "v"}
    assert identity("m", "1", environ) == ("m", "1")
    assert identity("m", "", environ) == ("m", "v")
    with pytest.raises(ValueError, match="a model needs a name"):
        identity(None, "", {"OTEL_ML_MODEL_NAME": " "})


def test_every_variable_that_is_read_is_known() -> None:
    names = [value for name, value in vars(config).items() if name.startswith("ENV_")]
    assert len(names) > 10
    assert [name for name in names if config.misspelt(name) is not None] == []


@pytest.mark.parametrize(
    "name",
    [
        "SERVICE_HOST",
        "SERVICE_PORT",
        "SERVICE_PORT_GRPC",
        "PORT",
        "PORT_4317_TCP",
        "PORT_4317_TCP_ADDR",
        "PORT_4318_UDP_PROTO",
    ],
)
def test_what_kubernetes_adds_for_a_service_of_our_name_is_no_mistake(name: str) -> None:
    assert config.misspelt(f"OTEL_ML_{name}") is None
    assert config.misspelt(f"OTEL_ML_FEATURES_{name}") is None
