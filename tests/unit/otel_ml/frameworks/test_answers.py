"""The header that returns prediction ids: its name is checked, and no id can break out of its value."""

from __future__ import annotations

import logging
import re
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_ml import Model, serving
from otel_ml.frameworks.answers import DEFAULT_HEADER, MAX_CHARS, answering, chosen_header, header_value
from otel_ml.served import ServedCall, serving_apart
from otel_ml.testing import capture

ENV = "OTEL_ML_PREDICTION_ID_HEADER"


def calls(*ids: str) -> list[ServedCall]:
    return [ServedCall("m", each, 1) for each in ids]


@given(st.lists(st.text(max_size=300), max_size=30))
def test_whatever_the_ids_are_the_value_is_one_line_of_plain_characters(ids: list[str]) -> None:
    value = header_value(calls(*ids))
    assert re.fullmatch(r"[!-~]*", value)
    assert len(value) <= MAX_CHARS


@given(st.lists(st.text(min_size=1, max_size=20).filter(lambda text: text.isascii()), min_size=1, max_size=5))
def test_a_client_reads_back_exactly_the_ids(ids: list[str]) -> None:
    assert [unquote(part) for part in header_value(calls(*ids)).split(",")] == list(dict.fromkeys(ids))


def test_ids_that_do_not_fit_are_left_out_whole(caplog: pytest.LogCaptureFixture) -> None:
    ids = [f"{number:049d}" for number in range(40)]
    value = header_value(calls(*ids))
    assert value.split(",") == ids[:20]
    assert header_value(calls("x" * 2000)) == ""


@pytest.mark.parametrize("name", ["X-Prediction-Id", "Prediction-Id", "x-score"])
def test_a_name_is_taken_as_it_is(name: str) -> None:
    assert chosen_header(None, {ENV: name}) == chosen_header(name, {}) == name


@pytest.mark.parametrize("name", ["off", "OFF", "false", "0", " off "])
def test_it_can_be_turned_off(name: str) -> None:
    assert chosen_header(None, {ENV: name}) == ""
    assert chosen_header(False, {}) == ""


@pytest.mark.parametrize(
    "name", ["X Id", "X:Id", "X-Id\r\nSet-Cookie", "Content-Length", "set-cookie", "Location", "é", "a" * 65, "Vary"]
)
def test_a_name_that_cannot_be_one_is_refused(name: str, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ValueError, match="is not the name of a header"):
        chosen_header(name, {})
    with caplog.at_level(logging.ERROR):
        assert chosen_header(None, {ENV: name}) == DEFAULT_HEADER
    assert ENV in caplog.text


def predict(rows: int = 1) -> None:
    with Model("m").predict([[1.0]] * rows) as prediction:
        prediction.record(score=[0.5] * rows)


def test_a_block_around_the_whole_server_does_not_mix_requests() -> None:
    with capture(), serving("m") as whole:
        for _ in range(3):
            with answering() as request:
                predict()
            assert len(request.calls) == 1
    assert len(whole.calls) == 3


def test_gathered_requests_have_the_id_of_each_row_and_nothing_of_the_request_around() -> None:
    with capture() as captured:
        tracer = captured.tracer_provider.get_tracer("app")
        with tracer.start_as_current_span("request 1"), serving(request_id="mine", segments={"tier": "gold"}) as outer:
            with serving_apart("m", request_id=["a", "b", "c"]):
                predict(3)
            with serving_apart("m", request_id=["a", "b"]):
                predict(3)
    seen = captured.predictions
    assert [each.id for each in seen[:3]] == ["a", "b", "c"]
    assert not {each.id for each in seen[3:]} & {"a", "b", "mine"}
    assert all(not each.segments for each in seen)
    assert outer.calls == ()
    assert all(span.parent is None for span in captured.spans)
