"""Zero-code instrumentation of MLflow: names from its registry, and predictions of its custom models."""

from __future__ import annotations

from otel_ml.frameworks.mlflow.instrumentor import MlflowInstrumentor

__all__ = ["MlflowInstrumentor"]
