"""Delivers requests over OTLP/HTTP (protobuf), byte for byte."""

from __future__ import annotations

import gzip
import re
import time
from collections.abc import Iterable, Mapping
from email.utils import parsedate_to_datetime
from typing import Final

from collector_processor.exporters.delivery.answers import line, partial_success, reason
from collector_processor.exporters.delivery.http_client import HttpClient
from collector_processor.exporters.delivery.http_connection import Answer
from collector_processor.exporters.delivery.retry import Compression, Delivery
from collector_processor.journal.base import Signal
from collector_processor.own.via import HEADER, with_service
from collector_processor.security.client_tls import ClientTls

_RETRYABLE: Final = frozenset({429, 502, 503, 504})
_TOO_LARGE: Final = 413
_REDIRECTS: Final = range(300, 400)
_PLAIN: Final[Mapping[str, str]] = {}
_GZIP: Final[Mapping[str, str]] = {"Content-Encoding": "gzip"}
_SIGNAL_PATH: Final = re.compile(r"^([^?]*?)/v1/(?:traces|metrics|logs)/*(\?.*)?$")
_GZIP_LEVEL: Final = 1
"""The fastest level: telemetry shrinks tenfold at any level, and higher ones take several times as long."""


class HttpSender:
    """Sends to ``{endpoint}/v1/…``; an endpoint that already ends with the path of a signal is taken without it.

    The endpoint is any address of :mod:`~collector_processor.settings.target` that HTTP supports; see
    :class:`.HttpClient`.
    If ``compression`` is None, a request is sent as it arrived,
    compressed or not; what arrived as gzip is never compressed again.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        tls: ClientTls | None = None,
        headers: Mapping[str, str] | None = None,
        compression: Compression | None = "gzip",
        instance_id: str = "",
    ) -> None:
        self._instance_id = instance_id
        url = _SIGNAL_PATH.sub(r"\1\2", endpoint)
        self._compression: Compression | None = compression
        named = {"Content-Type": "application/x-protobuf", "User-Agent": "otel-ml", **(headers or {})}
        self._client = HttpClient(url, named, tls=tls)

    def send(self, signal: Signal, body: bytes, timeout_s: float, gzipped: bytes = b"", via: str = "") -> Delivery:
        """Try once to deliver a request, within ``timeout_s``."""
        sent, coding = body, _PLAIN
        if gzipped and self._compression != "none":
            sent, coding = gzipped, _GZIP
        elif self._compression == "gzip":
            sent, coding = gzip.compress(body, _GZIP_LEVEL, mtime=0), _GZIP
        mark = with_service(via, self._instance_id)
        try:
            answer = self._client.post(f"/v1/{signal}", sent, timeout_s, {**coding, **({HEADER: mark} if mark else {})})
        except OSError as error:
            return Delivery("retry", line(str(error) or type(error).__name__, self._client.secrets))
        except ValueError as error:
            return Delivery("refused", line(str(error), self._client.secrets))
        if 200 <= answer.status < 300:
            rejected, message = partial_success(signal, answer.body)
            return Delivery("sent", line(message, self._client.secrets), rejected=rejected)
        message = refusal(answer, self._client.secrets)
        if answer.status in _RETRYABLE:
            return Delivery("retry", message, retry_after_s=_asked_s(answer.headers.get("retry-after")))
        return Delivery("refused", message, too_large=answer.status == _TOO_LARGE)

    def close(self) -> None:
        """Close the idle connections; a try in progress ends with its timeout."""
        self._client.close()


def _asked_s(value: str | None) -> float | None:
    """Return the seconds of a ``Retry-After`` header, which is a number or a date.

    >>> _asked_s("3"), _asked_s("Thu, 01 Jan 1970 00:00:00 GMT"), _asked_s("soon")
    (3.0, 0.0, None)
    """
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError, OSError):  # the last two for a date that no clock can have
        return None


def refusal(answer: Answer, secrets: Iterable[str] = ()) -> str:
    """Return the status of an answer that is not a success, with its reason, for the log."""
    text = reason(answer.body, answer.headers.get("content-type", ""))
    if answer.status in _REDIRECTS:
        # Without its query, which may be secret.
        place = answer.headers.get("location", "").partition("?")[0].rpartition("@")[2]
        text = f"it redirects to {place}; set the endpoint to where it is"
    return line(f"{answer.status} {answer.reason}: {text}", secrets)
