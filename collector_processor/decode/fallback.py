"""Decode traces and logs in pure Python, with the classes that protobuf generates: slow, simple, always available.

It is the decoder if none is compiled, and the oracle against which the compiled one is tested. The rules are written
where they are applied: which spans and records are ours in :mod:`.identity`, values and cells in :mod:`.cells` and
:mod:`.attributes`, ``ml.batch`` in :mod:`.stream`, ids in :mod:`.ids`, weights in :mod:`.sampling`, limits in
:mod:`.limits`. The other rules are here:

- **Forms.** A span with neither an array (under a name that belongs to a batch) nor ``ml.batch`` is one row; with
  ``ml.prediction.rows`` = N it is one row that weighs N times as much. Arrays and ``ml.batch`` make as many rows as
  their length, whatever ``ml.prediction.rows`` is; scalars next to them apply to every row. If a name comes twice, an
  Arrow column takes precedence over an attribute, and a flat attribute over an entry of ``ml.features`` or
  ``ml.prediction.scores``. Of a repeated attribute or map key, the last counts, and only the last is read.
- **Ids.** A row without an id gets ``{trace id}:{span id}``; row i of arrays or of ``ml.batch`` appends ``:{i}`` to
  that, or to an id that all rows share. An empty id counts as absent. A label without an id is rejected.
- **Time.** The span's start; if absent (0, or beyond 2⁶³ − 1), its end; if that is absent too, the time of receipt. A
  record's time, else the time it was observed, else the time of receipt. The duration is end − start if both are
  present and the end is later (a span without length measures nothing), on the first row.
- **Errors.** With status ERROR, every row's ``error`` is the text of ``error.type``, or ``error`` without one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final, TypeVar, cast

from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from collector_processor.columns.batch import Decoded, MalformedRequestError
from collector_processor.decode.arrow.stream import read_stream
from collector_processor.decode.limits import DEFAULT_LIMITS, DecodeLimits, Tally
from collector_processor.decode.request_rows import RequestRows
from collector_processor.decode.rules.attributes import SpanCells, Value, arrow_stream_of, read, span_cells
from collector_processor.decode.rules.cells import MAPS, Scalar, UnreadableError, text_of
from collector_processor.decode.rules.identity import (
    Identity,
    ResourceModel,
    has_label,
    identity_of,
    is_prediction,
    may_be_label,
    resource_model_of,
)
from collector_processor.decode.rules.ids import default_id
from collector_processor.decode.rules.prediction_rows import CallHeader, PredictionRows, Row
from collector_processor.decode.rules.row_table import RowTable
from collector_processor.decode.rules.sampling import trace_of, weight
from otel_ml import semconv

_Request = TypeVar("_Request", bound=Message)
Known = dict[tuple[Value, ...], PredictionRows]
"""The rows for spans that describe their model with these values, in one resource."""

Octets = bytes | memoryview
_NAMING: Final = (
    semconv.MODEL_NAME, semconv.MODEL_VERSION, semconv.MODEL_TASK, semconv.MODEL_ROLE, semconv.MODEL_POSITIVE_CLASS,
    semconv.FEATURES_WITHHELD,
)  # fmt: skip
_LATEST: Final = 2**63 - 1
_MAX_NAME: Final = 80
_LABEL_RECORD: Final = f"log record {semconv.EVENT_LABEL!r}"
_DEFAULT_ERROR: Final = "error"
_EVENT_NAME: Final = "event.name"
"""Attribute that held a record's event name before the field of that name."""
_BEYOND_SCALARS: Final = frozenset((semconv.BATCH, semconv.PREDICTION_ROWS, *MAPS))
"""Names that make a span more than one plain row of scalars."""


def decode_traces(body: bytes, received_ns: int, limits: DecodeLimits = DEFAULT_LIMITS) -> Decoded:
    """Decode the predictions and labels of an ``ExportTraceServiceRequest``, or raise ``MalformedRequestError``.

    >>> decode_traces(b"", received_ns=0).items
    0
    """
    request, items = RequestRows(received_ns, limits), 0
    message = parsed(ExportTraceServiceRequest, body)
    request.tally.take_items(len(message.resource_spans))
    for resource_spans in message.resource_spans:
        resource_model = resource_model_of(resource_spans.resource.attributes)
        known: Known = {}
        request.tally.take_items(len(resource_spans.scope_spans))
        for scope_spans in resource_spans.scope_spans:
            items += request.tally.take_items(len(scope_spans.spans))
            for span in scope_spans.spans:
                take_span(request, span, resource_model, known)
    return request.decoded(items)


def decode_logs(body: bytes, received_ns: int, limits: DecodeLimits = DEFAULT_LIMITS) -> Decoded:
    """Decode the labels of an ``ExportLogsServiceRequest``, or raise ``MalformedRequestError``.

    >>> decode_logs(b"", received_ns=0).items
    0
    """
    request, items = RequestRows(received_ns, limits), 0
    message = parsed(ExportLogsServiceRequest, body)
    request.tally.take_items(len(message.resource_logs))
    for resource_logs in message.resource_logs:
        resource_model = resource_model_of(resource_logs.resource.attributes)
        request.tally.take_items(len(resource_logs.scope_logs))
        for scope_logs in resource_logs.scope_logs:
            items += request.tally.take_items(len(scope_logs.log_records))
            for record in scope_logs.log_records:
                take_record(request, record, resource_model)
    return request.decoded(items)


def parsed(kind: type[_Request], body: bytes) -> _Request:
    """Parse a message, or raise ``MalformedRequestError``.

    >>> parsed(ExportTraceServiceRequest, b"nonsense")
    Traceback (most recent call last):
    collector_processor.columns.batch.MalformedRequestError: not an ExportTraceServiceRequest: ...
    """
    try:
        return kind.FromString(body)
    except DecodeError as error:
        raise MalformedRequestError(f"not an {kind.DESCRIPTOR.name}: {error}") from error


def take_span(request: RequestRows, span: Span, resource_model: ResourceModel, known: Known) -> None:
    """Add the span to the request if it is one of ours; the usual kind takes a short path."""
    values, nested = read(span.attributes)
    get = values.get
    threshold = get(semconv.MODEL_THRESHOLD)
    naming = (*map(get, _NAMING), None if threshold is None else repr(threshold))
    if nested or not span.name.startswith(semconv.SPAN_PREDICT) or not _BEYOND_SCALARS.isdisjoint(values):
        _take_any(request, span, values, resource_model)
    elif (rows := known.get(naming)) is not None:
        # One row, all scalars, of a model that an earlier span named with the same values.
        rows.add(cast("dict[str, Scalar | None]", values), _call(request, span, values))
    else:
        rows = _take_any(request, span, values, resource_model)
        # Only texts, because as keys the versions 1 and True would be equal.
        if rows is not None and all(text is None or isinstance(text, str) for text in naming):
            known[naming] = rows


def _take_any(
    request: RequestRows, span: Span, values: Mapping[str, Value], resource_model: ResourceModel
) -> PredictionRows | None:
    """Add the span to the request if it is one of ours; return the rows it joined if it is a prediction."""
    name = span.name
    label = may_be_label(name, values)
    if not label and not is_prediction(name, values, resource_model):
        return None
    try:
        identity = identity_of(values, resource_model, request.limits.text_length)
        contents = _contents(arrow_stream_of(values), span_cells(values, request.tally), request.tally)
        if contents is None:
            return None
        call = _call(request, span, values)
        if label and has_label(contents.places() if isinstance(contents, RowTable) else contents):
            _add_labels(request, identity.name, contents, call.time_ns)
            return None
        rows = request.predictions_of(identity)
        if rows is not None:
            _add_predictions(request, rows, contents, values, call)
        return rows
    except UnreadableError as error:
        request.tally.reject(_span_description(name, span.span_id), str(error))
        return None


def take_stream(
    request: RequestRows, stream: Octets, scalars: Row, identity: Identity, call: CallHeader, name: str, span_id: bytes
) -> None:
    """Add a span of which everything is known except the content of its Arrow stream."""
    try:
        contents = _contents(stream, SpanCells(dict(scalars)), request.tally)
        if not isinstance(contents, RowTable):
            return
        if name.startswith(semconv.SPAN_LABEL) and has_label(contents.places()):
            _add_labels(request, identity.name, contents, call.time_ns)
        elif (rows := request.predictions_of(identity)) is not None:
            rows.add_table(contents, call)
    except UnreadableError as error:
        request.tally.reject(_span_description(name, span_id), str(error))


def take_label_stream(request: RequestRows, stream: Octets, scalars: Row, identity: Identity, time_ns: int) -> None:
    """Add a log record of which everything is known except the content of its Arrow stream."""
    try:
        contents = _contents(stream, SpanCells(dict(scalars)), request.tally)
        if contents is not None:
            _add_labels(request, identity.name, contents, time_ns)
    except UnreadableError as error:
        request.tally.reject(_LABEL_RECORD, str(error))


def take_record(request: RequestRows, record: LogRecord, resource_model: ResourceModel) -> None:
    """Add the record's labels to the request, if it has any."""
    if record.event_name != semconv.EVENT_LABEL and not any(
        attribute.key == _EVENT_NAME and attribute.value.string_value == semconv.EVENT_LABEL
        for attribute in record.attributes
    ):
        return
    values, _ = read(record.attributes)
    try:
        identity = identity_of(values, resource_model, request.limits.text_length)
        contents = _contents(arrow_stream_of(values), span_cells(values, request.tally), request.tally)
        if contents is not None:
            time_ns = _first_time(record.time_unix_nano, record.observed_time_unix_nano, request.received_ns)
            _add_labels(request, identity.name, contents, time_ns)
    except UnreadableError as error:
        request.tally.reject(_LABEL_RECORD, str(error))


def _span_description(name: str, span_id: bytes) -> str:
    return f"span {name[:_MAX_NAME]!r} (span_id {span_id.hex()})"


def _contents(stream: Octets | None, shape: SpanCells, tally: Tally) -> RowTable | Row | None:
    """Return the cells of many rows, or of one plain row; None if a limit dropped them all."""
    if stream is None:
        return shape.scalars if shape.rows is None else RowTable(shape.rows, {}, shape.lists, shape.scalars)
    arrow = read_stream(stream, tally)
    if arrow is None:
        return None
    if shape.rows not in (None, arrow.rows):
        raise UnreadableError(
            f"{semconv.BATCH} has {arrow.rows} rows, but the arrays next to it have {shape.rows} values"
        )
    return RowTable(arrow.rows, arrow.columns, shape.lists, shape.scalars)


def _add_predictions(
    request: RequestRows, rows: PredictionRows, contents: RowTable | Row, values: Mapping[str, Value], call: CallHeader
) -> None:
    if isinstance(contents, RowTable):
        rows.add_table(contents, call)
        return
    count = _row_count(values.get(semconv.PREDICTION_ROWS), request.tally)
    if count > request.limits.rows:
        request.tally.drop("rows_over_limit")
    elif count:
        rows.add(contents, call._replace(weight=call.weight * count))


def _row_count(value: Value, tally: Tally) -> int:
    """Return ``ml.prediction.rows`` of a span without columns: 1 if it is absent or invalid."""
    if value is None:
        return 1
    if (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and 0 <= value <= _LATEST
        and value == int(value)
    ):
        return int(value)
    tally.drop("unsupported_value")
    return 1


def _add_labels(request: RequestRows, model_name: str, contents: RowTable | Row, time_ns: int) -> None:
    rows = request.labels_of(model_name)
    if rows is None:
        return
    if isinstance(contents, RowTable):
        if not has_label(contents.places()):
            raise UnreadableError(f"has neither {semconv.LABEL_CLASS} nor {semconv.LABEL_VALUE}")
        rows.add_table(contents, time_ns)
        return
    prediction_id = text_of(contents.get(semconv.PREDICTION_ID))
    if not prediction_id:
        raise UnreadableError(f"{semconv.PREDICTION_ID} is missing")
    label_class, value = text_of(contents.get(semconv.LABEL_CLASS)), contents.get(semconv.LABEL_VALUE)
    if isinstance(value, (str, bool)):
        request.tally.drop("unsupported_value")
        value = None
    if label_class is None and (value is None or math.isnan(value)):
        raise UnreadableError(f"has neither {semconv.LABEL_CLASS} nor {semconv.LABEL_VALUE}")
    rows.add(prediction_id, time_ns, label_class, value)


def _call(request: RequestRows, span: Span, values: Mapping[str, Value]) -> CallHeader:
    start, end = span.start_time_unix_nano, span.end_time_unix_nano
    duration_s = (end - start) / 1e9 if 0 < start < end <= _LATEST else math.nan
    prediction_id, error = values.get(semconv.PREDICTION_ID), None
    if span.status.code == Status.STATUS_CODE_ERROR:
        kind = values.get(semconv.ERROR_TYPE)
        error = (None if isinstance(kind, AnyValue) else text_of(kind)) or _DEFAULT_ERROR
    has_id = isinstance(prediction_id, str) and prediction_id
    return CallHeader(
        start if 0 < start <= _LATEST else _first_time(end, request.received_ns),
        weight(span.trace_state),
        duration_s,
        "" if has_id else default_id(span.trace_id, span.span_id),
        error,
        trace_of(span.trace_id, span.span_id, span.flags, values.get(semconv.TRACE_SAMPLED)),
    )


def _first_time(*times: int) -> int:
    """Return the first time that is present and fits, else the last."""
    return next((time for time in times if 0 < time <= _LATEST), times[-1])
