"""The traffic that everything is measured with: one model, 20 numeric and 5 categorical features, a class, a score."""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Final

import numpy as np
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from collector_processor.columns.batch import Column, LabelBatch, ModelKey, PredictionBatch
from collector_processor.decode import decode
from collector_processor.reference.build import build_reference
from collector_processor.reference.profile import Reference
from otel_ml import Config, Model, semconv
from otel_ml.testing import capture

MODEL = "fraud"
KEY = ModelKey(MODEL, "7")
NUMERIC, CATEGORICAL, CATEGORIES = 20, 5, 8
POSITIVE = "yes"
TASK: Final = "binary_classification"
SPANS = 1000
"""Spans of one request."""
BATCH_CALLS, BATCH_ROWS = 3, 5000
"""Calls of one batch request, and rows of each: the emitter cuts spans at 1 MiB, its exporter requests at 3.5 MB."""
_MARK = b"\xfe\xed\xfa\xce\xca\xfe\xbe\xef"
_MARK_TEXT = b"@" * 16


def names(numeric: int = NUMERIC, categorical: int = CATEGORICAL) -> tuple[list[str], list[str]]:
    """Keys of the numeric and of the categorical features."""
    return [f"number_{i:02}" for i in range(numeric)], [f"kind_{i:02}" for i in range(categorical)]


def batch(
    rows: int,
    *,
    numeric: int = NUMERIC,
    categorical: int = CATEGORICAL,
    categories: int = CATEGORIES,
    seed: int = 0,
    key: ModelKey = KEY,
    time_ns: int | None = None,
    shift: float = 0.0,
) -> PredictionBatch:
    """Decoded predictions: normal, skewed and heavy-tailed numbers in turn, even categories, own ids."""
    rng = np.random.default_rng(seed)
    numbers, kinds = names(numeric, categorical)
    draw = (rng.standard_normal, rng.standard_exponential, lambda n: rng.standard_t(3, n))
    features = {name: Column(draw[i % 3](rows) + shift) for i, name in enumerate(numbers)}
    texts = tuple(f"category-{i}" for i in range(categories))
    for name in kinds:
        features[name] = Column(None, rng.integers(0, categories, rows).astype(np.int32), texts)
    score = rng.random(rows)
    return PredictionBatch(
        model=key,
        time_ns=np.full(rows, time.time_ns() if time_ns is None else time_ns),
        ids=rng.integers(0, 2**64 - 1, (rows, 2), np.uint64),
        weights=np.ones(rows),
        duration_s=np.full(rows, 0.003),
        features=features,
        prediction=Column(None, (score >= 0.5).astype(np.int32), ("no", POSITIVE)),
        score=score,
        task=TASK,
    )


def labels_of(predictions: PredictionBatch, seed: int = 1) -> LabelBatch:
    """A label for each prediction, in another order."""
    order = np.random.default_rng(seed).permutation(len(predictions))
    codes = (np.random.default_rng(seed + 1).random(len(predictions)) < 0.5).astype(np.int32)
    classes = Column(None, codes, ("no", POSITIVE))
    return LabelBatch(predictions.model.name, predictions.time_ns[order], predictions.ids[order], classes)


def parts(whole: PredictionBatch, rows: int) -> list[PredictionBatch]:
    """A batch cut into smaller ones, which know no other categories than they have, as when they are decoded."""
    edges = [*range(0, len(whole), rows), len(whole)]
    cut = [whole.take(slice(start, stop)) for start, stop in pairwise(edges)]
    return [replace(part, features={name: _compact(column) for name, column in part.features.items()}) for part in cut]


def _compact(column: Column) -> Column:
    if column.codes is None:
        return column
    used, codes = np.unique(column.codes, return_inverse=True)
    return Column(None, codes.astype(np.int32), tuple(column.categories[code] for code in used.tolist()))


@functools.cache
def reference(
    rows: int = 100_000, numeric: int = NUMERIC, categorical: int = CATEGORICAL, categories: int = CATEGORIES
) -> Reference:
    """A reference of so many rows of this traffic."""
    shape = batch(rows, numeric=numeric, categorical=categorical, categories=categories, seed=100)
    return build_reference(
        MODEL, shape, positive_class=POSITIVE, max_categories=max(1000, categories), max_features=max(2000, numeric)
    )


class Template:
    """A request whose ids can be made new at the cost of a copy, so that no two requests are equal."""

    def __init__(self, body: bytes, rows: int, ids: Sequence[bytes], texts: Sequence[bytes] = ()) -> None:
        self.rows = rows
        self.size = len(body)
        self._body = np.frombuffer(body, np.uint8)
        self._ids = _places(body, ids, 8)
        self._texts = _places(body, texts, 16)

    def body(self, number: int) -> bytes:
        """The request with this number in the first half of every id."""
        copy = self._body.copy()
        copy[self._ids] = np.frombuffer(number.to_bytes(8, "big"), np.uint8)
        copy[self._texts] = np.frombuffer(b"%016x" % number, np.uint8)
        return copy.tobytes()


def _places(body: bytes, found: Sequence[bytes], width: int) -> np.ndarray:
    """Positions ``[n, width]`` of the first bytes of each of these, wherever they stand."""
    starts: list[int] = []
    for wanted in found:
        start = body.find(wanted)
        while start >= 0:
            starts.append(start)
            start = body.find(wanted, start + len(wanted))
    return np.array(starts, np.int64).reshape(-1, 1) + np.arange(width)


@functools.cache
def spans_template(spans: int = SPANS) -> Template:
    """One prediction a span, each feature an attribute, as any language's SDK sends it."""
    return Template(spans_body(spans), spans, [_MARK], [_MARK_TEXT])


@functools.cache
def spans_body(spans: int = SPANS) -> bytes:
    """The bytes of a request of flat prediction spans: 25 features, 5 attributes of identity and output."""
    rng = np.random.default_rng(3)
    numbers, kinds = names()
    now_ns = time.time_ns()
    found: list[Span] = []
    for row in range(spans):
        score = float(rng.random())
        attributes: dict[str, float | str] = {
            semconv.MODEL_NAME: MODEL,
            semconv.MODEL_VERSION: KEY.version,
            semconv.PREDICTION_ID: f"{_MARK_TEXT.decode()}-{row:06}",
            semconv.PREDICTION_CLASS: POSITIVE if score >= 0.5 else "no",
            semconv.PREDICTION_SCORE: score,
        }
        attributes |= {semconv.FEATURE + name: float(rng.standard_normal()) for name in numbers}
        attributes |= {semconv.FEATURE + name: f"category-{rng.integers(CATEGORIES)}" for name in kinds}
        found.append(_span(f"{semconv.SPAN_PREDICT} {MODEL}", row, now_ns, attributes))
    return _request(found)


@functools.cache
def labels_template(spans: int = SPANS) -> Template:
    """The label of each prediction of :func:`spans_template`, one a span."""
    now_ns = time.time_ns()
    found = [
        _span(
            f"{semconv.SPAN_LABEL} {MODEL}",
            row,
            now_ns,
            {
                semconv.MODEL_NAME: MODEL,
                semconv.PREDICTION_ID: f"{_MARK_TEXT.decode()}-{row:06}",
                semconv.LABEL_CLASS: POSITIVE if row % 2 else "no",
            },
        )
        for row in range(spans)
    ]
    return Template(_request(found), spans, [_MARK], [_MARK_TEXT])


@functools.cache
def arrow_template(calls: int = BATCH_CALLS, rows: int = BATCH_ROWS) -> Template:
    """Calls of many rows, as the Python emitter sends them: one Arrow stream a span."""
    numbers, kinds = names()
    with capture() as captured:
        whole = Config(max_span_bytes=2**30)
        model = Model(MODEL, version=KEY.version, task=TASK, positive_class=POSITIVE, config=whole)
        for call in range(calls):
            rng = np.random.default_rng(call)
            columns: dict[str, np.ndarray] = {name: rng.standard_normal(rows) for name in numbers}
            for name in kinds:
                columns[name] = np.array([f"category-{i}" for i in rng.integers(0, CATEGORIES, rows)])
            score = rng.random(rows)
            with model.predict(columns) as prediction:
                prediction.record(class_=np.where(score >= 0.5, POSITIVE, "no"), score=score)
        spans = captured.spans
    ids = {span.context.trace_id.to_bytes(16, "big") for span in spans if span.context is not None}
    return Template(encode_spans(spans).SerializeToString(), calls * rows, sorted(ids))


def check(template: Template) -> None:
    """Raises where a template does not decode to what it should."""
    decoded = [decode("traces", template.body(number), time.time_ns()) for number in (1, 2)]
    ids = [found.ids.tobytes() for one in decoded for found in (*one.predictions, *one.labels)]
    rows = [sum(len(found) for found in (*one.predictions, *one.labels)) for one in decoded]
    if rows != [template.rows] * 2 or len(set(ids)) != len(ids) or any(one.rejected for one in decoded):
        raise ValueError(f"the template decodes to {rows} rows instead of {template.rows} new ones")


def _span(name: str, row: int, start_ns: int, attributes: dict[str, float | str]) -> Span:
    return Span(
        name=name,
        kind=Span.SPAN_KIND_INTERNAL,
        trace_id=_MARK + row.to_bytes(8, "big"),
        span_id=(row + 1).to_bytes(8, "big"),
        start_time_unix_nano=start_ns,
        end_time_unix_nano=start_ns + 3_000_000,
        attributes=[KeyValue(key=key, value=_value(value)) for key, value in attributes.items()],
    )


def _value(value: float | str) -> AnyValue:
    return AnyValue(string_value=value) if isinstance(value, str) else AnyValue(double_value=value)


def _request(spans: Sequence[Span]) -> bytes:
    resource = Resource(attributes=[KeyValue(key="service.name", value=AnyValue(string_value="checkout"))])
    return ExportTraceServiceRequest(
        resource_spans=[ResourceSpans(resource=resource, scope_spans=[ScopeSpans(spans=spans)])]
    ).SerializeToString()
