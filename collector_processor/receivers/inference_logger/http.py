"""Listens for inference events: reads each post within limits, journals the calls that it completes, and answers 200.

A logger takes any status but 200 for an error, does not repeat an event, and holds its model's memory until it has an
answer (kserve#6167). So an answer never waits for a destination.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Final

from collector_processor.own.via import HEADER
from collector_processor.receivers.admission import Admission, Hold, HungUpError, Outcome, Payload
from collector_processor.receivers.http_body import STATUSES, HttpBody, coding_names, retry_headers
from collector_processor.receivers.inference_logger.forward import Forwarding
from collector_processor.receivers.inference_logger.joined import Joined
from collector_processor.receivers.inference_logger.settings import InferenceLoggerSettings
from collector_processor.receivers.inflate import CODINGS
from collector_processor.security.guard import HEADER as AUTHORIZATION
from collector_processor.security.guard import Guard
from collector_processor.security.server_tls import server_context
from collector_processor.serving.http_connection import HttpCall
from collector_processor.serving.http_server import HttpServer
from collector_processor.serving.listen import listen
from collector_processor.serving.routes import HttpAnswer

NAME: Final = "inference_logger"
_S: Final = 1e9
_EXPIRE_S: Final = 1.0
"""How often events are evicted that wait while no others come."""


@dataclass(slots=True)
class _Incoming:
    """One post of events."""

    body: HttpBody
    headers: dict[str, str]
    joined: Joined
    forwarding: Forwarding | None

    async def read(self, hold: Hold) -> None:
        """Read the whole body within the timeout."""
        await self.body.read(hold)

    def payload(self, hold: Hold) -> Payload:
        """Return the calls that the events complete."""
        body = self.body.inflated(hold)
        if self.forwarding is not None:
            self.forwarding.put(self.headers, body)
        return Payload(self.joined.take(self.headers, body, time.time_ns()))


class InferenceLoggerReceiver:
    """Receives events at the address of the settings; ``key`` is its place in the configuration."""

    def __init__(
        self,
        settings: InferenceLoggerSettings,
        admission: Admission,
        key: str,
        *,
        endpoint: str,
        guard: Guard | None,
        shared: bool,
    ) -> None:
        self._settings = settings
        self._admission = admission
        self._key = key
        self._endpoint = endpoint
        self._guard = guard
        self._shared = shared
        self._joined = Joined(settings, admission.telemetry, key)
        self._forwarding = (
            None
            if settings.forward_to is None
            else Forwarding(settings.forward_to, admission.telemetry, key, admission.instance_id)
        )
        self._server: HttpServer | None = None
        self._expiring: asyncio.Task[None] | None = None
        self._port = 0

    @property
    def name(self) -> str:
        """The receiver's name in the log."""
        return NAME

    @property
    def port(self) -> int:
        """The port that it listens on; 0 before the start."""
        return self._port

    async def start(self) -> None:
        """Listen; raise ``OSError`` with the key and the address if the address cannot be used."""
        context = None if self._settings.tls is None else server_context(self._settings.tls, self._key)
        sockets = listen(self._endpoint, self._key, shared=self._shared)
        self._port = sockets[0].getsockname()[1]
        self._server = HttpServer(
            self._key,
            self._answer,
            sockets,
            self._admission.telemetry,
            limits=self._settings.http_limits(),
            context=context,
        )
        if self._forwarding is not None:
            self._forwarding.start()
        self._server.start()
        self._expiring = asyncio.get_running_loop().create_task(self._expire())

    async def stop(self, timeout_s: float) -> None:
        """Accept no new events, finish those in flight, and evict those that wait; safe to call without start."""
        if self._server is None:
            return
        server, self._server = self._server, None
        if self._expiring is not None:
            self._expiring.cancel()
        await server.stop(timeout_s / 2)
        self._joined.pairs.stop()
        if self._forwarding is not None:
            await asyncio.to_thread(self._forwarding.stop, timeout_s / 2)

    async def _expire(self) -> None:
        while True:
            await asyncio.sleep(_EXPIRE_S)
            self._joined.expire()

    async def _answer(self, call: HttpCall) -> HttpAnswer | None:
        head = call.head
        if self._guard is not None:
            refusal = self._guard.refusal(head.values(AUTHORIZATION), "http", "traces", call.peer, NAME)
            if refusal is not None:
                challenge = ("www-authenticate", f'{self._guard.scheme} realm="otel-ml"')
                return _text(401, refusal, challenge)
        if head.method != "POST":
            return _text(405, f"{head.method} is not supported here; use POST", ("allow", "POST"))
        sent_coding = head.headers.get("content-encoding", "")
        coding = CODINGS.get(sent_coding.strip().lower())
        if coding is None:
            message = f"content encoding '{sent_coding}' is not supported; use one of: {coding_names()}"
            return _text(415, message, ("accept-encoding", coding_names()))
        body = HttpBody(call, coding, self._settings.max_request_body_size, self._settings.read_timeout / _S)
        incoming = _Incoming(body, dict(head.headers), self._joined, self._forwarding)
        try:
            outcome = await self._admitted(incoming, head.headers.get(HEADER, ""))
        except HungUpError:
            return None
        return _text(STATUSES[outcome.verdict], outcome.message, *retry_headers(outcome))

    async def _admitted(self, incoming: _Incoming, via: str) -> Outcome:
        try:
            return await self._admission.admit(incoming, "traces", "http", via, NAME)
        except asyncio.CancelledError:
            # Only the end of the grace time cancels.
            return Outcome("busy", "the service is shutting down", retry_after_s=1.0)


def _text(status: int, message: str, *headers: tuple[str, str]) -> HttpAnswer:
    return HttpAnswer(message.encode("utf-8", "replace"), status=status, headers=headers)
