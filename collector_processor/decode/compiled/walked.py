"""The results of the compiled walk over a request: columns, Arrow streams, and the positions of other spans."""

from __future__ import annotations

from typing import NamedTuple

from collector_processor.columns.batch import F64, I32, I64, U64
from collector_processor.decode.rules.cells import Scalar


class Other(NamedTuple):
    """The ``ordinal``-th span or record, octets ``begin`` to ``end`` of the request, which the walk does not read.

    ``resource`` is the index of its resource; ``label`` means that it cannot be a prediction.
    """

    ordinal: int
    begin: int
    end: int
    resource: int
    label: bool


class WalkedColumn(NamedTuple):
    """The cells of the flat name ``name``; there may be none.

    ``unsupported`` counts texts and booleans in place of numbers.
    """

    name: str
    numbers: F64 | None
    codes: I32 | None
    categories: tuple[str, ...]
    unsupported: int


class WalkedModel(NamedTuple):
    """``n`` rows of one model; ``names`` are those of its :class:`.Identity`.

    ``ordinals`` int64 ``[n]``, never decreasing, number the rows' spans within the request. ``counts`` float64 ``[n]``
    are ``ml.prediction.rows``; ``states`` int32 ``[n]`` are trace states as indices into those of the request, −1
    without a sampling threshold, None if no row has one. ``cells`` counts the cells that came.
    ``trace_codes`` and ``trace_ids`` are those of :class:`.Traces`.
    """

    names: tuple[str, str, str, str, str, str, str]
    ordinals: I64
    time_ns: I64
    ids: U64
    counts: F64
    states: I32 | None
    duration_s: F64
    error: WalkedColumn
    columns: list[WalkedColumn]
    cells: int
    trace_codes: I32 | None
    trace_ids: U64


class WalkedLabels(NamedTuple):
    """``n`` labels of the model ``name``, each with a class or a value; columns as in :class:`WalkedModel`.

    ``first`` is the ordinal of the first span or record with labels of that model, even if none of them is included.
    """

    name: str
    first: int
    ordinals: I64
    time_ns: I64
    ids: U64
    classes: WalkedColumn
    values: F64 | None


class WalkedStream(NamedTuple):
    """A span or record called ``name`` whose rows are an Arrow stream: octets ``begin`` to ``end`` of the request.

    ``names`` are as in :class:`WalkedModel`, ``state`` is like one of its ``states``. ``scalars`` are the cells next to
    the stream by flat name.
    """

    ordinal: int
    names: tuple[str, str, str, str, str, str, str]
    name: str
    trace_id: bytes
    span_id: bytes
    flags: int
    sampled: bool
    time_ns: int
    duration_s: float
    state: int
    error: str | None
    begin: int
    end: int
    scalars: dict[str, Scalar | None]


class WalkedRequest(NamedTuple):
    """``items`` spans or records in ``containers`` scopes and resources, and the model and version that each resource
    names. ``unsupported`` counts nested values in place of scalars; ``labels_without_…`` count rows of arrays that do
    not make a label. The request has at most ``keys`` different keys.
    """

    items: int
    containers: int
    resources: list[tuple[str, str]]
    states: tuple[str, ...]
    others: list[Other]
    models: list[WalkedModel]
    labels: list[WalkedLabels]
    streams: list[WalkedStream]
    unsupported: int
    labels_without_id: int
    labels_without_value: int
    keys: int
