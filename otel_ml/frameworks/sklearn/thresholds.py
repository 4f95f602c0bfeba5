"""Reads the threshold of scikit-learn's ``FixedThresholdClassifier`` and ``TunedThresholdClassifierCV``."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

from otel_ml.frameworks.calls import Threshold

_BASE: Final = "BaseThresholdClassifier"
_DEFAULT: Final = 0.5
"""What ``threshold="auto"`` means for a probability."""


def threshold_of(layers: Iterable[Any]) -> Threshold | None:
    """Return the threshold that the first of these estimators has; None if none has one.

    >>> class BaseThresholdClassifier:
    ...     threshold, pos_label, response_method, estimator = 0.1, "late", "predict_proba", None
    >>> threshold_of([object(), BaseThresholdClassifier()])
    Threshold(value=0.1, positive='late')
    >>> threshold_of([object()]) is None
    True
    """
    for layer in layers:
        if _has_threshold(type(layer)):
            try:
                return _read(layer)
            except Exception:  # noqa: BLE001 - not fitted yet, or another version of scikit-learn
                return Threshold(math.nan)
    return None


@lru_cache(maxsize=256)
def _has_threshold(cls: type) -> bool:
    return any(base.__name__ == _BASE for base in cls.__mro__)


def _read(classifier: Any) -> Threshold:
    if hasattr(classifier, "best_threshold_"):
        # Only its scorer knows the positive class.
        value, positive = classifier.best_threshold_, classifier._curve_scorer._get_pos_label()  # noqa: SLF001
    else:
        value, positive = classifier.threshold, classifier.pos_label
    by_probability = classifier.response_method == "predict_proba" or (
        classifier.response_method == "auto"
        and hasattr(getattr(classifier, "estimator_", classifier.estimator), "predict_proba")
    )
    if not by_probability:
        return Threshold(math.nan, positive)
    return Threshold(_DEFAULT if value == "auto" else float(value), positive)
