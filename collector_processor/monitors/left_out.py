"""Figures that a monitor leaves out of a window because they could be wrong: how many, and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, Protocol, runtime_checkable

from collector_processor.monitors.attributes import Attributes
from collector_processor.monitors.base import Measurement
from collector_processor.monitors.performance import labeled_attributes
from collector_processor.own.drops import FigureReason
from collector_processor.reference.profile import Reference
from collector_processor.reference.task import listed
from collector_processor.statistics.schema import Schema
from collector_processor.window.closed import Window
from otel_ml import semconv

NAMED: Final = 5
"""Segments or classes that a sentence names."""


class LeftOut(NamedTuple):
    """How many ``figures`` a window would have more; ``text`` says which, and why they are left out."""

    reason: FigureReason
    figures: int
    text: str


@runtime_checkable
class LeavesOutOfWindows(Protocol):
    """A monitor that leaves figures out of windows in which they could be wrong, and says which."""

    def left_out_of(self, window: Window, reference: Reference, measured: Sequence[Measurement]) -> Iterator[LeftOut]:
        """Yield what is left out of a window, of which everything that monitors return was ``measured``."""
        ...


def unranked(window: Window, measured: Sequence[Measurement], average: Attributes = ()) -> list[int]:
    """Return the groups of which some rows of either class are expected, but no ROC AUC or average precision."""
    present = {(item.name, item.attributes) for item in measured}
    found: list[int] = []
    for group in range(len(window.schema.groups) + 1):
        attributes = (*labeled_attributes(window.model, window.schema, group, semconv.SOURCE_ESTIMATED), *average)

        def has(*names: str, of: Attributes = attributes) -> bool:
            return all((semconv.PERFORMANCE + name, of) in present for name in names)

        if has("recall", "specificity") and not has("roc_auc", "average_precision"):
            found.append(group)
    return found


def left_out_ranking(schema: Schema, reason: FigureReason, groups: Sequence[int], why: str) -> Iterator[LeftOut]:
    """Yield that the estimated ranking of groups is left out, if there are any."""
    if groups:
        text = f"estimated ROC AUC and average precision are left out of {groups_words(schema, groups)}: {why}"
        yield LeftOut(reason, 2 * len(groups), text)


def groups_words(schema: Schema, groups: Sequence[int]) -> str:
    """Return groups for a person: ``all rows and 2 segments ('region=north', 'region=south')``."""
    names = [
        repr(f"{schema.groups.columns[schema.groups.owner(slot)]}={schema.groups.name(slot)}")
        for slot in (group - 1 for group in groups)
        if slot >= 0
    ]
    segments = f"{len(names)} segment{'s' if len(names) > 1 else ''} ({listed(names, NAMED)})" if names else ""
    return " and ".join(part for part in ("all rows" if 0 in groups else "", segments) if part)
