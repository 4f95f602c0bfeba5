"""The ids of the predictions made in a request return in a header of its response: Starlette, FastAPI and their kin.

``Starlette.__call__``, which FastAPI's calls, is replaced in the class. So it is the same for applications made before
and after, and the header is in responses to errors, too. WebSockets pass as they are.
"""

from __future__ import annotations

import os
from types import ModuleType

from otel_ml.frameworks.answers import HttpAnswers, chosen_header
from otel_ml.frameworks.framework import FrameworkInstrumentor, Options
from otel_ml.frameworks.patches import Patches


class _Observer:
    """One instrumentation, from ``instrument`` to ``uninstrument``."""

    def __init__(self, header: str) -> None:
        self.patches = Patches()
        self._answers = HttpAnswers(header)

    def attach(self, module: ModuleType) -> None:
        """Replace what a server calls."""
        self.patches.replace(module.Starlette, "__call__", self._answers.asgi)


class StarletteInstrumentor(FrameworkInstrumentor[_Observer]):
    """Instruments Starlette, and FastAPI which is built on it.

    ``instrument`` takes ``prediction_id_header``: the header's name or ``off``, else ``OTEL_ML_PREDICTION_ID_HEADER``,
    else ``X-Prediction-Id``.
    """

    distribution = "starlette"
    versions = ">= 0.27"
    module = "starlette.applications"
    has_models = False

    def observe(self, options: Options) -> _Observer:
        """Return the observer of Starlette's applications."""
        return _Observer(chosen_header(options.arguments.get("prediction_id_header"), os.environ))
