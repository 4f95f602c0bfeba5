"""Zero-code instrumentation of statsmodels: :class:`StatsmodelsInstrumentor`."""

from __future__ import annotations

from otel_ml.frameworks.statsmodels.instrumentor import StatsmodelsInstrumentor

__all__ = ["StatsmodelsInstrumentor"]
