"""Instrumentation of Flask: :class:`FlaskInstrumentor`."""

from __future__ import annotations

from otel_ml.frameworks.flask.instrumentor import FlaskInstrumentor

__all__ = ["FlaskInstrumentor"]
