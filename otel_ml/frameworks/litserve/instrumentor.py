"""Predictions made in LitServe have the name of the path that they answer: ``churn`` for ``api_path="/churn"``.

``predict`` of each ``LitAPI`` is replaced in its class; it runs in the worker processes that LitServe starts. LitServe
gives a request no id that a client sees, so predictions get made ids, and so do batches (``max_batch_size``).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any, Final

from otel_ml.frameworks.base import shielded
from otel_ml.frameworks.framework import FrameworkInstrumentor, Options
from otel_ml.frameworks.patches import Patches
from otel_ml.served import serving

_DEFAULT_PATH: Final = "predict"
"""The path of an application that names none: it says nothing of the model."""


class _Observer:
    """One instrumentation, from ``instrument`` to ``uninstrument``."""

    def __init__(self) -> None:
        self.patches = Patches()

    def attach(self, module: ModuleType) -> None:
        """Replace ``predict`` of every API that exists, and of every one defined later."""
        self.patches.on_family(module.LitAPI, partial(shielded, self.adopt))

    def adopt(self, cls: type) -> None:
        """Replace the method that an API itself defines; one that streams is a generator, and is left alone."""
        if "predict" in vars(cls):
            is_coroutine = inspect.iscoroutinefunction(vars(cls)["predict"])
            self.patches.replace(cls, "predict", self.answer_async if is_coroutine else self.answer)

    def answer(self, original: Callable[..., Any], api: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Answer one request, or a batch of them."""
        with serving(shielded(_name_of, api) or ""):
            return original(api, *args, **kwargs)

    async def answer_async(
        self, original: Callable[..., Any], api: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Answer one request on an event loop."""
        with serving(shielded(_name_of, api) or ""):
            return await original(api, *args, **kwargs)


def _name_of(api: Any) -> str:
    path = str(api.api_path or "").strip("/")
    return "" if path == _DEFAULT_PATH else path


class LitServeInstrumentor(FrameworkInstrumentor[_Observer]):
    """Instruments LitServe; the module's docstring says how."""

    distribution = "litserve"
    versions = ">= 0.2.5"
    module = "litserve.api"
    has_models = False

    def observe(self, options: Options) -> _Observer:
        """Return the observer of LitServe's APIs."""
        return _Observer()
