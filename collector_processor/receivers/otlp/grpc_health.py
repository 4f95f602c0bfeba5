"""The health service of gRPC (``grpc.health.v1.Health``), for probes of Kubernetes, Envoy and load balancers.

It needs neither reflection nor a separate package: a request is one text, and an answer one number.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final

import grpc
import grpc.aio

SERVICE: Final = "grpc.health.v1.Health"
_SERVING: Final = b"\x08\x01"
_NOT_SERVING: Final = b"\x08\x02"
_SERVICE_UNKNOWN: Final = b"\x08\x03"
_MAX_NAME: Final = 127
_MAX_WATCHERS: Final = 128
_Context = grpc.aio.ServicerContext[bytes, bytes]


class GrpcHealth:
    """Answers for ``services``, the empty name among them, until :meth:`stop`."""

    def __init__(self, services: Sequence[str]) -> None:
        self._requests: Final = {_request(name) for name in services}
        self._stopping = asyncio.Event()
        self._watchers = 0

    @property
    def handler(self) -> grpc.GenericRpcHandler:
        """The handler of both methods."""
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "Check": grpc.unary_unary_rpc_method_handler(self._check),
                "Watch": grpc.unary_stream_rpc_method_handler(self._watch),
            },
        )

    def stop(self) -> None:
        """Answer that nothing is served any longer."""
        self._stopping.set()

    async def _check(self, request: bytes, context: _Context) -> bytes:
        if request not in self._requests:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such service")
        return _NOT_SERVING if self._stopping.is_set() else _SERVING

    async def _watch(self, request: bytes, context: _Context) -> AsyncIterator[bytes]:
        if self._watchers >= _MAX_WATCHERS:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many watch; use Check")
        self._watchers += 1
        try:
            if request not in self._requests:
                yield _SERVICE_UNKNOWN
            elif not self._stopping.is_set():
                yield _SERVING
            await self._stopping.wait()
            yield _NOT_SERVING if request in self._requests else _SERVICE_UNKNOWN
        finally:
            self._watchers -= 1


def _request(service: str) -> bytes:
    """Return a serialized ``HealthCheckRequest``: the name of a service as field 1, or nothing."""
    name = service.encode()
    if len(name) > _MAX_NAME:
        raise ValueError("the length is one byte")
    return b"\x0a" + bytes([len(name)]) + name if name else b""
