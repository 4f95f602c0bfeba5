"""The ids of the predictions made in a request return in a header of its response: Flask.

``Flask.__call__`` and ``Flask.wsgi_app``, which a dispatcher may call instead, are replaced in the class. So it is the
same for applications made before and after, and the header is in responses to errors, too.
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
        for name in ("__call__", "wsgi_app"):
            self.patches.replace(module.Flask, name, self._answers.wsgi)


class FlaskInstrumentor(FrameworkInstrumentor[_Observer]):
    """Instruments Flask.

    ``instrument`` takes ``prediction_id_header``: the header's name or ``off``, else ``OTEL_ML_PREDICTION_ID_HEADER``,
    else ``X-Prediction-Id``.
    """

    distribution = "flask"
    versions = ">= 2.2"
    module = "flask.app"
    has_models = False

    def observe(self, options: Options) -> _Observer:
        """Return the observer of Flask's applications."""
        return _Observer(chosen_header(options.arguments.get("prediction_id_header"), os.environ))
