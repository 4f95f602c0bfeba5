"""OTLP over HTTP: protobuf and JSON on one port, plain, gzip or deflate; every error is a ``google.rpc.Status``."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from google.protobuf.message import Message
from google.rpc import code_pb2

from collector_processor.journal.base import Signal
from collector_processor.receivers.admission import (
    Admission,
    Hold,
    HungUpError,
    Outcome,
    Payload,
    TimedOutError,
    Verdict,
)
from collector_processor.receivers.inflate import CODINGS, Body, TooLargeError
from collector_processor.receivers.otlp import answers
from collector_processor.receivers.otlp.answers import ContentType
from collector_processor.receivers.otlp.guarded import guarded_http
from collector_processor.receivers.otlp.settings import DEFAULT_MAX_BYTES
from collector_processor.security.guard import Guard
from collector_processor.security.server_tls import ServerTls, server_context
from collector_processor.serving.http_protocol import WHOLE_BODY
from collector_processor.serving.http_server import HttpServer, Receive, Scope, Send
from collector_processor.serving.listen import listen
from collector_processor.serving.whole_body import Progress

PATHS: Final[dict[str, Signal]] = {"/v1/traces": "traces", "/v1/metrics": "metrics", "/v1/logs": "logs"}
_CONTENT_TYPES: Final[dict[str, ContentType]] = {
    "application/x-protobuf": "application/x-protobuf",
    "application/json": "application/json",
}
_STATUSES: Final[Mapping[Verdict, int]] = {
    "accepted": 200,
    "partial": 200,
    "malformed": 400,
    "too_large": 413,
    "timed_out": 408,
    "busy": 503,
    "failed": 500,
}
_KEEP_ALIVE_S: Final = 75
"""Longer than the minute after which many exporters send again, so that their connection is still open."""
_INLINE_BYTES: Final = 2048
"""Compressed pieces up to this size (at most 2 MiB inflated) are not worth a change of threads."""

_INFLATED_BYTES: Final = 2**16
"""Compressed bytes to inflate before reserving room for them."""

JsonToProtobuf = Callable[[Signal, bytes], bytes]
"""An OTLP JSON body as protobuf; raises ``MalformedRequestError``."""


@dataclass(frozen=True, slots=True)
class _Reply:
    status: int
    message: Message
    content_type: ContentType
    headers: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(slots=True)
class _Incoming:
    """One request's body: in pieces, or whole if its length is known in advance.

    ``run`` runs long work off the event loop; ``to_protobuf`` is None if the body is protobuf already.
    """

    body: Body
    length: int
    max_bytes: int
    timeout_s: float
    receive: Receive
    run: Callable[[Callable[[], None]], Awaitable[None]]
    to_protobuf: Callable[[bytes], bytes] | None
    whole: Callable[[int, float, Progress], Awaitable[bytes | None]] | None = None
    octets: bytes | None = None
    pieces: list[bytes] = field(default_factory=list[bytes])
    kept: int = 0

    async def read(self, hold: Hold) -> None:
        """Read the whole body within the timeout."""
        if self.length > self.max_bytes:
            raise TooLargeError(self.max_bytes)
        try:
            if self.length and self.whole is not None:
                self.octets = await self.whole(self.length, self.timeout_s, hold)
                if self.octets is None:
                    raise HungUpError
            else:
                await asyncio.wait_for(self._fill(hold), self.timeout_s)
        except asyncio.TimeoutError:
            raise TimedOutError(f"the body did not arrive within {self.timeout_s:g} s") from None

    def payload(self, hold: Hold) -> Payload:
        """Return the body as protobuf, and as it came if it may be forwarded compressed."""
        body, gzipped = self._inflated(hold)
        return Payload(body if self.to_protobuf is None or not body else self.to_protobuf(body), gzipped)

    @property
    def _keeps_gzip(self) -> bool:
        return self.body.coding == "gzip" and self.to_protobuf is None

    def _inflated(self, hold: Hold) -> tuple[bytes, bytes]:
        """Inflate a body that came whole piece by piece, so that it cannot exceed a limit."""
        octets = self.octets
        if octets is not None and not self.body.compressed:
            return octets, b""
        for start in range(0, len(octets or b""), _INFLATED_BYTES):
            self.body.feed((octets or b"")[start : start + _INFLATED_BYTES])
            hold(self.body.size + len(octets or b""))
        gzipped = b""
        if self._keeps_gzip:
            gzipped = b"".join(self.pieces) if octets is None else octets
        return self.body.finish(), gzipped

    async def _fill(self, hold: Hold) -> None:
        body, more = self.body, True
        while more:
            message = await self.receive()
            if message["type"] != "http.request":
                raise HungUpError
            piece: bytes = message["body"]
            more = message["more_body"]
            if body.compressed and len(piece) > _INLINE_BYTES:
                await self.run(partial(body.feed, piece))
            else:
                body.feed(piece)
            if self._keeps_gzip:
                self.pieces.append(piece)
                self.kept += len(piece)
            hold(body.size + self.kept)


class HttpReceiver:
    """Serves OTLP/HTTP at ``endpoint`` (``host:port``, port 0 for any free one).

    ``max_bytes`` is the largest body, as sent and decompressed. JSON is converted to protobuf on arrival. ``key`` is
    this receiver's place in the configuration, for error messages. ``guard`` decides who may send. A body must be
    complete within ``body_timeout_s``. With ``shared``, other processes may listen there too.
    """

    def __init__(
        self,
        endpoint: str,
        admission: Admission,
        json_to_protobuf: JsonToProtobuf,
        *,
        max_bytes: int = DEFAULT_MAX_BYTES,
        tls: ServerTls | None = None,
        guard: Guard | None = None,
        key: str = "receivers.otlp.protocols.http",
        body_timeout_s: float = 30.0,
        shared: bool = False,
    ) -> None:
        self._endpoint = endpoint
        self._admission = admission
        self._json_to_protobuf = json_to_protobuf
        self._max_bytes = max_bytes
        self._tls = tls
        self._guard = guard
        self._key = key
        self._body_timeout_s = body_timeout_s
        self._shared = shared
        self._server: HttpServer | None = None
        self._port = 0

    @property
    def name(self) -> str:
        """The receiver's name in the log."""
        return "http"

    @property
    def port(self) -> int:
        """The port that it listens on; 0 before the start."""
        return self._port

    async def start(self) -> None:
        """Listens; raise ``OSError`` with the key and the address if the address cannot be used."""
        context = None if self._tls is None else server_context(self._tls, self._key)
        sockets = listen(self._endpoint, self._key, shared=self._shared)
        self._port = sockets[0].getsockname()[1]
        app = self._app if self._guard is None else guarded_http(self._app, self._guard)
        self._server = HttpServer(app, sockets, keep_alive_s=_KEEP_ALIVE_S, context=context)
        self._server.start()

    async def stop(self, timeout_s: float) -> None:
        """Accept no new requests and wait up to ``timeout_s`` for those in flight; safe to call without start."""
        if self._server is not None:
            await self._server.stop(timeout_s)
            self._server = None

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        content_type = _CONTENT_TYPES.get(media_type)
        answer_type = content_type or "application/json"
        signal = PATHS.get(scope["path"])
        coding = CODINGS.get(headers.get("content-encoding", "").strip().lower())
        if signal is None:
            message = f"no such path: {scope['path']}; use one of: {', '.join(PATHS)}"
            reply = _refuse(404, code_pb2.NOT_FOUND, message, answer_type)
        elif scope["method"] != "POST":
            message = f"{scope['method']} is not supported here; use POST"
            reply = _refuse(405, code_pb2.UNIMPLEMENTED, message, answer_type, (b"allow", b"POST"))
        elif content_type is None:
            message = f"content type '{media_type}' is not supported; use one of: {', '.join(_CONTENT_TYPES)}"
            reply = _refuse(415, code_pb2.INVALID_ARGUMENT, message, answer_type)
        elif coding is None:
            message = f"content encoding '{headers['content-encoding']}' is not supported; use one of: gzip, deflate"
            encodings = (b"accept-encoding", b"gzip, deflate")
            reply = _refuse(415, code_pb2.INVALID_ARGUMENT, message, answer_type, encodings)
        else:
            incoming = self._incoming(scope, headers, signal, content_type, Body(coding, self._max_bytes), receive)
            try:
                reply = _reply(signal, await self._admitted(incoming, signal), content_type)
            except HungUpError:
                return
        await _answer(send, reply)

    def _incoming(
        self,
        scope: Scope,
        headers: Mapping[str, str],
        signal: Signal,
        content_type: ContentType,
        body: Body,
        receive: Receive,
    ) -> _Incoming:
        framed = {"transfer-encoding", "upgrade"} & headers.keys()
        return _Incoming(
            body,
            length=int(headers.get("content-length", "0")),
            max_bytes=self._max_bytes,
            timeout_s=self._body_timeout_s,
            receive=receive,
            run=self._admission.run,
            to_protobuf=None if content_type == "application/x-protobuf" else partial(self._json_to_protobuf, signal),
            whole=None if framed else scope["extensions"][WHOLE_BODY],
        )

    async def _admitted(self, incoming: _Incoming, signal: Signal) -> Outcome:
        try:
            return await self._admission.admit(incoming, signal, "http")
        except asyncio.CancelledError:
            # Only the end of the grace time cancels; the sender gets an answer and can send elsewhere.
            return Outcome("busy", "the service is shutting down", retry_after_s=1.0)


def _refuse(status: int, code: int, message: str, content_type: ContentType, *headers: tuple[bytes, bytes]) -> _Reply:
    return _Reply(status, answers.status(code, message), content_type, headers)


def _reply(signal: Signal, outcome: Outcome, content_type: ContentType) -> _Reply:
    status = _STATUSES[outcome.verdict]
    if answers.succeeded(outcome):
        return _Reply(status, answers.success(signal, outcome), content_type)
    message = answers.status(answers.CODES[outcome.verdict], outcome.message, outcome.retry_after_s)
    headers: list[tuple[bytes, bytes]] = []
    if outcome.retry_after_s is not None:
        headers.append((b"retry-after", str(max(1, math.ceil(outcome.retry_after_s))).encode()))
    if outcome.verdict == "timed_out":
        headers.append((b"connection", b"close"))
    return _Reply(status, message, content_type, tuple(headers))


async def _answer(send: Send, reply: _Reply) -> None:
    body = answers.encode(reply.message, reply.content_type)
    headers = [
        (b"content-type", reply.content_type.encode()),
        (b"content-length", str(len(body)).encode()),
        *reply.headers,
    ]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
