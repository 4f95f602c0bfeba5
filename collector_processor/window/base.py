"""The window: a finished stretch of one model's traffic, as monitors see it."""

from __future__ import annotations

from dataclasses import dataclass

from collector_processor.columns.batch import ModelKey
from collector_processor.statistics.pane import Pane
from collector_processor.statistics.schema import Schema


@dataclass(frozen=True, slots=True)
class Window:
    """The sum of the panes of one model between two instants (Unix nanoseconds); read-only for monitors."""

    model: ModelKey
    start_ns: int
    end_ns: int
    schema: Schema
    pane: Pane
