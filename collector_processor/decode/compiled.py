"""Decodes traces with the compiled walk (:mod:`.wire`), and what that leaves with :mod:`.fallback`.

The walk makes columns of *plain* spans: each attribute of a prediction at most once and a scalar, texts within the
limit, no ``ml.features``, ``ml.batch``, arrays or labels. Each other span goes through the fallback alone, and its rows
come between those of its neighbours. The whole request goes through the fallback where the walk gives up, where other
spans are so many that columns would be cut to shreds, and where a limit was met: which rows or columns a limit
leaves out depends on the order in which they came.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from collector_processor.decode import fallback
from collector_processor.decode.batch import F64, Column, Decoded, PredictionBatch
from collector_processor.decode.cells import Place, place_of
from collector_processor.decode.identify import Defaults, Identity
from collector_processor.decode.limits import DEFAULT_LIMITS, DecodeLimits, DropReason
from collector_processor.decode.prediction_rows import PredictionRows, batch_of
from collector_processor.decode.request import Request
from collector_processor.decode.sampling import weight
from collector_processor.decode.walked import WalkedColumn, WalkedModel, WalkedRequest
from collector_processor.decode.wire import walk
from otel_ml import semconv

_ROWS_PER_CUT: Final = 16
"""Plain rows that a model must have, for each time that another span stands between them, to be worth columns."""
_IN_ANY_ORDER: Final = frozenset[DropReason](
    (
        "label_without_id",
        "label_without_value",
        "text_truncated",
        "unsupported_value",
    )
)
"""What is dropped whatever came before."""


def decode_traces(body: bytes, received_ns: int, limits: DecodeLimits = DEFAULT_LIMITS) -> Decoded:
    """Predictions and labels of an ``ExportTraceServiceRequest``; raises :class:`.batch.MalformedRequestError`.

    >>> decode_traces(b"", received_ns=0).items
    0
    """
    walked = walk(body, received_ns, text_length=limits.text_length, models=limits.models, rows=limits.rows)
    decoded = None
    if walked is not None and _is_worth_it(walked, limits):
        decoded = _decoded(body, walked, Request(received_ns, limits))
    return fallback.decode_traces(body, received_ns, limits) if decoded is None else decoded


def _is_worth_it(walked: WalkedRequest, limits: DecodeLimits) -> bool:
    """Whether the columns are whole enough, and within what needs no look at the order of things."""
    cuts = sum(not other.label for other in walked.others)
    rows = sum(len(model.ordinals) for model in walked.models)
    if cuts * len(walked.models) * _ROWS_PER_CUT > rows or (walked.others and not rows):
        return False
    return all(
        (not task or task in semconv.TASKS)
        and role in semconv.ROLES
        and all(len(column.categories) <= limits.categories for column in (*model.columns, model.error))
        for model in walked.models
        for _, _, task, role in [model.names]
    )


def _decoded(body: bytes, walked: WalkedRequest, request: Request) -> Decoded | None:
    """Everything as batches; None where a limit was met."""
    request.tally.take_items(walked.items + walked.containers)
    weights = [weight(state) for state in walked.states]
    models = [_Model(model, weights) for model in walked.models]
    known: list[fallback.Known] = [{} for _ in walked.resources]
    for other in walked.others:
        if not other.label:
            _add_until(other.ordinal, models, request)
        span, resource = Span.FromString(body[other.begin : other.end]), other.resource
        fallback.take_span(request, span, Defaults(*walked.resources[resource]), known[resource])
    _add_until(walked.items, models, request)
    if not _IN_ANY_ORDER.issuperset(request.tally.dropped):
        return None
    return request.decoded(walked.items)


def _add_until(ordinal: int, models: list[_Model], request: Request) -> None:
    """Adds the rows of spans before the ``ordinal``-th, models in the order of their first row among them."""
    ready = [(first, index) for index, model in enumerate(models) if (first := model.next_ordinal()) < ordinal]
    for _, index in sorted(ready):
        models[index].add_until(ordinal, request)


class _Model:
    """The plain rows of one model, and how many of them were added to the request."""

    def __init__(self, walked: WalkedModel, weights: list[float]) -> None:
        self._walked = walked
        self._weights = weights
        self._added = 0
        self._batch: PredictionBatch | None = None

    def next_ordinal(self) -> float:
        ordinals = self._walked.ordinals
        return int(ordinals[self._added]) if self._added < len(ordinals) else float("inf")

    def add_until(self, ordinal: int, request: Request) -> None:
        walked, begin = self._walked, self._added
        end = int(np.searchsorted(walked.ordinals, ordinal))
        rows = request.predictions_of(Identity(*walked.names))
        if rows is None:
            return
        if self._batch is None:
            self._batch = _batch_of(walked, rows, self._weights, request)
        whole = end - begin == len(walked.ordinals)
        batch = self._batch if whole else self._batch.take(slice(begin, end))
        cells = walked.cells * (end - begin) // len(walked.ordinals)
        rows.add_batch(batch, len(walked.columns), cells)
        self._added = end


def _batch_of(walked: WalkedModel, rows: PredictionRows, weights: list[float], request: Request) -> PredictionBatch:
    for column in walked.columns:
        request.tally.drop("unsupported_value", column.unsupported)
    return batch_of(
        rows.identity,
        ((place, column) for place, column in _columns(walked) if rows.admits(place, column)),
        walked.time_ns,
        walked.ids,
        _weights(walked, weights),
        walked.duration_s,
        _column(walked.error),
    )


def _columns(walked: WalkedModel) -> Iterator[tuple[Place, Column]]:
    for cells in walked.columns:
        place, column = place_of(cells.name), _column(cells)
        if place is not None and column is not None:
            yield place, column


def _column(cells: WalkedColumn) -> Column | None:
    if cells.numbers is None and cells.codes is None:
        return None
    return Column(cells.numbers, cells.codes, cells.categories)


def _weights(walked: WalkedModel, weights: list[float]) -> F64:
    """How many predictions each row stands for; the last of the weights, that of no threshold, is for code −1."""
    if walked.states is None:
        return walked.counts
    return np.array([*weights, 1.0])[walked.states] * walked.counts
