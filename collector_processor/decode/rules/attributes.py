"""From attributes of spans and records, as ``opentelemetry-proto``'s classes hold them, to cells by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from collector_processor.decode.limits import Tally
from collector_processor.decode.rules.cells import MAPS, Scalar, UnreadableError, place_of
from collector_processor.decode.rules.row_table import Cells
from otel_ml import semconv

Value = Scalar | AnyValue | None
"""A scalar, a missing one, or a value that is not a scalar, as it came."""

_SCALARS: Final = frozenset(("string_value", "bool_value", "int_value", "double_value"))
_ARRAY: Final = "array_value"


def read(attributes: Iterable[KeyValue]) -> tuple[dict[str, Value], bool]:
    """Return values by key, the last one of a repeated key, and whether any of them is not a scalar.

    >>> attribute = KeyValue(key="a", value=AnyValue(int_value=1))
    >>> read([attribute, KeyValue(key="b"), KeyValue(key="a", value=AnyValue(bool_value=False))])
    ({'a': False, 'b': None}, False)
    """
    values: dict[str, Value] = {}
    nested = False
    for attribute in attributes:
        value = attribute.value
        cell: Value = value.double_value or value.string_value
        if not cell:  # ask upb for the kind only now: an integer, boolean, zero, empty text, or not a scalar
            cell = _rare(value)
            nested = nested or cell.__class__ is AnyValue
        values[attribute.key] = cell
    return values, nested


def _rare(value: AnyValue) -> Value:
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    return getattr(value, kind) if kind in _SCALARS else value


@dataclass(frozen=True, slots=True)
class SpanCells:
    """The cells of one span by flat name: shared by all rows, or one for each of ``rows`` rows (None means one row)."""

    scalars: dict[str, Scalar | None]
    lists: dict[str, Cells] = field(default_factory=dict[str, Cells])
    rows: int | None = None


def span_cells(values: Mapping[str, Value], tally: Tally) -> SpanCells:
    """Flatten maps, turn arrays into lists, and count nested values in place of scalars as ``unsupported_value``.

    A flat attribute, even a missing one, takes precedence over a map's entry. Attributes that are not cells are left
    out. Raises :class:`UnreadableError` if arrays differ in length, or the id is nested.
    """
    flat = {name: value for name, value in values.items() if place_of(name) is not None}
    for name, prefix in MAPS.items():
        for key, value in _entries(values.get(name), tally).items():
            flat.setdefault(prefix + key, value)
    scalars: dict[str, Scalar | None] = {}
    lists: dict[str, Cells] = {}
    for name, value in flat.items():
        if not isinstance(value, AnyValue):
            scalars[name] = value
        elif value.WhichOneof("value") == _ARRAY:
            lists[name] = [_scalar(_rare(element), tally) for element in value.array_value.values]
        elif name == semconv.PREDICTION_ID:
            raise UnreadableError(f"{name} is {kind_of(value)}, not a string")
        else:
            scalars[name] = _scalar(value, tally)
    return SpanCells(scalars, lists, _rows(lists))


def _rows(lists: Mapping[str, Cells]) -> int | None:
    lengths = {len(cells): name for name, cells in lists.items()}
    if len(lengths) > 1:
        (rows, one), (others, other), *_ = lengths.items()
        raise UnreadableError(f"{one[:80]} has {rows} values but {other[:80]} has {others}")
    return next(iter(lengths), None)


def _entries(value: Value, tally: Tally) -> dict[str, Value]:
    if value is None:
        return {}
    if isinstance(value, AnyValue) and value.WhichOneof("value") == "kvlist_value":
        return read(value.kvlist_value.values)[0]
    tally.drop("unsupported_value")
    return {}


def _scalar(value: Value, tally: Tally) -> Scalar | None:
    if isinstance(value, AnyValue):
        tally.drop("unsupported_value")
        return None
    return value


def arrow_stream_of(values: Mapping[str, Value]) -> bytes | None:
    """Return the Arrow stream in ``ml.batch``; None without one. Raises :class:`UnreadableError` if it is not bytes."""
    value = values.get(semconv.BATCH)
    if value is None:
        return None
    if isinstance(value, AnyValue) and value.WhichOneof("value") == "bytes_value":
        return value.bytes_value
    raise UnreadableError(f"{semconv.BATCH} is {kind_of(value)}, not bytes")


def kind_of(value: Value) -> str:
    """Return the kind of a value in OTLP's terms, for messages.

    >>> kind_of(True), kind_of(1), kind_of("x"), kind_of(AnyValue(bytes_value=b"x"))
    ('a bool', 'an int', 'a string', 'bytes')
    """
    if isinstance(value, AnyValue):
        return {_ARRAY: "an array", "kvlist_value": "a map", "bytes_value": "bytes"}.get(
            value.WhichOneof("value") or "", "of an unknown kind"
        )
    if value is None:
        return "empty"
    return {bool: "a bool", int: "an int", float: "a double", str: "a string"}[type(value)]
