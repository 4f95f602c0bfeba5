"""OTLP over HTTP: protobuf and JSON on one port, plain or compressed; every error is a ``google.rpc.Status``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from google.rpc import code_pb2

from collector_processor.journal.base import Signal
from collector_processor.own.via import HEADER
from collector_processor.receivers.admission import Admission, Hold, HungUpError, Outcome, Payload
from collector_processor.receivers.http_body import STATUSES, HttpBody, coding_names, retry_headers
from collector_processor.receivers.inflate import CODINGS
from collector_processor.receivers.otlp import answers
from collector_processor.receivers.otlp.answers import ContentType
from collector_processor.receivers.otlp.cors import Cors, with_cors
from collector_processor.receivers.otlp.guarded import guarded_http
from collector_processor.receivers.otlp.settings import DEFAULT_MAX_BYTES
from collector_processor.security.guard import Guard
from collector_processor.security.server_tls import ServerTls, server_context
from collector_processor.serving.http_connection import HttpCall, HttpLimits
from collector_processor.serving.http_server import HttpServer
from collector_processor.serving.listen import listen
from collector_processor.serving.local_socket import LocalSocket
from collector_processor.serving.routes import HttpAnswer
from collector_processor.serving.settings import HttpListener
from collector_processor.settings.values import socket_path

PATHS: Final[dict[str, Signal]] = {"/v1/traces": "traces", "/v1/metrics": "metrics", "/v1/logs": "logs"}
JsonToProtobuf = Callable[[Signal, bytes], tuple[bytes, int]]
"""An OTLP JSON body as protobuf, and how many texts had to be repaired; raises ``MalformedRequestError``."""


@dataclass(slots=True)
class _Incoming:
    """One request; ``to_protobuf`` is None if its body is protobuf already."""

    body: HttpBody
    to_protobuf: Callable[[bytes], tuple[bytes, int]] | None

    async def read(self, hold: Hold) -> None:
        """Read the whole body within the timeout."""
        await self.body.read(hold)

    def payload(self, hold: Hold) -> Payload:
        """Return the body as protobuf, and as it came if it may be forwarded compressed."""
        body = self.body.inflated(hold)
        if self.to_protobuf is None or not body:
            return Payload(body, self.body.octets if self.body.coding == "gzip" and self.to_protobuf is None else b"")
        protobuf, repaired = self.to_protobuf(body)
        return Payload(protobuf, repaired=repaired)


class HttpReceiver:
    """Serves OTLP/HTTP at ``endpoint`` (``host:port``, port 0 for any free one, or ``unix:///path``).

    ``max_bytes`` is the largest body, as sent and decompressed. JSON is converted to protobuf on arrival. ``key`` is
    this receiver's place in the configuration, for error messages. ``guard`` decides who may send, and ``cors`` from
    which pages. A body must be
    complete within ``body_timeout_s``. With ``shared``, other processes may listen there too.
    """

    def __init__(
        self,
        endpoint: str,
        admission: Admission,
        json_to_protobuf: JsonToProtobuf,
        *,
        max_bytes: int = DEFAULT_MAX_BYTES,
        limits: HttpLimits | None = None,
        tls: ServerTls | None = None,
        guard: Guard | None = None,
        cors: Cors | None = None,
        key: str = "receivers.otlp.protocols.http",
        body_timeout_s: float = 30.0,
        shared: bool = False,
        socket_mode: int | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._admission = admission
        self._json_to_protobuf = json_to_protobuf
        self._max_bytes = max_bytes
        self._tls = tls
        self._guard = guard
        self._cors = cors
        self._key = key
        self._body_timeout_s = body_timeout_s
        self._shared = shared
        self._limits = HttpListener().http_limits() if limits is None else limits
        self._server: HttpServer | None = None
        self._port = 0
        path = socket_path(endpoint)
        self._local = LocalSocket(path, key, socket_mode) if path else None

    @property
    def name(self) -> str:
        """The receiver's name in the log."""
        return "http"

    @property
    def port(self) -> int:
        """The port that it listens on; 0 before the start, and with a Unix socket."""
        return self._port

    @property
    def socket_path(self) -> str:
        """The path of the Unix socket that it listens on; empty if it listens on a port."""
        return "" if self._local is None else self._local.path

    async def start(self) -> None:
        """Listens; raise ``OSError`` with the key and the address if the address cannot be used."""
        context = None if self._tls is None else server_context(self._tls, self._key)
        if self._local is None:
            sockets = listen(self._endpoint, self._key, shared=self._shared)
            self._port = sockets[0].getsockname()[1]
        else:
            sockets = [self._local.listen()]
        handler = self._answer if self._guard is None else guarded_http(self._answer, self._guard)
        if self._cors is not None and self._cors.allowed_origins:
            handler = with_cors(handler, self._cors)
        self._server = HttpServer(
            self._key, handler, sockets, self._admission.telemetry, limits=self._limits, context=context
        )
        self._server.start()

    async def stop(self, timeout_s: float) -> None:
        """Accept no new requests and wait up to ``timeout_s`` for those in flight; safe to call without start."""
        if self._server is not None:
            if self._local is not None:
                self._local.remove()
            await self._server.stop(timeout_s)
            self._server = None

    async def _answer(self, call: HttpCall) -> HttpAnswer | None:
        head = call.head
        sent_type = head.headers.get("content-type", "")
        content_type, answer_type = answers.content_type_of(sent_type), answers.answer_type(sent_type)
        signal = PATHS.get(head.path)
        sent_coding = head.headers.get("content-encoding", "")
        coding = CODINGS.get(sent_coding.strip().lower())
        if signal is None:
            message = f"no such path: {head.path}; use one of: {', '.join(PATHS)}"
            return _refuse(404, code_pb2.NOT_FOUND, message, answer_type)
        if head.method != "POST":
            message = f"{head.method} is not supported here; use POST"
            return _refuse(405, code_pb2.UNIMPLEMENTED, message, answer_type, ("allow", "POST"))
        if content_type is None:
            message = f"content type '{sent_type}' is not supported; use one of: {', '.join(answers.CONTENT_TYPES)}"
            return _refuse(415, code_pb2.INVALID_ARGUMENT, message, answer_type)
        if coding is None:
            message = f"content encoding '{sent_coding}' is not supported; use one of: {coding_names()}"
            return _refuse(415, code_pb2.INVALID_ARGUMENT, message, answer_type, ("accept-encoding", coding_names()))
        incoming = _Incoming(
            HttpBody(call, coding, self._max_bytes, self._body_timeout_s),
            None if content_type == "application/x-protobuf" else partial(self._json_to_protobuf, signal),
        )
        try:
            return _answer(signal, await self._admitted(incoming, signal, head.headers.get(HEADER, "")), content_type)
        except HungUpError:
            return None

    async def _admitted(self, incoming: _Incoming, signal: Signal, via: str) -> Outcome:
        try:
            return await self._admission.admit(incoming, signal, "http", via)
        except asyncio.CancelledError:
            # Only the end of the grace time cancels; the sender gets an answer and can send elsewhere.
            return Outcome("busy", "the service is shutting down", retry_after_s=1.0)


def _refuse(status: int, code: int, message: str, content_type: ContentType, *headers: tuple[str, str]) -> HttpAnswer:
    return HttpAnswer(answers.encode(answers.status(code, message), content_type), content_type, status, headers)


def _answer(signal: Signal, outcome: Outcome, content_type: ContentType) -> HttpAnswer:
    status = STATUSES[outcome.verdict]
    if answers.succeeded(outcome):
        return HttpAnswer(answers.encode(answers.success(signal, outcome), content_type), content_type, status)
    message = answers.status(answers.CODES[outcome.verdict], outcome.message, outcome.retry_after_s)
    return HttpAnswer(answers.encode(message, content_type), content_type, status, retry_headers(outcome))
