"""Reads attributes of estimators, which may raise anything."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

_DEPTH: Final = 16
"""Levels of nesting searched for the final model: pipelines in searches in pipelines."""


def attribute(estimator: Any, name: str) -> Any:
    """Return an attribute, None if it is missing or raises: an unfitted model's property may raise anything."""
    try:
        return getattr(estimator, name, None)
    except Exception:  # noqa: BLE001 - a property of foreign code
        return None


def layers(estimator: Any) -> Iterator[Any]:
    """Yield the estimator, then what it passes the prediction to: a pipeline's last step, the best of a search.

    >>> class Search:
    ...     best_estimator_ = 3
    >>> [type(layer).__name__ for layer in layers(Search())]
    ['Search', 'int']
    """
    for _ in range(_DEPTH):
        yield estimator
        steps = attribute(estimator, "steps")
        inner = steps[-1][1] if isinstance(steps, list) and steps else attribute(estimator, "best_estimator_")
        if inner is None:
            return
        estimator = inner


def is_own(cls: type, method: str) -> bool:
    """Return whether scikit-learn itself defines a method of this class; an application may mean another thing by it.

    >>> class Estimator:
    ...     def predict(self, X): ...
    >>> is_own(Estimator, "predict")
    False
    """
    owner = next((base for base in cls.__mro__ if method in vars(base)), None)
    return owner is not None and owner.__module__.partition(".")[0] == "sklearn"
