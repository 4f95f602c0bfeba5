"""Predictions of XGBoost's own API as spans, with no code changed: ``Booster.predict``, ``Booster.inplace_predict``.

``XGBClassifier`` and the other classes with scikit-learn's API are observed by scikit-learn's instrumentation; the
calls that they make of their booster do not count again.

**What is not observed.** Margins, leaves and contributions; ranking; models with several outputs; everything inside
training, its callbacks, metrics and objectives, cross-validation and ``eval``.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from otel_ml.frameworks.framework import FrameworkInstrumentor, Options
from otel_ml.frameworks.library import LibraryObserver, Plan

_DRIVERS = ("sklearn.", "xgboost.sklearn")
_TRAINS = ("update", "boost", "load_model", "load_config", "set_param", "set_attr", "reset", "_set_feature_info")


class _Observer(LibraryObserver):
    def __init__(self, options: Options) -> None:
        super().__init__(options, self.plan, _DRIVERS)

    def attach(self, module: ModuleType) -> None:
        self.observe(module.Booster, "predict", "inplace_predict")
        self.hush(module.Booster, "eval_set")
        self.hush_and_forget(module.Booster, *_TRAINS)
        callbacks: Any = getattr(module.callback, "CallbackContainer", None)
        if callbacks is not None:
            self.hush(callbacks, "before_training", "after_training", "before_iteration", "after_iteration")

    def plan(self, booster: Any) -> Plan:
        # imported here: it needs numpy, which XGBoost has loaded
        from otel_ml.frameworks.xgboost import boosters

        return boosters.plan(booster, self.models)


class XGBoostInstrumentor(FrameworkInstrumentor[_Observer]):
    """Instruments XGBoost's ``Booster``; the module's docstring lists what is observed.

    ``OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=otel_ml_xgboost`` keeps it from being loaded.
    """

    distribution = "xgboost"
    builds = ("xgboost-cpu",)
    versions = ">= 1.6"
    module = "xgboost"

    def observe(self, options: Options) -> _Observer:
        """Return the observer of XGBoost's boosters."""
        return _Observer(options)
