"""Predictions of CatBoost as spans, with no code changed: ``predict`` and ``predict_proba`` of its models.

The classes of CatBoost do not derive from scikit-learn's, so its instrumentation does not see them, except inside of a
pipeline or a search: then the outer call counts, once.

**What is not observed.** Raw values of classifiers, log probabilities, virtual ensembles, staged predictions; ranking;
models with several outputs; everything inside ``fit``, ``score`` and searches, and what scikit-learn evaluates.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from otel_ml.frameworks.framework import FrameworkInstrumentor, Options
from otel_ml.frameworks.library import LibraryObserver, Plan

_CLASSES = ("CatBoost", "CatBoostClassifier", "CatBoostRegressor")
_CHANGES = ("fit", "load_model", "set_feature_names", "set_probability_threshold", "grid_search", "randomized_search")


class _Observer(LibraryObserver):
    def __init__(self, options: Options) -> None:
        super().__init__(options, self.plan)

    def attach(self, module: ModuleType) -> None:
        for name in _CLASSES:
            self.observe(getattr(module, name), "predict", "predict_proba")
            self.hush_and_forget(getattr(module, name), *_CHANGES)

    def plan(self, model: Any) -> Plan:
        # imported here: it needs numpy, which CatBoost has loaded
        from otel_ml.frameworks.catboost import trees

        return trees.plan(model, self.models)


class CatBoostInstrumentor(FrameworkInstrumentor[_Observer]):
    """Instruments CatBoost's models; the module's docstring lists what is observed.

    ``OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=otel_ml_catboost`` keeps it from being loaded.
    """

    distribution = "catboost"
    versions = ">= 1.0"
    module = "catboost"

    def observe(self, options: Options) -> _Observer:
        """Return the observer of CatBoost's models."""
        return _Observer(options)
