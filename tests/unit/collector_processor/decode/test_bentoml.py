"""BentoML's monitor: what a real service (1.4.40) has sent, and what none should send, become rows and labels."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList

from collector_processor.columns.batch import Decoded, PredictionBatch
from collector_processor.decode import DEFAULT_LIMITS, BentoMonitors, DecodeLimits, decode, hash_ids
from collector_processor.decode.dialects import bentoml

RECORDED = Path(__file__).parents[3] / "fixtures" / "bentoml_1_4_40"
"""Two requests of ``tests/e2e/served_elsewhere/bentoml_service.py`` at meta_sample_rate 0; one path is replaced."""
FIRST, SECOND = ((RECORDED / f"{name}.binpb").read_bytes() for name in ("first", "second"))


def value(content: Any) -> AnyValue:
    if content is None:
        return AnyValue()
    if isinstance(content, bool):
        return AnyValue(bool_value=content)
    if isinstance(content, dict):
        pairs = [KeyValue(key=key, value=value(each)) for key, each in content.items()]
        return AnyValue(kvlist_value=KeyValueList(values=pairs))
    if isinstance(content, list):
        return AnyValue(array_value=ArrayValue(values=map(value, content)))
    kind = {int: "int_value", float: "double_value", str: "string_value"}[type(content)]
    return AnyValue(**{kind: content})


def records(*bodies: Any, service: str = "Churn:churn", instance: str = "v1", **more: Any) -> bytes:
    request = ExportLogsServiceRequest()
    logs = request.resource_logs.add()
    for key, text in (("service.name", service), ("service.instance.id", instance)):
        logs.resource.attributes.add(key=key).value.string_value = text
    scope = logs.scope_logs.add()
    scope.scope.name = bentoml.SCOPE
    for number, body in enumerate(bodies):
        scope.log_records.add(**{"time_unix_nano": 1000 + number, "body": value(body), **more})
    return request.SerializeToString()


def meta(columns: dict[str, tuple[str, str]], monitor: str = "churn", version: str = "v1") -> dict[str, Any]:
    schema = {name: {"name": name, "role": role, "type": kind} for name, (role, kind) in columns.items()}
    names = {"bento_name": "Churn", "bento_version": version, "monitor_name": monitor}
    return {"bento_meta": names | {"schema": schema}}


def read(body: bytes, monitors: BentoMonitors | None = None, limits: DecodeLimits = DEFAULT_LIMITS) -> Decoded:
    return decode("logs", body, 7, limits, monitors=BentoMonitors() if monitors is None else monitors)


def texts(batch: PredictionBatch) -> list[str]:
    assert batch.prediction is not None
    assert batch.prediction.codes is not None
    return [batch.prediction.categories[code] for code in batch.prediction.codes]


def test_what_a_real_service_has_sent() -> None:
    monitors = BentoMonitors()
    first, second = read(FIRST, monitors), read(SECOND, monitors)
    [churn] = first.predictions
    assert str(churn.model) == "churn"
    assert {name: column.numbers is None for name, column in churn.features.items()} == {
        "age": False, "balance": False, "city": True,
    }  # fmt: skip
    assert texts(churn) == ["stays"]
    assert churn.score is not None
    assert churn.score.tolist() == [0.3]
    assert churn.ids.tolist() == hash_ids(["2297416899194721890"]).tolist()
    assert churn.traces is not None
    assert churn.traces.ids.tolist()[0][:2] == [0x1111111111111111] * 2
    # The record without bento_meta came under the other monitor's resource, and its columns are those of churn.
    by_model = {str(batch.model): batch for batch in second.predictions}
    assert texts(by_model["churn"]) == ["leaves"]
    price = by_model["price"]
    assert price.value is not None
    assert price.value.tolist() == [100.5, 201.0, 301.5, 402.0]
    wanted = ["4207445298119872467", "4207445298119872467:1", "4207445298119872467:2", "14520101115612106262"]
    assert price.ids.tolist() == hash_ids(wanted).tolist()
    assert price.traces is None  # not sampled
    [labels] = second.labels
    assert labels.model_name == "price"
    assert labels.ids.tolist() == price.ids.tolist()
    assert labels.values is not None
    assert labels.values.tolist() == [101.5, 202.0, 302.5, 403.0]
    assert (first.dropped, second.dropped, second.rejected, second.items) == ({}, {}, 0, 5)


def test_without_its_schema_a_record_is_counted_and_not_guessed() -> None:
    decoded = read(SECOND)
    assert [str(batch.model) for batch in decoded.predictions] == ["price"]
    assert decoded.dropped == {"unknown_schema": 1}


def test_a_request_that_comes_again_has_the_same_ids() -> None:
    monitors = BentoMonitors()
    once, again = read(SECOND, monitors), read(SECOND, monitors)
    assert once.predictions[0].ids.tolist() == again.predictions[0].ids.tolist()


def test_without_monitors_and_without_the_scope_nothing_changes() -> None:
    assert decode("logs", FIRST, 7).predictions == ()
    assert read(b"").items == 0


def test_schemas_of_two_bentos_with_the_same_columns_are_kept_apart() -> None:
    monitors, row = BentoMonitors(), {"a": 1.5, "p": 2.5, "request_id": "1"}
    columns = {"a": ("feature", "numerical"), "p": ("prediction", "numerical")}
    read(records(row | meta(columns, "one"), service="X:one"), monitors)
    read(records(row | meta(columns, "two"), service="Y:two"), monitors)
    assert [str(each.model) for each in read(records(row, service="Y:two"), monitors).predictions] == ["two@v1"]
    # Two monitors of one process with equal columns cannot be told apart.
    read(records(row | meta(columns, "three"), service="Y:three"), monitors)
    assert read(records(row, service="Y:three"), monitors).dropped == {"unknown_schema": 1}


@pytest.mark.parametrize(
    ("predictions", "found", "dropped"),
    [
        ({"p": (1.5, "numerical")}, {"value": 1.5}, 0),
        ({"p": (3, "numerical")}, {"value": 3.0}, 0),
        ({"p": ("yes", "categorical")}, {"class": "yes"}, 0),
        ({"p": (1, "categorical")}, {"class": "1"}, 0),
        ({"p": ("yes", "categorical"), "s": (0.25, "numerical")}, {"class": "yes", "score": 0.25}, 0),
        ({"p": ("yes", "categorical"), "s": (25.0, "numerical")}, {"class": "yes"}, 1),
        ({"p": (1.5, "numerical"), "q": (2.5, "numerical")}, {}, 2),
        ({"p": ("yes", "categorical"), "q": ("no", "categorical")}, {}, 2),
        ({"p": ([0.25, 0.75], "numerical_sequence")}, {}, 1),
        ({"p": ({"a": 1}, "numerical")}, {}, 1),
    ],
)
def test_types_say_which_output_it_is(
    predictions: dict[str, tuple[Any, str]], found: dict[str, Any], dropped: int
) -> None:
    columns = {"a": ("feature", "numerical")} | {name: ("prediction", kind) for name, (_, kind) in predictions.items()}
    body = {"a": 1} | {name: each for name, (each, _) in predictions.items()} | meta(columns)
    decoded = read(records(body))
    [batch] = decoded.predictions
    seen: dict[str, Any] = {}
    if batch.prediction is not None:
        seen["class"] = texts(batch)[0]
    for name, part in (("score", batch.score), ("value", batch.value)):
        if part is not None:
            seen[name] = float(part[0])
    assert seen == found
    assert decoded.dropped == ({"unsupported_value": dropped} if dropped else {})


def test_features_have_the_declared_type() -> None:
    columns = {name: ("feature", kind) for name, kind in (("code", "categorical"), ("flag", "numerical"), ("x", "odd"))}
    [batch] = read(records({"code": 3, "flag": True, "x": "t", "nan": 1} | meta(columns))).predictions
    assert batch.features["code"].categories == ("3",)
    assert batch.features["flag"].numbers is not None
    assert batch.features["x"].categories == ("t",)
    assert "nan" not in batch.features


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"trace_id": bytes(range(16)), "span_id": b"12345678", "flags": 1}, bytes(range(16))),
        ({"span_id": b"12345678"}, (7).to_bytes(16, "big")),
        ({"span_id": b"12345678", "flags": 2}, None),
        ({}, None),
    ],
)
def test_the_trace_is_that_of_the_record_or_the_decimal_one(more: dict[str, Any], expected: bytes | None) -> None:
    body = {"a": 1, "trace_id": "7"} | meta({"a": ("feature", "numerical")})
    [batch] = read(records(body, **more)).predictions
    traces = (
        None if batch.traces is None else b"".join(int(each).to_bytes(8, "big") for each in batch.traces.ids[0][:2])
    )
    assert traces == expected


def test_times_fall_back_to_the_column_and_the_arrival() -> None:
    columns = meta({"a": ("feature", "numerical")})
    stamped = {"a": 1, "timestamp": 1668660679.5} | columns
    assert read(records(stamped, time_unix_nano=0)).predictions[0].time_ns.tolist() == [1668660679500000000]
    for stamp in (math.nan, math.inf, -1.0, "x", 10**18):
        body = records({"a": 1, "timestamp": stamp} | columns, time_unix_nano=2**64 - 1)
        assert read(body).predictions[0].time_ns.tolist() == [7]


def test_what_is_remembered_is_bounded() -> None:
    monitors = BentoMonitors()
    for number in range(1500):
        name = f"m{number}"
        read(records({"a": 1, "request_id": str(number)} | meta({"a": ("feature", "numerical")}, name)), monitors)
    assert len(monitors._schemas) == 1000  # pyright: ignore[reportPrivateUsage]
    same = [{"a": 1, "request_id": "r"}] * 2000
    one = BentoMonitors()
    read(records({"a": 1} | meta({"a": ("feature", "numerical")})), one)
    for first in range(0, 140_000, 2000):
        request = ExportLogsServiceRequest.FromString(records(*same))
        for number, record in enumerate(request.resource_logs[0].scope_logs[0].log_records):
            record.time_unix_nano = 10**9 + first + number
        read(request.SerializeToString(), one)
    assert sum(map(len, one._rows.values())) <= 131_072  # pyright: ignore[reportPrivateUsage]


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
BODIES = st.dictionaries(
    st.sampled_from(["a", "b", "", "timestamp", "request_id", "trace_id", "bento_meta", "schema", "monitor_name"]), JSON
)


@given(BODIES, BODIES, st.booleans())
def test_any_record_is_read_or_counted(body: Any, names: Any, known: bool) -> None:
    monitors = BentoMonitors()
    if known:
        columns = {"a": ("feature", "numerical"), "b": ("prediction", "categorical"), "": ("target", "numerical")}
        read(records(meta(columns)), monitors)
    if names:
        body = body | {"bento_meta": {"bento_name": "x", "monitor_name": "m", "schema": names}}
    decoded = read(records(body), monitors)
    rows = sum(map(len, decoded.predictions)) + sum(map(len, decoded.labels))
    assert rows <= 2
    assert decoded.items == 1
