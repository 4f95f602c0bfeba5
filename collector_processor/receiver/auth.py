"""Who may send: bearer tokens, asked for before a body is read, the same way on both transports."""

from __future__ import annotations

import hashlib
import hmac
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Literal, TypeVar

import grpc
import grpc.aio
from google.rpc import code_pb2

from collector_processor.credentials import Tokens
from collector_processor.journal.base import Signal
from collector_processor.receiver import answers
from collector_processor.receiver.admission import Transport
from collector_processor.receiver.answers import ContentType
from collector_processor.telemetry import ITEMS, Telemetry

Reason = Literal["missing", "malformed", "unknown"]
HEADER: Final = "authorization"
_COMPLAINT_INTERVAL_S: Final = 10.0
_T = TypeVar("_T")
_Context = grpc.aio.ServicerContext[bytes, bytes]
_Scope = Mapping[str, Any]
_Receive = Callable[[], Awaitable[Mapping[str, Any]]]
_Send = Callable[[Mapping[str, Any]], Awaitable[None]]
_App = Callable[[_Scope, _Receive, _Send], Awaitable[None]]
_log = logging.getLogger(__name__)


class Guard:
    """Lets through requests that carry one of the tokens, and counts the others.

    ``key`` is where the configuration has the receiver, for the log. What a client is told says how to do it right, and
    nothing about the tokens. Tokens are compared by their hashes, all of them, in constant time.
    """

    def __init__(self, tokens: Tokens, telemetry: Telemetry, *, scheme: str = "Bearer", key: str = "receivers") -> None:
        self._tokens = tokens
        self._telemetry = telemetry
        self._key = key
        self.scheme: Final = scheme
        self._hashed: tuple[str, ...] | None = None
        self._hashes: tuple[bytes, ...] = ()
        self._next_complaint_s = 0.0

    def refusal(self, sent: Sequence[str | bytes], transport: Transport, signal: str, peer: str) -> str | None:
        """What is wrong with the authorization headers that a request came with, counted; None lets it in."""
        reason = self._reason(sent)
        if reason is None:
            return None
        told = {
            "missing": "there is none",
            "malformed": f"the header is not one '{self.scheme} <token>'",
            "unknown": "the token is not valid here",
        }[reason]
        message = f"this receiver asks for a bearer token; send '{HEADER}: {self.scheme} <token>': {told}"
        self._telemetry.unauthenticated.labels(transport, reason).inc()
        if signal in ITEMS:
            self._telemetry.received("refused", signal, transport, 1)
        now_s = time.monotonic()
        if now_s >= self._next_complaint_s:
            self._next_complaint_s = now_s + _COMPLAINT_INTERVAL_S
            _log.warning("%s: a request from %s was turned away: authorization: %s", self._key, peer, told)
        return message

    def _reason(self, sent: Sequence[str | bytes]) -> Reason | None:
        if not sent:
            return "missing"
        header = sent[0].encode("utf-8", "surrogateescape") if isinstance(sent[0], str) else sent[0]
        scheme, _, token = header.strip().partition(b" ")
        if len(sent) > 1 or scheme.lower() != self.scheme.lower().encode() or not token.strip():
            return "malformed"
        offered = hashlib.sha256(token.strip()).digest()
        # First all, then any: every token is compared, whichever fits.
        fits = [hmac.compare_digest(offered, valid) for valid in self._valid()]
        return None if any(fits) else "unknown"

    def _valid(self) -> tuple[bytes, ...]:
        tokens = self._tokens.current
        if tokens is not self._hashed:
            self._hashes = tuple(hashlib.sha256(token.encode()).digest() for token in tokens)
            self._hashed = tokens
        return self._hashes


def guarded_http(app: _App, guard: Guard) -> _App:
    """The same application for those who may; 401 for everybody else, before the path or the body is looked at."""

    async def guarded(scope: _Scope, receive: _Receive, send: _Send) -> None:
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
    """The same handler for those who may; UNAUTHENTICATED for everybody else, before the message is read."""

    async def guarded(requests: _T, context: _Context) -> bytes:
        sent = [value for name, value in context.invocation_metadata() or () if name == HEADER]
        message = guard.refusal(sent, "grpc", signal, context.peer() or "an unknown address")
        if message is not None:
            status = answers.status(code_pb2.UNAUTHENTICATED, message)
            trailers = (("grpc-status-details-bin", status.SerializeToString()),)
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, status.message, trailers)
        return await handler(requests, context)

    return guarded
