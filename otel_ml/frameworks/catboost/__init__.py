"""Zero-code instrumentation of CatBoost: :class:`CatBoostInstrumentor`."""

from __future__ import annotations

from otel_ml.frameworks.catboost.instrumentor import CatBoostInstrumentor

__all__ = ["CatBoostInstrumentor"]
