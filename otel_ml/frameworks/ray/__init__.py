"""Instrumentation of Ray Serve: :class:`RayServeInstrumentor`."""

from __future__ import annotations

from otel_ml.frameworks.ray.instrumentor import RayServeInstrumentor

__all__ = ["RayServeInstrumentor"]
