"""Finds who calls a model: the application, or a library that trains or evaluates it."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Final

_FRAMES: Final = 20
"""Callers checked; a user's scorer, callback or estimator is closer to the library than this."""


def driven_by(*modules: str) -> bool:
    """Return whether one of the nearest callers, in this thread, is code of a module whose name begins like this.

    A context variable cannot show it: scikit-learn predicts in its own threads, and outside any estimator.

    >>> driven_by("doctest"), driven_by("sklearn.")
    (True, False)
    """
    frame: FrameType | None = sys._getframe(1)  # type: ignore[reportPrivateUsage]  # noqa: SLF001 - inspect costs ten times as much
    for _ in range(_FRAMES):
        if frame is None:
            return False
        if frame.f_globals.get("__name__", "").startswith(modules):
            return True
        frame = frame.f_back
    return False
