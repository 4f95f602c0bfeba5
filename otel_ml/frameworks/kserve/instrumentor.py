"""Predictions made in a KServe model server have its model's name, and the id of the inference request.

``DataPlane.infer`` answers each request of protocols 1 and 2, over REST and gRPC. The id is the first of: ``id`` of a
request of protocol 2, the header ``Ce-Id`` of a CloudEvent, ``X-Request-Id``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, Final

from otel_ml.frameworks.base import shielded
from otel_ml.frameworks.framework import FrameworkInstrumentor, Options
from otel_ml.frameworks.patches import Patches
from otel_ml.served import serving

_HEADERS: Final = ("ce-id", "x-request-id")


class _Observer:
    """One instrumentation, from ``instrument`` to ``uninstrument``."""

    def __init__(self) -> None:
        self.patches = Patches()

    def attach(self, module: ModuleType) -> None:
        """Replace what answers a request."""
        self.patches.replace(module.DataPlane, "infer", self.answer)

    async def answer(
        self, original: Callable[..., Any], plane: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Answer one inference request."""
        given = dict(zip(("model_name", "request", "headers"), args, strict=False)) | kwargs
        name = str(given.get("model_name") or "")
        request_id = shielded(_id_of, given.get("request"), given.get("headers")) or ""
        with serving(name, request_id=request_id):
            return await original(plane, *args, **kwargs)


def _id_of(request: Any, headers: Mapping[str, str] | None) -> str:
    if not isinstance(request, Mapping) and getattr(request, "id", None):
        return str(request.id)
    plain = {name.lower(): value for name, value in (headers or {}).items()}
    return next(filter(None, (plain.get(name) for name in _HEADERS)), "")


class KServeInstrumentor(FrameworkInstrumentor[_Observer]):
    """Instruments model servers made with KServe's Python SDK; the module's docstring says how."""

    distribution = "kserve"
    versions = ">= 0.14"
    module = "kserve.protocol.dataplane"
    has_models = False

    def observe(self, options: Options) -> _Observer:
        """Return the observer of KServe's data plane."""
        return _Observer()
