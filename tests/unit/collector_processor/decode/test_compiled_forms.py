"""Every form of the contract through the compiled decoder alone: the fallback is not there to help out."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NoReturn

import pytest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from collector_processor.decode import DecodeLimits, fallback, hash_ids

compiled = pytest.importorskip("collector_processor.decode.compiled.decoder", reason="built without a C compiler")

MODEL = {"ml.model.name": "fraud", "ml.model.version": 7}
PREDICTIONS: dict[str, dict[str, Any]] = {
    "flat": {"ml.feature.a": 1.5, "ml.feature.b": "x", "ml.prediction.id": "order-1"},
    "flat with an integer as id": {"ml.feature.a": 1.5, "ml.prediction.id": 17, "ml.prediction.class": 1.0},
    "map of features": {"ml.features": {"a": 1.5, "b": "x", "c": True, "d": None}, "ml.feature.e": 2},
    "empty map": {"ml.features": {}, "ml.prediction.value": 2.5},
    "no map": {"ml.features": None},
    "map of scores": {"ml.prediction.scores": {"yes": 0.75, "no": 0.25, "odd": "x"}, "ml.prediction.rows": 3},
    "bytes": {"ml.feature.a": b"x", "ml.features": {"b": b"y", "c": {"d": 1}}, "ml.segment.s": {"a": "b"}},
    "arrays": {"ml.feature.a": [1.5, 2.5, math.nan], "ml.feature.b": ["x", True, None], "ml.segment.s": "shared"},
    "arrays of outputs": {
        "ml.prediction.id": ["a", "", 7],
        "ml.prediction.class": ["yes", 1, 2.0],
        "ml.prediction.score": [0.5, "x", [1.0]],
        "ml.attribution.a": "no number",
    },
    "arrays in maps": {"ml.features": {"a": [1.0, 2.0], "b": 3.0}, "ml.prediction.scores": {"yes": [0.5, 0.75]}},
    "arrays with a shared id": {"ml.prediction.id": "call", "ml.feature.a": [1.0] * 12, "ml.prediction.rows": 99},
    "one row as arrays": {"ml.feature.a": [1.0], "ml.feature.b": [b"x"]},
}
LABELS: dict[str, dict[str, Any]] = {
    "class": {"ml.prediction.id": "order-1", "ml.label.class": "fraud"},
    "class of any scalar": {"ml.prediction.id": 17, "ml.label.class": 1.0, "ml.label.value": "x"},
    "value": {"ml.prediction.id": True, "ml.label.value": 3, "ml.feature.a": 1.0, "ml.features": {"b": b"x"}},
    "arrays": {"ml.prediction.id": ["a", None, "c", "", "e"], "ml.label.class": ["x", "y", None, "z", b"x"]},
    "arrays of values": {"ml.prediction.id": ["a", "b", "c"], "ml.label.value": [1, math.nan, "x"]},
    "arrays with a shared id": {"ml.prediction.id": "call", "ml.label.class": ["x", "y"]},
    "arrays without an id": {"ml.label.class": ["x", "y"]},
}


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forbids whatever leads to the decoder in Python."""

    def helped(*_: Any, **__: Any) -> NoReturn:
        raise AssertionError("left to the fallback")

    for name in ("decode_traces", "decode_logs", "take_span", "take_record"):
        monkeypatch.setattr(compiled.fallback, name, helped)


@pytest.fixture
def expected() -> Callable[..., Any]:
    """The decoders in Python, kept from before they are forbidden."""
    traces, logs, unlimited = fallback.decode_traces, fallback.decode_logs, DecodeLimits()

    def decoded(body: bytes, of_logs: bool = False, limits: DecodeLimits = unlimited) -> Any:
        return (logs if of_logs else traces)(body, 5, limits)

    return decoded


def streams(otlp: Any) -> dict[str, Any]:
    return {
        "predictions": {"ml.batch": otlp.arrow({"ml.feature.a": [1.0, 2.0], "ml.prediction.id": ["a", None]})},
        "with attributes": {
            "ml.batch": otlp.arrow({"ml.feature.a": [1.0, 2.0]}),
            "ml.segment.s": "shared",
            "ml.features": {"b": True, "c": b"x"},
            "ml.prediction.id": "call",
            "ml.prediction.rows": 2,
        },
        "empty": {"ml.batch": otlp.arrow({"ml.feature.a": [1.0][:0]})},
        "nonsense": {"ml.batch": b"nonsense"},
        "none at all": {"ml.batch": None, "ml.feature.a": 1.0},
    }


def same(read: Any, one: Any, other: Any) -> None:
    assert read.rows(one) == read.rows(other)
    assert read.labels(one) == read.labels(other)
    for decoded in (one, other):
        assert decoded.items
    assert (one.items, one.rejected, one.message, one.dropped) == (
        other.items,
        other.rejected,
        other.message,
        other.dropped,
    )


@pytest.mark.parametrize("form", PREDICTIONS)
def test_predictions_of_every_form_need_no_fallback(
    otlp: Any, read: Any, expected: Any, request: pytest.FixtureRequest, form: str
) -> None:
    spans = [
        otlp.prediction(PREDICTIONS[form], span_id=bytes([index]) * 8, error=index == 3, trace_state="ot=th:8" * index)
        for index in range(6)
    ]
    body = otlp.traces(*spans, otlp.prediction({"ml.feature.a": 9.0}), *spans)
    wanted = expected(body)
    request.getfixturevalue("alone")
    decoded = compiled.decode_traces(body, 5)
    same(read, decoded, wanted)
    assert read.rows(decoded)


@pytest.mark.parametrize("form", LABELS)
def test_labels_of_every_form_need_no_fallback_as_span_and_as_record(
    otlp: Any, read: Any, expected: Any, request: pytest.FixtureRequest, form: str
) -> None:
    attributes = {**MODEL, **LABELS[form]}
    record = LogRecord(event_name="ml.label", attributes=otlp.attributes(attributes), observed_time_unix_nano=7)
    older = LogRecord(attributes=otlp.attributes({**attributes, "event.name": "ml.label"}), time_unix_nano=8)
    stranger = LogRecord(attributes=otlp.attributes({"x": [b"y"], **attributes}), body=otlp.any({"a": [1]}))
    label = otlp.span(attributes, name="label fraud")
    traces, logs = otlp.traces(label, otlp.prediction({}), label), otlp.logs(record, stranger, older, record)
    wanted = expected(traces), expected(logs, True)
    request.getfixturevalue("alone")
    decoded = compiled.decode_traces(traces, 5), compiled.decode_logs(logs, 5)
    for one, other in zip(decoded, wanted, strict=True):
        same(read, one, other)
        assert read.labels(one) or "without an id" in form


@pytest.mark.parametrize("form", ["predictions", "with attributes", "empty", "nonsense", "none at all"])
def test_arrow_streams_are_found_without_the_fallback(
    otlp: Any, read: Any, expected: Any, request: pytest.FixtureRequest, form: str
) -> None:
    padding = [otlp.prediction({"ml.segment.s": "x" * length}) for length in range(8)]  # streams at every alignment
    batch = otlp.prediction(streams(otlp)[form], error=True, trace_state="ot=th:c")
    other = otlp.span({**streams(otlp)[form], "ml.model.name": "churn"}, name="fit")
    body = otlp.traces(*[span for pad in padding for span in (batch, pad, other)])
    wanted = expected(body)
    request.getfixturevalue("alone")
    same(read, compiled.decode_traces(body, 5), wanted)


def test_a_stream_is_a_view_only_of_a_request_that_it_is_a_good_part_of() -> None:
    body = bytes(100)
    assert compiled._octets(body, 8, 90).obj is body
    assert compiled._octets(body, 9, 22).obj is body
    assert compiled._octets(body, 9, 21) == bytes(12)
    assert isinstance(compiled._octets(body, 9, 21), bytes)


def test_arrow_streams_of_labels_are_found_without_the_fallback(
    otlp: Any, read: Any, expected: Any, request: pytest.FixtureRequest
) -> None:
    stream = otlp.arrow({"ml.prediction.id": ["a", "b", ""], "ml.label.class": ["x", None, "y"]})
    shared = {**MODEL, "ml.batch": otlp.arrow({"ml.prediction.id": ["a", "b"]}), "ml.label.class": 1}
    records = [LogRecord(event_name="ml.label", attributes=otlp.attributes(shared)) for _ in range(2)]
    spans = [otlp.span(attributes, name="label fraud") for attributes in (shared, {**MODEL, "ml.batch": stream})]
    single = otlp.span({**MODEL, "ml.prediction.id": "a", "ml.label.value": 1.0}, name="label")
    without = otlp.span({**MODEL, "ml.batch": streams(otlp)["predictions"]["ml.batch"]}, name="labelled run")
    traces, logs = otlp.traces(single, *spans, single, without, single), otlp.logs(*records)
    wanted = expected(traces), expected(logs, True)
    request.getfixturevalue("alone")
    for one, other in zip((compiled.decode_traces(traces, 5), compiled.decode_logs(logs, 5)), wanted, strict=True):
        same(read, one, other)
        assert read.labels(one)


def test_flat_and_map_and_arrays_fill_the_same_columns(otlp: Any, read: Any, request: pytest.FixtureRequest) -> None:
    request.getfixturevalue("alone")
    forms = [{"ml.feature.a": 1.0}, {"ml.features": {"a": 1.0}}, {"ml.feature.a": [1.0]}, {"ml.features": {"a": [1.0]}}]
    [batch] = compiled.decode_traces(otlp.traces(*[otlp.prediction(form) for form in forms]), 5).predictions
    assert read.cells(batch.features["a"], 4) == [1.0] * 4
    assert batch.ids.tolist() == hash_ids([otlp.default_id] * 2 + [f"{otlp.default_id}:0"] * 2).tolist()


def test_columns_are_not_cut_by_arrow_streams_of_other_models(otlp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    added: list[int] = []
    add = compiled.PredictionRows.add_batch

    def counted(rows: Any, batch: Any, columns: int, attributes: int) -> None:
        added.append(len(batch))
        add(rows, batch, columns, attributes)

    monkeypatch.setattr(compiled.PredictionRows, "add_batch", counted)
    other = otlp.span({"ml.model.name": "churn", **streams(otlp)["predictions"]}, name="predict churn")
    body = otlp.traces(*[span for _ in range(20) for span in (otlp.prediction({"ml.feature.a": 1.0}), other)])
    assert [str(batch.model) for batch in compiled.decode_traces(body, 5).predictions] == ["fraud@7", "churn"]
    assert added == [20]


@pytest.mark.parametrize("limits", [DecodeLimits(rows=30), DecodeLimits(cells=100), DecodeLimits(models=1)], ids=str)
def test_a_limit_leaves_out_what_the_fallback_leaves_out(otlp: Any, read: Any, expected: Any, limits: Any) -> None:
    labels = [otlp.span({**MODEL, **LABELS["arrays"], "ml.model.name": name}, name="label") for name in "ab"]
    spans = [otlp.prediction(PREDICTIONS[form] | {"ml.model.name": name}) for form in PREDICTIONS for name in "ab"]
    body = otlp.traces(*labels, *spans)
    wanted = expected(body, False, limits)
    assert wanted.dropped
    same(read, compiled.decode_traces(body, 5, limits), wanted)


def test_texts_are_not_counted_anew_for_each_span_to_be_rejected(otlp: Any) -> None:
    """What is cut knows all texts in each piece: too many pieces of too many texts are the fallback's."""
    refused = otlp.span({**MODEL, "ml.label.class": "x"}, name="label")
    labels = [
        otlp.span({**MODEL, "ml.prediction.id": f"{row}", "ml.label.class": f"{row}"}, name="label")
        for row in range(700)
    ]
    few, many = otlp.traces(*labels, *[refused] * 50), otlp.traces(*labels, *[refused] * 100)
    assert compiled._walked(few, 5, DecodeLimits(), logs=False) is not None
    assert compiled._walked(many, 5, DecodeLimits(), logs=False) is None
    assert compiled.decode_traces(many, 5).rejected == 100


def test_what_all_rows_of_a_call_share_takes_memory_within_the_limit_of_cells(otlp: Any, read: Any) -> None:
    shared = {f"ml.segment.s{index}": "x" for index in range(50)}
    body = otlp.traces(otlp.prediction({"ml.feature.a": [None] * 1000 + [1.0], **shared}))
    limits = DecodeLimits(cells=1000)
    decoded = compiled.decode_traces(body, 5, limits)
    assert (decoded.predictions, decoded.dropped) == ((), {"cells_over_limit": 1001})
    assert len(read.rows(compiled.decode_traces(body, 5))) == 1001
