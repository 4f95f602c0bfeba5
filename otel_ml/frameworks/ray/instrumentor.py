"""Predictions made in Ray Serve have its names: the deployment's, a multiplexed model's id, and the request's id.

A replica answers each request in ``UserCallableWrapper._call_func_or_gen``. A request over HTTP has the id that the
client gets as ``X-Request-Id``. A call through a handle makes its own ids, because one request may make many of them.
``@serve.batch`` gathers requests in a task that one of them started; each row of a batch has the id of its request.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any, Final

import wrapt

from otel_ml.frameworks.base import ByInstance, shielded
from otel_ml.frameworks.framework import FrameworkInstrumentor, Options
from otel_ml.frameworks.patches import Patches
from otel_ml.served import serving, serving_apart

_DEFAULT_APP: Final = "default"


class _Observer:
    """One instrumentation, from ``instrument`` to ``uninstrument``."""

    def __init__(self) -> None:
        self.patches = Patches()
        self._ids: ByInstance[str] = ByInstance()
        """The ids of requests that came over HTTP, by Ray's own record of them."""

    def attach(self, module: ModuleType) -> None:
        """Replace what calls the application's code, for one request and for many."""
        self.patches.replace(module.UserCallableWrapper, "_call_func_or_gen", self.answer)
        wrapt.register_post_import_hook(self._batching, "ray.serve.batching")

    async def answer(
        self, original: Callable[..., Any], wrapper: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Answer one request."""
        name, request_id = shielded(self._request, kwargs) or ("", "")
        with serving(name, request_id=request_id):
            return await original(wrapper, *args, **kwargs)

    async def answer_many(
        self, original: Callable[..., Any], queue: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Answer the requests of one batch."""
        batch = args[1] if len(args) > 1 else kwargs.get("batch", ())
        name, ids = shielded(self._requests, batch) or ("", [])
        with serving_apart(name, request_id=ids):
            return await original(queue, *args, **kwargs)

    def _batching(self, module: ModuleType) -> None:
        if self.patches.active:
            self.patches.replace(module._BatchQueue, "_process_batch_inner", self.answer_many)  # noqa: SLF001

    def _request(self, kwargs: dict[str, Any]) -> tuple[str, str]:
        context: Any = sys.modules["ray.serve.context"]._get_serve_request_context()  # noqa: SLF001
        request_id = ""
        if _is_http(kwargs.get("args") or ()):
            request_id = str(context.request_id or "")
            self._ids.put(context, request_id)
        return _name_of(context), request_id

    def _requests(self, batch: Iterable[Any]) -> tuple[str, list[str]]:
        contexts = [each.request_context for each in batch if not each.future.cancelled()]
        ids = [self._ids.get(context) or "" for context in contexts]
        return _name_of(contexts[0]) if contexts else "", ids if any(ids) else []


def _is_http(args: tuple[Any, ...]) -> bool:
    """Return whether the application's code gets a request of HTTP: Starlette's, or ASGI's scope."""
    first = args[0] if args else None
    scope = first if isinstance(first, dict) else getattr(first, "scope", None)
    return isinstance(scope, dict) and scope.get("type") == "http"


def _name_of(context: Any) -> str:
    replica: Any = sys.modules["ray.serve.context"]._get_internal_replica_context()  # noqa: SLF001
    app = "" if replica.app_name == _DEFAULT_APP else replica.app_name
    return "/".join(filter(None, (app, replica.deployment, context.multiplexed_model_id)))


class RayServeInstrumentor(FrameworkInstrumentor[_Observer]):
    """Instruments deployments of Ray Serve; the module's docstring says how."""

    distribution = "ray"
    versions = ">= 2.40"
    module = "ray.serve._private.replica"
    has_models = False

    def observe(self, options: Options) -> _Observer:
        """Return the observer of Ray Serve's replicas."""
        return _Observer()
