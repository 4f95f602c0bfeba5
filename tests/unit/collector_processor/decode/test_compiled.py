"""The compiled decoder against the fallback: the same columns, or the same refusal, for the same bytes."""

from __future__ import annotations

import importlib.util
import random
import struct
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from collector_processor.decode import DecodeLimits, fallback, hash_ids

compiled = pytest.importorskip("collector_processor.decode.compiled.decoder", reason="built without a C compiler")
walk = pytest.importorskip("collector_processor.decode.compiled.wire").walk

SEEDS = st.integers(0, 2**32)


def loaded(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz_decode", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.append(str(path.parent))  # for the module beside it
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    return module


fuzz: Any = loaded(Path(__file__).parents[4] / "fuzz" / "decode.py")


def walked(body: bytes, limits: DecodeLimits | None = None) -> Any:
    bounds = limits or DecodeLimits()
    return walk(
        body,
        fuzz.RECEIVED_NS,
        text_length=bounds.text_length,
        models=bounds.models,
        rows=bounds.rows,
        cells=bounds.cells,
    )


def assert_same(body: bytes, limits: DecodeLimits | None = None, *, logs: bool = False) -> Any:
    bounds = limits or DecodeLimits()
    expected = fuzz.outcome(fallback, body, bounds, logs=logs)
    assert fuzz.outcome(compiled, body, bounds, logs=logs) == expected
    return expected


@pytest.fixture
def cut_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns even where other spans stand between plain ones all the time."""
    monkeypatch.setattr(compiled, "_ROWS_PER_CUT", 0)
    monkeypatch.setattr(compiled, "_LABELS_PER_CUT", 0)


# --- random requests -------------------------------------------------------------------------------------------------


@given(SEEDS, st.sampled_from([1, 5, 60]), st.sampled_from([0.0, 0.02, 0.3, 1.0]), st.sampled_from(fuzz.LIMITS))
def test_any_valid_request_gives_the_same_columns(seed: int, spans: int, wild: float, limits: DecodeLimits) -> None:
    outcome = assert_same(fuzz.request(random.Random(seed), spans, wild), limits)
    assert not isinstance(outcome, str) or limits.items < 10


@given(SEEDS, st.sampled_from([1, 5, 60]), st.sampled_from([0.0, 0.3, 1.0]), st.sampled_from(fuzz.LIMITS))
def test_any_valid_log_request_gives_the_same_labels(
    seed: int, records: int, wild: float, limits: DecodeLimits
) -> None:
    outcome = assert_same(fuzz.logs_request(random.Random(seed), records, wild), limits, logs=True)
    assert not isinstance(outcome, str) or limits.items < 10


@given(SEEDS, st.sampled_from([0.01, 0.2]))
def test_other_spans_between_plain_ones_keep_their_place(seed: int, wild: float) -> None:
    body = fuzz.request(random.Random(seed), 40, wild)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "_ROWS_PER_CUT", 0)
        patch.setattr(compiled, "_LABELS_PER_CUT", 0)
        assert_same(body)
        assert_same(fuzz.logs_request(random.Random(seed), 40, wild), logs=True)


@given(SEEDS)
def test_any_broken_request_has_the_same_fate(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(5):
        assert_same(fuzz.broken(rng, fuzz.request(rng, 4, 0.5)), rng.choice(fuzz.LIMITS))
        logs = fuzz.broken(rng, fuzz.logs_request(rng, 4, 0.5), ExportLogsServiceRequest)
        assert_same(logs, rng.choice(fuzz.LIMITS), logs=True)


@given(st.binary(max_size=80))
def test_any_bytes_have_the_same_fate(body: bytes) -> None:
    assert_same(body)
    assert_same(body, logs=True)


@pytest.mark.usefixtures("cut_often")
@pytest.mark.parametrize("logs", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_a_request_cut_anywhere_or_with_any_bit_flipped_has_the_same_fate(seed: int, logs: bool) -> None:
    make = fuzz.logs_request if logs else fuzz.request
    body = make(random.Random(seed), 3, 0.4 if seed < 2 else 1.0)
    for length in range(seed, len(body), 3):
        assert_same(body[:length], logs=logs)
    for bit in range(seed, 8 * len(body), 29):
        broken = bytearray(body)
        broken[bit // 8] ^= 1 << bit % 8
        assert_same(bytes(broken), logs=logs)


@pytest.mark.usefixtures("cut_often")
def test_a_limit_that_only_the_last_row_meets_is_the_limit_of_the_fallback(otlp: Any) -> None:
    twice = [("ml.model.name", "m"), *[(f"ml.feature.{index}", 1.0) for index in range(10)], ("ml.feature.1", 2.0)]
    batch = otlp.prediction({"ml.batch": otlp.arrow({"ml.feature.a": [1.0] * 4})})
    body = otlp.traces(otlp.prediction({"ml.feature.a": 1.0}), batch, otlp.span(twice))
    outcomes = [str(assert_same(body, DecodeLimits(cells=cells))) for cells in range(1, 60)]
    assert any("cells_over_limit" in outcome for outcome in outcomes)
    assert "cells_over_limit" not in outcomes[-1]


def test_huge_maps_arrays_and_keys_need_no_fallback(otlp: Any) -> None:
    rng = random.Random(3)
    keys = ["k" * rng.choice((1, 120, 125, 126, 127, 128, 200)) + str(index) for index in range(1500)]
    cells = [[rng.choice((1.0, 7, True, None, "é" * rng.randrange(90), b"x")) for _ in range(5000)] for _ in range(3)]
    spans = [
        otlp.prediction({"ml.features": {key: rng.choice((rng.random(), "x")) for key in keys}}),
        otlp.prediction({f"ml.feature.{index}": column for index, column in enumerate(cells)}),
        otlp.prediction({"ml.features": {key: [rng.random()] * 2 for key in reversed(keys)}}),
    ]
    body = otlp.traces(*[spans[index] for index in (0, 0, 2, 2, 0)]), otlp.traces(spans[1], spans[1])
    for each in body:
        assert walked(each).others == []
        assert_same(each)


# --- what is plain ---------------------------------------------------------------------------------------------------

PLAIN = {
    "ml.model.version": 7,
    "ml.model.task": "regression",
    "ml.model.role": "shadow",
    "ml.model.positive_class": "yes",
    "ml.model.threshold": 0.1,
    "ml.features.withheld": "ssn,e-mail",
    "ml.prediction.id": "order-1",
    "ml.prediction.class": 1,
    "ml.prediction.score": 0.25,
    "ml.prediction.scores.y": 0.5,
    "ml.prediction.value": 3,
    "ml.prediction.rows": 2,
    "ml.feature.number": 1.5,
    "ml.feature.integer": -(2**63),
    "ml.feature.boolean": True,
    "ml.feature.text": "naïve",
    "ml.feature.empty": None,
    "ml.segment.region": "",
    "ml.attribution.number": 0.1,
    "ml.attributions.weight": 100.0,
    "error.type": "ValueError",
    "http.headers": ["a", {"b": b"c"}],
}


def test_a_plain_span_of_every_name_and_scalar_needs_no_fallback(otlp: Any) -> None:
    body = otlp.traces(otlp.prediction(PLAIN, error=True, trace_state="ot=th:8"), resource={"service.name": "shop"})
    request = walked(body)
    [model] = request.models
    assert request.others == []
    assert model.names == ("fraud", "7", "regression", "shadow", "yes", "ssn,e-mail", "0.1")
    assert {column.name for column in model.columns} == {
        name
        for name in PLAIN
        if name.startswith(("ml.feature.", "ml.segment", "ml.attribution", "ml.prediction"))
        and name not in ("ml.prediction.id", "ml.prediction.rows")
    }
    assert_same(body)


def test_spans_of_others_are_passed_over_without_the_fallback(otlp: Any) -> None:
    body = otlp.traces(otlp.span({"http.route": "/", "ml.prediction.id": "a", "x": [1]}, name="GET /"))
    request = walked(body)
    assert (request.items, request.others, request.models) == (1, [], [])
    assert_same(body)


@pytest.mark.parametrize(
    "attributes",
    [
        {"ml.features": {"a": 1.0}, "ml.feature.a": 2.0},
        {"ml.features": [("a", 1.0), ("a", 2.0)]},
        {"ml.features": 1.0},
        {"ml.features": [1.0]},
        {"ml.feature.a": [1.0], "ml.feature.b": [1.0, 2.0]},
        {"ml.feature.a": []},
        {"ml.feature.a": ["x" * 257]},
        {"ml.batch": b"", "ml.feature.a": [1.0]},
        {"ml.batch": "x"},
        {"ml.prediction.id": 0.5},
        {"ml.prediction.id": b"x"},
        {"ml.prediction.id": ["x" * 257]},
        {"ml.prediction.class": [0.5]},
        {"ml.feature.a": AnyValue(string_value_strindex=3)},
        {"ml.model.role": "king"},
        {"ml.model.task": "none"},
        {"ml.prediction.id": "x" * 257},
        {"ml.prediction.class": 0.5},
        {"ml.prediction.rows": 0},
        {"ml.feature.a": "x" * 257},
        {"ml.model.name": ""},
        {"ml.model.role": 1},
        {"ml.model.positive_class": True},
        {"ml.model.positive_class": 1.0},
        {"ml.model.positive_class": "x" * 257},
        {"ml.model.positive_class": ["yes"]},
        {"ml.features.withheld": "x" * 257},
        {"ml.features.withheld": ["a", "b"]},
        {"ml.features.withheld": 1},
        {"ml.model.threshold": "0.5"},
        {"ml.model.threshold": True},
        {"ml.model.threshold": [0.5]},
        {"ml.label.class": "a"},
    ],
    ids=str,
)
def test_what_is_not_plain_goes_to_the_fallback_alone(otlp: Any, attributes: dict[str, Any]) -> None:
    plain = [otlp.prediction({"ml.feature.a": float(index)}) for index in range(40)]
    body = otlp.traces(*plain[:20], otlp.prediction(attributes), *plain[20:])
    request = walked(body)
    assert [other.ordinal for other in request.others] == [20]
    assert [len(model.ordinals) for model in request.models] == [40]
    assert_same(body)


def test_ids_of_impossible_length_go_to_the_fallback_alone(otlp: Any) -> None:
    plain = [otlp.prediction({"ml.feature.a": float(index)}) for index in range(40)]
    body = otlp.traces(*plain[:20], otlp.prediction({}, trace_id=bytes(60)), *plain[20:])
    assert [other.ordinal for other in walked(body).others] == [20]
    assert_same(body)


def test_a_label_span_to_be_rejected_does_not_cut_the_columns(otlp: Any) -> None:
    label = otlp.span({"ml.model.name": "fraud", "ml.prediction.id": "", "ml.label.class": 1}, name="label fraud")
    body = otlp.traces(*[each for _ in range(20) for each in (otlp.prediction({"ml.feature.a": 1.0}), label)])
    assert all(other.label for other in walked(body).others)
    [batch] = compiled.decode_traces(body, 0).predictions
    assert len(batch) == 20
    assert_same(body)


def test_an_attribute_given_twice_counts_as_the_fallback_counts_it(otlp: Any) -> None:
    twice = [("ml.model.name", "m"), ("ml.feature.a", 1.0), ("ml.feature.a", "x"), ("http.route", 1), ("http.route", 2)]
    body = otlp.traces(otlp.span(twice), otlp.span(twice[:2] + twice[3:]))
    assert [other.ordinal for other in walked(body).others] == [0]
    assert_same(body)


def test_models_named_in_different_words_are_one(otlp: Any) -> None:
    spans = [otlp.prediction({"ml.feature.a": 1.0, **more}) for more in ({}, {"ml.model.role": "champion"}, {})]
    body = otlp.traces(*spans, otlp.span({"ml.feature.a": 2.0}), resource={"ml.model.name": "fraud"})
    assert [model.names[:2] for model in walked(body).models] == [("fraud", "7"), ("fraud", "")]
    assert_same(body)


def test_a_threshold_is_a_number_however_it_is_written(otlp: Any) -> None:
    nan = [
        struct.unpack("<d", octets)[0] for octets in (b"\1" + bytes(5) + b"\xf8\x7f", b"\2" + bytes(5) + b"\xf8\xff")
    ]
    thresholds = [1, 1.0, 0.1, -0.0, *nan, float("inf"), None]
    spans = [otlp.prediction({"ml.model.threshold": threshold, "ml.feature.a": 1.0}) for threshold in thresholds]
    stream = otlp.arrow({"ml.feature.a": [1.0, 2.0]})
    spans += [otlp.prediction({"ml.model.threshold": threshold, "ml.batch": stream}) for threshold in thresholds]
    body = otlp.traces(*spans)
    request = walked(body)
    assert request.others == []
    assert [model.names[6] for model in request.models] == ["1.0", "0.1", "-0.0", "nan", "inf", ""]
    assert [stream.names[6] for stream in request.streams] == ["1.0", "1.0", "0.1", "-0.0", "nan", "nan", "inf", ""]
    assert_same(body)


def test_a_resource_behind_its_spans_counts_for_them(otlp: Any) -> None:
    body = otlp.traces(otlp.span({"ml.feature.a": 1.0}), resource={"ml.model.name": "fraud"})
    [(number, wire, content)] = fuzz.fields_of(body)
    resource, scopes = content[: content.index(b"\x12", 2 + content[1])], content[2 + content[1] :]
    swapped = scopes + resource
    body = fuzz.varint(number << 3 | wire) + fuzz.varint(len(swapped)) + swapped
    assert len(ExportTraceServiceRequest.FromString(body).resource_spans[0].scope_spans) == 1
    assert walked(body) is None
    assert_same(body)


# --- ids, texts, memory ----------------------------------------------------------------------------------------------


def test_ids_are_hashed_as_everywhere(otlp: Any) -> None:
    rng = random.Random(1)
    ids = ["".join(rng.choices("abcé日", k=length % 80)) + "x" * (length // 3) for length in range(1, 400)]
    ids = [text for text in ids if len(text.encode()) <= 256]
    request = walked(otlp.traces(*[otlp.prediction({"ml.prediction.id": text}) for text in ids]))
    assert request.others == []
    np.testing.assert_array_equal(request.models[0].ids, hash_ids(ids))
    spans = [otlp.prediction({}, trace_id=rng.randbytes(i % 20), span_id=rng.randbytes(i % 9)) for i in range(60)]
    defaults = [f"{span.trace_id.hex()}:{span.span_id.hex()}" for span in spans]
    np.testing.assert_array_equal(walked(otlp.traces(*spans)).models[0].ids, hash_ids(defaults))


@given(st.lists(st.binary(max_size=12), max_size=8))
def test_texts_are_utf8_or_the_request_is_left_to_the_fallback(otlp: Any, pieces: list[bytes]) -> None:
    text = b"12345678"[: len(pieces)] + b"".join(pieces)
    body = otlp.traces(otlp.prediction({"ml.feature.a": "z" * len(text)})).replace(b"z" * max(len(text), 1), text)
    try:
        text.decode()
    except UnicodeDecodeError:
        assert walked(body) is None
    assert_same(body)


@pytest.mark.parametrize(
    "text",
    [
        b"\xc0\x80",
        b"\xe0\x9f\xbf",
        b"\xed\xa0\x80",
        b"\xed\xbf\xbf",
        b"\xf0\x8f\xbf\xbf",
        b"\xf4\x90\x80\x80",
        b"\xf5aaa",
        *(b"\xc3", b"aaaaaaa\xc3", b"aaaaaaaa\xe2\x82", b"\x80", b"\xff", b"\xe2\x28\xa1", b"\xf0\x9f\x98\xe2"),
    ],
)
def test_what_is_not_utf8_is_refused_by_both(otlp: Any, text: bytes) -> None:
    body = otlp.traces(otlp.prediction({"ml.feature.a": "z" * len(text)})).replace(b"z" * len(text), text)
    assert walked(body) is None
    assert isinstance(assert_same(body), str)


def test_categories_chosen_to_collide_do_no_harm(otlp: Any) -> None:
    """The dictionary gives up where too many texts want one slot; the fallback then counts them."""
    p, q = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)
    tried = [f"{number:08x}" for number in range(400_000)]
    words = np.frombuffer("".join(tried).encode(), "<u8")
    hashed = (words ^ np.array([8], np.uint64) * p) * p
    hashed ^= hashed >> np.uint64(29)
    slots = ((hashed * q) >> np.uint64(32)) & np.uint64(1023)
    texts = [tried[i] for i in np.flatnonzero(slots == slots[0])[:300]]
    body = otlp.traces(*[otlp.prediction({"ml.feature.a": text}) for text in texts])
    assert walked(body) is None
    assert_same(body)
    spread = otlp.traces(*[otlp.prediction({"ml.feature.a": text}) for text in tried[:3000]])
    assert walked(spread) is not None
    assert_same(spread)


def test_rows_without_common_features_are_left_to_the_fallback(otlp: Any) -> None:
    body = otlp.traces(*[otlp.prediction({f"ml.feature.f{row}": row}) for row in range(1500)])
    assert walked(body) is None
    assert_same(body)


def test_alternating_schemas_of_several_models_need_no_fallback(otlp: Any) -> None:
    spans = [
        otlp.prediction({f"ml.feature.{row % 3}{i}": float(i) for i in range(30)} | {"ml.model.name": f"m{row % 3}"})
        for row in range(900)
    ]
    body = otlp.traces(*spans)
    assert [len(model.ordinals) for model in walked(body).models] == [300, 300, 300]
    assert_same(body)


def test_decoders_share_nothing_between_threads() -> None:
    bodies = [fuzz.request(random.Random(seed), 60, 0.02) for seed in range(4)]
    expected = [fuzz.outcome(compiled, body, DecodeLimits()) for body in bodies]
    found: list[Any] = [None] * len(bodies)

    def work(index: int) -> None:
        found[index] = [fuzz.outcome(compiled, bodies[index], DecodeLimits()) for _ in range(10)]

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(bodies))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [[outcome] * 10 for outcome in expected]


def test_field_numbers_are_those_that_the_walk_has_as_constants() -> None:
    """The walk spells the tags of what it reads; everything else it takes from the descriptors."""
    numbered = {
        Span: {"trace_id": 1, "span_id": 2, "trace_state": 3, "name": 5, "start_time_unix_nano": 7}
        | {"end_time_unix_nano": 8, "attributes": 9, "status": 15},
        Status: {"code": 3},
        KeyValue: {"key": 1, "value": 2},
        AnyValue: {"string_value": 1, "bool_value": 2, "int_value": 3, "double_value": 4}
        | {"array_value": 5, "kvlist_value": 6, "bytes_value": 7},
        ArrayValue: {"values": 1},
        KeyValueList: {"values": 1},
        Resource: {"attributes": 1},
        ResourceSpans: {"resource": 1, "scope_spans": 2},
        ScopeSpans: {"spans": 2},
        ExportTraceServiceRequest: {"resource_spans": 1},
        LogRecord: {"time_unix_nano": 1, "attributes": 6, "observed_time_unix_nano": 11, "event_name": 12},
        ResourceLogs: {"resource": 1, "scope_logs": 2},
        ScopeLogs: {"log_records": 2},
        ExportLogsServiceRequest: {"resource_logs": 1},
    }
    for message, fields in numbered.items():
        found = {name: message.DESCRIPTOR.fields_by_name[name].number for name in fields}
        assert found == fields
    assert Status.STATUS_CODE_ERROR == 2
