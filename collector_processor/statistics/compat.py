"""What a profile has for the figures of another tool: its bins, and its upper limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from collector_processor.columns.batch import F64


@dataclass(frozen=True, slots=True)
class Compat:
    """Made by ``otel-ml reference build --compat TOOL``.

    ``grids`` has the edges by position of a numeric column and number of bins. ``limits`` has the upper limit by
    position of a column and name of a figure.
    """

    tool: str
    grids: Mapping[int, Mapping[int, F64]]
    limits: Mapping[int, Mapping[str, float]] = field(default_factory=dict[int, Mapping[str, float]])
