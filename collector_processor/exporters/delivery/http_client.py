"""POSTs over persistent connections with little work between a body and the socket: it is not copied or framed.

``http.client`` connects, with TLS and through the proxies of the environment; the body is sent as it is, and httptools,
which the receiver also uses, parses the answer. It takes a fifth of the time of ``requests``.
"""

from __future__ import annotations

import socket
import time
from base64 import b64encode
from collections import deque
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Final
from urllib.parse import quote

from urllib3.util.wait import wait_for_read

from collector_processor.exporters.delivery.http_connection import Answer, HttpConnection
from collector_processor.exporters.delivery.proxy import proxy_of
from collector_processor.security.client_tls import ClientTls, client_context
from collector_processor.settings.target import Target, parse_target

_PATH_CHARACTERS: Final = "/%:@!$&'()*+,;=~"
_QUERY_CHARACTERS: Final = f"{_PATH_CHARACTERS}?"
_IDLE_CONNECTIONS: Final = 10
"""How many connections are kept for the next request: one for each of the default number of consumers."""
_IDLE_S: Final = 90.0
"""How long a connection is kept without a request: a network may have forgotten it by then. Go does the same."""


class HttpClient:
    """POSTs to paths below ``url`` with the same ``headers`` each time; safe to use from several threads.

    ``url`` is an address of :mod:`~collector_processor.settings.target` that HTTP supports; its query is kept. ``tls``
    decides about TLS if the address does not. Connections stay open between requests. Redirects are not followed and
    cookies are not kept. The certificates are those of ``tls.ca_file``, or of the system.
    """

    def __init__(self, url: str, headers: Mapping[str, str], *, tls: ClientTls | None) -> None:
        self._url = url
        self._headers = dict(headers)
        self._tls = tls
        self.idle: deque[HttpConnection] = deque(maxlen=_IDLE_CONNECTIONS)
        self._closed = False

    def post(self, path: str, body: bytes, timeout_s: float, headers: Mapping[str, str]) -> Answer:
        """Send once and wait for the answer, ``timeout_s`` in total.

        Raises :class:`OSError` if another try might succeed, and :class:`ValueError` if it cannot (an invalid URL or
        header).
        """
        deadline = time.monotonic() + timeout_s
        target = _http_target(self._url)
        connection = self._kept() or self._connect(target, timeout_s)
        try:
            head = self._head(target, connection.prefix, path, len(body), headers, connection.proxy_headers)
            answer = connection.exchange(head, body, deadline)
        except OSError:
            connection.close()
            # If the network forgot one connection, it forgot those that have been idle for as long.
            self._close_idle()
            raise
        except BaseException:
            connection.close()
            raise
        if connection.reusable and not self._closed and len(self.idle) < _IDLE_CONNECTIONS:
            connection.idle_since = time.monotonic()
            self.idle.append(connection)
        else:
            connection.close()
        return answer

    def close(self) -> None:
        """Close the idle connections; a request in progress finishes."""
        self._closed = True
        self._close_idle()

    def _close_idle(self) -> None:
        while self.idle:
            self.idle.pop().close()

    def _kept(self) -> HttpConnection | None:
        """Return an idle connection that the other side has not closed; None if there is none."""
        while True:
            try:
                connection = self.idle.pop()
            except IndexError:
                return None
            if time.monotonic() - connection.idle_since < _IDLE_S and not wait_for_read(connection.sock, 0):
                return connection
            connection.close()

    def _connect(self, target: Target, timeout_s: float) -> HttpConnection:
        secure = self._secure(target)
        host, port = target.host or "localhost", target.port or (443 if secure else 80)
        proxy = proxy_of(target, "http", secure=secure)
        to, to_port = (proxy.host, proxy.port) if proxy else (host, port)
        proxy_headers = proxy.headers if proxy else {}
        try:
            if secure:
                made = HTTPSConnection(to, to_port, timeout=timeout_s, context=client_context(self._tls))
                if proxy:
                    made.set_tunnel(host, port, proxy_headers)
            else:
                made = HTTPConnection(to, to_port, timeout=timeout_s)
            if target.socket_path:
                sock = _unix_socket(target.socket_path, timeout_s)
                made.sock = client_context(self._tls).wrap_socket(sock, server_hostname=host) if secure else sock
            else:
                made.connect()
                made.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        except HTTPException as error:
            raise ConnectionError(str(error)) from error
        # Through a proxy, plain HTTP sends the whole URL, and TLS uses a tunnel.
        prefix = f"http://{target.authority}" if proxy and not secure else ""
        return HttpConnection(made.sock, prefix, proxy_headers if prefix else {})

    def _secure(self, target: Target) -> bool:
        return (self._tls is not None and not self._tls.insecure) if target.secure is None else target.secure

    def _head(
        self,
        target: Target,
        prefix: str,
        path: str,
        length: int,
        headers: Mapping[str, str],
        proxy_headers: Mapping[str, str],
    ) -> bytes:
        named = {
            "Host": target.authority or "localhost",
            "Accept-Encoding": "identity",
            "Content-Length": str(length),
            **_authorization(target),
            **self._headers,
            **headers,
            **proxy_headers,
        }
        base = "" if target.socket_path else target.path
        where = prefix + quote(base + path, safe=_PATH_CHARACTERS)
        if target.query:
            where += "?" + quote(target.query, safe=_QUERY_CHARACTERS)
        lines = [f"POST {where} HTTP/1.1", *(f"{name}: {value}" for name, value in named.items())]
        for line in lines:
            if not line.isprintable():
                raise ValueError(f"header '{line.partition(':')[0]}' has characters that are not allowed in a header")
        return "\r\n".join([*lines, "", ""]).encode()


def _http_target(url: str) -> Target:
    """Return the parts of an address; the ``ValueError`` does not show it, because it may contain a password."""
    target = parse_target(url)
    if target.scheme not in ("", "http", "https", "unix"):
        raise ValueError("the address is for gRPC only; HTTP needs an http:// or https:// URL")
    return target


def _unix_socket(path: str, timeout_s: float) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout_s)
        sock.connect(path)
    except BaseException:
        sock.close()
        raise
    return sock


def _authorization(target: Target) -> dict[str, str]:
    """Return the header with the credentials of the URL, if it has any."""
    if target.user is None:
        return {}
    return {"Authorization": f"Basic {b64encode(f'{target.user}:{target.password}'.encode()).decode()}"}
