"""Shows predictions and labels as a person reads them: ``OTEL_TRACES_EXPORTER=otel_ml_console``.

The SDK's console exporter prints every span as JSON, in which a batch is a number of bytes. This one prints the rows.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import islice
from typing import Any, Final, TextIO

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import StatusCode

from otel_ml.encode.reading import CapturedPrediction, read_labels, read_predictions
from otel_ml.semconv import (
    ERROR_TYPE,
    FEATURES_WITHHELD,
    INSTRUMENTATION_SCOPE,
    MODEL_NAME,
    MODEL_VERSION,
    PREDICTION_ROWS,
    SPAN_LABEL,
    SPAN_PREDICT,
    TRACE_SAMPLED,
)

ROWS: Final = 5
"""Rows of a batch that are shown."""
CELLS: Final = 30
"""Features, scores or attributions of a row that are shown."""
VALUE_CHARS: Final = 60
WIDTH: Final = 160
"""Characters of a line where there is no terminal."""
LINES: Final = 4
"""Lines that the features of a row take."""
_LEAST_WIDTH: Final = 40
_BETWEEN: Final = ", "
_LABEL: Final = 11
"""Width of the column that says what a line shows."""

_BOLD, _DIM, _RED, _GREEN, _CYAN, _PLAIN = "1", "2", "31", "32", "36", ""
Line = list[tuple[str, str]]
"""Texts of one line, each with its style."""


class ConsoleSpanExporter(SpanExporter):
    """Prints each span: predictions and labels with what they say, other spans as one short line.

    Registered as ``otel_ml_console``. Colors are used on a terminal, unless ``NO_COLOR`` is set. ``out`` is by default
    the standard output of the moment.

    >>> from otel_ml import Model
    >>> from otel_ml.testing import capture
    >>> with capture() as captured, Model("churn", version="7").predict({"age": 37}, id="order-1") as prediction:
    ...     prediction.record(class_="stays", score=0.81)
    >>> ConsoleSpanExporter().export(captured.spans)
    predict churn@7 ...
      id         order-1
      output     class=stays, score=0.81
      features   age=37
    <SpanExportResult.SUCCESS: 0>
    """

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Print the spans; what cannot be printed does not stop the others."""
        out = sys.stdout if self._out is None else self._out
        try:
            color, width = _has_color(out), _width(out)
            text = "".join(
                f"{_drawn(part, width, color)}\n"
                for span in spans
                for line in _shielded(span)
                for part in _wrapped(line, width)
            )
            encoding = getattr(out, "encoding", None) or "utf-8"
            out.write(text.encode(encoding, "backslashreplace").decode(encoding))
            out.flush()
        except (OSError, ValueError, AttributeError):  # the stream is closed, or there is none
            return SpanExportResult.FAILURE
        return SpanExportResult.SUCCESS

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Do nothing: every line is written at once."""
        return True

    def shutdown(self) -> None:
        """Do nothing: the stream belongs to the application."""


def _shielded(span: ReadableSpan) -> list[Line]:
    try:
        return list(lines(span))
    except Exception as error:  # noqa: BLE001 - a span of another sender may hold anything under our names
        return [[(f"{span.name} (cannot be shown: {type(error).__name__})", _DIM)]]


def lines(span: ReadableSpan) -> Iterator[Line]:
    """Yield the lines that show a span."""
    attributes = span.attributes or {}
    if MODEL_NAME in attributes and span.name.startswith(f"{SPAN_PREDICT} "):
        yield from _prediction(span, attributes)
    elif MODEL_NAME in attributes and span.name.startswith(f"{SPAN_LABEL} "):
        yield from _label(span, attributes)
    else:
        yield _other(span)


def _prediction(span: ReadableSpan, attributes: Mapping[str, Any]) -> Iterator[Line]:
    rows: int | None = attributes.get(PREDICTION_ROWS)
    head: Line = [(f"{SPAN_PREDICT} ", _DIM), (_model(attributes), _BOLD)]
    if rows is not None:
        head.append((f"  {rows:,} row{'' if rows == 1 else 's'}", _CYAN))
    if duration := _duration(span):
        head.append((f"  {duration}", _CYAN))
    head.append((f"  {_clock(span.start_time)}", _DIM))
    if span.status.status_code is StatusCode.ERROR:
        head.append((f"  failed: {attributes.get(ERROR_TYPE, 'error')}", _RED))
    if attributes.get(TRACE_SAMPLED) is False:
        head.append(("  trace not sampled", _DIM))
    yield head
    shown = list(read_predictions(span, ROWS))
    for position, row in enumerate(shown):
        yield from _row(row, "" if rows is None else f"row {position}")
    if rows is not None and rows > len(shown):
        yield [(f"  … {rows - len(shown):,} more rows", _DIM)]
    withheld = attributes.get(FEATURES_WITHHELD)
    if withheld:
        kept = "all that are not shown" if withheld == "*" else _clean(withheld)
        yield _named("withheld", [(kept, _DIM)])


def _row(row: CapturedPrediction, name: str) -> Iterator[Line]:
    yield _named(name or "id", [(_clean(row.id), _PLAIN)])
    outputs: dict[str, object] = {"class": row.class_, "score": row.score, "value": row.value}
    outputs = {key: value for key, value in outputs.items() if value is not None}
    if outputs:
        yield _named("output", _pairs(outputs, _GREEN))
    for label, cells in (
        ("features", row.features),
        ("scores", row.scores),
        ("segments", row.segments),
        ("because of", row.attributions),
    ):
        if cells:
            yield _named(label, _pairs(cells))


def _label(span: ReadableSpan, attributes: Mapping[str, Any]) -> Iterator[Line]:
    labels = list(read_labels(span))
    head: Line = [(f"{SPAN_LABEL} ", _DIM), (_model(attributes), _BOLD)]
    if len(labels) > 1:
        head.append((f"  {len(labels):,} labels", _CYAN))
    yield [*head, (f"  {_clock(span.start_time)}", _DIM)]
    for label in labels[:ROWS]:
        truth = {"class": label.class_, "value": label.value}
        known = {key: value for key, value in truth.items() if value is not None}
        yield [(f"  {_clean(label.id)}  ", _PLAIN), *_pairs(known, _GREEN)]
    if len(labels) > ROWS:
        yield [(f"  … {len(labels) - ROWS:,} more labels", _DIM)]


def _other(span: ReadableSpan) -> Line:
    line: Line = [("span ", _DIM), (_clean(span.name), _PLAIN)]
    scope = span.instrumentation_scope
    if scope is not None and scope.name != INSTRUMENTATION_SCOPE:
        line.append((f"  {_clean(scope.name)}", _DIM))
    line.append((f"  {_duration(span)}", _DIM))
    if span.status.status_code is StatusCode.ERROR:
        line.append(("  failed", _RED))
    return line


def _named(label: str, content: Line) -> Line:
    return [(f"  {label:<{_LABEL}}", _DIM), *content]


def _pairs(cells: Mapping[str, object], style: str = _PLAIN) -> Line:
    line: Line = []
    for key, value in islice(cells.items(), CELLS):
        line += [(f"{_BETWEEN if line else ''}{_clean(key)}=", _DIM), (_value(value), style)]
    if len(cells) > CELLS:
        line.append((f", … {len(cells) - CELLS:,} more", _DIM))
    return line


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return _clean(value)


def _clean(value: object) -> str:
    """Return a text of bounded length that cannot move the cursor: values come from the application's users."""
    text = str(value)
    shown = text[:VALUE_CHARS] if len(text) > VALUE_CHARS * 2 else text
    plain = "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in shown)
    return plain if shown is text else plain + "…"


def _model(attributes: Mapping[str, Any]) -> str:
    version = attributes.get(MODEL_VERSION)
    return _clean(attributes[MODEL_NAME]) + (f"@{_clean(version)}" if version else "")


def _duration(span: ReadableSpan) -> str:
    """Return the time that a span took in the unit that is easiest to read; empty if it has no length."""
    length_ns = (span.end_time or 0) - (span.start_time or 0)
    if length_ns <= 0:
        return ""
    for unit, size in (("s", 1e9), ("ms", 1e6)):
        if length_ns >= size:
            return f"{length_ns / size:.3g} {unit}"
    return f"{length_ns / 1e3:.3g} µs"


def _clock(time_ns: int | None) -> str:
    with suppress(OverflowError, OSError, ValueError):
        return datetime.fromtimestamp((time_ns or 0) / 1e9).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    return ""


def _wrapped(line: Line, width: int) -> list[Line]:
    """Return a line of pairs as several of at most ``width`` characters, as long as :data:`LINES` allows."""
    parts: list[Line] = [[]]
    used = 0
    for position, (text, style) in enumerate(line):
        begins = text.startswith(_BETWEEN) and position + 1 < len(line)
        if begins and used + len(text) + len(line[position + 1][0]) >= width and len(parts) < LINES:
            parts[-1].append((_BETWEEN.rstrip(), _DIM))
            parts.append([(" " * (_LABEL + 2), _PLAIN)])
            text, used = text.removeprefix(_BETWEEN), _LABEL + 2
        parts[-1].append((text, style))
        used += len(text)
    return parts


def _drawn(line: Line, width: int, color: bool) -> str:
    """Return a line of at most ``width`` characters, with its colors."""
    drawn: list[str] = []
    for text, style in line:
        if width <= 0:
            break
        cut = text if len(text) <= width else f"{text[: width - 1]}…"
        width -= len(cut)
        drawn.append(f"\x1b[{style}m{cut}\x1b[0m" if color and style else cut)
    return "".join(drawn).rstrip()


def _has_color(out: TextIO) -> bool:
    return out.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def _width(out: TextIO) -> int:
    return max(_LEAST_WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns) if out.isatty() else WIDTH
