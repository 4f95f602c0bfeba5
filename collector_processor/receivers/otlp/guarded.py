"""Check tokens for both transports: a sender without a valid token is refused before its body is read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import grpc
import grpc.aio
from google.rpc import code_pb2

from collector_processor.journal.base import Signal
from collector_processor.receivers.otlp import answers
from collector_processor.security.guard import HEADER, Guard
from collector_processor.serving.http_connection import HttpCall, HttpHandler
from collector_processor.serving.routes import HttpAnswer

_T = TypeVar("_T")
_Context = grpc.aio.ServicerContext[bytes, bytes]


def guarded_http(handler: HttpHandler, guard: Guard) -> HttpHandler:
    """Return the handler behind a guard; others get 401 before the path or the body is read."""

    async def guarded(call: HttpCall) -> HttpAnswer | None:
        signal = call.head.path.rpartition("/")[2]
        message = guard.refusal(call.head.values(HEADER), "http", signal, call.peer)
        if message is None:
            return await handler(call)
        content_type = answers.answer_type(call.head.headers.get("content-type", ""))
        body = answers.encode(answers.status(code_pb2.UNAUTHENTICATED, message), content_type)
        challenge = (("www-authenticate", f'{guard.scheme} realm="otel-ml"'),)
        return HttpAnswer(body, content_type, 401, challenge)

    return guarded


def guarded_grpc(
    handler: Callable[[_T, _Context], Awaitable[bytes]], guard: Guard, signal: Signal
) -> Callable[[_T, _Context], Awaitable[bytes]]:
    """Return the handler behind a guard; others get UNAUTHENTICATED, before the message is read."""

    async def guarded(requests: _T, context: _Context) -> bytes:
        sent = [value for name, value in context.invocation_metadata() or () if name == HEADER]
        message = guard.refusal(sent, "grpc", signal, context.peer() or "an unknown address")
        if message is not None:
            status = answers.status(code_pb2.UNAUTHENTICATED, message)
            trailers = (("grpc-status-details-bin", status.SerializeToString()),)
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, status.message, trailers)
        return await handler(requests, context)

    return guarded
