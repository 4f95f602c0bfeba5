"""Zero-code instrumentation of scikit-learn: :class:`SklearnInstrumentor` and :func:`name_model`."""

from __future__ import annotations

from otel_ml.frameworks.names import name_model
from otel_ml.frameworks.sklearn.instrumentor import ENV_METHODS, SklearnInstrumentor

__all__ = ["ENV_METHODS", "SklearnInstrumentor", "name_model"]
