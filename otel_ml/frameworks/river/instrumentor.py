"""Predictions and labels of River as spans, with no code changed.

Predictions are ``predict_one`` and ``predict_proba_one`` of classifiers and regressors.

An online model learns from the truth, so ``learn_one(x, y)`` is the label of the prediction that was made for the same
``x`` before. Without one it is training, and emits nothing.

**What is not observed.** Scores of anomaly detectors, clusters, recommendations, forecasts, several outputs,
mini-batches (``predict_many``); the members of an ensemble and the steps of a pipeline; ``river.evaluate``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any, Final

from opentelemetry.instrumentation.utils import is_instrumentation_enabled

from otel_ml.frameworks.base import ByInstance, is_nested, quietly, shielded
from otel_ml.frameworks.callers import driven_by
from otel_ml.frameworks.framework import FrameworkInstrumentor, Options
from otel_ml.frameworks.library import LibraryObserver, Plan, argument
from otel_ml.frameworks.river.pending import Pending

_DRIVERS: Final = ("sklearn.", "river.evaluate", "river.checks")
_METHODS: Final = ("predict_one", "predict_proba_one", "learn_one")


class _Observer(LibraryObserver):
    def __init__(self, options: Options) -> None:
        super().__init__(options, self.plan, _DRIVERS)
        self._pending: ByInstance[Pending] = ByInstance(limit=1_000)

    def attach(self, module: ModuleType) -> None:
        self.patches.on_subclass(module.Estimator, partial(shielded, self.adopt))
        pending: list[type] = [module.Estimator]
        while pending:
            cls = pending.pop()
            self.adopt(cls)
            pending.extend(type.__subclasses__(cls))

    def adopt(self, cls: type) -> None:
        """Replace the methods that a class itself, or a mixin among its ancestors, defines."""
        for owner in cls.__mro__[:-1]:
            for name in vars(owner).keys() & set(_METHODS):
                if name == "learn_one":
                    self.patches.replace(owner, name, self._learn)
                else:
                    self.observe(owner, name)

    def plan(self, model: Any) -> Plan:
        from otel_ml.frameworks.river import estimators

        pending = self._pending.get(model)
        if pending is None:
            pending = Pending()
            self._pending.put(model, pending)
        return estimators.plan(model, self.models, pending)

    def _learn(self, original: Callable[..., Any], model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Learn without observing, then send the truth as the label of the prediction for the same row."""
        if is_nested() or not is_instrumentation_enabled() or driven_by(*_DRIVERS):
            return original(model, *args, **kwargs)
        pending = self._pending.get(model)
        row = argument(args, kwargs, 0, "x")
        waiting = None if pending is None or not len(pending) else shielded(pending.take, row)
        result = quietly(original, model, args, kwargs)
        truth = argument(args, kwargs, 1, "y")
        if waiting and truth is not None:
            for handle, is_class, prediction_id in waiting:
                handle.label(prediction_id, **({"class_": truth} if is_class else {"value": truth}))
        return result


class RiverInstrumentor(FrameworkInstrumentor[_Observer]):
    """Instruments River's classifiers and regressors; the module's docstring lists what is observed.

    ``OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=otel_ml_river`` keeps it from being loaded.
    """

    distribution = "river"
    versions = ">= 0.14"
    module = "river.base"

    def observe(self, options: Options) -> _Observer:
        """Return the observer of River's models."""
        return _Observer(options)
