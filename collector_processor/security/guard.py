"""Who may send: bearer tokens, asked for before a body is read, the same way on both transports."""

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
    """Lets through requests that carry one of the tokens, and counts the others.

    ``key`` is where the configuration has the listener, for the log, and ``what`` it is to a client. What a client
    is told says how to do it right, and nothing about the tokens. Tokens are compared by their hashes, all of them,
    in constant time.
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
        message = f"this {self._what} asks for a bearer token; send '{HEADER}: {self.scheme} <token>': {told}"
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
