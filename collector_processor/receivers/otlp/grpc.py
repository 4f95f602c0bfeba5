"""OTLP over gRPC, on raw bytes: a request is forwarded as it came, unknown fields included.

Stock handlers answer INTERNAL to bytes that are not protobuf and lose unknown fields, so the handlers here have no
deserializer. They are stream handlers although ``Export`` is unary (on the wire the two are the same), because a stream
handler chooses when to read: a request without room is answered before its body is read, and HTTP/2's flow control
holds the sender back until then.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import Final, cast
from urllib.parse import quote

import grpc
import grpc.aio

from collector_processor.journal.base import Signal
from collector_processor.own.via import HEADER
from collector_processor.receivers.admission import Admission, Hold, Outcome, Payload, TimedOutError
from collector_processor.receivers.inflate import GZIP_MAGIC, TooLargeError, inflate_message
from collector_processor.receivers.otlp import answers
from collector_processor.receivers.otlp.grpc_health import GrpcHealth
from collector_processor.receivers.otlp.guarded import guarded_grpc
from collector_processor.receivers.otlp.settings import DEFAULT_MAX_BYTES, GrpcProtocol
from collector_processor.security.guard import Guard
from collector_processor.security.server_tls import HANDSHAKE_TIMEOUT_S, ServerTls, grpc_credentials
from collector_processor.serving.listen import check_free, naming
from collector_processor.serving.local_socket import LocalSocket
from collector_processor.settings.values import socket_path

SERVICES: Final[dict[Signal, str]] = {
    "traces": "opentelemetry.proto.collector.trace.v1.TraceService",
    "logs": "opentelemetry.proto.collector.logs.v1.LogsService",
    "metrics": "opentelemetry.proto.collector.metrics.v1.MetricsService",
}
"""The full name of each signal's service; its one method is ``Export``."""
_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}
_Context = grpc.aio.ServicerContext[bytes, bytes]
_Handler = Callable[[AsyncIterator[bytes], _Context], Awaitable[bytes]]


class GrpcReceiver:
    """Serves OTLP/gRPC at ``endpoint`` (``host:port``, port 0 for any free one, or ``unix:///path``).

    ``max_bytes`` is the largest request after decompression. ``guard`` decides who may send. With ``shared``,
    other processes may listen there too. ``key`` is this receiver's place in the configuration, for error messages. A
    body that does not arrive within ``body_timeout_s`` is abandoned. At most ``max_streams`` requests run at once on
    one connection; more wait at the client. ``options`` are further options of gRPC's library. Probes need no token.
    """

    def __init__(
        self,
        endpoint: str,
        admission: Admission,
        *,
        max_bytes: int = DEFAULT_MAX_BYTES,
        tls: ServerTls | None = None,
        guard: Guard | None = None,
        key: str = "receivers.otlp.protocols.grpc",
        body_timeout_s: float = 30.0,
        max_streams: int = 128,
        options: Sequence[tuple[str, int]] | None = None,
        shared: bool = False,
        socket_mode: int | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._admission = admission
        self._max_bytes = max_bytes
        self._tls = tls
        self._guard = guard
        self._key = key
        self._body_timeout_s = body_timeout_s
        self._max_streams = max_streams
        self._more_options = GrpcProtocol().options() if options is None else options
        self._shared = shared
        self._server: grpc.aio.Server | None = None
        self._health = GrpcHealth(("", *SERVICES.values()))
        self._port = 0
        path = socket_path(endpoint)
        self._local = LocalSocket(path, key, socket_mode) if path else None

    @property
    def name(self) -> str:
        """The receiver's name in the log."""
        return "grpc"

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
        credentials = None if self._tls is None else grpc_credentials(self._tls, self._key)
        if self._local is not None:
            address = f"unix:{quote(self._local.path)}"
            server, port = self._local.bind(partial(self._bound, [address], credentials)), 0
        else:
            # gRPC reports success when it binds one of a host's addresses; we want all of them, and a reason.
            hosts, port = check_free(self._endpoint, self._key, shared=self._shared)
            with naming(self._endpoint, self._key):
                server = self._bound([f"{host}:{port}" for host in hosts], credentials)
        await server.start()
        self._server, self._port = server, port

    async def stop(self, timeout_s: float) -> None:
        """Accept no new requests and wait up to ``timeout_s`` for those in flight; safe to call without start."""
        if self._server is not None:
            self._health.stop()
            await self._server.stop(timeout_s)  # which removes a Unix socket
            self._server = None

    def _bound(self, addresses: Sequence[str], credentials: grpc.ServerCredentials | None) -> grpc.aio.Server:
        """Return a server that is bound to the addresses; raise ``OSError`` if it cannot be."""
        server = grpc.aio.server(options=self._options())
        server.add_generic_rpc_handlers(
            [*(_handlers(service, self._handler(signal)) for signal, service in SERVICES.items()), self._health.handler]
        )
        try:
            for address in addresses:
                _bind(server, address, credentials)
        except RuntimeError as error:
            raise OSError(str(error)) from error
        return server

    def _options(self) -> list[tuple[str, int]]:
        return [
            ("grpc.max_receive_message_length", self._max_bytes),
            ("grpc.per_message_decompression", 0),
            ("grpc.max_concurrent_streams", self._max_streams),
            ("grpc.so_reuseport", int(self._shared)),
            ("grpc.server_handshake_timeout_ms", int(HANDSHAKE_TIMEOUT_S * 1000)),
            *self._more_options,
        ]

    def _handler(self, signal: Signal) -> _Handler:
        async def export(_: AsyncIterator[bytes], context: _Context) -> bytes:
            incoming = _Incoming(context, self._max_bytes, self._body_timeout_s)
            metadata = context.invocation_metadata() or ()
            via = next((str(value) for name, value in metadata if name == HEADER), "")
            outcome = await self._admission.admit(incoming, signal, "grpc", via)
            if answers.succeeded(outcome):
                return answers.success(signal, outcome).SerializeToString()
            return await _abort(context, outcome)

        return export if self._guard is None else guarded_grpc(export, self._guard, signal)


class _Incoming:
    """One call's message."""

    def __init__(self, context: _Context, max_bytes: int, timeout_s: float) -> None:
        self._context = context
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self._sent = b""

    async def read(self, hold: Hold) -> None:
        """Read the message, which gRPC holds back until then."""
        try:
            # Bytes, or EOF if there are none, which the annotations omit.
            sent = cast(object, await asyncio.wait_for(self._context.read(), self._timeout_s))
        except asyncio.TimeoutError:
            raise TimedOutError(f"the request did not arrive within {self._timeout_s:g} s") from None
        # gRPC ends the stream of a message over the limit, after answering RESOURCE_EXHAUSTED itself.
        if not isinstance(sent, bytes):
            raise TooLargeError(self._max_bytes)
        hold(len(sent))
        self._sent = sent

    def payload(self, hold: Hold) -> Payload:
        """Return the message, inflated."""
        body = inflate_message(self._sent, self._max_bytes)
        gzipped = body is not self._sent and self._sent.startswith(GZIP_MAGIC)
        return Payload(body, self._sent if gzipped else b"")


def _bind(server: grpc.aio.Server, address: str, credentials: grpc.ServerCredentials | None) -> None:
    if credentials is None:
        server.add_insecure_port(address)
    else:
        server.add_secure_port(address, credentials)


def _handlers(service: str, handler: _Handler) -> grpc.GenericRpcHandler:
    method = grpc.stream_unary_rpc_method_handler(handler)
    return grpc.method_handlers_generic_handler(service, {"Export": method})


async def _abort(context: _Context, outcome: Outcome) -> bytes:
    """Answer with a status; exporters look for RetryInfo in one of two places, so it is in both."""
    code = answers.CODES[outcome.verdict]
    status = answers.status(code, outcome.message, outcome.retry_after_s)
    trailers: list[tuple[str, bytes]] = [("grpc-status-details-bin", status.SerializeToString())]
    if outcome.retry_after_s is not None:
        trailers.append(("google.rpc.retryinfo-bin", answers.retry_info(outcome.retry_after_s).SerializeToString()))
    await context.abort(_CODES[code], status.message, tuple(trailers))
    raise AssertionError("abort() raises")
