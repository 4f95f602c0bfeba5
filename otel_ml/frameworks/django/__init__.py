"""Instrumentation of Django: :class:`DjangoInstrumentor`."""

from __future__ import annotations

from otel_ml.frameworks.django.instrumentor import DjangoInstrumentor

__all__ = ["DjangoInstrumentor"]
