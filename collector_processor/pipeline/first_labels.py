"""The performance of a model's first labels: what its later performance is compared with if the reference has none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np

from collector_processor.monitors.performance import performance
from collector_processor.reference.profile import Reference
from collector_processor.statistics.outcome_batch import OutcomeBatch
from collector_processor.statistics.outcomes import accumulate_outcomes
from collector_processor.statistics.pane import Outcomes, Pane
from collector_processor.statistics.parts.base import Part
from collector_processor.statistics.parts.cause_sums import CauseSums
from collector_processor.statistics.parts.label_moments import LabelMoments
from collector_processor.statistics.schema import Schema

VERSION: Final = 1
"""Raised by one whenever the meaning of a saved state changes."""

_KEPT: Final[Mapping[str, type[Part]]] = {"moments": LabelMoments, "causes": CauseSums}
"""What is compared of them besides ``outcomes``, by its key in a saved state."""


class FirstLabels:
    """Sums the outcomes of the first ``wanted`` labels (weighted), then gives a reference that has them.

    A learned reference has no labels, because they come later than its rows; a file may have none. Without this, no
    drop in performance could ever be measured for such a model.
    """

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.reference: Reference | None = None
        """The model's reference with the performance of its first labels; None until there are enough of them."""
        self._sums: Pane | None = None

    @property
    def labels(self) -> float:
        """Labels so far, weighted."""
        return 0.0 if self._sums is None else float(self._sums.outcomes.labels[0])

    def add(self, reference: Reference, schema: Schema, outcomes: OutcomeBatch) -> bool:
        """Add outcomes, counted with the schema of the model's windows; return whether they were the last needed.

        A binary model's do not count before its positive class is known.
        """
        if self.reference is not None or (schema.task == "binary_classification" and not schema.positive_class):
            return False
        if self._sums is None:
            self._sums = Pane.empty(schema)
        accumulate_outcomes(self._sums, schema, outcomes)
        return self._finish(reference, schema)

    def start_over(self) -> None:
        """Forget the labels so far: they were counted about another positive class, or about none."""
        self._sums = self.reference = None

    def state(self) -> dict[str, Any]:
        """Return the state for a snapshot: JSON with arrays."""
        sums = {} if self._sums is None else self._sums.outcomes.arrays()
        parts = () if self._sums is None else [(key, self._sums.further[kind]) for key, kind in _KEPT.items()]
        return {
            "version": VERSION,
            "wanted": self.wanted,
            "done": self.reference is not None,
            "sums": sums,
            **{key: part.arrays() for key, part in parts},
        }

    def restore(self, reference: Reference, schema: Schema, saved: Mapping[str, Any]) -> None:
        """Restore a saved state; ``ValueError`` if it is not one of this version and this reference.

        What has been learned stays, even if ``wanted`` is another number now.
        """
        if saved["version"] != VERSION:
            raise ValueError(f"the performance of its first labels is of version {saved['version']}, not {VERSION}")
        if not saved["sums"]:
            return
        sums = Pane.empty(schema)
        for key, kind in _KEPT.items():
            part = sums.further[kind]
            kept = {name: np.asarray(values, np.float64) for name, values in saved.get(key, {}).items()}
            if {name: values.ndim for name, values in kept.items()} == {
                name: values.ndim for name, values in part.arrays().items()
            }:  # earlier versions had none
                part.add(kind.from_arrays(kept))
        given = {name: np.asarray(values, np.float64) for name, values in saved["sums"].items()}
        for name, values in sums.outcomes.arrays().items():
            if given[name].ndim != values.ndim:
                raise ValueError(f"the {name} of its first labels have {given[name].ndim} axes, not {values.ndim}")
        sums.outcomes = Outcomes.from_arrays(given)
        self._sums = sums
        self._finish(reference, schema, done=bool(saved["done"]))

    def figures(self) -> str:
        """Return what was learned in words, empty before that.

        >>> FirstLabels(1000).figures()
        ''
        """
        if self.reference is None:
            return ""
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            scores = list(performance(self.reference.schema, self.reference.pane.outcomes))
        values = {f"{score.average} {score.name}".strip(): float(score.values[0]) for score in scores}
        return ", ".join(f"{name} {value:.4g}" for name, value in values.items() if np.isfinite(value))

    def _finish(self, reference: Reference, schema: Schema, *, done: bool = False) -> bool:
        """Make the reference if there are enough labels."""
        if self._sums is None or not (done or self.labels >= self.wanted):
            return False
        further = reference.pane.further
        for kind in _KEPT.values():
            further = further.replaced(self._sums.further[kind])
        self.reference = replace(
            reference,
            schema=replace(
                reference.schema,
                classes=schema.classes,
                groups=schema.groups,
                positive_class=schema.positive_class,
            ),
            pane=replace(
                reference.pane,
                outcomes=self._sums.outcomes,
                further=further,
            ),
        )
        return True
