"""What one model handle knows of explaining: of how many predictions one, and by what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from otel_ml.explain.sample import Sample
from otel_ml.problems import report


class Explains:
    """Explains a sample of the predictions of one model, whose explainer is made when the first of them waits.

    It does not keep the model itself, which may be replaced and forgotten.
    """

    __slots__ = ("_explainer", "_name", "_names", "_positive", "possible", "sample", "width")

    def __init__(self, sample: Sample, name: str, names: Sequence[str] | None, positive: str | None) -> None:
        self.sample = sample
        self._name, self._names, self._positive = name, names, positive
        self._explainer: Any = None
        self.possible = True
        """False once the model has turned out to be of a kind that has no attributions."""
        self.width: int | None = None
        """How many attributions a row has, as far as is known."""

    def __call__(self, model: object, table: object) -> Mapping[str, Any]:
        """Return the attributions ``[n]`` of the rows of a table, by name."""
        from otel_ml.explain.explainers import Explainer, UnexplainedError  # it imports numpy

        if self._explainer is None:
            try:
                self._explainer = Explainer(model, self._names, self._positive)
            except UnexplainedError as error:
                self.possible = False
                report(f"explain {self._name}", "model %r: %s", self._name, error)
                raise
        names, phi = self._explainer(table)
        self.width = len(names)
        return {name: phi[:, place] for place, name in enumerate(names)}
