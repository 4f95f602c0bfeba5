"""Predictions made in a BentoML service have its names: the Bento's name and version, and the id of the request.

The id is what the client gets as ``X-BentoML-Request-ID``. A method with ``batchable=True`` answers many requests with
one call, in a task that the first of them started: such a call makes its own ids, and has nothing of that request.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final

import wrapt

from otel_ml.frameworks.base import shielded
from otel_ml.frameworks.framework import FrameworkInstrumentor, Options
from otel_ml.frameworks.patches import Patches
from otel_ml.served import serving, serving_apart

_CONTEXT: Final = "bentoml._internal.context"
"""BentoML has loaded it by the time a request comes."""
_NO_VERSION: Final = "not available"


class _Observer:
    """One instrumentation, from ``instrument`` to ``uninstrument``."""

    def __init__(self) -> None:
        self.patches = Patches()

    def attach(self, module: ModuleType) -> None:
        """Replace what answers a request, and what answers a batch of them."""
        self.patches.replace(module.ServiceAppFactory, "api_endpoint", self.answer)
        wrapt.register_post_import_hook(self._batching, "bentoml._internal.marshal.dispatcher")

    async def answer(
        self, original: Callable[..., Any], factory: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Answer one request."""
        name, version = shielded(_identity, factory.service.name) or ("", "")
        with serving(name, version=version, request_id=shielded(_request_id) or ""):
            return await original(factory, *args, **kwargs)

    async def answer_many(
        self, original: Callable[..., Any], dispatcher: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Answer the requests of one batch."""
        name, version = shielded(_identity, "") or ("", "")
        with serving_apart(name, version=version):
            return await original(dispatcher, *args, **kwargs)

    def _batching(self, module: ModuleType) -> None:
        if self.patches.active:
            self.patches.replace(module.CorkDispatcher, "outbound_call", self.answer_many)


def _identity(service: str) -> tuple[str, str]:
    server_context: Any = sys.modules[_CONTEXT].server_context
    version = server_context.bento_version
    name = server_context.bento_name or service or server_context.service_name or ""
    return name, "" if version == _NO_VERSION else version or ""


def _request_id() -> str:
    number: Any = sys.modules[_CONTEXT].trace_context.request_id
    return f"{number:016x}" if number else ""


class BentoMLInstrumentor(FrameworkInstrumentor[_Observer]):
    """Instruments services of BentoML; the module's docstring says how."""

    distribution = "bentoml"
    versions = ">= 1.4"
    module = "_bentoml_impl.server.app"
    has_models = False

    def observe(self, options: Options) -> _Observer:
        """Return the observer of BentoML's services."""
        return _Observer()
