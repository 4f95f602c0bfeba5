"""Instrumentation of BentoML: :class:`BentoMLInstrumentor`."""

from __future__ import annotations

from otel_ml.frameworks.bentoml.instrumentor import BentoMLInstrumentor

__all__ = ["BentoMLInstrumentor"]
