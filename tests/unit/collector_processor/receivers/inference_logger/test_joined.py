"""What becomes of calls whose bodies are strange: left out, counted, logged once; never a wrong row."""

from __future__ import annotations

import gzip
import json
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector_processor.columns.batch import Column, Decoded, MalformedRequestError
from collector_processor.decode import decode
from collector_processor.own.telemetry import Telemetry
from collector_processor.receivers.inference_logger.events import BATCHED
from collector_processor.receivers.inference_logger.joined import Joined
from collector_processor.receivers.inference_logger.settings import InferenceLoggerSettings
from support.inference_events import kserve, lower, seldon, tensor

KEY = "receivers.inference_logger"
TIMES = ("2026-11-29T10:00:00.5Z", "2026-11-29T10:00:00.75Z")


class Sink:
    def __init__(self, **settings: Any) -> None:
        self.telemetry = Telemetry()
        self.now = 0.0
        self.joined = Joined(
            InferenceLoggerSettings.model_validate(settings), self.telemetry, KEY, clock=lambda: self.now
        )

    def post(self, headers: dict[str, str], body: Any) -> Decoded:
        octets = body if isinstance(body, bytes) else json.dumps(body).encode()
        return decode("traces", self.joined.take(lower(headers), octets, 5), 0)

    def call(self, request: Any, response: Any, **attributes: str) -> Decoded:
        assert self.post(kserve("request", "call", **attributes), request).items == 0
        return self.post(kserve("response", "call", **attributes), response)

    def dropped(self) -> dict[str, float]:
        samples = next(f for f in self.telemetry.registry.collect() if f.name == "otel_ml_dropped").samples
        return {each.labels["reason"]: each.value for each in samples if each.name.endswith("_total")}


def texts(column: Column) -> list[str]:
    assert column.codes is not None
    return [column.categories[code] for code in column.codes]


TWO = {"instances": [[1, 2], [3, 4]]}


@pytest.mark.parametrize(
    ("request_body", "response_body", "lost"),
    [
        (TWO, {"predictions": [1, 2, 3]}, {"rows_differ": 3}),
        ({"instances": [[1, 2], [3]]}, {"predictions": [1, 0]}, {"shape": 3}),
        ({"instances": [[[1, 2], [3, 4]]] * 2}, {"predictions": [1, 0]}, {"shape": 2}),
        ({"instances": [{"a": [1, 2]}, {"a": {"b": 1}}]}, {"predictions": [1, 0]}, {"shape": 2}),
        (TWO, {"predictions": [[0.9, 0.9], [0.1, 0.2]]}, {"outputs": 2}),
        (TWO, {"predictions": [{"a": 0.5, "b": 0.25}] * 2}, {"outputs": 2}),
        (TWO, {"predictions": []}, {"outputs": 2}),
        (TWO, {"predictions": [[[0.1, 0.9], [1, 0]]] * 2}, {"shape": 2}),
        ({"inputs": [tensor("a", [2], "FP64", ["x", {}])]}, {"predictions": [1, 0]}, {"shape": 2}),
        ({"inputs": [tensor("a", [3], "FP64", [1, 2, 3]), tensor("b", [2], "INT8", [1, 2])]}, {"predictions": [1, 0]},
         {"rows_differ": 3}),
    ],
)  # fmt: skip
def test_what_cannot_be_right_is_left_out_and_counted(
    request_body: Any, response_body: Any, lost: dict[str, int], caplog: pytest.LogCaptureFixture
) -> None:
    sink = Sink()
    decoded = sink.call(request_body, response_body)
    assert sink.dropped() == lost
    [reason] = lost
    [line] = [each.message for each in caplog.records if each.levelno == logging.WARNING and "left out" in each.message]
    assert line.startswith("model 'churn': ")
    assert f"reason {reason}" in line
    assert sum(len(batch) for batch in decoded.predictions) in (0, 2)
    for batch in decoded.predictions:
        if "shape" in lost or "rows_differ" in lost:
            assert not batch.features or set(batch.features) == {"b"}


@pytest.mark.parametrize(
    "body",
    [
        b"", b"\xff", b"nonsense", b"[]", b"1", b"null", b'"text"', b"{}", b'{"instances": 1}', b"[" * 200_000,
        b'{"instances": [' + b"[" * 50_000, b'{"data": {}}', b'{"data": {"ndarray": 1}}', b'{"inputs": 5}',
        b'{"data": {"tensor": {"shape": [2, 2], "values": [1]}}}',
        b'{"data": {"tensor": {"shape": [-1], "values": []}}}',
        json.dumps({"inputs": [tensor("a", [3], "FP64", [1])]}).encode(),
        json.dumps({"inputs": [tensor("a", [10**9] * 40, "FP64", [1])]}).encode(),
        json.dumps({"inputs": [tensor("a", [1], "FP64", "x")]}).encode(),
        json.dumps({"inputs": [{"name": "a", "shape": 1, "datatype": "FP64", "data": [1]}]}).encode(),
        json.dumps({"inputs": [{"name": "a", "shape": [1], "datatype": "FP64", "parameters": {"binary_data_size": 8}}]})
        .encode() + b"1234",
        json.dumps({"inputs": [{"name": "a", "shape": [1], "datatype": "?", "parameters": {"binary_data_size": 1}}]})
        .encode() + b"1",
        json.dumps({"inputs": [{"name": "a", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 4}}]})  # noqa: E501
        .encode() + b"\xff\xff\xff\xff",
        b'{"instances": [[1]]} more', gzip.compress(b"{}", mtime=0)[:-9], b'{"instances": [' + b"9" * 5000 + b"]}",
    ],
)  # fmt: skip
@pytest.mark.parametrize("side", ["request", "response"])
def test_a_body_that_is_no_inference_is_rejected_with_a_reason(body: bytes, side: str) -> None:
    sink = Sink()
    good = {"instances": [[1]]}, {"predictions": [1]}
    with pytest.raises(
        MalformedRequestError, match=r"the body of the event|data|a tensor|shape|bytes|text|Exceeds|gzip"
    ):
        sink.call(*((body, good[1]) if side == "request" else (good[0], body)))
    assert len(sink.joined.pairs) == 0


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5), lambda inner: (
    st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(
        ["instances", "predictions", "inputs", "outputs", "data", "ndarray", "shape", "names", "tensor", "values", "a"]
    ), inner, max_size=4)), max_leaves=20), st.booleans())  # fmt: skip
def test_any_json_is_read_or_rejected(body: Any, as_request: bool) -> None:
    sink = Sink()
    good = {"instances": [[1], [2]]}, {"predictions": [1, 0]}
    try:
        decoded = sink.call(*((body, good[1]) if as_request else (good[0], body)))
    except MalformedRequestError:
        return
    assert decoded.rejected == 0
    assert all(len(batch) < 1000 for batch in decoded.predictions)


def test_no_shape_invents_rows() -> None:
    sink = Sink()
    empty = {"outputs": [tensor("p", [10**9, 0], "FP64", [])]}
    assert sink.call(TWO, empty).items == 0
    assert sink.dropped() == {"outputs": 2}


def test_nan_and_infinity_are_cells_like_others() -> None:
    sink = Sink()
    decoded = sink.call(b'{"instances": [[NaN, 1e999], [2, null]]}', b'{"predictions": [NaN, -Infinity]}')
    [batch] = decoded.predictions
    assert str(batch.features["x0"].numbers) == "[nan  2.]"
    assert str(batch.features["x1"].numbers) == "[inf nan]"
    assert str(batch.value) == "[ nan -inf]"
    assert sink.dropped() == {}


def test_a_compressed_body_is_read_although_no_header_says_so() -> None:
    [batch] = Sink().call(gzip.compress(b'{"instances": [[1]]}'), gzip.compress(b'{"predictions": [0.5]}')).predictions
    assert batch.value is not None
    assert batch.value.tolist() == [0.5]


def test_a_compressed_body_cannot_grow_beyond_the_limit() -> None:
    sink = Sink(max_request_body_size="1KiB")
    with pytest.raises(Exception, match="larger than the limit of 1024 bytes"):
        sink.call(gzip.compress(b" " * 10_000), {"predictions": [1]})


def test_latency_needs_the_times_of_request_and_response() -> None:
    def latency(times: tuple[str, str], older: bool = False, **settings: Any) -> float:
        sink, headers = (
            Sink(**settings),
            [kserve("request", "1", time=times[0]), kserve("response", "1", time=times[1])],
        )
        for each in headers:
            if older:
                each.pop("Ce-Recordedtime", None)
        sink.post(headers[0], {"instances": [[1]]})
        [batch] = sink.post(headers[1], {"predictions": [1]}).predictions
        return float(batch.duration_s[0])

    assert latency(TIMES) == 0.25
    # Before KServe 0.18, the time of an event is when it was sent.
    assert str(latency(TIMES, older=True)) == "nan"
    assert latency(TIMES, older=True, event_times=True) == 0.25
    assert str(latency((TIMES[1], TIMES[0]))) == "nan"
    assert str(latency(("", ""))) == "nan"


def test_an_error_is_a_failed_prediction() -> None:
    [batch] = Sink().call({"instances": [[1], [2]]}, {"error": "out of memory"}).predictions
    assert len(batch) == 2
    assert batch.error is not None
    assert batch.error.categories == ("inference_error",)


def test_events_of_other_types_and_components_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    sink = Sink()
    for number in range(3):
        sink.post(kserve("request", str(number), component="transformer"), TWO)
        sink.post(kserve("request", str(number)) | {"Ce-Type": "io.seldon.serving.feedback"}, {})
    assert sink.dropped() == {"component": 3, "type": 3}
    assert len([each for each in caplog.records if "logged once" in each.message]) == 2
    both = Sink(components=["predictor", "transformer"])
    assert both.call(TWO, {"predictions": [1, 0]}, component="transformer").items == 1


def test_events_of_several_models_under_one_name_are_noticed(caplog: pytest.LogCaptureFixture) -> None:
    sink = Sink()
    sink.call(TWO, {"predictions": [1, 0]})
    assert not [each for each in caplog.records if "counted together" in each.message]
    sink.call(TWO, {"predictions": [1, 0]}, namespace="other")
    [line] = [each.message for each in caplog.records if "counted together" in each.message]
    assert "set receivers.inference_logger.model_name" in line
    # A body of the other protocol, which does not name the model, is not another model.
    both = Sink()
    v2 = {"model_name": "m", "outputs": [tensor("p", [2], "INT64", [1, 0])]}
    both.post(kserve("request", "v2"), TWO)
    both.post(kserve("response", "v2"), v2)
    caplog.clear()
    both.call(TWO, {"predictions": [1, 0]})
    assert not [each for each in caplog.records if "counted together" in each.message]
    apart = Sink(model_name="{namespace}/{service}")
    [batch] = apart.call(TWO, {"predictions": [1, 0]}, namespace="other").predictions
    assert batch.model.name == "other/churn"


def test_a_call_without_a_name_is_rejected() -> None:
    with pytest.raises(MalformedRequestError, match="names no model"):
        Sink().call(TWO, {"predictions": [1, 0]}, inferenceservicename="")
    named = {"model_name": "m", "model_version": "3", "outputs": [tensor("p", [2], "INT64", [1, 0])]}
    [batch] = Sink().call(TWO, named, inferenceservicename="").predictions
    assert str(batch.model) == "m@3"


def test_the_version_is_the_annotation_the_models_or_the_endpoint() -> None:
    def version(response: Any = None, **attributes: str) -> str:
        sink = Sink(version_annotation="v")
        [batch] = sink.call(TWO, response or {"predictions": [1, 0]}, **attributes).predictions
        return batch.model.version

    answer = {"model_name": "m", "model_version": "3", "outputs": [tensor("p", [2], "INT64", [1, 0])]}
    assert version() == ""
    assert version(endpoint="canary") == "canary"
    assert version(answer, endpoint="canary") == "3"
    assert version(answer, annotations='{"v": "7"}') == "7"


def test_seldon_is_joined_although_every_event_has_another_id() -> None:
    sink = Sink()
    sink.post(seldon("request", "a", "puid"), {"data": {"names": ["age"], "ndarray": [[37], [38]]}})
    [batch] = sink.post(
        seldon("response", "b", "puid"), {"data": {"names": ["t:0", "t:1"], "ndarray": [[0.25, 0.75], [1, 0]]}}
    ).predictions
    assert batch.model.name == "income"
    assert batch.features["age"].numbers is not None
    assert list(batch.scores) == ["t:0", "t:1"]
    assert batch.prediction is not None
    assert texts(batch.prediction) == ["t:1", "t:0"]


def test_one_bad_call_of_a_batch_does_not_cost_the_others() -> None:
    def envelope(side: str, identity: str, data: Any) -> dict[str, Any]:
        headers = kserve("request" if side == "request" else "response", identity)
        return {name[3:].lower(): value for name, value in headers.items() if name.startswith("Ce-")} | {"data": data}

    sink = Sink()
    events = [
        envelope("request", "1", TWO), envelope("response", "1", {"predictions": [1, 0]}),
        envelope("request", "2", "nonsense"), envelope("response", "2", {"predictions": [1, 0]}),
        envelope("response", "3", {"predictions": [1]}), envelope("request", "3", {"instances": [[5]]}),
    ]  # fmt: skip
    decoded = sink.post({"Content-Type": BATCHED}, events)
    assert sum(map(len, decoded.predictions)) == 3
    assert sink.dropped() == {"unreadable": 1}


def test_lonely_events_are_counted_and_explained_once(caplog: pytest.LogCaptureFixture) -> None:
    sink = Sink(pairs={"wait": "10s"})
    for number in range(5):
        sink.post(kserve("request", str(number)), TWO)
    sink.now = 10.0
    sink.joined.expire()
    labels = {"store": "inference_requests", "reason": "expired"}
    assert sink.telemetry.registry.get_sample_value("otel_ml_evicted_total", labels) == 5
    assert len([each for each in caplog.records if "did not come within 10 s" in each.message]) == 1


@pytest.mark.parametrize(
    ("outputs", "value", "found"),
    [
        (None, 1, "class"), (None, 0.5, "value"), ("score", 0.5, "score"), ("value", 1, "value"),
        ("class", 1.0, "class"), ({"": "score"}, 0.5, "score"), ({"other": "score"}, 0.5, ""), ("ignore", 1, ""),
    ],
)  # fmt: skip
def test_settings_say_what_an_output_is(outputs: Any, value: float, found: str) -> None:
    sink = Sink(models={"churn": {"outputs": outputs}})
    [batch] = sink.call(TWO, {"predictions": [value, value]}).predictions
    present = {"class": batch.prediction, "score": batch.score, "value": batch.value}
    assert [name for name, part in present.items() if part is not None] == ([found] if found else [])


def test_the_named_outputs_of_a_classifier_are_read_together() -> None:
    answer = {"outputs": [
        tensor("predict", [2, 1], "INT64", [1, 0]),
        tensor("predict_proba", [2, 2], "FP64", [0.2, 0.8, 0.7, 0.3]),
    ]}  # fmt: skip
    [batch] = Sink(models={"churn": {"classes": ["0", "1"]}}).call(TWO, answer).predictions
    assert batch.prediction is not None
    assert batch.score is not None
    assert batch.score.tolist() == [0.8, 0.3]
    assert texts(batch.prediction) == ["1", "0"]


def test_names_that_do_not_fit_the_columns_are_not_guessed() -> None:
    sink = Sink(models={"churn": {"features": ["age"]}})
    [batch] = sink.call(TWO, {"predictions": [1, 0]}).predictions
    assert not batch.features
    assert sink.dropped() == {"feature_names": 4}
