"""Model monitoring for OpenTelemetry: emits every prediction as a span with its features, score and identity."""

from __future__ import annotations

from otel_ml.by_name import label, labels
from otel_ml.config import Config
from otel_ml.delivery.flush import flush
from otel_ml.frameworks.last import last_prediction_ids
from otel_ml.frameworks.names import name_model
from otel_ml.model import Model
from otel_ml.prediction import Prediction
from otel_ml.sdk import setup
from otel_ml.served import serving

__all__ = [
    "Config",
    "Model",
    "Prediction",
    "flush",
    "label",
    "labels",
    "last_prediction_ids",
    "name_model",
    "serving",
    "setup",
]
