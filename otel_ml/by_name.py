"""Labels for a model by its name, where no :class:`~otel_ml.Model` is at hand: jobs, webhooks, feedback routes."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from otel_ml.emit.emitter import Emitter
from otel_ml.emit.labels import emit_label, emit_labels
from otel_ml.problems import report

_MODELS: Final = 1_000
"""Names whose handle is kept; a name may come from outside of the process."""


def label(
    model: str,
    prediction_id: object,
    *,
    class_: object = None,
    value: object = None,
    time_ns: int | None = None,
) -> None:
    """Report what turned out to be true for one prediction of a model, as :meth:`.Model.label` does.

    It never raises: a name that no model can have is logged once, and the label is left out.

    >>> import otel_ml
    >>> from otel_ml.testing import capture
    >>> with capture() as captured:
    ...     otel_ml.label("fraud", "order-7", class_=True)
    >>> captured.labels[0].model, captured.labels[0].id, captured.labels[0].class_
    ('fraud', 'order-7', 'true')
    """
    emitter = _emitter(model)
    if emitter is not None:
        emit_label(emitter, prediction_id, class_, value, time_ns)


def labels(model: str, ids: object, *, classes: object = None, values: object = None, time_ns: object = None) -> None:
    """Report the truth for many predictions of a model at once, as :meth:`.Model.labels` does; it never raises.

    >>> import otel_ml
    >>> from otel_ml.testing import capture
    >>> with capture() as captured:
    ...     otel_ml.labels("price", ["a", "b"], values=[310.0, 220.0])
    >>> [(label.id, label.value) for label in captured.labels]
    [('a', 310.0), ('b', 220.0)]
    """
    emitter = _emitter(model)
    if emitter is not None:
        emit_labels(emitter, ids, classes, values, time_ns)


def _emitter(model: object) -> Emitter | None:
    try:
        if not isinstance(model, str):
            raise TypeError("the name of a model is a text")
        return _made(model)
    except Exception as error:  # noqa: BLE001 - a name, or a variable of the environment, that no model can have
        report("label by name", "labels of a model that cannot be named so are not sent", error=error)
        return None


_made: Final = lru_cache(maxsize=_MODELS)(Emitter)
