"""Predictions made in MLServer have its names: the model's name and version, and the id of the inference request.

``predict`` of each runtime (the subclasses of ``MLModel``) is replaced in its class, so it is the same in the server's
process and in its parallel workers. With adaptive batching MLServer merges requests in a task that the first of them
started; so the merged request carries the id of each of its rows, and is answered apart from that first request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import ModuleType
from typing import Any, Final

import wrapt

from otel_ml.frameworks.base import shielded
from otel_ml.frameworks.framework import FrameworkInstrumentor, Options
from otel_ml.frameworks.patches import Patches
from otel_ml.served import serving, serving_apart

_ROW_IDS: Final = "_otel_ml_row_ids"
"""In the namespace of a merged request, beside its fields: it travels to a worker, and no model or client sees it."""


class _Observer:
    """One instrumentation, from ``instrument`` to ``uninstrument``."""

    def __init__(self) -> None:
        self.patches = Patches()

    def attach(self, module: ModuleType) -> None:
        """Replace ``predict`` of every runtime that exists, and of every one defined later."""
        self.patches.on_family(module.MLModel, partial(shielded, self.adopt))
        wrapt.register_post_import_hook(self._batching, "mlserver.batching.requests")

    def adopt(self, cls: type) -> None:
        """Replace the method that a runtime itself defines."""
        if self.patches.replace(cls, "predict", self.answer):
            del vars(cls)["predict"].__wrapped__  # adaptive batching follows it to the function, away from the model

    async def answer(
        self, original: Callable[..., Any], model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Answer one inference request, or several that were merged."""
        payload = args[0] if args else kwargs.get("payload")
        name, version = shielded(_identity, model) or ("", "")
        row_ids = getattr(payload, "__dict__", {}).get(_ROW_IDS)
        if row_ids is not None:
            with serving_apart(name, version=version, request_id=row_ids):
                return await original(model, *args, **kwargs)
        with serving(name, version=version, request_id=str(getattr(payload, "id", None) or "")):
            return await original(model, *args, **kwargs)

    def merge(self, original: Callable[..., Any], batched: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Merge requests, and keep the id of each row beside the fields of the merged one."""
        merged = original(batched, *args, **kwargs)
        row_ids = shielded(_row_ids, batched)
        merged.__dict__[_ROW_IDS] = row_ids or []
        return merged

    def _batching(self, module: ModuleType) -> None:
        if self.patches.active:
            self.patches.replace(module.BatchedRequests, "_merge_requests", self.merge)


def _identity(model: Any) -> tuple[str, str]:
    return str(model.name or ""), str(model.version or "")


def _row_ids(batched: Any) -> list[str]:
    """Return the id of each row: that of its request, with its number if the request has several."""
    requests: Mapping[str, Any] = batched.inference_requests
    sizes: Mapping[str, int] = batched._minibatch_sizes  # noqa: SLF001 - MLServer has no other place for it
    ids: list[str] = []
    for key, request in requests.items():
        rows = sizes[key]
        ids.extend([request.id] if rows == 1 else [f"{request.id}:{row}" for row in range(rows)])
    return ids


class MLServerInstrumentor(FrameworkInstrumentor[_Observer]):
    """Instruments MLServer; the module's docstring says how."""

    distribution = "mlserver"
    versions = ">= 1.6"
    module = "mlserver.model"
    has_models = False

    def observe(self, options: Options) -> _Observer:
        """Return the observer of MLServer's runtimes."""
        return _Observer()
