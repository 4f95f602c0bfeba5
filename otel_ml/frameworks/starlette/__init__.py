"""Instrumentation of Starlette and FastAPI: :class:`StarletteInstrumentor`."""

from __future__ import annotations

from otel_ml.frameworks.starlette.instrumentor import StarletteInstrumentor

__all__ = ["StarletteInstrumentor"]
