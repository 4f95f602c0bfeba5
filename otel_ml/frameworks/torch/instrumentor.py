"""Predictions of PyTorch modules as spans: of those that :func:`~otel_ml.frameworks.torch.observe_module` names.

A module does not show whether it is a model or a layer, nor what its tensors mean, so the application says both in one
line. The ``forward`` of the module's class is replaced; calls of other modules of that class pass.

**What is not observed.** Calls with gradients, or of a module in training; tracing and graph capture; modules whose
class does not define ``forward`` (TorchScript), which is logged once.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any, Final

from otel_ml.frameworks.base import Begin, Hooks, Started, observing
from otel_ml.frameworks.callers import driven_by
from otel_ml.frameworks.framework import FrameworkInstrumentor, Options
from otel_ml.frameworks.names import Plans
from otel_ml.frameworks.patches import Patches
from otel_ml.frameworks.torch.modules import listen, observed_modules, stop_listening
from otel_ml.problems import report

_DRIVERS: Final = ("sklearn.", "torch.jit._trace")
"""Evaluation, and the calls that a trace is compared with."""


class _Observer:
    def __init__(self, options: Options) -> None:
        self.patches = Patches()
        self._models = options.models()
        self._hooks: Hooks = options.hooks
        self._plans: Plans[Begin | bool] = Plans(self._plan, False)

    def attach(self, module: ModuleType) -> None:
        """Replace ``forward`` of the classes of all modules to observe."""
        stop_listening(self.adopt)  # the module of PyTorch is imported again
        listen(self.adopt)

    def adopt(self, cls: type) -> None:
        """Replace ``forward`` where the class has it."""
        owner = next((each for each in cls.__mro__ if "forward" in vars(each)), None)
        if owner is None or owner.__module__.startswith(("torch.nn.modules.module", "torch.jit", "torch._dynamo")):
            report(
                f"torch {cls.__qualname__}",
                "modules of class %s cannot be observed, it defines no forward; use `with otel_ml.Model(…).predict(…)`",
                cls.__qualname__,
            )
            return
        self.patches.replace(owner, "forward", observing(self._begin, self._hooks))

    def _begin(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Started | None:
        if observed_modules.get(module) is None or module.training or _is_no_prediction(sys.modules["torch"]):
            return None
        begin = self._plans.of(module)
        return None if isinstance(begin, bool) else begin(module, args, kwargs)

    def _plan(self, module: Any) -> Begin | bool:
        # imported here: it needs numpy, which an application with a model has
        from otel_ml.frameworks.torch import tensors

        observed = observed_modules.get(module)
        return False if observed is None else tensors.begin_of(module, observed, self._models)


def _is_no_prediction(torch: Any) -> bool:
    """Return whether a call trains, or is recorded as a graph and not run."""
    if torch.is_grad_enabled() or torch.jit.is_tracing() or driven_by(*_DRIVERS):
        return True
    cuda = torch.cuda
    return cuda.is_initialized() and cuda.is_current_stream_capturing()


class TorchInstrumentor(FrameworkInstrumentor[_Observer]):
    """Instruments PyTorch; the module's docstring lists what is observed.

    ``OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=otel_ml_torch`` keeps it from being loaded.
    """

    distribution = "torch"
    versions = ">= 1.12"
    module = "torch"

    def observe(self, options: Options) -> _Observer:
        """Return the observer of the modules that the application names."""
        return _Observer(options)

    def _uninstrument(self, **kwargs: Any) -> None:
        if self.observer is not None:
            stop_listening(self.observer.adopt)
        super()._uninstrument(**kwargs)
