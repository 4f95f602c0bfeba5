"""What a fitter is: it makes plain numbers from the reference rows, and writes and reads them in a profile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Protocol, TypeVar

from collector_processor.columns.batch import PredictionBatch
from collector_processor.reference.document import Json, Node
from collector_processor.statistics.outcome_batch import OutcomeBatch
from collector_processor.statistics.schema import Schema

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FitRows:
    """The reference rows that a fitter looks at, with the schema that they led to.

    ``outcomes`` are None without labels. ``notes`` are sentences to the user about what could not be fitted.
    """

    schema: Schema
    batch: PredictionBatch
    outcomes: OutcomeBatch | None
    notes: list[str] = field(default_factory=list[str])

    def note(self, sentence: str) -> None:
        """Say what could not be fitted, and why."""
        self.notes.append(sentence)


class Fitter(Protocol[T]):
    """Make one type of fit, whose class is the key under which ``schema.fit(kind)`` has it.

    A fit is a frozen dataclass of arrays that says how to evaluate it; it lives in ``statistics/``, because parts of
    panes use it.
    """

    name: ClassVar[str]
    """The key in the estimator part of a profile."""
    kind: type[T]
    slow: ClassVar[bool]
    """Whether it may take a second: then it is not fitted while serving."""

    def fit(self, rows: FitRows) -> T | None:
        """Return the fit, or None if the rows do not allow it."""
        ...

    def written(self, fit: T) -> Mapping[str, Json]:
        """Return the fit as JSON within the limits of :mod:`.estimator`."""
        ...

    def read(self, node: Node, schema: Schema) -> T:
        """Return the fit of :meth:`written`; raise ``ValueError`` through ``node`` for what does not belong there."""
        ...
