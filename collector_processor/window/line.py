"""What the two kinds of windows share: their setting, and how rows are assigned to panes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np

from collector_processor.columns.batch import I64, ModelKey, PredictionBatch
from collector_processor.own.telemetry import Telemetry
from collector_processor.statistics.accumulate import accumulate
from collector_processor.statistics.outcome_batch import OutcomeBatch
from collector_processor.statistics.schema import Schema
from collector_processor.window.closed import Window
from collector_processor.window.panes import Panes
from collector_processor.window.policy import WindowPolicy

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
"""JSON that a snapshot's header may hold."""


@dataclass(frozen=True, slots=True)
class WindowedModel:
    """What windows need to know about their model."""

    key: ModelKey
    schema: Schema
    policy: WindowPolicy
    telemetry: Telemetry


class Line(Protocol):
    """The panes of one model in their order, and the rule by which they fill and close."""

    panes: Panes

    @property
    def not_before_ns(self) -> int | None:
        """Start of the lowest pane that takes rows, or None before the first rows."""
        ...

    @property
    def not_after_ns(self) -> int | None:
        """The latest time in the highest pane that takes outcomes, or None before the first rows."""
        ...

    def add(self, batch: PredictionBatch, now_ns: int) -> int:
        """Add rows and return how many were late."""
        ...

    def add_outcomes(self, outcomes: OutcomeBatch) -> None:
        """Add outcomes of predictions."""
        ...

    def close(self, now_ns: int) -> Iterator[Window]:
        """Yield the windows that are ready to close, each closed as it is yielded."""
        ...

    def state(self) -> dict[str, Json]:
        """Return the state as JSON, without the vectors."""
        ...


def add_rows(model: WindowedModel, panes: Panes, number: int, batch: PredictionBatch) -> None:
    """Add rows to one pane and count the cells that were dropped."""
    for reason, cells in accumulate(panes.to_add(number), model.schema, batch).items():
        model.telemetry.dropped(("statistics", reason), cells)


def by_pane(numbers: I64) -> Iterator[tuple[int, I64 | None]]:
    """Yield each pane's number with the positions of its rows in order; None stands for all rows.

    >>> [(number, rows.tolist()) for number, rows in by_pane(np.array([7, 5, 7]))]
    [(5, [1]), (7, [0, 2])]
    >>> list(by_pane(np.array([7, 7])))
    [(7, None)]
    """
    if not len(numbers):
        return
    if numbers.min() == numbers.max():
        yield int(numbers[0]), None
        return
    order = np.argsort(numbers, kind="stable")
    ordered = numbers[order]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    yield from zip(ordered[starts].tolist(), np.split(order, starts[1:]), strict=True)


def integer(state: Mapping[str, Json], name: str) -> int:
    """Return an integer of a saved state; raise ``ValueError`` if it is anything else."""
    value = state.get(name)
    if not isinstance(value, int):
        raise ValueError(f"the saved state has no number {name!r}")
    return value


def integer_or_none(state: Mapping[str, Json], name: str) -> int | None:
    """Return an integer of a saved state, or None if it is absent."""
    return None if state.get(name) is None else integer(state, name)


def integers(state: Mapping[str, Json], name: str) -> list[int]:
    """Return a list of integers of a saved state; raise ``ValueError`` if it is anything else."""
    value = state.get(name)
    if not isinstance(value, list):
        raise ValueError(f"the saved state has no list {name!r}")
    numbers = [item for item in value if isinstance(item, int)]
    if len(numbers) != len(value):
        raise ValueError(f"the saved state has something other than integers in {name!r}")
    return numbers
