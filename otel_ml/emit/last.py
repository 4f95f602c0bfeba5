"""The ids of the last observed call, for code that instruments itself with no line about predictions in it."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar

from otel_ml.emit.call import row_count
from otel_ml.prediction import Prediction

_last: ContextVar[tuple[str, int] | Sequence[str]] = ContextVar("otel_ml_last_prediction", default=())


def remember(prediction: Prediction) -> None:
    """Keeps the ids of a call that just ended for this thread or task, but not its features."""
    _last.set((prediction.id, row_count(prediction)) if prediction.id_given is None else tuple(prediction.ids))


def last_prediction_ids() -> list[str]:
    """The prediction id of every row of the last call that zero-code instrumentation observed in this thread or task.

    Hand them to whoever will know the truth: labels join on them. Empty where nothing was observed.

    >>> from contextvars import Context
    >>> Context().run(last_prediction_ids)  # a context in which nothing was observed yet
    []
    """
    found = _last.get()
    if len(found) == 2 and isinstance(found[1], int):
        call_id, rows = str(found[0]), found[1]
        return [call_id] if rows == 1 else [f"{call_id}:{row}" for row in range(rows)]
    return [str(each) for each in found]
