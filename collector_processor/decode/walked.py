"""What the compiled walk over a request hands to Python: columns of the plain spans, places of the other ones."""

from __future__ import annotations

from typing import NamedTuple

from collector_processor.decode.batch import F64, I32, I64, U64


class Other(NamedTuple):
    """A span that the walk does not read: octets ``begin`` to ``end`` of the request, the ``ordinal``-th of its spans.

    ``resource`` is the index of its resource; ``label`` says that it cannot be a prediction.
    """

    ordinal: int
    begin: int
    end: int
    resource: int
    label: bool


class WalkedColumn(NamedTuple):
    """The cells of the attribute ``name``; there may be none.

    ``unsupported`` counts texts and booleans where a number is due.
    """

    name: str
    numbers: F64 | None
    codes: I32 | None
    categories: tuple[str, ...]
    unsupported: int


class WalkedModel(NamedTuple):
    """``n`` rows of one model; ``names`` are its name, version, task (empty: unsaid) and role, none of them checked.

    ``ordinals`` int64 ``[n]`` number the rows' spans within the request. ``counts`` float64 ``[n]`` are
    ``ml.prediction.rows``; ``states`` int32 ``[n]`` are trace states as indices into those of the request, −1 without
    a sampling threshold, None if no row has one. ``cells`` counts the cells that came.
    """

    names: tuple[str, str, str, str]
    ordinals: I64
    time_ns: I64
    ids: U64
    counts: F64
    states: I32 | None
    duration_s: F64
    error: WalkedColumn
    columns: list[WalkedColumn]
    cells: int


class WalkedRequest(NamedTuple):
    """``items`` spans in ``containers`` scopes and resources; of the latter, the model and version that each names."""

    items: int
    containers: int
    resources: list[tuple[str, str]]
    states: tuple[str, ...]
    others: list[Other]
    models: list[WalkedModel]
