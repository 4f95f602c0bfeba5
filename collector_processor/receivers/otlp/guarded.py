"""Check tokens for both transports: a sender without a valid token is refused before its body is read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import grpc
import grpc.aio
from google.rpc import code_pb2

from collector_processor.journal.base import Signal
from collector_processor.receivers.otlp import answers
from collector_processor.receivers.otlp.answers import ContentType
from collector_processor.security.guard import HEADER, Guard
from collector_processor.serving.http_server import App, Receive, Scope, Send

_T = TypeVar("_T")
_Context = grpc.aio.ServicerContext[bytes, bytes]


def guarded_http(app: App, guard: Guard) -> App:
    """Return the application behind a guard; others get 401 before the path or the body is read."""

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        headers: Sequence[tuple[bytes, bytes]] = scope["headers"]
        sent = [value for name, value in headers if name == HEADER.encode()]
        client = scope.get("client")
        signal = str(scope["path"]).rpartition("/")[2]
        message = guard.refusal(sent, "http", signal, str(client[0]) if client else "an unknown address")
        if message is None:
            await app(scope, receive, send)
            return
        content_type = _answer_type(headers)
        body = answers.encode(answers.status(code_pb2.UNAUTHENTICATED, message), content_type)
        answer = [
            (b"content-type", content_type.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"www-authenticate", f'{guard.scheme} realm="otel-ml"'.encode()),
        ]
        await send({"type": "http.response.start", "status": 401, "headers": answer})
        await send({"type": "http.response.body", "body": body})

    return guarded


def _answer_type(headers: Sequence[tuple[bytes, bytes]]) -> ContentType:
    sent = next((value for name, value in headers if name == b"content-type"), b"")
    protobuf = sent.partition(b";")[0].strip().lower() == b"application/x-protobuf"
    return "application/x-protobuf" if protobuf else "application/json"


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
