"""Cells of a table as labels: ids and classes as the texts that predictions have, values and times as numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from collector_processor.label_files.columns import LabelColumns
from collector_processor.label_files.table import Cells
from otel_ml.config import DEFAULT_MAX_STRING_CHARS
from otel_ml.encode.scalar import MAX_ID_CHARS, UnsupportedValueError, class_text, number, scalar

_MANY: Final = 100
"""Different whole numbers in a column of texts from which on they are values."""
_UNITS: Final = ((1e17, 1), (1e14, 10**3), (1e11, 10**6))
"""Unix times from these numbers on are nano-, micro- and milliseconds, of so many nanoseconds each: as seconds they
would be of the year 5138."""


@dataclass(slots=True)
class Labels:
    """Labels of one model; a class or value that a row does not have is None, as is a time that is not known."""

    ids: list[str] = field(default_factory=list[str])
    classes: list[str | None] = field(default_factory=list["str | None"])
    values: list[float | None] = field(default_factory=list["float | None"])
    times: list[int | None] = field(default_factory=list["int | None"])
    """Unix nanoseconds."""


@dataclass(slots=True)
class Counts:
    """Rows read so far, and what became of them."""

    rows: int = 0
    sent: int = 0
    refused: int = 0
    without_id: int = 0
    without_label: int = 0
    without_model: int = 0
    not_numbers: int = 0
    not_times: int = 0


class LabelReader:
    """Turns the cells of chunks into labels by model, and counts the rows that have none in ``counts``.

    ``kind`` is what the cells of the column ``either`` are; empty until a cell is seen.
    """

    def __init__(self, columns: LabelColumns, model: str, counts: Counts, kind: str = "") -> None:
        self.counts, self.kind = counts, kind
        self.example = ""
        self._columns, self._model = columns, model

    def labels(self, chunk: Sequence[Cells]) -> dict[str, Labels]:
        """Return the labels of a chunk, whose cells are those of ``columns.names``."""
        cells = dict(zip(self._columns.names, chunk, strict=True))
        rows = len(chunk[0])
        class_, value = self._class_and_value(cells)
        ids = _texts(cells[self._columns.id], MAX_ID_CHARS)
        nothing: list[Any] = [None] * rows
        classes = _texts(cells[class_], DEFAULT_MAX_STRING_CHARS) if class_ else nothing
        values = self._numbers(cells[value], value) if value else nothing
        times = self._times(cells[self._columns.time]) if self._columns.time else nothing
        models = _texts(cells[self._columns.model], MAX_ID_CHARS) if self._columns.model else [self._model] * rows
        found: dict[str, Labels] = {}
        for prediction, model, label, amount, time in zip(ids, models, classes, values, times, strict=True):
            if prediction is None:
                self.counts.without_id += 1
            elif label is None and amount is None:
                self.counts.without_label += 1
            elif model is None:
                self.counts.without_model += 1
            else:
                labels = found.get(model)
                if labels is None:
                    labels = found[model] = Labels()
                labels.ids.append(prediction)
                labels.classes.append(label)
                labels.values.append(amount)
                labels.times.append(time)
        return found

    def _class_and_value(self, cells: dict[str, Cells]) -> tuple[str, str]:
        columns = self._columns
        if not columns.either:
            return columns.class_, columns.value
        self.kind = self.kind or kind_of(cells[columns.either])
        return ("", columns.either) if self.kind == "value" else (columns.either, "")

    def _numbers(self, cells: Cells, name: str) -> list[float | None]:
        numbers = [_number(cell) for cell in cells]
        wrong = [cell for cell, read in zip(cells, numbers, strict=True) if read is None and not _is_missing(cell)]
        self.counts.not_numbers += len(wrong)
        if wrong and not self.example:
            self.example = f"column '{name}' has {str(wrong[0])[:40]!r}, which is not a finite number"
        return numbers

    def _times(self, cells: Cells) -> list[int | None]:
        times = [_time_ns(cell) for cell in cells]
        self.counts.not_times += sum(
            time is None and not _is_missing(cell) for cell, time in zip(cells, times, strict=True)
        )
        return times


def kind_of(cells: Iterable[object]) -> str:
    """Return whether cells are classes or values; empty if all are missing.

    Numbers with fractions, and texts of these, are values, and so are many different whole numbers in a column of
    texts. Everything else is a class: the service takes a class that is a number as a value where the model is a
    regression, and a whole value as a class where it is not.

    >>> kind_of([1, 0, None]), kind_of(["yes"]), kind_of([0.5]), kind_of(["1", "2.5"]), kind_of([None])
    ('class', 'class', 'value', 'value', '')
    """
    present = [cell for cell in cells if not _is_missing(cell)]
    if not present:
        return ""
    if all(isinstance(cell, (float, Decimal)) for cell in present):
        return "value"
    if not all(isinstance(cell, str) for cell in present):
        return "class"
    numbers = {_number(cell) for cell in present}
    if None in numbers:
        return "class"
    fractions = any(read is not None and not read.is_integer() for read in numbers)
    return "value" if fractions or len(numbers) > _MANY else "class"


def _is_missing(cell: object) -> bool:
    return cell is None or cell == "" or cell != cell


def _texts(cells: Cells, longest: int) -> list[str | None]:
    """Return the text of each cell, as the application that observed the predictions makes it; None without any."""
    return [(cell[:longest] or None) if type(cell) is str else _text(cell, longest) for cell in cells]


def _text(cell: object, longest: int) -> str | None:
    try:
        return class_text(cell, longest) or None
    except UnsupportedValueError:
        return None


def _number(cell: object) -> float | None:
    """Return a finite number, also from its text; None for anything else."""
    try:
        read = float(cell) if isinstance(cell, str) and "_" not in cell else number(cell)
    except (UnsupportedValueError, ValueError, OverflowError):
        return None
    return read if read is not None and math.isfinite(read) else None


def _time_ns(cell: object) -> int | None:
    """Return Unix nanoseconds of a time: a date, a number of (milli-, micro-, nano-)seconds, or a text of either.

    >>> _time_ns("1970-01-02T00:00:00Z"), _time_ns(1700000000) == _time_ns("1700000000000"), _time_ns("soon")
    (86400000000000, True, None)
    """
    if isinstance(cell, str):
        text = cell.strip()
        try:
            return _time_ns(float(text) if _is_number(text) else _date(text))
        except ValueError:
            return None
    try:
        plain = scalar(cell)
    except UnsupportedValueError:
        return None
    if plain is None or isinstance(plain, (str, bool)):
        return None
    units = next((units for least, units in _UNITS if plain >= least), 10**9)
    # A whole number is exact; a fraction of a second is so to a microsecond, as the clock of a float is.
    time_ns = plain * units if isinstance(plain, int) else round(plain * 1e6) * units // 10**6 if plain < 1e300 else 0
    return time_ns if 0 < time_ns < 2**63 else None


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdecimal()


def _date(text: str) -> datetime:
    # Python 3.10 does not know Z.
    return datetime.fromisoformat(f"{text[:-1]}+00:00" if text[-1:] in ("Z", "z") else text)
