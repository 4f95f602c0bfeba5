"""Zero-code instrumentation of Keras 3."""

from __future__ import annotations

from otel_ml.frameworks.keras.instrumentor import KerasInstrumentor

__all__ = ["KerasInstrumentor"]
