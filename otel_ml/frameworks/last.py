"""Keeps the ids of the last observed call, for applications that zero-code instrumentation observes."""

from __future__ import annotations

from contextvars import ContextVar

from otel_ml.prediction import Prediction

_last: ContextVar[tuple[str, int] | list[str]] = ContextVar("otel_ml_last_prediction", default=("", 0))


def remember(prediction: Prediction) -> None:
    """Keep the ids of a call that just ended for this thread or task, but not its features."""
    # Made ids are spelled out only when someone asks: a batch may have a million.
    _last.set((prediction.id, prediction.rows) if prediction.id_given is None else list(prediction.ids))


def last_prediction_ids() -> list[str]:
    """Return the prediction id of every row of the last call that zero-code instrumentation observed.

    It is the last call in this thread or task; without one the list is empty. Store the ids where the truth will be
    known, because labels join on them.

    >>> from contextvars import Context
    >>> Context().run(last_prediction_ids)
    []
    """
    last = _last.get()
    if isinstance(last, list):
        return list(last)
    call_id, rows = last
    return [call_id] if rows == 1 else [f"{call_id}:{row}" for row in range(rows)]
