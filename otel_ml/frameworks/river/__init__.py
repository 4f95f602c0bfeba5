"""Zero-code instrumentation of River: :class:`RiverInstrumentor`."""

from __future__ import annotations

from otel_ml.frameworks.river.instrumentor import RiverInstrumentor

__all__ = ["RiverInstrumentor"]
