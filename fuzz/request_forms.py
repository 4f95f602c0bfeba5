"""Requests of every form of the contract, as instrumented applications send them and as nobody should."""

from __future__ import annotations

import io
import random
from typing import Any

import pyarrow as pa
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from otel_ml import semconv

RECEIVED_NS = 1_760_000_000_000_000_000
TEXTS = (
    "",
    "a",
    "b",
    "fraud",
    "champion",
    "shadow",
    "é",
    "regression",
    "longer than twenty octets",
    "7",
    "nan",
    "\U0001f600",
)
PREFIXES = (semconv.FEATURE, semconv.SEGMENT, semconv.ATTRIBUTION)
KEYS = (
    *(semconv.MODEL_NAME, semconv.MODEL_VERSION, semconv.MODEL_TASK, semconv.MODEL_ROLE, semconv.ERROR_TYPE),
    *(semconv.MODEL_POSITIVE_CLASS, semconv.MODEL_THRESHOLD, semconv.FEATURES_WITHHELD),
    *(semconv.PREDICTION_ID, semconv.PREDICTION_CLASS, semconv.PREDICTION_SCORE, semconv.PREDICTION_VALUE),
    *(semconv.PREDICTION_ROWS, semconv.PREDICTION_SCORES, semconv.FEATURES, semconv.BATCH, semconv.FRAMEWORK_NAME),
    semconv.TRACE_SAMPLED,
    *(semconv.LABEL_CLASS, semconv.LABEL_VALUE, "http.route", "", "ml", "ml.", "ml.prediction.", "ml.prediction.x"),
    *(prefix + key for prefix in PREFIXES for key in ("", "a", "é", "k" * 130)),
    *("ml.prediction.scores.", "ml.prediction.scores.y", "ml.feature.b", "ml.feature.c", "ml.featuresque"),
)
MAP_KEYS = ("a", "b", "é", "", "y", "k" * 130, "longer than twenty octets")
STATES = ("", "", "", "ot=th:8", "congo=t61, ot=rv:ab;th:c8", "ot=", "ot=th:0", "vendor=not=th:8", "ot=th:zz")


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
    if rng.random() < 0.1:
        wanted[semconv.TRACE_SAMPLED] = rng.choice((AnyValue(bool_value=False), AnyValue(bool_value=True), scalar(rng)))
    if rng.random() < 0.05:
        wanted[semconv.MODEL_POSITIVE_CLASS] = AnyValue(string_value=rng.choice(("yes", "")))
        wanted[semconv.FEATURES_WITHHELD] = AnyValue(string_value=rng.choice(("*", "a", "a,b", "")))
        wanted[semconv.MODEL_THRESHOLD] = AnyValue(double_value=rng.choice((0.1, float("nan"))))
    found = [KeyValue(key=key, value=value) for key, value in wanted.items() if rng.random() < 0.9]
    if rng.random() < 0.1:
        rng.shuffle(found)
    return found


def many(rng: random.Random, rows: int, one: Any = scalar) -> AnyValue:
    """An array of so many scalars, now and then one more or with something else in it."""
    elements = [one(rng) if rng.random() < 0.999 else value(rng, 0.5) for _ in range(rows)]
    if rng.random() < 0.01:
        elements.append(AnyValue(double_value=1.0))
    return AnyValue(array_value=ArrayValue(values=elements))


def mapped(rng: random.Random, one: Any) -> AnyValue:
    """A map of some keys, usually in their order and each once."""
    keys = [key for key in MAP_KEYS if rng.random() < 0.6] if rng.random() < 0.9 else rng.choices(MAP_KEYS, k=4)
    return AnyValue(kvlist_value=KeyValueList(values=[KeyValue(key=key, value=one(rng)) for key in keys]))


def id_or_class(rng: random.Random) -> AnyValue:
    """What an id or a class may be."""
    kinds = ("string_value", "string_value", "int_value", "bool_value", "double_value")
    kind = rng.choice(kinds)
    number = rng.choice((0, 1, 7, 12))
    content: dict[str, Any] = {
        "string_value": f"order {number}",
        "bool_value": number > 1,
        "double_value": number / rng.choice((1, 2)),
    }
    return AnyValue(**{kind: content.get(kind, number)})


def stream(columns: dict[str, Any]) -> AnyValue:
    """An Arrow stream of these columns."""
    sink, table = io.BytesIO(), pa.table(columns)
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return AnyValue(bytes_value=sink.getvalue())


STREAMS = (
    stream({semconv.FEATURE + "a": [1.0, None, 3.0], semconv.PREDICTION_CLASS: ["x", "y", "x"]}),
    stream({semconv.PREDICTION_ID: ["order 1", None], semconv.FEATURE + "b": ["u", "v"]}),
    stream({semconv.PREDICTION_ID: ["order 1", "", "z"], semconv.LABEL_CLASS: ["x", "y", None]}),
    stream({semconv.LABEL_VALUE: [1.0, float("nan")]}),
    stream({semconv.PREDICTION_ID: ["a"], semconv.LABEL_CLASS: ["x"], semconv.LABEL_TIME: [1_700_000_000 * 10**9]}),
    stream({"other": [1]}),
    AnyValue(bytes_value=b""),
    AnyValue(bytes_value=b"nonsense"),
)


def shaped_attributes(rng: random.Random, model: str) -> list[KeyValue]:
    """Those of a prediction with maps, arrays or an Arrow stream, or of a label."""
    wanted: dict[str, AnyValue] = {semconv.MODEL_NAME: AnyValue(string_value=model)}
    form, rows = rng.randrange(7), rng.choice((1, 2, 3, 12))

    def cells(_: random.Random) -> AnyValue:
        return many(rng, rows) if rng.random() < 0.9 else scalar(rng)

    if form == 0:
        wanted |= {semconv.FEATURES: mapped(rng, scalar), semconv.PREDICTION_SCORES: mapped(rng, scalar)}
        wanted |= {semconv.SEGMENT + "s": value(rng, 0.1), semconv.PREDICTION_CLASS: id_or_class(rng)}
    elif form == 1:
        wanted |= {semconv.FEATURE + key: cells(rng) for key in "abc"} | {semconv.SEGMENT + "s": scalar(rng)}
        wanted |= {semconv.PREDICTION_CLASS: many(rng, rows, id_or_class), semconv.PREDICTION_SCORE: many(rng, rows)}
    elif form == 2:
        wanted |= {semconv.FEATURES: mapped(rng, cells), semconv.PREDICTION_SCORES: mapped(rng, cells)}
    elif form == 3:
        wanted[semconv.FEATURE + "a"] = value(rng, 0.9)
        wanted[semconv.FEATURES] = value(rng, 0.9)
    elif form == 4:
        wanted |= {semconv.LABEL_CLASS: id_or_class(rng), semconv.LABEL_VALUE: scalar(rng)}
    elif form == 5:
        wanted |= {semconv.LABEL_CLASS: many(rng, rows, id_or_class), semconv.LABEL_VALUE: many(rng, rows)}
    else:
        wanted |= {semconv.BATCH: rng.choice(STREAMS), semconv.LABEL_CLASS: id_or_class(rng)}
        wanted |= {semconv.FEATURE + "z": value(rng, 0.1), semconv.MODEL_VERSION: AnyValue(int_value=7)}
    wanted[semconv.PREDICTION_ID] = many(rng, rows, id_or_class) if rng.random() < 0.3 else id_or_class(rng)
    found = [KeyValue(key=key, value=value) for key, value in wanted.items() if rng.random() < 0.9]
    if rng.random() < 0.2:
        rng.shuffle(found)
    return found


def attributes_of(rng: random.Random, wild: float) -> tuple[str, list[KeyValue]]:
    """Name and attributes of a plain prediction, or with the chance ``wild`` of anything."""
    if rng.random() >= wild:
        return "predict x", plain_attributes(rng, rng.choice(("fraud", "fraud", "churn")))
    if rng.random() < 0.7:
        found = shaped_attributes(rng, rng.choice(("fraud", "fraud", "churn")))
        labelled = any(attribute.key.startswith("ml.label.") for attribute in found)
        return ("label x" if labelled != (rng.random() < 0.1) else "predict x"), found
    found = [KeyValue(key=rng.choice(KEYS), value=value(rng, 0.2)) for _ in range(rng.randrange(8))]
    return rng.choice(("predict x", "label x", "GET /", "", "predict é")), found


def span(rng: random.Random, wild: float) -> Span:
    """A plain prediction, or with the chance ``wild`` anything."""
    name, attributes = attributes_of(rng, wild)
    start = rng.choice((0, 5, RECEIVED_NS, 2**63))
    made = Span(
        name=name,
        trace_id=rng.randbytes(rng.choice((16, 16, 16, 0, 3, 90)) if rng.random() < wild else 16),
        span_id=rng.choice((rng.randbytes(8), rng.randbytes(8), rng.randbytes(8), bytes(8), b"", b"x")),
        trace_state=rng.choice(STATES),
        start_time_unix_nano=start,
        end_time_unix_nano=rng.choice((0, 3, start + 1000, 2**64 - 1)),
        attributes=attributes,
        flags=rng.choice((0, 0x100, 0x101, 0x102, 0x303)),
    )
    if rng.random() < 0.2:
        made.status.CopyFrom(Status(code=rng.choice((Status.STATUS_CODE_OK, Status.STATUS_CODE_ERROR)), message="é"))
    if rng.random() < 0.1:
        made.events.add(name="event", time_unix_nano=3).attributes.add(key="é").value.array_value.values.add()
        made.links.add(trace_id=b"x", trace_state="y").attributes.add(key="a").value.string_value = "b"
    return made


def record(rng: random.Random, wild: float) -> LogRecord:
    """A log record, as a rule of a label."""
    attributes = attributes_of(rng, wild)[1]
    if rng.random() >= wild:
        attributes = [
            KeyValue(key=semconv.MODEL_NAME, value=AnyValue(string_value="fraud")),
            KeyValue(key=semconv.PREDICTION_ID, value=id_or_class(rng)),
            KeyValue(key=semconv.LABEL_CLASS, value=id_or_class(rng)),
        ]
    if rng.random() < 0.1:
        attributes.append(
            KeyValue(key="event.name", value=rng.choice((AnyValue(string_value="ml.label"), scalar(rng))))
        )
    return LogRecord(
        event_name=rng.choice(("ml.label", "ml.label", "ml.label", "", "other")),
        time_unix_nano=rng.choice((0, 5, RECEIVED_NS, 2**63)),
        observed_time_unix_nano=rng.choice((0, 3, RECEIVED_NS)),
        attributes=attributes,
        body=value(rng, 0.3),
        severity_text="é",
        flags=1,
    )


def logs_request(rng: random.Random, records: int, wild: float) -> bytes:
    """A serialised request of some log records, of which the share ``wild`` is of any shape."""
    resource = Resource(attributes=[KeyValue(key=semconv.MODEL_NAME, value=value(rng, wild / 5))])
    scope = ScopeLogs(log_records=[record(rng, wild) for _ in range(records)])
    return ExportLogsServiceRequest(
        resource_logs=[ResourceLogs(resource=resource, scope_logs=[scope]), ResourceLogs()]
    ).SerializeToString()


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
