"""Flushes when uvicorn shuts down: it then ends by the signal that stopped it, and no exit handler runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import ModuleType
from typing import Any

import wrapt

from otel_ml.delivery.flush import IDLE_S, flush

_hooked: list[bool] = []


def flush_servers() -> None:
    """Flush at the end of every uvicorn server of this process."""
    if not _hooked:
        _hooked.append(True)
        wrapt.register_post_import_hook(_replace, "uvicorn.server")


def _replace(module: ModuleType) -> None:
    wrapt.wrap_function_wrapper(module, "Server.shutdown", _shutdown)


async def _shutdown(shutdown: Callable[..., Any], _server: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    result = await shutdown(*args, **kwargs)
    await asyncio.to_thread(flush, IDLE_S)
    return result
