"""Zero-code instrumentation of LightGBM's own API: :class:`LightGBMInstrumentor`."""

from __future__ import annotations

from otel_ml.frameworks.lightgbm.instrumentor import LightGBMInstrumentor

__all__ = ["LightGBMInstrumentor"]
