"""Predictions of statsmodels as spans, with no code changed: ``predict(exog)`` of fitted results.

**What is not observed.** ``predict()`` without ``exog``, which is of the training rows; linear predictors and other
``which``; forecasts of time series; several outputs; what statsmodels and scikit-learn evaluate.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from otel_ml.frameworks.framework import FrameworkInstrumentor, Options
from otel_ml.frameworks.library import LibraryObserver, Plan

_DRIVERS = (
    "sklearn.", "statsmodels.base.model", "statsmodels.base._", "statsmodels.discrete.", "statsmodels.genmod.",
    "statsmodels.graphics.", "statsmodels.regression.", "statsmodels.stats.", "statsmodels.treatment.",
)  # fmt: skip
"""Not ``statsmodels.base.wrapper``: the application's calls come through it."""


class _Observer(LibraryObserver):
    def __init__(self, options: Options) -> None:
        super().__init__(options, self.plan, _DRIVERS)

    def attach(self, module: ModuleType) -> None:
        self.observe(module.Results, "predict")

    def plan(self, results: Any) -> Plan:
        # imported here: it needs numpy, which statsmodels has loaded
        from otel_ml.frameworks.statsmodels import results as fitted

        return fitted.plan(results, self.models)


class StatsmodelsInstrumentor(FrameworkInstrumentor[_Observer]):
    """Instruments the results of statsmodels; the module's docstring lists what is observed.

    ``OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=otel_ml_statsmodels`` keeps it from being loaded.
    """

    distribution = "statsmodels"
    versions = ">= 0.13"
    module = "statsmodels.base.model"

    def observe(self, options: Options) -> _Observer:
        """Return the observer of results."""
        return _Observer(options)
