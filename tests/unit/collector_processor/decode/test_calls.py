"""Rows of ``ml.batch`` that are calls: their columns say what a span says of one call; every decoder agrees."""

from __future__ import annotations

import math
from typing import Any

import pyarrow as pa
import pytest

from collector_processor.columns.batch import PredictionBatch
from collector_processor.decode import DECODERS, Decoded, DecodeLimits
from collector_processor.decode.rules.ids import hash_ids

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACE_WORDS, SPAN_WORD = [0x0AF7651916CD43DD, 0x8448EB211C80319C], 0xB7AD6B7169203331
T = 1_760_000_000_123_456_789


@pytest.fixture(params=DECODERS, ids=lambda decoder: decoder.name)
def decode(request: pytest.FixtureRequest, otlp: Any) -> Any:
    def decoded(columns: dict[str, Any], **of_span: Any) -> Decoded:
        stream = otlp.arrow({"ml.feature.a": pa.array([1.0, 2.0, 3.0]), **columns})
        body = otlp.traces(otlp.prediction({"ml.batch": stream, "ml.prediction.rows": 3}, **of_span))
        return request.param.decode_traces(body, otlp.received, DecodeLimits())

    return decoded


def only(decoded: Decoded) -> PredictionBatch:
    assert (decoded.rejected, dict(decoded.dropped)) == (0, {})
    [batch] = decoded.predictions
    return batch


def test_each_row_has_its_own_time_duration_error_trace_and_id(decode: Any) -> None:
    batch = only(
        decode(
            {
                "ml.prediction.id": pa.array(["a", "b", "c"]),
                "ml.prediction.time": pa.array([T, T + 1, T + 2]),
                "ml.prediction.duration": pa.array([0.25, None, 0.0]),
                "error.type": pa.array([None, "ValueError", None]),
                "ml.trace.id": pa.array([TRACE, None, TRACE]),
                "ml.span.id": pa.array([SPAN, None, SPAN]),
                "ml.trace.sampled": pa.array([True, None, False]),
            }
        )
    )
    assert batch.time_ns.tolist() == [T, T + 1, T + 2]
    assert [None if math.isnan(s) else s for s in batch.duration_s.tolist()] == [0.25, None, None]
    assert batch.error is not None
    assert batch.error.missing().tolist() == [True, False, True]
    assert batch.error.categories == ("ValueError",)
    assert batch.traces is not None
    assert batch.traces.rows(slice(None)).tolist() == [[*TRACE_WORDS, SPAN_WORD], [0, 0, 0], [0, 0, 0]]
    assert batch.ids.tolist() == hash_ids(["a", "b", "c"]).tolist()
    assert set(batch.features) == {"a"}


def test_rows_with_times_have_neither_duration_nor_trace_of_the_span_that_carries_them(decode: Any) -> None:
    batch = only(decode({"ml.prediction.time": pa.array([T, T, T])}))
    assert batch.traces is None
    assert all(map(math.isnan, batch.duration_s.tolist()))


def test_a_row_without_a_valid_time_has_that_of_the_span(decode: Any, otlp: Any) -> None:
    batch = only(decode({"ml.prediction.time": pa.array([None, 0, -5])}))
    assert batch.time_ns.tolist() == [otlp.start] * 3


def test_without_times_the_rows_are_one_call(decode: Any, otlp: Any) -> None:
    batch = only(decode({}))
    assert batch.time_ns.tolist() == [otlp.start] * 3
    assert batch.duration_s.tolist()[0] == 0.005
    assert batch.traces is not None


def test_a_failed_span_failed_in_every_row(decode: Any) -> None:
    batch = only(decode({"error.type": pa.array([None, "ValueError", None])}, error=True))
    assert batch.error is not None
    assert not batch.error.missing().any()


@pytest.mark.parametrize("dictionary", [False, True])
def test_ids_that_are_not_hex_or_zero_make_no_trace(decode: Any, dictionary: bool) -> None:
    traces, spans = pa.array([TRACE[:-2] + " a", "0" * 32, TRACE.upper()]), pa.array([SPAN, SPAN, SPAN])
    if dictionary:
        traces, spans = traces.dictionary_encode(), spans.dictionary_encode()
    batch = only(decode({"ml.prediction.time": pa.array([T] * 3), "ml.trace.id": traces, "ml.span.id": spans}))
    assert batch.traces is not None
    assert batch.traces.rows(slice(None)).tolist() == [[0, 0, 0], [0, 0, 0], [*TRACE_WORDS, SPAN_WORD]]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1.5, 2.5, 3.5]),
        pa.array(["1", "2", "3"]),
        pa.array([True, False, None]),
        pa.array([2**63, 1, 2], pa.uint64()),
        pa.array([T, T, T], pa.timestamp("ns")),
        pa.array([1, 2, 3]).dictionary_encode(),
    ],
    ids=lambda column: str(column.type),
)
def test_times_of_another_type_are_counted_and_those_of_the_span_stay(decode: Any, otlp: Any, column: Any) -> None:
    decoded = decode({"ml.prediction.time": column})
    assert decoded.dropped == {"unsupported_value": 3}
    [batch] = decoded.predictions
    assert batch.time_ns.tolist() == [otlp.start] * 3


@pytest.mark.parametrize("name", ["ml.prediction.duration", "error.type", "ml.trace.id", "ml.span.id"])
@pytest.mark.parametrize(
    "column", [pa.array([1, 2, 3]), pa.array([True, None, False]), pa.array([b"x", b"y", b"z"]), pa.nulls(3)]
)
def test_columns_of_any_type_break_nothing(decode: Any, name: str, column: Any) -> None:
    others = {"ml.trace.id": pa.array([TRACE] * 3), "ml.span.id": pa.array([SPAN] * 3)}
    decoded = decode({"ml.prediction.time": pa.array([T] * 3), **others, name: column})
    assert decoded.rejected == 0
    [batch] = decoded.predictions
    assert len(batch) == 3
    assert batch.time_ns.tolist() == [T] * 3


def test_a_batch_of_nothing_but_calls_is_read(otlp: Any) -> None:
    for decoder in DECODERS:
        stream = otlp.arrow({"ml.prediction.time": pa.array([T, T + 1])})
        batch = only(
            decoder.decode_traces(otlp.traces(otlp.prediction({"ml.batch": stream})), otlp.received, DecodeLimits())
        )
        assert batch.time_ns.tolist() == [T, T + 1]
