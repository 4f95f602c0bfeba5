"""The route as an ASGI application."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any, TypeAlias

from otel_ml.feedback.answers import Answer
from otel_ml.feedback.route import MAX_BYTES, MAX_LABELS, PATH, Route

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


def asgi(
    app: Application | None = None,
    *,
    path: str = PATH,
    models: Collection[str] = (),
    token: str | None = None,
    token_file: str | os.PathLike[str] | None = None,
    open_to_all: bool = False,
    max_labels: int = MAX_LABELS,
    max_bytes: int = MAX_BYTES,
) -> Application:
    """Return an ASGI application that takes labels: ``POST /feedback``, described at ``/feedback/openapi.json``.

    - ``app``: answers every other request; ``add_middleware(asgi, token=…)`` passes it. Without it, the route is a
      separate application, to be mounted.
    - ``path``: of the route, if not ``/feedback``.
    - ``models``: names of the models that labels may be for, by default any. If it is one, labels need not name it.
    - ``token``: that callers send as ``Authorization: Bearer …``; ``token_file``: a file with one a line, which is read
      again when it changes. By default ``OTEL_ML_FEEDBACK_TOKEN`` and ``OTEL_ML_FEEDBACK_TOKEN_FILE``.
    - ``open_to_all``: takes labels without a token, for applications that check their callers themselves.
    - ``max_labels``, ``max_bytes``: of one request.

    Raises :class:`ValueError` here if a setting is wrong, and nothing after that.
    """
    route = Route(
        path=path,
        models=models,
        token=token,
        token_file=token_file,
        open_to_all=open_to_all,
        max_labels=max_labels,
        max_bytes=max_bytes,
    )

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        below = _below(scope) if scope["type"] == "http" else ""
        if app is not None and not (scope["type"] == "http" and route.takes(below)):
            await app(scope, receive, send)
        elif scope["type"] == "http":
            answer = await _answer(route, scope, receive)
            if answer is not None:
                await _reply(answer, scope, send)
        elif scope["type"] == "lifespan":
            await _live(receive, send)
        else:
            await send({"type": f"{scope['type']}.close"})

    return application


def _below(scope: Scope) -> str:
    """Return the path below the mount: frameworks differ in whether the path has that of the mount before it."""
    path, root = str(scope["path"]), str(scope.get("root_path", "")).rstrip("/")
    return path[len(root) :] if root and path.startswith(root) else path


async def _answer(route: Route, scope: Scope, receive: Receive) -> Answer | None:
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    refusal = route.refuses(scope["method"], scope["path"], headers)
    if refusal is not None:
        return refusal
    body = bytearray()
    while len(body) <= route.max_bytes:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if not message.get("more_body", False):
            break
    try:
        asyncio.get_running_loop()
    except RuntimeError:  # a server on another loop, such as trio's
        return route.answer(bytes(body))
    # A queue of labels that is full makes its caller wait, which must not be the loop.
    return await asyncio.to_thread(route.answer, bytes(body))


async def _reply(answer: Answer, scope: Scope, send: Send) -> None:
    headers = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in answer.headers]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else answer.body})


async def _live(receive: Receive, send: Send) -> None:
    while True:
        stage = (await receive())["type"]
        await send({"type": f"{stage}.complete"})
        if stage == "lifespan.shutdown":
            return
