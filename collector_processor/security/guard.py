"""Authentication of senders by bearer tokens, before a body is read, the same on both transports."""

from __future__ import annotations

import hashlib
import hmac
import logging
import time
from collections.abc import Sequence
from typing import Final, Literal

from collector_processor.own.metrics import ITEMS
from collector_processor.own.telemetry import Telemetry, Transport
from collector_processor.security.credentials import Tokens

Reason = Literal["missing", "malformed", "unknown"]
HEADER: Final = "authorization"
_COMPLAINT_INTERVAL_S: Final = 10.0
_log = logging.getLogger(__name__)


class Guard:
    """Admits requests with one of the tokens, and counts the others.

    ``key`` is the path of the listener in the configuration, for the log, and ``what`` its name for clients. The
    message to a client says how to send a token, and nothing about the tokens themselves. The hash of the token is
    compared with all hashes in constant time.
    """

    def __init__(
        self,
        tokens: Tokens,
        telemetry: Telemetry,
        *,
        scheme: str = "Bearer",
        key: str = "receivers",
        what: str = "receiver",
    ) -> None:
        self._tokens = tokens
        self._telemetry = telemetry
        self._key = key
        self._what = what
        self.scheme: Final = scheme
        self._hashed: tuple[str, ...] | None = None
        self._hashes: tuple[bytes, ...] = ()
        self._next_complaint_s = 0.0

    def refusal(
        self, sent: Sequence[str | bytes], transport: Transport, signal: str, peer: str, receiver: str = "otlp"
    ) -> str | None:
        """Return what is wrong with the authorization headers of a request, and count it; None admits the request."""
        reason = self._reason(sent)
        if reason is None:
            return None
        problem = {
            "missing": "the request has no token",
            "malformed": f"the header is not one '{self.scheme} <token>'",
            "unknown": "the token is not valid",
        }[reason]
        message = f"this {self._what} requires a bearer token; send '{HEADER}: {self.scheme} <token>': {problem}"
        self._telemetry.unauthenticated.labels(transport, reason).inc()
        if signal in ITEMS:
            self._telemetry.received("refused", signal, receiver, transport, 1)
        now_s = time.monotonic()
        if now_s >= self._next_complaint_s:
            self._next_complaint_s = now_s + _COMPLAINT_INTERVAL_S
            _log.warning("%s: refused a request from %s: authorization: %s", self._key, peer, problem)
        return message

    def _reason(self, sent: Sequence[str | bytes]) -> Reason | None:
        if not sent:
            return "missing"
        header = sent[0].encode("utf-8", "surrogateescape") if isinstance(sent[0], str) else sent[0]
        scheme, _, token = header.strip().partition(b" ")
        if len(sent) > 1 or scheme.lower() != self.scheme.lower().encode() or not token.strip():
            return "malformed"
        offered = hashlib.sha256(token.strip()).digest()
        # A list first, then any(): every token is compared, even after one that matches.
        fits = [hmac.compare_digest(offered, valid) for valid in self._valid()]
        return None if any(fits) else "unknown"

    def _valid(self) -> tuple[bytes, ...]:
        tokens = self._tokens.current
        if tokens is not self._hashed:
            self._hashes = tuple(hashlib.sha256(token.encode()).digest() for token in tokens)
            self._hashed = tokens
        return self._hashes
