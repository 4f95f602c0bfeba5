"""What a body says about its rows, whatever its protocol: parts of columns, and what could not be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from collector_processor.own.drops import InferenceReason

Cells = Sequence[Any]
"""The cells of one column: numbers, texts, truth values, and None where one is missing."""
Kind = Literal["", "float", "class"]
"""What a protocol that declares types says of a tensor: decimals, or classes (integers, truth values, texts)."""


@dataclass(frozen=True, slots=True)
class Part:
    """One named input or output: its columns of ``rows`` cells each. The name is empty where there is only one.

    ``names`` are those of the columns, if the sender gives any. A ``single`` part is one column, however many rows its
    protocol has for it: a matrix of one column is not, and its column has no name.
    """

    name: str
    rows: int
    columns: Sequence[Cells]
    kind: Kind = ""
    names: Sequence[str] = ()
    single: bool = True


@dataclass(slots=True)
class Lost:
    """What was left out of events, by reason, with the first explanation of each."""

    counts: Counter[InferenceReason] = field(default_factory=Counter[InferenceReason])
    reasons: dict[InferenceReason, str] = field(default_factory=dict[InferenceReason, str])

    def add(self, reason: InferenceReason, count: int, explanation: str) -> None:
        """Count cells or rows; nothing if there are none."""
        if count:
            self.counts[reason] += count
            self.reasons.setdefault(reason, explanation)


@dataclass(slots=True)
class Table:
    """The parts of one body, and the names that it gives to the call and the model; empty where it gives none."""

    parts: list[Part] = field(default_factory=list[Part])
    id: str = ""
    model: str = ""
    version: str = ""
    error: bool = False
    """Whether the body reports a failed prediction instead of outputs."""


def parts_of_rows(rows: Sequence[Any], lost: Lost, names: Sequence[str] = ()) -> list[Part]:
    """Return the parts of rows that are all objects, all lists of one length, or all single values.

    >>> lost = Lost()
    >>> [(part.name, part.columns) for part in parts_of_rows([{"age": 37}, {"age": 38, "city": "Bern"}], lost)]
    [('age', [[37, 38]]), ('city', [[None, 'Bern']])]
    >>> parts_of_rows([[1, 2], [3, 4]], lost)[0].columns
    [(1, 3), (2, 4)]
    >>> parts_of_rows([[1, 2], [3]], lost), lost.reasons
    ([], {'shape': 'rows have 1 and 2 cells'})
    """
    if rows and all(isinstance(row, dict) for row in rows):
        records = cast("Sequence[dict[str, Any]]", rows)
        keys = dict.fromkeys(key for record in records for key in record)
        parts = (part_of_cells(key, [record.get(key) for record in records], lost) for key in keys)
    else:
        parts = iter((part_of_cells("", rows, lost, names),))
    return [part for part in parts if part is not None]


def part_of_cells(name: str, cells: Sequence[Any], lost: Lost, names: Sequence[str] = ()) -> Part | None:
    """Return one part with a cell, or a flat list of cells, for each row; None if it has no columns.

    >>> part_of_cells("age", [[37], [38]], Lost()).columns
    [(37, 38)]
    """
    if not cells:
        return None
    if not all(isinstance(cell, list) for cell in cells):
        return Part(name, len(cells), [_scalars(cells, name, lost)], names=names)
    rows = cast("Sequence[list[Any]]", cells)
    widths = sorted(set(map(len, rows)))
    if len(widths) > 1:
        lost.add("shape", sum(map(len, rows)), f"{_of(name)}rows have {widths[0]} and {widths[-1]} cells")
        return None
    if any(isinstance(cell, list) for cell in rows[0]) and widths[0] == 1:  # such as [[[0.3]]]
        return part_of_cells(name, [row[0] for row in rows], lost, names)
    if any(isinstance(cell, (list, dict)) for row in rows for cell in row):
        lost.add("shape", len(rows), f"{_of(name)}cells are lists or objects; a row has one number or text a column")
        return None
    return Part(name, len(rows), list(zip(*rows, strict=True)), names=names, single=False)


def _scalars(cells: Sequence[Any], name: str, lost: Lost) -> Cells:
    """Return the cells, with None in place of those that are lists or objects."""
    nested = sum(isinstance(cell, (list, dict)) for cell in cells)
    if not nested:
        return cells
    lost.add("shape", nested, f"{_of(name)}cells are lists or objects; a row has one number or text a column")
    return [None if isinstance(cell, (list, dict)) else cell for cell in cells]


def parts_of_columns(columns: Mapping[str, Any], lost: Lost) -> list[Part]:
    """Return a part for each named column, which may be a single value for one row.

    >>> [(part.name, part.columns) for part in parts_of_columns({"age": [37, 38], "city": ["Bern", "Rome"]}, Lost())]
    [('age', [[37, 38]]), ('city', [['Bern', 'Rome']])]
    """
    cells = ((name, column if isinstance(column, list) else [column]) for name, column in columns.items())
    parts = (part_of_cells(name, cast("list[Any]", column), lost) for name, column in cells)
    return [part for part in parts if part is not None]


def _of(name: str) -> str:
    return f"{name}: " if name else ""


def names_of(values: object, width: int) -> Sequence[str]:
    """Return column names if they are texts and fit the number of columns, else none."""
    listed: Iterable[Any] = cast("list[Any]", values) if isinstance(values, list) else ()
    names = [name for name in listed if isinstance(name, str)]
    return names if len(names) == width else ()
