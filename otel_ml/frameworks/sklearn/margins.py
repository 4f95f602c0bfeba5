"""The class that a decision function stands for.

A margin is not a probability. If it were sent as a score, the service would take those between 0 and 1 for one. So it
decides the class as ``predict`` does, where scikit-learn's own code does it so, and is not sent.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from otel_ml.frameworks.calls import record_classes
from otel_ml.frameworks.sklearn.attributes import is_own
from otel_ml.prediction import Prediction

_LARGEST_WINS: Final = frozenset(
    {
        "LinearClassifierMixin",
        "BaseGradientBoosting",
        "BaseHistGradientBoosting",
        "AdaBoostClassifier",
        "DiscriminantAnalysisPredictionMixin",
    }
)
"""Classes of scikit-learn whose ``predict`` is the class with the largest margin; of two, the second if it is above 0.

Support vector machines are not among them: with more than two classes, votes decide.
"""
_OF_TWO: Final = frozenset({"BaseSVC"})


def decides(final: Any, classes: Any) -> bool:
    """Return whether the margins of this fitted classifier, the last one of a chain, decide what it predicts."""
    cls = type(final)
    names = {base.__name__ for base in cls.__mro__}
    known = names & _LARGEST_WINS or (names & _OF_TWO and classes is not None and len(classes) == 2)
    return bool(known) and is_own(cls, "predict") and is_own(cls, "decision_function")


def record_margins(prediction: Prediction, classes: Any, result: Any) -> bool:
    """Record the class of each row from margins ``[rows]`` of two classes, or ``[rows, classes]``."""
    margins = np.asarray(result)
    if classes is None:
        return False
    if margins.ndim == 1 and len(classes) == 2:
        return record_classes(prediction, classes, classes[(margins > 0).astype(int)])
    if margins.ndim == 2 and margins.shape[1] == len(classes) > 2:
        return record_classes(prediction, classes, classes[margins.argmax(axis=1)])
    return False
