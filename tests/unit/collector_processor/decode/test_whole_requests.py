"""Whole requests of any shape against a model of the rules that looks at one span at a time."""

from __future__ import annotations

import contextlib
import math
import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from collector_processor.decode import Decoded, MalformedRequestError, decode, hash_ids
from collector_processor.decode.rules.cells import text_of

SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.floats(), st.sampled_from(["", "a", "b", "é"]))
OTHERS = st.one_of(st.binary(max_size=3), st.dictionaries(st.sampled_from("ab"), SCALARS, max_size=2))
VALUES = st.one_of(SCALARS, SCALARS, SCALARS, OTHERS, st.lists(SCALARS, max_size=3))
NAMES = st.sampled_from([
    *("ml.feature.a", "ml.feature.b", "ml.feature.", "ml.features", "ml.segment.s", "ml.attribution.a", "ml.other"),
    *("ml.attributions.weight",),
    *("ml.prediction.id", "ml.prediction.class", "ml.prediction.score", "ml.prediction.value", "ml.prediction.rows"),
    *("ml.prediction.scores", "ml.prediction.scores.y", "error.type", "http.route"),
    *("ml.model.version", "ml.model.task", "ml.model.role"),
])  # fmt: skip
MODELS = st.one_of(st.sampled_from(["m", "n"]), st.sampled_from(["m", "n"]), VALUES)
SPANS = st.tuples(
    st.sampled_from(["predict m", "predict", "POST /x"]),
    MODELS,
    st.lists(st.tuples(NAMES, VALUES), max_size=6),
    st.sampled_from([0, 5, 7, 2**63]),
    st.booleans(),
    st.sampled_from(["", "ot=th:8"]),
)

PARTS = {
    "ml.prediction.class": ("class", "text"),
    "ml.prediction.score": ("score", "number"),
    "ml.prediction.value": ("value", "number"),
    "ml.attributions.weight": ("attribution weight", "number"),
}
TEMPLATES = {
    "ml.feature.": ("feature", "mixed"),
    "ml.segment.": ("segment", "text"),
    "ml.attribution.": ("attribution", "number"),
    "ml.prediction.scores.": ("scores", "number"),
}


class RefusedError(Exception):
    """The span is rejected."""


def place(name: str) -> tuple[str, str] | None:
    if name in PARTS:
        return PARTS[name]
    for prefix, (part, kind) in TEMPLATES.items():
        if name.startswith(prefix) and name != prefix:
            return f"{part} {name[len(prefix) :]}", kind
    return None


def is_scalar(value: Any) -> bool:
    return not isinstance(value, (list, dict, bytes))


def cell(value: Any, kind: str) -> Any:
    """The cell of a value, None where missing; raises TypeError where it counts as unsupported."""
    if not is_scalar(value):
        raise TypeError
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if kind == "text" or (kind == "mixed" and isinstance(value, (bool, str))):
        return text_of(value)
    if isinstance(value, (bool, str)):
        raise TypeError
    return float(value)


def identity(model: Any, values: dict[str, Any]) -> dict[str, str]:
    if not isinstance(model, str) or not model:
        raise RefusedError
    found: dict[str, str] = {}
    for name, default, choices in (
        ("version", "", None),
        ("task", "", {"binary_classification", "multiclass_classification", "regression"}),
        ("role", "champion", {"champion", "challenger", "shadow"}),
    ):
        value = values.get(f"ml.model.{name}")
        if name == "version" and type(value) is int:
            value = str(value)
        if value is not None and not isinstance(value, str):
            raise RefusedError
        if value and choices and value not in choices:
            raise RefusedError
        found[name] = value or default
    version = found.pop("version")
    return {"model": f"{model}@{version}" if version else model, **found}


def model_rows(otlp: Any, span: Any) -> tuple[list[dict[str, Any]], int]:
    """The rows of one span by the rules, and how many values were unsupported."""
    name, model, pairs, start, failed, state = span
    values = dict(pairs)
    signs = [key for key in values if key.startswith(("ml.prediction.", "ml.feature.")) or key == "ml.features"]
    if not name.startswith("predict") and not set(signs) - {"ml.prediction.id"}:
        return [], 0
    base = identity(model, values)
    unsupported = 0
    flat = {key: value for key, value in values.items() if place(key) or key == "ml.prediction.id"}
    for holder, prefix in (("ml.features", "ml.feature."), ("ml.prediction.scores", "ml.prediction.scores.")):
        entries = values.get(holder)
        if isinstance(entries, dict):
            flat = {**{prefix + key: value for key, value in entries.items() if key}, **flat}
        elif entries is not None:
            unsupported += 1
    if not is_scalar(flat.get("ml.prediction.id")) and not isinstance(flat["ml.prediction.id"], list):
        raise RefusedError
    lengths = {len(value) for value in flat.values() if isinstance(value, list)}
    if len(lengths) > 1:
        raise RefusedError
    count, weight, suffixed = (lengths.pop(), 1, True) if lengths else (1, 1, False)
    if not suffixed and values.get("ml.prediction.rows") is not None:
        rows = values["ml.prediction.rows"]
        if type(rows) in (int, float) and 0 <= rows < 2**63 and rows == int(rows):
            count, weight = min(int(rows), 1), int(rows)
        else:
            unsupported += 1
        if weight > 1_000_000:
            return [], unsupported
    if not count:
        # A table without rows has no cells to count; a row that stands for none is read no further.
        return [], unsupported + sum(not is_scalar(value) and not isinstance(value, list) for value in flat.values())
    base |= {"time": start if 0 < start < 2**63 else otlp.received, "weight": weight * (2.0 if state else 1.0)}
    if failed:
        kind = values.get("error.type")
        base["error"] = (text_of(kind) if is_scalar(kind) else None) or "error"
    found: list[dict[str, Any]] = [dict(base) for _ in range(count)]
    own = flat.get("ml.prediction.id")
    shared = text_of(own) if is_scalar(own) else None
    for number, row in enumerate(found):
        text = (text_of(own[number]) if is_scalar(own[number]) else None) if isinstance(own, list) else None
        row["id"] = text or (shared or otlp.default_id) + (f":{number}" if suffixed else "")
    for key, value in flat.items():
        for number, row in enumerate(found if isinstance(value, list) else found[:1]):
            where, kind = place(key) or ("", "text")
            try:
                got = cell(value[number] if isinstance(value, list) else value, kind)
            except TypeError:
                unsupported += 1
                continue
            if got is not None and where:
                for each in [row] if isinstance(value, list) else found:
                    each[where] = got
    return found, unsupported


def encoded(otlp: Any, span: Any) -> Any:
    name, model, pairs, start, failed, state = span
    attributes = [*pairs, ("ml.model.name", model)]
    return otlp.span(attributes, name, start=start, end=0, error=failed, trace_state=state)


@given(st.lists(SPANS, max_size=6))
def test_a_request_is_what_its_spans_are_one_by_one(otlp: Any, read: Any, spans: list[Any]) -> None:
    expected: list[dict[str, Any]] = []
    unsupported = rejected = 0
    for span in spans:
        try:
            rows, count = model_rows(otlp, span)
        except RefusedError:
            rejected += 1
            continue
        expected += rows
        unsupported += count
    decoded = otlp.decoded(*[encoded(otlp, span) for span in spans])
    ids = [tuple(pair) for pair in hash_ids([row["id"] for row in expected]).tolist()]
    expected = [{**row, "id": hashed} for row, hashed in zip(expected, ids, strict=True)]

    def by_model(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return sorted(rows, key=lambda row: (row["model"], row["task"], row["role"]))

    assert by_model(read.rows(decoded)) == by_model(expected)
    assert (decoded.items, decoded.rejected) == (len(spans), rejected)
    # Unsupported values of a rejected span may have been counted before its fault was found.
    counted = decoded.dropped.get("unsupported_value", 0)
    assert counted == unsupported if not rejected else counted >= unsupported


# --- hostile bytes -------------------------------------------------------------------------------------------------


def request_of_all_forms(otlp: Any) -> bytes:
    return otlp.traces(
        otlp.prediction({"ml.feature.a": 1, "ml.feature.b": "x", "ml.prediction.scores": {"y": 0.5}}, error=True),
        otlp.prediction({"ml.features": {"a": [1.0, 2.0], "b": ["x", None]}}, trace_state="ot=th:8"),
        otlp.prediction({"ml.batch": otlp.arrow({"ml.feature.a": [1.0]})}),
        otlp.span({"ml.model.name": "fraud", "ml.prediction.id": "a", "ml.label.class": True}, name="label fraud"),
        resource={"service.name": "shop", "ml.model.name": "fraud"},
    )


def logs_of_all_forms(otlp: Any) -> bytes:
    attributes = {"ml.model.name": "m", "ml.prediction.id": "a", "ml.label.value": 1.5}
    return otlp.logs(
        LogRecord(event_name="ml.label", attributes=otlp.attributes(attributes), time_unix_nano=5),
        LogRecord(attributes=otlp.attributes({**attributes, "event.name": "ml.label"})),
    )


def decoded_or_malformed(signal: Any, body: bytes) -> Decoded | None:
    """What the bytes hold, None where they are refused; anything else that is raised fails the test."""
    with contextlib.suppress(MalformedRequestError):
        return decode(signal, body, 1)
    return None


def test_a_request_cut_anywhere_is_decoded_or_malformed(otlp: Any) -> None:
    for signal, body in (("traces", request_of_all_forms(otlp)), ("logs", logs_of_all_forms(otlp))):
        outcomes = [decoded_or_malformed(signal, body[:length]) for length in range(len(body))]
        assert sum(outcome is None for outcome in outcomes) > len(body) // 2
        assert decoded_or_malformed(signal, body) is not None


def test_a_request_with_flipped_bits_is_decoded_or_malformed(otlp: Any) -> None:
    rng = random.Random(7)
    for signal, body in (("traces", request_of_all_forms(otlp)), ("logs", logs_of_all_forms(otlp))):
        for _ in range(2000):
            broken = bytearray(body)
            for _ in range(rng.choice([1, 1, 3])):
                broken[rng.randrange(len(broken))] ^= 1 << rng.randrange(8)
            decoded_or_malformed(signal, bytes(broken))


@given(st.binary(max_size=60))
def test_any_bytes_are_decoded_or_malformed(body: bytes) -> None:
    decoded_or_malformed("traces", body)
    decoded_or_malformed("logs", body)


def test_values_nested_beyond_protobufs_limit_make_the_request_malformed(otlp: Any) -> None:
    def field(number: int, content: bytes) -> bytes:
        size, varint = len(content), bytearray()
        while size >= 128:
            varint.append(size % 128 + 128)
            size //= 128
        return bytes([number << 3 | 2, *varint, size]) + content

    def nested(depth: int) -> bytes:
        value = otlp.any(1.0).SerializeToString()
        for _ in range(depth):
            value = field(5, field(1, value))  # AnyValue.array_value, ArrayValue.values
        attribute = field(1, b"ml.feature.a") + field(2, value)
        span = otlp.prediction({}).SerializeToString() + field(9, attribute)
        return field(1, field(2, field(2, span)))

    decoded = decoded_or_malformed("traces", nested(20))
    assert decoded is not None
    assert decoded.dropped == {"unsupported_value": 1}
    assert decoded_or_malformed("traces", nested(120)) is None


def test_unknown_fields_are_passed_over(otlp: Any) -> None:
    body = otlp.traces(otlp.prediction({"ml.feature.a": 1}))
    unknown = b"\xfa\x3f\x03abc"  # field 1023, three bytes
    decoded = decoded_or_malformed("traces", unknown + body + unknown)
    assert decoded is not None
    assert len(decoded.predictions[0]) == 1


def test_an_empty_request_is_nothing() -> None:
    for kind, signal in ((ExportTraceServiceRequest, "traces"), (ExportLogsServiceRequest, "logs")):
        assert decode(signal, kind().SerializeToString(), 1) == Decoded()
