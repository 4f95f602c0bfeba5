"""The former name of :mod:`otel_ml.otlp_exporter`."""

from __future__ import annotations

import warnings

from otel_ml.otlp_exporter import DEFAULT_MAX_REQUEST_BYTES, OtlpSpanExporter, SizeLimitedSpanExporter

__all__ = ["DEFAULT_MAX_REQUEST_BYTES", "OtlpSpanExporter", "SizeLimitedSpanExporter"]

warnings.warn(
    "otel_ml.sized_exporter is deprecated; import from otel_ml.otlp_exporter", DeprecationWarning, stacklevel=2
)
