"""Rows of one ``ml.batch`` that are calls, gathered by the sender: each with its time, duration, error and trace.

A column says for every row what the span would say for one call, and replaces that:

- ``ml.prediction.time``, integers: Unix nanoseconds; where absent, 0 or negative, the span's time.
- ``ml.prediction.duration``, numbers: seconds; where absent or not above 0, nothing was measured.
- ``error.type``: the row failed where it is present; beside a span with status ERROR, every row did.
- ``ml.trace.id`` and ``ml.span.id``, texts of 32 and 16 hex digits: the row's trace, if both are valid and
  ``ml.trace.sampled`` is not false.

Rows with their own times are calls that the span only carries, so its duration and its trace are those of none of them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pyarrow import types

from collector_processor.columns.batch import F64, I64, U64, Column, Mask
from collector_processor.columns.traces import Traces
from collector_processor.decode.arrow.arrays import Array, Several, column_of_arrow, encoded
from collector_processor.decode.arrow.direct import Codes, Numbers
from collector_processor.decode.limits import Tally
from otel_ml import semconv

_TRACE: Final = re.compile("(?!0{32})[0-9a-fA-F]{32}", re.ASCII)
_SPAN: Final = re.compile("(?!0{16})[0-9a-fA-F]{16}", re.ASCII)


class Calls(NamedTuple):
    """What is known of the call of each of ``n`` rows."""

    times: I64
    durations: F64
    error: Column | None
    traces: Traces | None


def calls_of(arrays: dict[str, Array], calls: Calls, tally: Tally) -> Calls:
    """Return the calls of rows: those of the span, with what columns say in their place."""
    if semconv.PREDICTION_TIME in arrays:
        times = _times(arrays[semconv.PREDICTION_TIME], tally)
        calls = calls._replace(
            times=np.where(times > 0, times, calls.times), durations=np.full(len(times), np.nan), traces=None
        )
    if semconv.PREDICTION_DURATION in arrays:
        column = column_of_arrow(arrays[semconv.PREDICTION_DURATION], "number", tally)
        seconds = None if column is None else column.numbers
        if seconds is not None:
            calls = calls._replace(durations=np.where((seconds > 0) & np.isfinite(seconds), seconds, np.nan))
    if semconv.ERROR_TYPE in arrays and calls.error is None:
        calls = calls._replace(error=column_of_arrow(arrays[semconv.ERROR_TYPE], "text", tally))
    if semconv.TRACE_ID in arrays and semconv.SPAN_ID in arrays:
        calls = calls._replace(traces=_traces(arrays, len(calls.times)))
    return calls


def _times(array: Array, tally: Tally) -> I64:
    """Return times int64 ``[n]``, 0 where there is none."""
    kind: Any = getattr(array, "type", None)
    if kind is None or not types.is_integer(kind) or types.is_uint64(kind):
        rows = _length(array)
        tally.drop("unsupported_value", rows)
        return np.zeros(rows, np.int64)
    return array.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)


def _length(array: Array) -> int:
    if isinstance(array, Several):
        return _length(array.arrays[0])
    return len(array.values if isinstance(array, Numbers) else array.codes if isinstance(array, Codes) else array)


def _traces(arrays: dict[str, Array], rows: int) -> Traces | None:
    trace_codes, traces = _hex(arrays[semconv.TRACE_ID], _TRACE, rows)
    span_codes, spans = _hex(arrays[semconv.SPAN_ID], _SPAN, rows)
    present = (trace_codes >= 0) & (span_codes >= 0) & _sampled(arrays.get(semconv.TRACE_SAMPLED), rows)
    if not present.any():
        return None
    codes = np.where(present, np.cumsum(present) - 1, -1).astype(np.int32)
    return Traces(codes, np.hstack((traces[trace_codes[present]], spans[span_codes[present]])))


def _hex(array: Array, pattern: re.Pattern[str], rows: int) -> tuple[NDArray[np.signedinteger], U64]:
    """Return the code of each row, -1 where there is no valid id, and the ids uint64 ``[m, 1 or 2]``."""
    if isinstance(array, Several):
        array = array.arrays[-1]
    if isinstance(array, Numbers):
        return np.full(rows, -1, np.int64), np.zeros((0, 1), np.uint64)
    texts: Sequence[str | None]
    codes, texts = (array.codes, array.texts) if isinstance(array, Codes) else encoded(array)
    valid = [text for text in texts if text is not None and pattern.fullmatch(text)]
    order = np.full(len(texts) + 1, -1, np.int64)  # the last is for code -1
    order[:-1][[text is not None and pattern.fullmatch(text) is not None for text in texts]] = np.arange(len(valid))
    words = np.frombuffer(bytes.fromhex("".join(valid)), ">u8").astype(np.uint64)
    return order[codes], words.reshape(len(valid), -1) if valid else np.zeros((0, 1), np.uint64)


def _sampled(array: Array | None, rows: int) -> Mask:
    if array is None or isinstance(array, (Numbers, Codes, Several)) or not types.is_boolean(array.type):
        return np.ones(rows, np.bool_)
    return array.fill_null(True).to_numpy(zero_copy_only=False)
