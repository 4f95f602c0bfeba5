"""The former name of :mod:`otel_ml.frameworks.sklearn`."""

from __future__ import annotations

import warnings

from otel_ml.frameworks.sklearn import ENV_METHODS, SklearnInstrumentor, name_model

__all__ = ["ENV_METHODS", "SklearnInstrumentor", "name_model"]

warnings.warn(
    "otel_ml.instrumentation.sklearn is deprecated; import from otel_ml.frameworks.sklearn",
    DeprecationWarning,
    stacklevel=2,
)
