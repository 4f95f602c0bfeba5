"""The ids of the predictions made in a request return in a header of its response: Django under WSGI and ASGI.

``BaseHandler.get_response`` and its asynchronous twin are replaced in the class: they are around all middleware, so
what a cache stores has no ids, and the header is in responses to errors, too.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from types import ModuleType
from typing import Any

from otel_ml.frameworks.answers import answering, chosen_header, header_value, is_answering
from otel_ml.frameworks.base import shielded
from otel_ml.frameworks.framework import FrameworkInstrumentor, Options
from otel_ml.frameworks.patches import Patches
from otel_ml.served import Request


class _Observer:
    """One instrumentation, from ``instrument`` to ``uninstrument``."""

    def __init__(self, header: str) -> None:
        self.patches = Patches()
        self._header = header

    def attach(self, module: ModuleType) -> None:
        """Replace what both handlers call."""
        self.patches.replace(module.BaseHandler, "get_response", self.answer)
        self.patches.replace(module.BaseHandler, "get_response_async", self.answer_async)

    def answer(self, original: Callable[..., Any], handler: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Answer one request."""
        if is_answering():
            return original(handler, *args, **kwargs)
        with answering() as request:
            response = original(handler, *args, **kwargs)
        shielded(self._add, request, response)
        return response

    async def answer_async(
        self, original: Callable[..., Any], handler: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Answer one request on an event loop."""
        if is_answering():
            return await original(handler, *args, **kwargs)
        with answering() as request:
            response = await original(handler, *args, **kwargs)
        shielded(self._add, request, response)
        return response

    def _add(self, request: Request, response: Any) -> None:
        value = header_value(request.calls) if self._header else ""
        if value:
            response.headers.setdefault(self._header, value)


class DjangoInstrumentor(FrameworkInstrumentor[_Observer]):
    """Instruments Django.

    ``instrument`` takes ``prediction_id_header``: the header's name or ``off``, else ``OTEL_ML_PREDICTION_ID_HEADER``,
    else ``X-Prediction-Id``.
    """

    distribution = "django"
    versions = ">= 4.2"
    module = "django.core.handlers.base"
    has_models = False

    def observe(self, options: Options) -> _Observer:
        """Return the observer of Django's handlers."""
        return _Observer(chosen_header(options.arguments.get("prediction_id_header"), os.environ))
