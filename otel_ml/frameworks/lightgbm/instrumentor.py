"""Predictions of LightGBM's own API as spans, with no code changed: ``Booster.predict``.

``LGBMClassifier`` and the other classes with scikit-learn's API are observed by scikit-learn's instrumentation; the
calls that they make of their booster do not count again.

**What is not observed.** Raw scores, leaves and contributions; ranking; objectives of the application, whose results
are raw scores; everything inside training, its callbacks and metrics, ``cv`` and ``refit``.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from otel_ml.frameworks.framework import FrameworkInstrumentor, Options
from otel_ml.frameworks.library import LibraryObserver, Plan

_DRIVERS = ("sklearn.", "lightgbm.sklearn")
_CHANGES = ("update", "refit", "reset_parameter", "model_from_string", "set_attr", "__setstate__")


class _Observer(LibraryObserver):
    def __init__(self, options: Options) -> None:
        super().__init__(options, self.plan, _DRIVERS)

    def attach(self, module: ModuleType) -> None:
        booster = module.Booster
        self.observe(booster, "predict")
        self.hush(booster, "eval", "eval_train", "eval_valid")
        self.hush_and_forget(booster, *_CHANGES)
        # Callbacks run between the booster's methods, so the functions that call them are replaced wherever they are.
        engine: Any = module.engine
        self.hush_functions(filter(None, (module, engine, getattr(module, "sklearn", None))), "train", "cv")

    def plan(self, booster: Any) -> Plan:
        # imported here: it needs numpy, which LightGBM has loaded
        from otel_ml.frameworks.lightgbm import boosters

        return boosters.plan(booster, self.models)


class LightGBMInstrumentor(FrameworkInstrumentor[_Observer]):
    """Instruments LightGBM's ``Booster``; the module's docstring lists what is observed.

    ``OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=otel_ml_lightgbm`` keeps it from being loaded.
    """

    distribution = "lightgbm"
    versions = ">= 3.3"
    module = "lightgbm"

    def observe(self, options: Options) -> _Observer:
        """Return the observer of LightGBM's boosters."""
        return _Observer(options)
