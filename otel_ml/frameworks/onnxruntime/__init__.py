"""Zero-code instrumentation of ONNX Runtime: :class:`OnnxRuntimeInstrumentor`."""

from __future__ import annotations

from otel_ml.frameworks.onnxruntime.instrumentor import OnnxRuntimeInstrumentor

__all__ = ["OnnxRuntimeInstrumentor"]
