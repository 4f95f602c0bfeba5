"""What a part of a pane is: the sums of one topic, filled from predictions, from joined labels, or from both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeVar

from collector_processor.columns.batch import I32, Mask, PredictionBatch
from collector_processor.statistics.outcome_batch import OutcomeBatch
from collector_processor.statistics.schema import Schema
from collector_processor.statistics.vectors import Vectors

P = TypeVar("P", bound="Part")


@dataclass(frozen=True, slots=True)
class Rows:
    """A batch of predictions as parts see it: ``groups`` int32 ``[n, s]`` are rows of the grouped vectors, −1 where
    missing; ``failed`` is None if no call failed.
    """

    batch: PredictionBatch
    groups: I32
    failed: Mask | None = None


class Part(Vectors):
    """A dataclass of float64 arrays that add up, with the code that fills it.

    Sums that came with a negative weight must cancel those that came with the positive one. Arrays grow with the
    schema's tables; a part that a model has no use for has arrays of size 0.
    """

    name: ClassVar[str]
    """The key under which it is in snapshots and profiles."""
    of_positive: ClassVar[tuple[str, ...]] = ()
    """Its arrays that depend on which class is the positive one: they begin again when that changes."""

    @classmethod
    def empty(cls: type[P], schema: Schema) -> P:
        """Return the sums of nothing, as large as the schema is now."""
        raise NotImplementedError

    def add_rows(self, schema: Schema, rows: Rows) -> None:
        """Add predictions; the default adds nothing."""

    def add_outcomes(self, schema: Schema, outcomes: OutcomeBatch) -> None:
        """Add joined labels, or take some back (negative weights); the default adds nothing."""
