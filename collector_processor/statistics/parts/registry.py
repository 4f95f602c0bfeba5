"""The list of all parts, and the record that holds one of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar, cast

from collector_processor.columns.batch import F64
from collector_processor.statistics.outcome_batch import OutcomeBatch
from collector_processor.statistics.parts.adaptive import AdaptiveSums
from collector_processor.statistics.parts.attribution_means import AttributionMeans
from collector_processor.statistics.parts.attribution_sums import AttributionSums
from collector_processor.statistics.parts.base import Part, Rows
from collector_processor.statistics.parts.calls import Calls
from collector_processor.statistics.parts.cause_sums import CauseSums
from collector_processor.statistics.parts.class_estimates import ClassEstimates
from collector_processor.statistics.parts.class_ranks import ClassRanks
from collector_processor.statistics.parts.combined import CombinedSums
from collector_processor.statistics.parts.estimated import EstimatedSums
from collector_processor.statistics.parts.group_scores import GroupScores
from collector_processor.statistics.parts.harm import HarmSums
from collector_processor.statistics.parts.label_moments import LabelMoments
from collector_processor.statistics.parts.losses import LossSums
from collector_processor.statistics.parts.observed import Observed
from collector_processor.statistics.parts.pair_moments import PairMoments
from collector_processor.statistics.parts.reconstruction_sums import ReconstructionSums
from collector_processor.statistics.parts.reliability import Reliability
from collector_processor.statistics.parts.selections import Selections
from collector_processor.statistics.parts.slice_sums import SliceSums
from collector_processor.statistics.schema import Schema
from collector_processor.statistics.vectors import Vectors

PART_TYPES: Final = tuple[type[Part], ...](
    [
        Calls,
        EstimatedSums,
        PairMoments,
        ReconstructionSums,
        AdaptiveSums,
        LossSums,
        HarmSums,
        AttributionSums,
        Selections,
        Reliability,
        SliceSums,
        LabelMoments,
        ClassEstimates,
        CauseSums,
        GroupScores,
        ClassRanks,
        CombinedSums,
        AttributionMeans,
        Observed,
    ]
)
"""Every part of a pane, in the order of files."""

POSITIVE_SUMS: Final = frozenset(f"further.{kind.name}.{name}" for kind in PART_TYPES for name in kind.of_positive)
"""Names of the arrays of a pane that depend on which class is the positive one."""

P = TypeVar("P", bound=Part)


class Further(Vectors):
    """One part of each type: ``pane.further[SomePart]``."""

    def __init__(self, parts: Mapping[type[Part], Part]) -> None:
        self._parts = parts

    def __getitem__(self, kind: type[P]) -> P:
        return cast("P", self._parts[kind])

    @classmethod
    def empty(cls, schema: Schema) -> Further:
        """Return parts without sums."""
        return cls({kind: kind.empty(schema) for kind in PART_TYPES})

    def replaced(self, part: Part) -> Further:
        """Return the same parts with another one of its type."""
        return Further({**self._parts, type(part): part})

    def add(self, other: Vectors) -> None:
        """Add another record in place, part by part."""
        for kind, part in self._parts.items():
            part.add(cast("Further", other)[kind])

    def add_rows(self, schema: Schema, rows: Rows) -> None:
        """Add predictions to every part."""
        for part in self._parts.values():
            part.add_rows(schema, rows)

    def add_outcomes(self, schema: Schema, outcomes: OutcomeBatch) -> None:
        """Add joined labels to every part."""
        for part in self._parts.values():
            part.add_outcomes(schema, outcomes)

    def arrays(self, prefix: str = "") -> dict[str, F64]:
        """Return all arrays by dotted name."""
        return {
            name: values
            for kind, part in self._parts.items()
            for name, values in part.arrays(f"{prefix}{kind.name}.").items()
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, F64], prefix: str = "") -> Further:
        """Rebuild the record from :meth:`arrays`."""
        return cls({kind: kind.from_arrays(arrays, f"{prefix}{kind.name}.") for kind in PART_TYPES})
