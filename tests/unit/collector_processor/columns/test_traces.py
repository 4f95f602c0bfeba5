"""Traces of rows: selected, concatenated, saved, and never more entries than rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector_processor.columns import codec
from collector_processor.columns.batch import ModelKey, PredictionBatch
from collector_processor.columns.concatenate import concatenate
from collector_processor.columns.parts import bytes_of, check, plain_of, restored
from collector_processor.columns.traces import Traces, traces_of

Spans = list["tuple[int, int, int] | None"]
SPANS = st.lists(st.one_of(st.none(), st.tuples(*[st.integers(1, 3)] * 3)), min_size=1, max_size=20)


def batch(spans: Spans, traces: Traces | None = None) -> PredictionBatch:
    rows = len(spans)
    return PredictionBatch(
        ModelKey("m"), np.zeros(rows, np.int64), np.zeros((rows, 2), np.uint64), np.ones(rows), np.ones(rows),
        traces=traces_of(spans) if traces is None else traces,
    )  # fmt: skip


def entries(of: PredictionBatch) -> list[list[int]]:
    return [[0, 0, 0]] * len(of) if of.traces is None else of.traces.rows(slice(None)).tolist()


def expected(spans: Spans) -> list[list[int]]:
    return [[0, 0, 0] if span is None else [*span] for span in spans]


@given(st.lists(SPANS, min_size=1, max_size=5), st.integers(0, 40))
def test_rows_keep_their_trace_however_they_are_cut_and_put_together(parts: list[Spans], at: int) -> None:
    whole = concatenate([batch(spans) for spans in parts])
    assert entries(whole) == expected([span for spans in parts for span in spans])
    again = concatenate([whole.take(slice(at, None)), whole.take(slice(0, at))])
    assert entries(again) == entries(whole)[at:] + entries(whole)[:at]
    head, pieces = codec.pack(plain_of(again))
    read = restored(PredictionBatch, codec.unpack(head, bytearray(b"".join(pieces))))
    check(read)
    assert entries(read) == entries(again)


def test_small_selections_of_a_large_batch_do_not_keep_all_its_entries() -> None:
    whole = batch([(1, row, 1) for row in range(1, 1001)])
    few = concatenate([whole.take(slice(0, 2)), whole.take(slice(998, 1000))])
    assert few.traces is not None
    assert len(few.traces.ids) == 4
    assert entries(few) == [[1, 1, 1], [1, 2, 1], [1, 999, 1], [1, 1000, 1]]


def test_traces_count_in_the_size_of_a_batch() -> None:
    none: Spans = [None] * 10
    assert bytes_of(batch([(1, 2, 3)] * 10)) == bytes_of(batch(none)) + 10 * (4 + 24)


@pytest.mark.parametrize("codes", [[0, 1], [-2, 0]])
def test_codes_without_an_entry_are_refused(codes: list[int]) -> None:
    wrong = Traces(np.array(codes, np.int32), np.array([[1, 2, 3]], np.uint64))
    with pytest.raises(ValueError, match="trace"):
        check(batch([None, None], wrong))


def test_a_batch_saved_without_traces_has_none() -> None:
    rows, parts = plain_of(batch([None]))
    del parts["traces"]
    assert restored(PredictionBatch, [rows, parts]).traces is None
