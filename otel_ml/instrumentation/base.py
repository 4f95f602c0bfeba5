"""The former name of :mod:`otel_ml.frameworks.base`."""

from __future__ import annotations

import warnings

from otel_ml.frameworks.base import Hooks, Started, is_nested, observing, quiet, quietly

__all__ = ["Hooks", "Started", "is_nested", "observing", "quiet", "quietly"]

warnings.warn(
    "otel_ml.instrumentation.base is deprecated; import from otel_ml.frameworks.base",
    DeprecationWarning,
    stacklevel=2,
)
