"""Recognizes predictions that MLflow makes to describe, check or evaluate a model: they serve no one."""

from __future__ import annotations

import inspect
import sys
from typing import Final

_PACKAGE: Final = "mlflow"
_FUNCTIONS: Final = frozenset(
    (
        "patched_fit",  # autologging: metrics, signature and input example after a fit
        "save_model",
        "log_model",
        "_infer_signature_from_input_example",
        "_validate_serving_input",
        "validate_serving_input",
    )
)
_MODULES: Final = ("mlflow.models.evaluation",)
_FRAMES: Final = 64
"""Callers that are checked: MLflow's own are about fifteen, the model's code is between them and the prediction."""


def is_rehearsal() -> bool:
    """Return whether MLflow saves, logs or evaluates a model further up in this thread.

    A prediction that an application makes through MLflow, with ``mlflow.pyfunc`` or its server, is a real one.

    >>> is_rehearsal()
    False
    """
    if _PACKAGE not in sys.modules:
        return False
    frame = inspect.currentframe()
    for _ in range(_FRAMES):
        if frame is None:
            return False
        module: str = frame.f_globals.get("__name__") or ""
        if module.partition(".")[0] == _PACKAGE and (frame.f_code.co_name in _FUNCTIONS or module.startswith(_MODULES)):
            return True
        frame = frame.f_back
    return False
