"""Zero-code instrumentation of XGBoost's own API: :class:`XGBoostInstrumentor`."""

from __future__ import annotations

from otel_ml.frameworks.xgboost.instrumentor import XGBoostInstrumentor

__all__ = ["XGBoostInstrumentor"]
