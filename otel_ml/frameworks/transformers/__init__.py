"""Zero-code instrumentation of classification pipelines of Hugging Face's transformers."""

from __future__ import annotations

from otel_ml.frameworks.transformers.instrumentor import TransformersInstrumentor

__all__ = ["TransformersInstrumentor"]
