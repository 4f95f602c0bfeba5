"""Delivers requests over OTLP/HTTP (protobuf), byte for byte."""

from __future__ import annotations

import gzip
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from typing import Final, Literal

import requests
from google.protobuf.message import DecodeError
from google.rpc.status_pb2 import Status
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError

from collector_processor.export.partial_success import rejected_items
from collector_processor.export.retry import ClientTls, Delivery
from collector_processor.journal.base import Signal

_RETRYABLE: Final = frozenset({429, 502, 503, 504})
_MAX_ANSWER_BYTES: Final = 64 * 2**10
_GZIP_LEVEL: Final = 1
"""The fastest: telemetry shrinks tenfold at any level, and the higher ones take several times as long."""


class HttpSender:
    """Sends to ``{endpoint}/v1/…``; an endpoint without a scheme is ``https://`` if it has TLS, else ``http://``.

    ``connections`` may be used at once. Redirects are not followed and cookies not kept.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        tls: ClientTls | None = None,
        headers: Mapping[str, str] | None = None,
        compression: Literal["none", "gzip"] = "gzip",
        connections: int = 1,
    ) -> None:
        scheme = "http" if tls is None or tls.insecure else "https"
        self._base = (endpoint if "://" in endpoint else f"{scheme}://{endpoint}").rstrip("/")
        self._compress = compression == "gzip"
        self._session = requests.Session()
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        self._session.headers.update({"Content-Type": "application/x-protobuf", "User-Agent": "otel-ml"})
        if self._compress:
            self._session.headers["Content-Encoding"] = "gzip"
        self._session.headers.update(headers or {})
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(pool_maxsize=connections))
        # Passed with each request: REQUESTS_CA_BUNDLE would win over what the session has.
        self._verify = True if tls is None or tls.ca_file is None else str(tls.ca_file)
        if tls is not None and tls.cert_file is not None and tls.key_file is not None:
            self._session.cert = (str(tls.cert_file), str(tls.key_file))

    def send(self, signal: Signal, body: bytes, timeout_s: float) -> Delivery:
        """Tries once to deliver a request; connecting and each wait for the answer may take ``timeout_s``."""
        sent = gzip.compress(body, _GZIP_LEVEL, mtime=0) if self._compress else body
        try:
            with self._session.post(
                f"{self._base}/v1/{signal}",
                data=sent,
                timeout=timeout_s,
                verify=self._verify,
                allow_redirects=False,
                stream=True,
            ) as response:
                answer: bytes = response.raw.read(_MAX_ANSWER_BYTES, decode_content=True)
        except (requests.ConnectionError, requests.Timeout, HTTPError, OSError) as error:
            if isinstance(error, requests.RequestException) and not isinstance(error, _PASSING):
                return Delivery("refused", str(error))
            return Delivery("retry", str(error))
        if 200 <= response.status_code < 300:
            return Delivery("sent", rejected=rejected_items(signal, answer))
        message = f"{response.status_code} {response.reason}: {_text(answer)}"
        if response.status_code in _RETRYABLE:
            return Delivery("retry", message, retry_after_s=_asked_s(response.headers.get("Retry-After")))
        return Delivery("refused", message)

    def close(self) -> None:
        """Closes the idle connections; a try under way ends with its time-out."""
        self._session.close()


_PASSING: Final = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
"""Errors that another try may not meet; a malformed URL or header, say, stays as it is."""


def _asked_s(value: str | None) -> float | None:
    """Seconds of a ``Retry-After`` header, a number or a date.

    >>> _asked_s("3"), _asked_s("Thu, 01 Jan 1970 00:00:00 GMT"), _asked_s("soon")
    (3.0, 0.0, None)
    """
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


def _text(answer: bytes) -> str:
    """What an error body says, if it is the ``google.rpc.Status`` that OTLP asks for."""
    try:
        return Status.FromString(answer).message
    except DecodeError:
        return ""
