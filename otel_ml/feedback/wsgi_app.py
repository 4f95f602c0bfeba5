"""The route as a WSGI application."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable
from typing import Any, Final, TypeAlias

from otel_ml.feedback.answers import Answer, RefusedError
from otel_ml.feedback.route import MAX_BYTES, MAX_LABELS, PATH, Route

Environ: TypeAlias = dict[str, Any]
Application: TypeAlias = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]
_PART: Final = 65_536


def wsgi(
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
    """Return a WSGI application that takes labels; the settings are those of :func:`.asgi`.

    ``app`` answers every other request: ``application = wsgi(application, token=…)``.
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

    def application(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        below = str(environ.get("PATH_INFO", ""))
        if app is not None and not route.takes(below):
            return app(environ, start_response)
        method = str(environ["REQUEST_METHOD"])
        answer = _answer(route, environ, method, below)
        start_response(answer.line, list(answer.headers))
        return [b"" if method == "HEAD" else answer.body]

    return application


def _answer(route: Route, environ: Environ, method: str, below: str) -> Answer:
    refusal = route.refuses(method, below, _headers(environ))
    if refusal is not None:
        return refusal
    length = str(environ.get("CONTENT_LENGTH") or "").strip()
    if not length and not environ.get("wsgi.input_terminated"):
        return RefusedError(411, "the body has no length, and this server cannot read it without").answer()
    try:
        return route.answer(_read(environ["wsgi.input"], int(length) if length else route.max_bytes + 1))
    except (OSError, EOFError, ValueError):  # each server has its own for a caller that is gone
        return RefusedError(400, "the body ended early").answer()


def _read(source: Any, most: int) -> bytes:
    body = bytearray()
    while len(body) < most and (part := source.read(min(_PART, most - len(body)))):
        body += part
    return bytes(body)


def _headers(environ: Environ) -> dict[str, str]:
    headers = {
        name[5:].replace("_", "-").lower(): str(value) for name, value in environ.items() if name.startswith("HTTP_")
    }
    for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        headers[name.replace("_", "-").lower()] = str(environ.get(name) or "")
    return headers
