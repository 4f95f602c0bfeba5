"""Builds OTLP requests for the decoder's tests, and reads batches back row by row."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from collector_processor.decode import Column, Decoded, PredictionBatch, decode, hash_ids

START = 1_760_000_000_000_000_000
RECEIVED = START + 60_000_000_000
TRACE = bytes(range(16))
SPAN = bytes(range(8))


class Otlp:
    """Requests from Python values: dict → map, list → array, None → empty, a protobuf ``AnyValue`` as it is."""

    start, received, trace_id, span_id = START, RECEIVED, TRACE, SPAN
    default_id = f"{TRACE.hex()}:{SPAN.hex()}"

    def any(self, value: object) -> AnyValue:
        if isinstance(value, AnyValue):
            return value
        if value is None:
            return AnyValue()
        if isinstance(value, bool):
            return AnyValue(bool_value=value)
        if isinstance(value, int):
            return AnyValue(int_value=value)
        if isinstance(value, float):
            return AnyValue(double_value=value)
        if isinstance(value, str):
            return AnyValue(string_value=value)
        if isinstance(value, bytes):
            return AnyValue(bytes_value=value)
        if isinstance(value, Mapping):
            return AnyValue(kvlist_value=KeyValueList(values=self.attributes(value)))
        assert isinstance(value, Sequence)
        return AnyValue(array_value=ArrayValue(values=[self.any(element) for element in value]))

    def attributes(self, values: Mapping[str, object] | Sequence[tuple[str, object]]) -> list[KeyValue]:
        pairs = values.items() if isinstance(values, Mapping) else values
        return [KeyValue(key=key, value=self.any(value)) for key, value in pairs]

    def span(
        self,
        attributes: Mapping[str, object] | Sequence[tuple[str, object]],
        name: str = "predict fraud",
        *,
        start: int = START,
        end: int = START + 5_000_000,
        trace_id: bytes = TRACE,
        span_id: bytes = SPAN,
        trace_state: str = "",
        error: bool = False,
    ) -> Span:
        return Span(
            name=name,
            trace_id=trace_id,
            span_id=span_id,
            trace_state=trace_state,
            start_time_unix_nano=start,
            end_time_unix_nano=end,
            attributes=self.attributes(attributes),
            status=Status(code=Status.STATUS_CODE_ERROR) if error else None,
        )

    def prediction(self, attributes: Mapping[str, object], **of_span: Any) -> Span:
        """A prediction span of model fraud, version 7."""
        return self.span({"ml.model.name": "fraud", "ml.model.version": "7", **attributes}, **of_span)

    def traces(self, *spans: Span, resource: Mapping[str, object] | None = None) -> bytes:
        resource_spans = ResourceSpans(
            resource=Resource(attributes=self.attributes(resource or {})), scope_spans=[ScopeSpans(spans=spans)]
        )
        return ExportTraceServiceRequest(resource_spans=[resource_spans]).SerializeToString()

    def logs(self, *records: LogRecord, resource: Mapping[str, object] | None = None) -> bytes:
        resource_logs = ResourceLogs(
            resource=Resource(attributes=self.attributes(resource or {})), scope_logs=[ScopeLogs(log_records=records)]
        )
        return ExportLogsServiceRequest(resource_logs=[resource_logs]).SerializeToString()

    def arrow(self, columns: Mapping[str, object] | pa.Table, **options: Any) -> bytes:
        """An Arrow stream of a table or of columns."""
        table = columns if isinstance(columns, pa.Table) else pa.table(dict(columns))
        sink = io.BytesIO()
        with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
            writer.write_table(table)
        return sink.getvalue()

    def decoded(self, *spans: Span, limits: Any = None, resource: Mapping[str, object] | None = None) -> Decoded:
        body = self.traces(*spans, resource=resource)
        return decode("traces", body, RECEIVED) if limits is None else decode("traces", body, RECEIVED, limits)

    def one(self, attributes: Mapping[str, object], **of_span: Any) -> PredictionBatch:
        """The only batch of a request of one prediction span, of which nothing was refused."""
        decoded = self.decoded(self.prediction(attributes, **of_span))
        assert (decoded.rejected, decoded.message, dict(decoded.dropped)) == (0, "", {})
        [batch] = decoded.predictions
        return batch

    def hash(self, *ids: str) -> list[list[int]]:
        return hash_ids(ids).tolist()


def cells(column: Column | None, rows: int) -> list[object]:
    """A column's cells as Python values, None where missing."""
    if column is None:
        return [None] * rows
    assert len(column) == rows
    numbers = [None] * rows if column.numbers is None else column.numbers.tolist()
    codes = [-1] * rows if column.codes is None else column.codes.tolist()
    found: list[object] = []
    for number, code in zip(numbers, codes, strict=True):
        is_number = number is not None and not math.isnan(number)
        assert not (is_number and code >= 0)
        found.append(number if is_number else column.categories[code] if code >= 0 else None)
    return found


def rows_of(batch: PredictionBatch) -> list[dict[str, object]]:
    """Each row of a batch as a dict of what is there, the same however the batch was cut or its columns ordered."""
    count = len(batch)
    columns: dict[str, list[object]] = {
        "time": batch.time_ns.tolist(),
        "id": [tuple(pair) for pair in batch.ids.tolist()],
        "weight": batch.weights.tolist(),
        "duration": cells(Column(batch.duration_s), count),
        "class": cells(batch.prediction, count),
        "score": cells(Column(batch.score) if batch.score is not None else None, count),
        "value": cells(Column(batch.value) if batch.value is not None else None, count),
        "error": cells(batch.error, count),
        "attribution weight": cells(None if (said := batch.attribution_weights) is None else Column(said), count),
    }
    columns |= {f"feature {key}": cells(column, count) for key, column in batch.features.items()}
    columns |= {f"segment {key}": cells(column, count) for key, column in batch.segments.items()}
    columns |= {f"attribution {key}": cells(Column(part), count) for key, part in batch.attributions.items()}
    columns |= {f"scores {key}": cells(Column(part), count) for key, part in batch.scores.items()}
    names = {"model": str(batch.model), "task": batch.task, "role": batch.role}
    return [
        {**names, **{name: column[row] for name, column in columns.items() if column[row] is not None}}
        for row in range(count)
    ]


class Read:
    """Batches back to Python values."""

    cells = staticmethod(cells)
    rows_of = staticmethod(rows_of)

    @staticmethod
    def rows(decoded: Decoded) -> list[dict[str, object]]:
        """All rows of a request, models in order."""
        return [row for batch in decoded.predictions for row in rows_of(batch)]

    @staticmethod
    def labels(decoded: Decoded) -> list[tuple[object, ...]]:
        """Each label as (model, time, id, class, value)."""
        found: list[tuple[object, ...]] = []
        for batch in decoded.labels:
            classes = cells(batch.classes, len(batch))
            values = cells(None if batch.values is None else Column(batch.values), len(batch))
            ids = [tuple(pair) for pair in batch.ids.tolist()]
            found += zip([batch.model_name] * len(batch), batch.time_ns.tolist(), ids, classes, values, strict=True)
        return found


@pytest.fixture(scope="session")
def otlp() -> Otlp:
    return Otlp()


@pytest.fixture(scope="session")
def read() -> Read:
    return Read()
