"""Prints measurements and alerts, to see the output without a backend."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from textwrap import indent
from typing import Final, Literal, TextIO

from collector_processor.alerts.notice import QUIET, Notice
from collector_processor.alerts.text import body, title
from collector_processor.columns.batch import ModelKey
from collector_processor.monitors.base import Measurement
from collector_processor.status.board import Board
from otel_ml.semconv import MODEL_NAME, MODEL_VERSION

_LATEST_S: Final = 253_402_300_799
_log = logging.getLogger(__name__)


class DebugExporter:
    """Writes a heading for each model and window, and aligned lines, to ``stream`` (None: standard output).

    ``basic``: one line for each metric, with the number of its series and the range of their values. ``detailed``: one
    line for each measurement, with its attributes. The heading says why a model has no measurements yet, according to
    ``board``. Unprintable characters in names and values are escaped.
    """

    def __init__(
        self,
        name: str,
        *,
        verbosity: Literal["basic", "detailed"] = "basic",
        stream: TextIO | None = None,
        board: Board | None = None,
    ) -> None:
        self._name = name
        self._detailed = verbosity == "detailed"
        self._stream = stream
        self._board = Board() if board is None else board
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """The component id from the configuration."""
        return self._name

    def start(self) -> None:
        """Do nothing: printing needs no connection."""

    def export(self, measurements: Sequence[Measurement]) -> None:
        """Print measurements; if the output is closed, only log that."""
        windows: dict[tuple[ModelKey, int], list[Measurement]] = {}
        for item in measurements:
            windows.setdefault((_model(item), item.time_ns), []).append(item)
        self._print(
            "".join(
                f"{_time(time_ns)} {self._head(model)}\n{''.join(_aligned(self._rows(items)))}"
                for (model, time_ns), items in windows.items()
            )
        )

    def _head(self, model: ModelKey) -> str:
        """Return the name of a model, and the reason why it has no measurements yet."""
        state = self._board.state.models.get(model)
        reason = "" if state is None else state.reason
        return _printable(str(model)) + (f" ({reason})" if reason else "")

    def notify(self, notices: Sequence[Notice]) -> None:
        """Print alerts: the title, then the body, indented."""
        self._print(
            "".join(
                f"{_time(notice.time_ns)} ALERT {title(notice)}\n{indent(body(notice), '  ')}\n"
                for notice in notices
                if notice.reason not in QUIET
            )
        )

    def probe(self, notice: Notice) -> Sequence[str]:
        """Print one alert now."""
        self.notify([notice])
        return ()

    def _print(self, text: str) -> None:
        with self._lock:
            stream = sys.stdout if self._stream is None else self._stream
            try:
                stream.write(text)
                stream.flush()
            except (OSError, ValueError) as error:
                _log.warning("exporters.%s: cannot print: %s", self._name, error)

    def shutdown(self, timeout_s: float) -> None:
        """Do nothing: everything has been printed."""

    def _rows(self, items: Sequence[Measurement]) -> Iterator[tuple[str, ...]]:
        if self._detailed:
            for item in items:
                yield item.name, _number(item.value), item.unit, _attributes(item.attributes)
            return
        named: dict[str, list[Measurement]] = {}
        for item in items:
            named.setdefault(item.name, []).append(item)
        for name, series in named.items():
            low, high = min(item.value for item in series), max(item.value for item in series)
            values = _number(low) if low == high else f"{_number(low)} … {_number(high)}"
            yield name, str(len(series)), "series:" if len(series) > 1 else "value:", values


def _model(item: Measurement) -> ModelKey:
    attributes: Mapping[str, str] = dict(item.attributes)
    return ModelKey(attributes.get(MODEL_NAME, "?"), attributes.get(MODEL_VERSION, ""))


def _time(time_ns: int) -> str:
    """Return a time in ISO 8601, or its number if the calendar cannot represent it.

    >>> _time(1_750_000_000_250_000_000), _time(-1)
    ('2025-06-15T15:06:40.250Z', '-1 ns')
    """
    seconds = time_ns // 10**9
    if not 0 <= seconds <= _LATEST_S:
        return f"{time_ns} ns"
    moment = datetime.fromtimestamp(seconds, timezone.utc).replace(microsecond=time_ns % 10**9 // 1000)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _number(value: float) -> str:
    return f"{value:.6g}"


def _attributes(attributes: Iterable[tuple[str, str]]) -> str:
    model = (MODEL_NAME, MODEL_VERSION)
    return " ".join(f"{key}={_printable(value)}" for key, value in attributes if key not in model)


def _printable(text: str) -> str:
    """Return the text, quoted and escaped if it would break the line."""
    return text if text.isprintable() and " " not in text and text else repr(text)


def _aligned(rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    """Yield lines with aligned columns, the second one (a number) to the right."""
    table = list(rows)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        cells = [
            cell.rjust(width) if position == 1 else cell.ljust(width)
            for position, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield f"  {'  '.join(cells).rstrip()}\n"
