"""Instrumentation of LitServe: :class:`LitServeInstrumentor`."""

from __future__ import annotations

from otel_ml.frameworks.litserve.instrumentor import LitServeInstrumentor

__all__ = ["LitServeInstrumentor"]
