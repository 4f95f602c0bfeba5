"""The trace of each row: kept if it can be looked up, by both decoders alike."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from collector_processor.decode import DecodeLimits, decode, fallback

TRACE, SPAN = bytes(range(16)), bytes(range(8, 16))
ENTRY = [0x0001020304050607, 0x08090A0B0C0D0E0F, 0x08090A0B0C0D0E0F]
NONE = [0, 0, 0]


@pytest.fixture(params=["compiled", "fallback"])
def traces(request: pytest.FixtureRequest, otlp: Any) -> Any:
    """The entry of each row of spans, read by one of the decoders."""
    decoder = (
        pytest.importorskip("collector_processor.decode.compiled.decoder") if request.param == "compiled" else fallback
    )

    def read(*spans: Span) -> list[list[int]]:
        rows: list[list[int]] = []
        for batch in decoder.decode_traces(otlp.traces(*spans), otlp.received, DecodeLimits()).predictions:
            rows += [NONE] * len(batch) if batch.traces is None else batch.traces.rows(slice(None)).tolist()
        return rows

    return read


def flagged(span: Span, flags: int) -> Span:
    span.flags = flags
    return span


@pytest.mark.parametrize("flags", [0, 0x100, 0x300, 0x01, 0x101, 0x103, 0xFFFFFFFF])
def test_an_exported_span_has_its_trace(otlp: Any, traces: Any, flags: int) -> None:
    assert traces(flagged(otlp.prediction({}, trace_id=TRACE, span_id=SPAN), flags)) == [ENTRY]


@pytest.mark.parametrize("flags", [0x02, 0x102, 0xFE])
def test_flags_without_that_of_a_sampled_span_mean_that_it_is_not_stored(otlp: Any, traces: Any, flags: int) -> None:
    assert traces(flagged(otlp.prediction({}, trace_id=TRACE, span_id=SPAN), flags)) == [NONE]


@pytest.mark.parametrize(("sampled", "expected"), [(False, NONE), (True, ENTRY), ("false", ENTRY), (0, ENTRY)])
def test_a_span_that_was_sent_for_its_prediction_alone_has_no_trace(
    otlp: Any, traces: Any, sampled: object, expected: list[int]
) -> None:
    assert traces(otlp.prediction({"ml.trace.sampled": sampled}, trace_id=TRACE, span_id=SPAN)) == [expected]


@pytest.mark.parametrize(
    ("trace_id", "span_id"),
    [
        (bytes(16), SPAN),
        (TRACE, bytes(8)),
        (b"", SPAN),
        (TRACE, b""),
        (TRACE[:15], SPAN),
        (TRACE + b"x", SPAN),
        (TRACE, SPAN * 4),
    ],
)
def test_invalid_ids_lead_nowhere(otlp: Any, traces: Any, trace_id: bytes, span_id: bytes) -> None:
    assert traces(otlp.prediction({}, trace_id=trace_id, span_id=span_id)) == [NONE]


def test_rows_of_one_call_share_an_entry(otlp: Any, traces: Any) -> None:
    columns = {"ml.feature.a": [1.0, 2.0, 3.0]}
    spans = [
        otlp.prediction(columns, trace_id=TRACE, span_id=SPAN),
        otlp.prediction({"ml.feature.a": 1.0}, trace_id=bytes(16), span_id=SPAN),
        otlp.prediction({"ml.batch": otlp.arrow({"ml.feature.a": [1.0, 2.0]})}, trace_id=TRACE, span_id=SPAN),
        otlp.prediction({"ml.batch": otlp.arrow({"ml.feature.a": [1.0]}), "ml.trace.sampled": False}),
    ]
    assert traces(*spans) == [ENTRY] * 3 + [NONE] + [ENTRY] * 2 + [NONE]


def test_a_call_of_many_rows_costs_four_bytes_a_row(otlp: Any) -> None:
    rows = 10_000
    body = otlp.traces(otlp.prediction({"ml.batch": otlp.arrow({"ml.feature.a": [0.5] * rows})}, span_id=SPAN))
    [batch] = decode("traces", body, otlp.received).predictions
    assert batch.traces is not None
    assert batch.traces.nbytes == 4 * rows + 24


def test_requests_without_traces_keep_nothing(otlp: Any) -> None:
    body = otlp.traces(*(otlp.prediction({"ml.trace.sampled": False}, span_id=SPAN) for _ in range(3)))
    [batch] = decode("traces", body, otlp.received).predictions
    assert batch.traces is None
