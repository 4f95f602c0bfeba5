"""Anomaly detectors of scikit-learn: 1 is an inlier, −1 an outlier, and a higher score is more normal."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from otel_ml.frameworks.calls import Threshold
from otel_ml.frameworks.sklearn.attributes import attribute, is_own
from otel_ml.prediction import Prediction

CLASSES: Final = (-1, 1)
"""Outlier, inlier."""
_NEVER_POSITIVE: Final = frozenset({"IsolationForest", "LocalOutlierFactor", "EllipticEnvelope"})
"""Their scores are sent: none of them can be mistaken for a probability, because they are 0 at most."""
_KNOWN: Final = _NEVER_POSITIVE | {"OneClassSVM", "SGDOneClassSVM"}


def is_known(final: Any) -> bool:
    """Return whether this fitted detector, the last one of a chain, decides by its scores as scikit-learn's do."""
    cls = type(final)
    known = any(base.__name__ in _KNOWN for base in cls.__mro__)
    return known and all(is_own(cls, method) for method in ("predict", "decision_function", "score_samples"))


def threshold_of_scores(final: Any) -> Threshold | None:
    """Return the score from which on a row is an inlier; None if scores of this detector are not sent."""
    offset = (
        attribute(final, "offset_") if any(base.__name__ in _NEVER_POSITIVE for base in type(final).__mro__) else None
    )
    return None if offset is None else Threshold(float(np.ravel(offset)[0]), CLASSES[1])


def record_decisions(prediction: Prediction, result: Any) -> bool:
    """Record the class of each row from the decision function ``[rows]``: below 0 is an outlier."""
    decisions = np.asarray(result)
    if decisions.ndim != 1:
        return False
    prediction.record(class_=np.where(decisions < 0, *CLASSES))
    return True


def record_samples(prediction: Prediction, final: Any, result: Any) -> bool:
    """Record the class of each row from ``score_samples`` ``[rows]``, and the score where it is sent."""
    scores, offset = np.asarray(result), attribute(final, "offset_")
    if scores.ndim != 1 or offset is None:
        return False
    threshold = threshold_of_scores(final)
    decided = scores < np.ravel(offset)[0]
    prediction.record(class_=np.where(decided, *CLASSES), score=None if threshold is None else scores)
    return True
