"""What must not leave does not leave: not in any form, not as a segment, not in a log line."""

from __future__ import annotations

import hashlib
import hmac
import logging
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

from otel_ml import Config, Model, problems
from otel_ml.config import Settings
from otel_ml.emit.redaction import Redaction
from otel_ml.encode.rules import RedactionRule
from otel_ml.testing import Captured, capture

SECRET = "anna.s3cret@example.org"
SALT = "pepper"
LONG = "the same beginning "
FORMS = ("flat", "map", "arrow")


@pytest.fixture
def captured() -> Iterator[Captured]:
    problems.forget()
    with capture() as found:
        yield found


def rows_for(form: str, row: Mapping[str, object]) -> Any:
    """The row in a shape that travels in the form: wide for the map, twice for a batch."""
    if form == "map":
        return {**row, **{f"filler{i}": i for i in range(100)}}
    if form == "flat":
        return dict(row)
    return {name: [value, value] for name, value in row.items()}


def wire(captured: Captured) -> bytes:
    return encode_spans(captured.spans).SerializeToString()


def digest(text: str) -> str:
    return hmac.new(SALT.encode(), text.encode(), hashlib.sha256).hexdigest()[:16]


CONFIGS = {
    "denied": Config(features_deny=["mail"]),
    "denied by a pattern": Config(features_deny=["ma*"]),
    "not allowed": Config(features_allow=["age"]),
    "hashed": Config(features_hash=["mail"], hash_salt=SALT),
    "hashed by a pattern": Config(features_hash=["m?il"], hash_salt=SALT),
    "rounded though a text": Config(features_bucket={"mail": 10}),
    "capture off": Config(capture_features=False),
    "denied and hashed": Config(features_deny=["mail"], features_hash=["*"], hash_salt=SALT),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", CONFIGS)
def test_the_secret_never_leaves(
    captured: Captured, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, form: str, kind: str
) -> None:
    caplog.set_level(logging.DEBUG)
    model = Model("m", segments=["mail"], config=CONFIGS[kind])
    row = rows_for(form, {"mail": SECRET, "age": 37})
    with model.predict(row) as prediction:
        prediction.record(score=0.5 if form in ("flat", "map") else [0.5, 0.5])
    assert SECRET.encode() not in wire(captured)
    assert SECRET not in caplog.text
    assert captured.predictions[0].score == 0.5
    if "hashed" in kind and "denied" not in kind:
        assert captured.predictions[0].features["mail"] == digest(SECRET)
        assert captured.predictions[0].segments["mail"] == digest(SECRET)
    else:
        assert "mail" not in captured.predictions[0].features
        assert "mail" not in captured.predictions[0].segments


@pytest.mark.parametrize("form", FORMS)
def test_a_bucket_rounds_down_in_every_form(captured: Captured, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    model = Model("m", segments=["age"], config=Config(features_bucket={"age": 10, "t*": 0.5}))
    with model.predict(rows_for(form, {"age": 37, "temperature": -0.7, "top": float("inf")})):
        pass
    features = captured.predictions[0].features
    assert (features["age"], features["temperature"], features["top"]) == (30.0, -1.0, float("inf"))
    assert captured.predictions[0].segments == {"age": "30"}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["denied", "not allowed", "capture off"])
def test_attributions_of_features_that_stay_do_not_leave(
    captured: Captured, monkeypatch: pytest.MonkeyPatch, form: str, kind: str
) -> None:
    one = form in ("flat", "map")
    with Model("m", config=CONFIGS[kind]).predict(rows_for(form, {"mail": 1.0})) as prediction:
        prediction.record(attributions={"mail": 0.5 if one else [0.5, 0.5]}, score=0.5 if one else [0.5, 0.5])
    assert captured.predictions[0].attributions == {}
    assert b"ml.attribution" not in wire(captured)


@pytest.mark.parametrize("form", FORMS)
def test_explicit_segments_obey_deny_hash_and_bucket_only(
    captured: Captured, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    config = Config(
        capture_features=False,
        features_allow=["nothing"],
        features_deny=["mail"],
        features_hash=["city"],
        hash_salt=SALT,
        features_bucket={"age": 10},
    )
    segments = {"mail": SECRET, "city": "Bern", "age": 37, "region": "EU"}
    with Model("m", config=config).predict(rows_for(form, {"x": 1}), segments=segments):
        pass
    assert captured.predictions[0].segments == {"city": digest("Bern"), "age": "30", "region": "EU"}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("value", [7, 7.0, "7", np.int64(7)])
def test_a_hash_depends_on_the_value_not_on_its_type(
    captured: Captured, monkeypatch: pytest.MonkeyPatch, form: str, value: object
) -> None:
    model = Model("m", config=Config(features_hash=["*"], hash_salt=SALT))
    with model.predict(rows_for(form, {"account": value})):
        pass
    assert captured.predictions[0].features["account"] == digest("7")


def test_missing_values_stay_missing_when_hashed_or_rounded(captured: Captured) -> None:
    model = Model("m", config=Config(features_hash=["a"], features_bucket={"b": 1}, hash_salt=SALT))
    with model.predict({"a": None, "b": float("nan"), "c": 1}):
        pass
    with model.predict(pd.DataFrame({"a": [None, "x"], "b": [float("nan"), 1.5], "c": [1, 2]})):
        pass
    assert captured.predictions[0].features == {"c": 1}
    assert captured.predictions[1].features == {"c": 1}
    assert captured.predictions[2].features == {"a": digest("x"), "b": 1.0, "c": 2}


def test_the_whole_text_is_hashed_not_its_beginning(captured: Captured) -> None:
    model = Model("m", config=Config(features_hash=["a"], hash_salt=SALT, max_string_chars=16))
    for text in (LONG + "start", LONG + "stare"):
        with model.predict({"a": text}):
            pass
    with model.predict({"a": [LONG + "start", LONG + "stare"]}):
        pass
    hashes = [seen.features["a"] for seen in captured.predictions]
    assert len(set(hashes[:2])) == 2
    assert hashes[:2] == hashes[2:]


def test_a_bad_variable_turns_to_the_private_side(
    captured: Captured, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_ML_FEATURES_BUCKET", "age:10")
    with Model("m", segments=["age"]).predict({"age": 37}, segments={"age": 37}) as prediction:
        prediction.record(score=0.5, attributions={"age": 1.0})
    [seen] = captured.predictions
    assert (seen.features, seen.segments, seen.attributions, seen.score) == ({}, {}, {}, 0.5)
    assert "OTEL_ML_FEATURES_BUCKET: 'age:10' is not name=width" in caplog.text
    assert "no feature is captured" in caplog.text


def test_a_name_with_pattern_signs_matches_itself() -> None:
    redaction = Redaction(Settings(deny=("x[1]",)))
    assert redaction.features["x[1]"] is None
    assert redaction.features["x1"] is None
    assert redaction.features["x2"] is not None


def test_names_are_case_sensitive() -> None:
    assert Redaction(Settings(deny=("ssn",))).features["SSN"] is not None


def test_routes_are_remembered_up_to_a_limit() -> None:
    routes = Redaction(Settings()).features
    for number in range(20_050):
        assert routes[f"f{number}"] == (f"ml.feature.f{number}", None)
    assert len(routes) == 20_000


def test_keys_that_cannot_be_are_dropped_and_reported_once(
    captured: Captured, caplog: pytest.LogCaptureFixture
) -> None:
    with Model("m").predict({"": 1, "k" * 300: 2, "ok": 3, 5: 4}):
        pass
    assert captured.predictions[0].features == {"ok": 3, "5": 4}
    assert caplog.text.count("a key is empty") == 1


@pytest.mark.parametrize(("value", "lower"), [(37, 30.0), (-1, -10.0), (30, 30.0), (1e308, 1e308), ("x", None)])
def test_rounding(value: object, lower: float | None) -> None:
    assert RedactionRule("bucket", width=10.0).apply(value) == pytest.approx(lower)


def test_a_width_too_small_for_the_value_leaves_it() -> None:
    assert RedactionRule("bucket", width=1e-300).apply(1e300) == 1e300


def test_keys_may_be_seen_by_several_threads_at_once() -> None:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(30):
            redaction = Redaction(Settings(deny=tuple(f"none{number}_*" for number in range(12))))
            with ThreadPoolExecutor(4) as pool:
                seen = [pool.submit(redaction.see, f"none{number % 12}_{number}") for number in range(200)]
            assert [each.result() for each in seen] == [None] * 200
            assert redaction.unmatched == set()
    finally:
        sys.setswitchinterval(before)
