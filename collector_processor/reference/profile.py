"""The reference: a profile of the model's inputs and outputs when all was well, without any rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from collector_processor.columns.batch import F64
from collector_processor.reference.document import Json
from collector_processor.statistics.pane import Pane
from collector_processor.statistics.schema import Schema

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference profile: a schema that defines the vectors, and the vectors of the reference rows.

    ``spread`` float64 ``[F]`` is each numeric column's standard deviation. ``source`` describes what it was built
    from (``"train.parquet"``, ``"the first 5000 rows"``), ``built_at`` when (ISO 8601, UTC). ``estimator`` is the
    estimator part (:mod:`.estimator`), None without one. ``notes`` are sentences about what was left out when it was
    read.
    """

    model_name: str
    schema: Schema
    pane: Pane
    spread: F64
    source: str
    built_at: str
    estimator: Mapping[str, Json] | None = None
    notes: tuple[str, ...] = ()
    _prepared: dict[Callable[..., Any], Any] = field(
        default_factory=dict[Callable[..., Any], Any], init=False, repr=False, compare=False
    )

    def prepared(self, prepare: Callable[[Reference], T]) -> T:
        """Return a function's result for this reference, computed once for all monitors and versions of the model.

        The function is the key, so pass a module's function, not a lambda; do not change what it returns.
        """
        if prepare not in self._prepared:
            self._prepared[prepare] = prepare(self)
        return cast("T", self._prepared[prepare])
