"""BentoML's monitor: log records of the scope ``bentoml_monitor_data``, one for each row (``monitoring.type: otlp``).

The body has a value for each column, ``timestamp``, ``request_id``, ``trace_id`` (decimal) and ``bento_meta``: the
names of the bento and the monitor, and the schema, which has a role (feature, prediction, target) and a type
(numerical, categorical) for each column. With ``meta_sample_rate`` below 1, most records have no ``bento_meta``, so
schemas are remembered.

- **Model**: the name of the monitor; the version of the bento.
- **Id**: ``request_id``. Row i of a request with several (``log_batch``), but the first, has ``{request_id}:{i}``.
- **Outputs**: a categorical prediction is the class. A numerical one is the value; beside a class, and between 0 and 1,
  it is the score. Of several that could be the same output, none counts.
- **Target**: a label of the same id.

A process with several monitors exports the records of all of them under the resource of one of them: so the names in
``bento_meta`` count, and without it the schema that has the same columns. Source: BentoML 1.4.40,
``bentoml/_internal/monitoring/otlp.py`` and ``base.py``.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from collector_processor.columns.batch import Decoded
from collector_processor.decode.fallback import parsed
from collector_processor.decode.limits import DecodeLimits, Tally
from collector_processor.decode.request_rows import RequestRows
from collector_processor.decode.rules.attributes import Value, read
from collector_processor.decode.rules.cells import Scalar, shorten, text_of
from collector_processor.decode.rules.identity import Identity
from collector_processor.decode.rules.prediction_rows import CallHeader
from collector_processor.decode.rules.sampling import trace_of
from otel_ml import semconv

SCOPE: Final = "bentoml_monitor_data"
_TIME, _REQUEST, _TRACE, _META = "timestamp", "request_id", "trace_id", "bento_meta"
_OURS: Final = frozenset((_TIME, _REQUEST, _TRACE, _META))
_UNVERSIONED: Final = "not available"
"""The version of a bento that is served from its source."""
_SCHEMAS: Final = 1000
"""Schemas that are remembered; the one that was used longest ago makes room."""
_NUMBERED: Final = 131_072
"""Rows whose numbers are remembered; the oldest request makes room."""
_LATEST: Final = 2**63 - 1
_NS: Final = 10**9
_SEQUENCE: Final = "numerical_sequence"


@dataclass(frozen=True, slots=True)
class Schema:
    """One monitor of one bento, and the role and type of each of its columns."""

    monitor: str
    version: str
    columns: Mapping[str, tuple[str, str]]


class BentoMonitors:
    """Decodes the records of monitors; remembers their schemas and numbers the rows of each request.

    Safe to call from any thread. A record that comes again has the number that it had.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._schemas: OrderedDict[tuple[str, str, str], Schema] = OrderedDict()
        self._rows: OrderedDict[tuple[str, str], dict[tuple[int, int], int]] = OrderedDict()
        self._numbered = 0

    def decode(self, body: bytes, received_ns: int, limits: DecodeLimits) -> Decoded:
        """Return the rows and labels in an ``ExportLogsServiceRequest``; ``items`` counts the records of monitors."""
        request, items = RequestRows(received_ns, limits), 0
        for resource_logs in parsed(ExportLogsServiceRequest, body).resource_logs:
            resource: Mapping[str, Value] | None = None
            for scope_logs in resource_logs.scope_logs:
                if scope_logs.scope.name != SCOPE:
                    continue
                if resource is None:
                    resource, _ = read(resource_logs.resource.attributes)
                items += len(scope_logs.log_records)
                for record in scope_logs.log_records:
                    self._take(request, record, _origin(resource))
        return request.decoded(items)

    def _take(self, request: RequestRows, record: LogRecord, origin: tuple[str, str]) -> None:
        values, _ = read(record.body.kvlist_value.values)
        columns = {name: value for name, value in values.items() if name not in _OURS}
        schema = self._schema(values.get(_META), origin, columns)
        if schema is None:
            request.tally.drop("unknown_schema")
            return
        longest = request.limits.text_length
        rows = request.predictions_of(
            Identity(shorten(schema.monitor, longest), shorten(schema.version, longest), "", semconv.ROLES[0])
        )
        if rows is None:
            return
        time_ns = _time_ns(record, values, request.received_ns)
        identity = self._id(schema.monitor, values.get(_REQUEST), record)
        row, label = _row(schema, columns, request.tally)
        if len(row):
            rows.add(
                {**row, semconv.PREDICTION_ID: identity} if identity else row,
                CallHeader(time_ns, 1.0, math.nan, "", None, _trace(record, values)),
            )
        if label and identity:
            labels = request.labels_of(shorten(schema.monitor, longest))
            if labels is not None:
                labels.add(identity, time_ns, label.get(semconv.LABEL_CLASS), label.get(semconv.LABEL_VALUE))

    def _schema(self, meta: Value, origin: tuple[str, str], columns: Mapping[str, Value]) -> Schema | None:
        """Return the schema that a record brings, else the only known one of its process that has its columns."""
        if isinstance(meta, AnyValue):
            schema = _read_schema(meta)
            if schema is not None and schema.columns:
                key = (*origin, schema.monitor)
                with self._lock:
                    self._schemas[key] = schema
                    self._schemas.move_to_end(key)
                    if len(self._schemas) > _SCHEMAS:
                        self._schemas.popitem(last=False)
                return schema
        with self._lock:
            known = [schema for key, schema in self._schemas.items() if key[:2] == origin]
        fitting = [schema for schema in known if schema.columns.keys() == columns.keys()]
        return fitting[0] if len(fitting) == 1 else None

    def _id(self, monitor: str, request_id: Value, record: LogRecord) -> str:
        """Return the id of a row; the number of a row is known by the times of its record, which no other row has."""
        if not isinstance(request_id, str) or not request_id:
            return ""
        key = monitor, request_id
        with self._lock:
            rows = self._rows.setdefault(key, {})
            before = len(rows)
            number = rows.setdefault((record.time_unix_nano, record.observed_time_unix_nano), before)
            self._numbered += len(rows) - before
            while self._numbered > _NUMBERED:
                self._numbered -= len(self._rows.popitem(last=False)[1])
        return f"{request_id}:{number}" if number else request_id


def with_monitors(decoded: Decoded, monitors: Decoded) -> Decoded:
    """Return what was decoded with the rows of monitors, whose records are among its items already."""
    dropped = dict(decoded.dropped)
    for reason, count in monitors.dropped.items():
        dropped[reason] = dropped.get(reason, 0) + count
    return Decoded(
        (*decoded.predictions, *monitors.predictions),
        (*decoded.labels, *monitors.labels),
        decoded.items,
        decoded.rejected + monitors.rejected,
        "; ".join(filter(None, (decoded.message, monitors.message))),
        dropped,
    )


def _origin(resource: Mapping[str, Value]) -> tuple[str, str]:
    """Return the bento and its version; the resource is named ``{bento}:{monitor}``."""
    service, instance = resource.get("service.name"), resource.get("service.instance.id")
    name = service if isinstance(service, str) else ""
    return name.rpartition(":")[0] or name, instance if isinstance(instance, str) else ""


def _read_schema(meta: AnyValue) -> Schema | None:
    values, _ = read(meta.kvlist_value.values)
    monitor, version, schema = values.get("monitor_name"), values.get("bento_version"), values.get("schema")
    if not isinstance(monitor, str) or not monitor or not isinstance(schema, AnyValue):
        return None
    columns: dict[str, tuple[str, str]] = {}
    for column in schema.kvlist_value.values:
        about, _ = read(column.value.kvlist_value.values)
        columns[column.key] = str(about.get("role")), str(about.get("type"))
    return Schema(monitor, version if isinstance(version, str) and version != _UNVERSIONED else "", columns)


def _row(
    schema: Schema, columns: Mapping[str, Value], tally: Tally
) -> tuple[dict[str, Scalar | None], dict[str, Scalar | None]]:
    """Return the cells of a prediction by contract name, and those of its label."""
    cells: dict[str, Scalar | None] = {}
    outputs: dict[str, list[tuple[str, Scalar]]] = {"prediction": [], "target": []}
    for name, value in columns.items():
        role, kind = schema.columns.get(name, ("", ""))
        if isinstance(value, AnyValue) or kind == _SEQUENCE:
            tally.drop("unsupported_value")
        elif role == "feature":
            cells[f"{semconv.FEATURE}{name}"] = _cell(value, kind)
        elif role in outputs and value is not None:
            outputs[role].append((kind, value))
    cells |= _outputs(outputs["prediction"], tally)
    return cells, _label(outputs["target"], tally)


def _cell(value: Scalar | None, kind: str) -> Scalar | None:
    if kind == "categorical":
        return text_of(value)
    return int(value) if isinstance(value, bool) and kind == "numerical" else value


def _outputs(predictions: list[tuple[str, Scalar]], tally: Tally) -> dict[str, Scalar | None]:
    numbers = [value for kind, value in predictions if kind == "numerical" and isinstance(value, (int, float))]
    classes = [value for kind, value in predictions if kind != "numerical" or isinstance(value, str)]
    found: dict[str, Scalar | None] = {}
    if len(classes) == 1:
        found[semconv.PREDICTION_CLASS] = text_of(classes[0])
    if len(numbers) == 1 and (not classes or 0 <= numbers[0] <= 1):
        found[semconv.PREDICTION_SCORE if classes else semconv.PREDICTION_VALUE] = float(numbers[0])
    tally.drop("unsupported_value", len(predictions) - len(found))
    return found


def _label(targets: list[tuple[str, Scalar]], tally: Tally) -> dict[str, Scalar | None]:
    if len(targets) != 1:
        tally.drop("unsupported_value", len(targets))
        return {}
    [(kind, value)] = targets
    if kind == "numerical" and isinstance(value, (int, float)):
        return {} if math.isnan(value) else {semconv.LABEL_VALUE: float(value)}
    text = text_of(value)
    return {} if text is None else {semconv.LABEL_CLASS: text}


def _time_ns(record: LogRecord, values: Mapping[str, Value], received_ns: int) -> int:
    stamp = values.get(_TIME)
    for time_ns in (record.time_unix_nano, record.observed_time_unix_nano):
        if 0 < time_ns <= _LATEST:
            return time_ns
    if isinstance(stamp, float) and 0 < stamp < _LATEST / _NS:
        return int(stamp * _NS)
    return received_ns


def _trace(record: LogRecord, values: Mapping[str, Value]) -> tuple[int, int, int] | None:
    """Return the span that a record was logged in; none where the request was not traced."""
    if not record.span_id:
        return None
    trace_id = record.trace_id
    text = values.get(_TRACE)
    if not any(trace_id) and isinstance(text, str) and text.isascii() and text.isdecimal() and len(text) <= 39:
        trace_id = int(text).to_bytes(17, "big")[1:]
    return trace_of(trace_id, record.span_id, record.flags, None)
