"""Instrumentation of MLServer: :class:`MLServerInstrumentor`."""

from __future__ import annotations

from otel_ml.frameworks.mlserver.instrumentor import MLServerInstrumentor

__all__ = ["MLServerInstrumentor"]
