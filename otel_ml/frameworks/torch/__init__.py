"""Instrumentation of PyTorch: predictions of the modules that the application names, see :func:`observe_module`."""

from __future__ import annotations

from otel_ml.frameworks.torch.instrumentor import TorchInstrumentor
from otel_ml.frameworks.torch.modules import observe_module

__all__ = ["TorchInstrumentor", "observe_module"]
