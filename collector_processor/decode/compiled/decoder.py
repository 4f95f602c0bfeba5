"""Decode traces and logs with the compiled walk (:mod:`.wire`), and what it leaves over with :mod:`.fallback`.

The walk makes columns of predictions and labels, single ones and arrays, and finds Arrow streams, whose rows take the
same path as the fallback's. It leaves spans and records that are *other*: those to be rejected; with a repeated
attribute or key; with a text or id over its limit; with arrays of length 0, of different lengths, or next to a stream;
with a map that is not a map; with a class, segment or id that is a number with decimals; predictions with attributes of
a label; values that OTLP does not define. Each of these goes through the fallback alone, and its rows come between
those of its neighbors. The whole request goes through the fallback if the walk gives up, if there are enough other
spans to cut the columns into tiny pieces, or if a limit was reached: which rows or columns a limit leaves out depends
on the order in which they came.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Final, Generic, TypeVar

import numpy as np
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from collector_processor.columns.batch import F64, I64, Column, Decoded, LabelBatch, PredictionBatch
from collector_processor.columns.traces import Traces
from collector_processor.decode import fallback
from collector_processor.decode.compiled.walked import (
    Other,
    WalkedColumn,
    WalkedLabels,
    WalkedModel,
    WalkedRequest,
    WalkedStream,
)
from collector_processor.decode.compiled.wire import walk
from collector_processor.decode.limits import DEFAULT_LIMITS, DecodeLimits
from collector_processor.decode.request_rows import RequestRows
from collector_processor.decode.rules.cells import Place, place_of
from collector_processor.decode.rules.identity import Identity, ResourceModel
from collector_processor.decode.rules.ids import default_id
from collector_processor.decode.rules.label_rows import LabelRows
from collector_processor.decode.rules.prediction_rows import CallHeader, PredictionRows, prediction_batch
from collector_processor.decode.rules.sampling import trace_of, weight
from collector_processor.own.drops import DecodeReason
from otel_ml import semconv

_Key = TypeVar("_Key", Identity, str)
_ROWS_PER_CUT: Final = 16
"""Rows that a model must have for each other span between them, to be worth columns."""
_LABELS_PER_CUT: Final = 2
"""The same for labels, which have only one column."""
_FREE_CATEGORIES: Final = 65_536
_CATEGORIES_PER_CELL: Final = 4
_LEAST_PART: Final = 8
"""A stream smaller than this fraction (1 / 8) of its request is copied out of it."""
_IN_ANY_ORDER: Final = frozenset[DecodeReason](
    (
        "label_without_id",
        "label_without_value",
        "text_truncated",
        "unsupported_value",
    )
)
"""Reasons that drop the same cells or rows whatever came before."""


def decode_traces(body: bytes, received_ns: int, limits: DecodeLimits = DEFAULT_LIMITS) -> Decoded:
    """Decode the predictions and labels of an ``ExportTraceServiceRequest``, or raise ``MalformedRequestError``.

    >>> decode_traces(b"", received_ns=0).items
    0
    """
    decoded = _walked(body, received_ns, limits, logs=False)
    return fallback.decode_traces(body, received_ns, limits) if decoded is None else decoded


def decode_logs(body: bytes, received_ns: int, limits: DecodeLimits = DEFAULT_LIMITS) -> Decoded:
    """Decode the labels of an ``ExportLogsServiceRequest``, or raise ``MalformedRequestError``.

    >>> decode_logs(b"", received_ns=0).items
    0
    """
    decoded = _walked(body, received_ns, limits, logs=True)
    return fallback.decode_logs(body, received_ns, limits) if decoded is None else decoded


def _walked(body: bytes, received_ns: int, limits: DecodeLimits, *, logs: bool) -> Decoded | None:
    walked = walk(
        body,
        received_ns,
        text_length=limits.text_length,
        models=limits.models,
        rows=limits.rows,
        cells=limits.cells,
        logs=logs,
    )
    if walked is None or not _is_worth_it(walked, limits):
        return None
    return _Decoding(body, walked, RequestRows(received_ns, limits), logs=logs).decoded()


def _is_worth_it(walked: WalkedRequest, limits: DecodeLimits) -> bool:
    """Return whether the columns are cut little enough, and small enough that order does not matter for limits."""
    others, cuts = len(walked.others), sum(not other.label for other in walked.others)
    rows = sum(len(model.ordinals) for model in walked.models)
    labels = sum(len(labels.ordinals) for labels in walked.labels)
    if cuts * len(walked.models) * _ROWS_PER_CUT > rows or others * len(walked.labels) * _LABELS_PER_CUT > labels:
        return False
    if others and not (walked.models or walked.labels or walked.streams):
        return False
    columns = [column for model in walked.models for column in (*model.columns, model.error)]
    sizes = [len(column.categories) for column in (*columns, *(labels.classes for labels in walked.labels))]
    # Each piece of a column has all of the column's categories.
    cells = labels + sum(model.cells for model in walked.models)
    if (others + len(walked.streams)) * sum(sizes) > _CATEGORIES_PER_CELL * cells + _FREE_CATEGORIES:
        return False
    # In the fallback, the texts of other spans, one from each, might be in one column with the rest, and so are the
    # classes of labels that have no id.
    return max(sizes, default=0) + others + walked.labels_without_id <= limits.categories


class _Decoding:
    """Combines the walk's rows with those left to the fallback, in the order of the request."""

    def __init__(self, body: bytes, walked: WalkedRequest, request: RequestRows, *, logs: bool) -> None:
        self._body = body
        self._walked = walked
        self._request = request
        self._logs = logs
        self._weights = [*map(weight, walked.states), 1.0]  # the last is for code −1: no threshold
        self._models = _Models([_Model(model, self._weights, request) for model in walked.models])
        self._labels = _Models([_Labels(labels, request) for labels in walked.labels])
        self._known: list[fallback.Known] = [{} for _ in walked.resources]

    def decoded(self) -> Decoded | None:
        """Return everything as batches; None if a limit was reached."""
        walked, tally = self._walked, self._request.tally
        tally.take_items(walked.items + walked.containers)
        tally.drop("unsupported_value", walked.unsupported)
        tally.drop("label_without_id", walked.labels_without_id)
        tally.drop("label_without_value", walked.labels_without_value)
        without = walked.labels_without_id + walked.labels_without_value
        tally.take_rows(without)
        tally.take_cells(without, 2)
        cuts = sum(not other.label for other in walked.others)
        if cuts:  # the fallback might merge these and the rows around them into larger batches
            tally.take_cells(cuts + sum(len(model.ordinals) for model in walked.models), walked.keys)
        for other in sorted((*walked.others, *walked.streams), key=lambda each: each.ordinal):
            if isinstance(other, Other):
                self._take_other(other)
            else:
                self._take_stream(other)
        self._models.add_until(walked.items)
        self._labels.add_until(walked.items)
        decoded = self._request.decoded(walked.items)
        return decoded if _IN_ANY_ORDER.issuperset(decoded.dropped) else None

    def _take_other(self, other: Other) -> None:
        self._labels.add_until(other.ordinal)
        octets = self._body[other.begin : other.end]
        resource_model = ResourceModel(*self._walked.resources[other.resource])
        if self._logs:
            fallback.take_record(self._request, LogRecord.FromString(octets), resource_model)
            return
        if not other.label:
            self._models.add_until(other.ordinal)
        fallback.take_span(self._request, Span.FromString(octets), resource_model, self._known[other.resource])

    def _take_stream(self, stream: WalkedStream) -> None:
        request, identity = self._request, Identity(*stream.names)
        octets = _octets(self._body, stream.begin, stream.end)
        if self._logs or stream.name.startswith(semconv.SPAN_LABEL):
            self._labels.add_until(stream.ordinal, identity.name)
        if self._logs:
            fallback.take_label_stream(request, octets, stream.scalars, identity, stream.time_ns)
            return
        self._models.add_until(stream.ordinal, identity)
        call = CallHeader(
            stream.time_ns,
            self._weights[stream.state],
            stream.duration_s,
            default_id(stream.trace_id, stream.span_id),
            stream.error,
            trace_of(stream.trace_id, stream.span_id, stream.flags, stream.sampled),
        )
        fallback.take_stream(request, octets, stream.scalars, identity, call, stream.name, stream.span_id)


def _octets(body: bytes, begin: int, end: int) -> bytes | memoryview:
    """Return a stream, without a copy if that does no harm.

    Columns may be views of it at any alignment; but a few rows should not keep a large request in memory.
    """
    octets = memoryview(body)[begin:end]
    return octets if _LEAST_PART * len(octets) >= len(body) else bytes(octets)


class _Models(Generic[_Key]):
    """Models, or their labels, in the order of their first row."""

    def __init__(self, models: list[_Rows[_Key]]) -> None:
        self._models = models
        self._by_key = {model.key: model for model in models}
        self._announced = 0

    def add_until(self, ordinal: int, only: _Key | None = None) -> None:
        """Add the rows of spans before the ``ordinal``-th.

        With ``only``, add just that model's rows; other models take their place in the order, but are not cut.
        """
        while self._announced < len(self._models) and self._models[self._announced].first < ordinal:
            self._models[self._announced].announce()
            self._announced += 1
        if only is None:
            for model in self._models[: self._announced]:
                model.add_until(ordinal)
        elif (model := self._by_key.get(only)) is not None:
            model.add_until(ordinal)


class _Rows(ABC, Generic[_Key]):
    """The rows of one model; ``first`` is the ordinal of its first span with rows."""

    def __init__(self, key: _Key, first: int, ordinals: I64) -> None:
        self.key = key
        self.first = first
        self._ordinals = ordinals
        self._added = 0

    def add_until(self, ordinal: int) -> None:
        """Add the rows of spans before the ``ordinal``-th that were not added yet."""
        part = slice(self._added, int(np.searchsorted(self._ordinals, ordinal)))
        if part.start < part.stop:
            self._add(part)
            self._added = part.stop

    @abstractmethod
    def announce(self) -> object:
        """Take the model's place in the order of the request."""

    @abstractmethod
    def _add(self, part: slice) -> None:
        """Add these rows to the request."""


class _Model(_Rows[Identity]):
    def __init__(self, walked: WalkedModel, weights: list[float], request: RequestRows) -> None:
        super().__init__(Identity(*walked.names), int(walked.ordinals[0]), walked.ordinals)
        self._walked = walked
        self._weights = weights
        self._request = request
        self._batch: PredictionBatch | None = None

    def announce(self) -> PredictionRows | None:
        return self._request.predictions_of(self.key)

    def _add(self, part: slice) -> None:
        walked, rows = self._walked, self.announce()
        if rows is None:
            return
        if self._batch is None:
            self._batch = _walked_batch(walked, rows, self._weights, self._request)
        added = part.stop - part.start
        batch = self._batch if added == len(self._batch) else self._batch.take(part)
        cells = walked.cells * added // len(walked.ordinals)
        rows.add_batch(batch, len(walked.columns) + 1, cells)  # and the id column


class _Labels(_Rows[str]):
    def __init__(self, walked: WalkedLabels, request: RequestRows) -> None:
        super().__init__(walked.name, walked.first, walked.ordinals)
        self._walked = walked
        self._request = request

    def announce(self) -> LabelRows | None:
        return self._request.labels_of(self.key)

    def _add(self, part: slice) -> None:
        walked, classes, rows = self._walked, _column(self._walked.classes), self.announce()
        if rows is None:
            return
        rows.add_batch(
            LabelBatch(
                walked.name,
                walked.time_ns[part],
                walked.ids[part],
                None if classes is None else classes.take(part),
                None if walked.values is None else walked.values[part],
            )
        )


def _walked_batch(
    walked: WalkedModel, rows: PredictionRows, weights: list[float], request: RequestRows
) -> PredictionBatch:
    for column in walked.columns:
        request.tally.drop("unsupported_value", column.unsupported)
    return prediction_batch(
        rows.identity,
        ((place, column) for place, column in _columns(walked) if rows.admits(place, column)),
        walked.time_ns,
        walked.ids,
        _weights(walked, weights),
        walked.duration_s,
        _column(walked.error),
        None if walked.trace_codes is None else Traces(walked.trace_codes, walked.trace_ids),
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
    """Return the number of predictions that each row stands for."""
    if walked.states is None:
        return walked.counts
    return np.array(weights)[walked.states] * walked.counts
