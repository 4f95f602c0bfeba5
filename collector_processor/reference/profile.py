"""The reference: what the model's inputs and outputs looked like when all was well. A profile, never data."""

from __future__ import annotations

from dataclasses import dataclass

from collector_processor.columns.batch import F64
from collector_processor.statistics.pane import Pane
from collector_processor.statistics.schema import Schema


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference profile: the meaning of the vectors, and the vectors of the reference rows themselves.

    ``spread`` float64 ``[F]`` is each numeric column's standard deviation. ``source`` says in words what it was built
    from (``"train.parquet"``, ``"the first 5000 rows"``), ``built_at`` when (ISO 8601, UTC).
    """

    model_name: str
    schema: Schema
    pane: Pane
    spread: F64
    source: str
    built_at: str
