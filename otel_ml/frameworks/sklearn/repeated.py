"""Notices an application that predicts the same rows by two methods of a model, which count twice."""

from __future__ import annotations

from typing import Any
from weakref import ref

from otel_ml.problems import report


class Repeated:
    """The last call of one model."""

    __slots__ = ("_last", "_model", "_reported")

    def __init__(self, model: str) -> None:
        self._model = model
        self._last: tuple[str, ref[Any]] | None = None
        self._reported = False

    def check(self, method: str, table: Any) -> None:
        """Report once that the previous call predicted for the same table by another method."""
        if self._reported or table is None or type(table) is list or type(table) is tuple:
            return
        last = self._last
        if last is not None and last[0] != method and last[1]() is table:
            self._reported = True
            report(
                f"repeated {self._model}",
                "model %r predicts the same rows by %s and then by %s, which count as two predictions each: set "
                "OTEL_ML_SKLEARN_METHODS=%s to observe one of them",
                self._model,
                last[0],
                method,
                method,
            )
        try:
            self._last = method, ref(table)
        except TypeError:  # a table that allows no weak references
            self._last = None
