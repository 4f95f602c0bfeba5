"""Requests to an ASGI application, in this process."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx


def get(app: Any, *paths: str, headers: dict[str, str] | None = None) -> list[httpx.Response]:
    """Answers to requests made at once, on an event loop of their own; an error of the application is its answer."""

    async def together() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://app", headers=headers) as client:
            return list(await asyncio.gather(*map(client.get, paths)))

    return asyncio.run(together())


def websocket(app: Any, path: str) -> list[dict[str, Any]]:
    """What an application sends on a WebSocket that connects and disconnects."""
    received = iter([{"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 1000}])
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return next(received)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": path, "query_string": b"", "headers": [], "subprotocols": []}
    asyncio.run(app(scope, receive, send))
    return sent
