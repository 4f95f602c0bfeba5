"""Predictions of Keras 3 as spans, with no code changed: ``Model.predict`` and ``Model.predict_on_batch``.

Every backend (JAX, TensorFlow, PyTorch) is observed. The activation of the last layer says what a result means; the
outputs of a model that is compiled with ``from_logits=True`` are turned into probabilities.

**What is not observed.** ``model(x)``, which also trains; everything inside ``fit``, ``evaluate``, ``train_on_batch``
and ``test_on_batch``; models with several outputs. Images, sequences and texts are predictions without features.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, Final

from otel_ml.frameworks.framework import FrameworkInstrumentor, Options
from otel_ml.frameworks.library import LibraryObserver, Plan

_PREDICTS: Final = ("predict", "predict_on_batch")
_TRAINS: Final = ("fit", "evaluate", "train_on_batch", "test_on_batch", "compile")


class _Observer(LibraryObserver):
    def __init__(self, options: Options) -> None:
        super().__init__(options, self.plan)

    def attach(self, module: ModuleType) -> None:
        """Replace the methods where the backend defines them; the base class only raises."""
        for method in _PREDICTS:
            self.observe(_owner(module.Model, method), method)
        for method in _TRAINS:
            self.hush_and_forget(_owner(module.Model, method), method)

    def plan(self, model: Any) -> Plan:
        # imported here: it needs numpy, which Keras has loaded
        from otel_ml.frameworks.keras import networks

        return networks.plan(model, self.models)


def _owner(cls: type, method: str) -> type:
    return next(owner for owner in cls.__mro__ if method in vars(owner))


class KerasInstrumentor(FrameworkInstrumentor[_Observer]):
    """Instruments Keras; the module's docstring lists what is observed.

    ``OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=otel_ml_keras`` keeps it from being loaded.
    """

    distribution = "keras"
    versions = ">= 3"
    module = "keras"

    def observe(self, options: Options) -> _Observer:
        """Return the observer of Keras's models."""
        return _Observer(options)
