"""Instrumentation of KServe's Python SDK: :class:`KServeInstrumentor`."""

from __future__ import annotations

from otel_ml.frameworks.kserve.instrumentor import KServeInstrumentor

__all__ = ["KServeInstrumentor"]
