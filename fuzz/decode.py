"""Looks for requests that the compiled decoder reads otherwise than the fallback does, or that make it crash.

Starts from requests of every form, breaks them as bytes and as protobuf fields, and stops at the first difference.
Run: ``python fuzz/decode.py [--seconds 60] [--seed 0]``; in CI under AddressSanitizer (``make fuzz``).
"""

from __future__ import annotations

# ruff: noqa: S311, T201 - a script: chance that can be repeated, findings on the terminal
import argparse
import random
import sys
import time
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from collector_processor.decode import Column, Decoded, DecodeLimits, MalformedRequestError, compiled, fallback, wire
from otel_ml import semconv

RECEIVED_NS = 1_760_000_000_000_000_000
LIMITS = (
    DecodeLimits(),
    DecodeLimits(text_length=9),
    DecodeLimits(rows=7),
    DecodeLimits(models=2),
    DecodeLimits(features=2, segments=1, classes=1),
    DecodeLimits(categories=2),
    DecodeLimits(items=6),
)
TEXTS = ("", "a", "b", "fraud", "champion", "shadow", "é", "regression", "longer than nine", "7", "nan", "\U0001f600")
PREFIXES = (semconv.FEATURE, semconv.SEGMENT, semconv.ATTRIBUTION)
KEYS = (
    *(semconv.MODEL_NAME, semconv.MODEL_VERSION, semconv.MODEL_TASK, semconv.MODEL_ROLE, semconv.ERROR_TYPE),
    *(semconv.PREDICTION_ID, semconv.PREDICTION_CLASS, semconv.PREDICTION_SCORE, semconv.PREDICTION_VALUE),
    *(semconv.PREDICTION_ROWS, semconv.PREDICTION_SCORES, semconv.FEATURES, semconv.BATCH, semconv.FRAMEWORK_NAME),
    *(semconv.LABEL_CLASS, semconv.LABEL_VALUE, "http.route", "", "ml", "ml.", "ml.prediction.", "ml.prediction.x"),
    *(prefix + key for prefix in PREFIXES for key in ("", "a", "é", "k" * 130)),
    *("ml.prediction.scores.", "ml.prediction.scores.y", "ml.feature.b", "ml.feature.c", "ml.featuresque"),
)
UNKNOWN = ((31, 0, 5), (99, 2, b"\xff"), (1000, 5, b"1234"), (5000, 1, b"12345678"))
CONTENTS = (b"", b"\xed\xa0\x80", b"\xc3", "é".encode(), b"\x08\x01")
STATES = ("", "", "", "ot=th:8", "congo=t61, ot=rv:ab;th:c8", "ot=", "ot=th:0", "vendor=not=th:8", "ot=th:zz")


# --- what a decoder made of it ---------------------------------------------------------------------------------------


def cells(column: Column | None, rows: int) -> list[str | None]:
    """Cells as texts that tell every number from every other, None where missing."""
    if column is None:
        return [None] * rows
    found = [None] * rows if column.numbers is None else [None if v != v else v.hex() for v in column.numbers.tolist()]
    for row, code in enumerate([] if column.codes is None else column.codes.tolist()):
        if code >= 0:
            if found[row] is not None:
                raise AssertionError(f"row {row} is a number and a text")
            found[row] = "text " + column.categories[code]
    if len(found) != rows:
        raise AssertionError(f"{len(found)} cells for {rows} rows")
    return found


def meaning(decoded: Decoded) -> Any:
    """Everything that a request was decoded to, however batches are cut and categories numbered."""
    models: dict[Any, list[Any]] = {}
    for batch in decoded.predictions:
        rows = len(batch)
        columns = {
            "time": batch.time_ns.tolist(),
            "id": batch.ids.tolist(),
            "weight": batch.weights.tolist(),
            "duration": cells(Column(batch.duration_s), rows),
            "class": cells(batch.prediction, rows),
            "score": cells(None if batch.score is None else Column(batch.score), rows),
            "value": cells(None if batch.value is None else Column(batch.value), rows),
            "error": cells(batch.error, rows),
            **{"feature " + key: cells(column, rows) for key, column in batch.features.items()},
            **{"segment " + key: cells(column, rows) for key, column in batch.segments.items()},
            **{"attribution " + key: cells(Column(part), rows) for key, part in batch.attributions.items()},
            **{"scores " + key: cells(Column(part), rows) for key, part in batch.scores.items()},
        }
        found = models.setdefault((batch.model, batch.task, batch.role), [])
        names = list(columns)
        for row in zip(*columns.values(), strict=True):
            found.append({name: cell for name, cell in zip(names, row, strict=True) if cell is not None})
    labels = [
        (
            batch.model_name,
            batch.time_ns.tolist(),
            batch.ids.tolist(),
            cells(batch.classes, len(batch)),
            cells(None if batch.values is None else Column(batch.values), len(batch)),
        )
        for batch in decoded.labels
    ]
    counts = (decoded.items, decoded.rejected, decoded.message, dict(decoded.dropped))
    return list(models.items()), labels, counts


def outcome(decoder: Any, body: bytes, limits: DecodeLimits) -> Any:
    """The meaning of a request, or why it is refused."""
    try:
        return meaning(decoder.decode_traces(body, RECEIVED_NS, limits))
    except MalformedRequestError as error:
        return str(error)


# --- requests of every form ------------------------------------------------------------------------------------------


def scalar(rng: random.Random) -> AnyValue:
    """Any scalar, or an empty value."""
    return rng.choice((
        AnyValue(),
        AnyValue(double_value=rng.choice((0.0, -0.0, 1.0, 0.5, -3.25, 1e300, float("nan"), float("inf")))),
        AnyValue(double_value=rng.gauss(0, 1)),
        AnyValue(int_value=rng.choice((0, 1, -1, 7, 2**53 + 1, 2**63 - 1, -(2**63), rng.getrandbits(40)))),
        AnyValue(bool_value=rng.random() < 0.5),
        AnyValue(string_value=rng.choice(TEXTS)),
        AnyValue(string_value=f"level {rng.randrange(30)}"),
    ))  # fmt: skip


def value(rng: random.Random, nested: float) -> AnyValue:
    """Any value, with the chance ``nested`` no scalar."""
    if rng.random() >= nested:
        return scalar(rng)
    elements = [value(rng, 0.1) for _ in range(rng.randrange(4))]
    return rng.choice((
        AnyValue(bytes_value=rng.randbytes(3)),
        AnyValue(array_value=ArrayValue(values=elements)),
        AnyValue(kvlist_value=KeyValueList(values=[KeyValue(key=rng.choice(KEYS), value=each) for each in elements])),
    ))  # fmt: skip


def plain_attributes(rng: random.Random, model: str) -> list[KeyValue]:
    """Those of a prediction as an instrumented application sends it, some missing."""
    wanted = {
        semconv.MODEL_NAME: AnyValue(string_value=model),
        semconv.MODEL_VERSION: AnyValue(string_value="7") if rng.random() < 0.8 else AnyValue(int_value=7),
        semconv.MODEL_ROLE: AnyValue(string_value=rng.choice(("champion", "champion", "shadow", ""))),
        semconv.PREDICTION_ID: AnyValue(string_value="x" * rng.randrange(256)),
        semconv.PREDICTION_CLASS: rng.choice((AnyValue(string_value="yes"), AnyValue(int_value=1))),
        semconv.PREDICTION_SCORE: AnyValue(double_value=rng.random()),
        semconv.PREDICTION_ROWS: AnyValue(int_value=rng.choice((1, 1, 3))),
        semconv.PREDICTION_SCORES + ".y": AnyValue(double_value=rng.random()),
        semconv.SEGMENT + "s": AnyValue(string_value=rng.choice("ab")),
        semconv.ATTRIBUTION + "a": scalar(rng),
        semconv.ERROR_TYPE: AnyValue(string_value=rng.choice(("ValueError", ""))),
        **{f"{semconv.FEATURE}{model}{index}": scalar(rng) for index in range(rng.choice((3, 8)))},
    }
    found = [KeyValue(key=key, value=value) for key, value in wanted.items() if rng.random() < 0.9]
    if rng.random() < 0.1:
        rng.shuffle(found)
    return found


def span(rng: random.Random, wild: float) -> Span:
    """A plain prediction, or with the chance ``wild`` anything."""
    if rng.random() < wild:
        attributes = [KeyValue(key=rng.choice(KEYS), value=value(rng, 0.2)) for _ in range(rng.randrange(8))]
        name = rng.choice(("predict x", "label x", "GET /", "", "predict é"))
    else:
        attributes = plain_attributes(rng, rng.choice(("fraud", "fraud", "churn")))
        name = "predict x"
    start = rng.choice((0, 5, RECEIVED_NS, 2**63))
    made = Span(
        name=name,
        trace_id=rng.randbytes(rng.choice((16, 16, 16, 0, 3, 90)) if rng.random() < wild else 16),
        span_id=rng.randbytes(8),
        trace_state=rng.choice(STATES),
        start_time_unix_nano=start,
        end_time_unix_nano=rng.choice((0, 3, start + 1000, 2**64 - 1)),
        attributes=attributes,
        flags=rng.choice((0, 0x101)),
    )
    if rng.random() < 0.2:
        made.status.CopyFrom(Status(code=rng.choice((1, 2, 2)), message="é"))
    if rng.random() < 0.1:
        made.events.add(name="event", time_unix_nano=3).attributes.add(key="é").value.array_value.values.add()
        made.links.add(trace_id=b"x", trace_state="y").attributes.add(key="a").value.string_value = "b"
    return made


def request(rng: random.Random, spans: int, wild: float) -> bytes:
    """A serialised request of some spans, of which the share ``wild`` is of any shape."""
    made = ExportTraceServiceRequest()
    while spans > 0:
        resource = Resource(attributes=[KeyValue(key="service.name", value=AnyValue(string_value="shop"))])
        for key in (semconv.MODEL_NAME, semconv.MODEL_VERSION):
            if rng.random() < 0.3:
                resource.attributes.add(key=key).value.CopyFrom(value(rng, wild / 5))
        scopes: list[ScopeSpans] = []
        for _ in range(rng.choice((1, 1, 2))):
            size = min(spans, rng.choice((1, 2, 100)))
            scopes.append(ScopeSpans(spans=[span(rng, wild) for _ in range(size)], schema_url="https://x"))
            scopes[-1].scope.name = "é"
            spans -= size
        made.resource_spans.append(ResourceSpans(resource=resource, scope_spans=scopes))
    return made.SerializeToString()


# --- ways to break them ----------------------------------------------------------------------------------------------


def varint(number: int, rng: random.Random | None = None) -> bytes:
    """A varint; with ``rng`` perhaps longer than it has to be."""
    made = bytearray()
    while number > 127:
        made.append(number & 127 | 128)
        number >>= 7
    made.append(number)
    if rng is not None and rng.random() < 0.02:
        made[-1] |= 128
        made += b"\x80" * rng.randrange(8) + b"\x00"
    return bytes(made)


def fields_of(body: bytes) -> list[tuple[int, int, int | bytes]]:
    """Number, wire type and content of each field of a message; none of one that is broken."""
    found: list[tuple[int, int, int | bytes]] = []
    at = 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            value |= (body[at] & 127) << shift
            at += 1
            if body[at - 1] < 128:
                return value
            shift += 7

    try:
        while at < len(body):
            tag = number()
            wire = tag & 7
            if wire == 0:
                found.append((tag >> 3, wire, number()))
                continue
            size = number() if wire == 2 else {1: 8, 5: 4}[wire]
            found.append((tag >> 3, wire, body[at : at + size]))
            at += size
    except (IndexError, KeyError):
        return []
    return found


def rewired(rng: random.Random, body: bytes, descriptor: Any, chance: float) -> bytes:
    """The message with its fields in another order, repeated, dropped, of other types, or encoded at more length."""
    fields = fields_of(body)
    if not fields:
        return body
    if rng.random() < chance:
        picked = rng.randrange(len(fields))
        change = rng.randrange(7)
        if change == 0:
            rng.shuffle(fields)
        elif change == 1:
            fields.insert(rng.randrange(len(fields) + 1), fields[picked])
        elif change == 2:
            del fields[picked]
        elif change == 3:
            fields.insert(picked, rng.choice(UNKNOWN))
        elif change == 4:
            fields[picked] = (fields[picked][0], 0, rng.getrandbits(rng.choice((1, 7, 32, 64))))
        elif change == 5:
            fields[picked] = (
                fields[picked][0],
                2,
                rng.choice(CONTENTS),
            )
        else:
            fields[picked] = (rng.randrange(17), *fields[picked][1:])
    made = bytearray()
    for number, kind, content in fields:
        field = descriptor.fields_by_number.get(number)
        made += varint(number << 3 | kind, rng)
        if isinstance(content, int):
            made += varint(content, rng)
            continue
        if kind == 2:
            if field is not None and field.message_type is not None:
                content = rewired(rng, content, field.message_type, chance)
            made += varint(len(content), rng)
        made += content
    return bytes(made)


def flipped(rng: random.Random, body: bytes) -> bytes:
    """The octets with one bit or a few the other way."""
    broken = bytearray(body)
    for _ in range(rng.choice((1, 1, 3)) if broken else 0):
        broken[rng.randrange(len(broken))] ^= 1 << rng.randrange(8)
    return bytes(broken)


def broken(rng: random.Random, body: bytes) -> bytes:
    """The request, changed in one of the ways."""
    way = rng.randrange(6)
    if way == 0:
        return body[: rng.randrange(len(body) + 1)]
    if way == 1:
        return flipped(rng, body)
    if way == 2:
        at = rng.randrange(len(body) + 1)
        return body[:at] + rng.randbytes(rng.randrange(4)) + body[at + rng.randrange(4) :]
    return rewired(rng, body, ExportTraceServiceRequest.DESCRIPTOR, rng.choice((0.001, 0.01, 0.2)))


def difference(body: bytes, limits: DecodeLimits) -> tuple[Any, Any] | None:
    """What the two decoders make of a request, None if it is the same."""
    plain, fast = outcome(fallback, body, limits), outcome(compiled, body, limits)
    return None if plain == fast else (plain, fast)


def main() -> int:
    """Runs until the time is over or the decoders differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    # However often other spans stand between plain ones: as columns, not as a whole in the fallback.
    compiled._ROWS_PER_CUT = 0
    rng, until, tried = random.Random(options.seed), time.monotonic() + options.seconds, 0
    while time.monotonic() < until:
        body = request(rng, rng.choice((1, 3, 40)), rng.choice((0.0, 0.02, 0.5, 1.0)))
        for _ in range(20):
            limits = rng.choice(LIMITS)
            found = difference(body, limits)
            tried += 1
            if found is not None:
                Path("fuzz-difference.bin").write_bytes(body)
                print(f"request {tried} of seed {options.seed} (in fuzz-difference.bin), {limits}:", *found, sep="\n")
                return 1
            body = broken(rng, body) if rng.random() < 0.3 else broken(rng, request(rng, rng.choice((2, 30)), 0.1))
    print(f"{tried} requests of seed {options.seed}: both decoders agree ({wire.__file__})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
