"""POSTs over persistent connections with little work between a body and the socket: it is not copied or framed.

``http.client`` connects, with TLS and through the proxies of the environment; the body is sent as it is, and httptools,
which the receiver also uses, parses the answer. It takes a fifth of the time of ``requests``.
"""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Final
from urllib.parse import quote, urljoin, urlsplit

from urllib3.util.wait import wait_for_read

from collector_processor.exporters.delivery.answers import secrets_of
from collector_processor.exporters.delivery.http_connection import Answer, HttpConnection
from collector_processor.exporters.delivery.proxy import proxy_of
from collector_processor.security.client_tls import ClientTls, client_context
from collector_processor.settings.target import Target, parse_target

_PATH_CHARACTERS: Final = "/%:@!$&'()*+,;=~"
_QUERY_CHARACTERS: Final = f"{_PATH_CHARACTERS}?"
_LOCALHOST: Final = "localhost"
_PERMANENT: Final = 308
_FOLLOWED: Final = (307, _PERMANENT)
"""The redirects that keep the method and the body."""
_MAX_REDIRECTS: Final = 5
_HARMLESS: Final = frozenset({"content-type", "user-agent"})
_IDLE_CONNECTIONS: Final = 100
"""How many connections are kept for the next request; as many are open as requests have been under way at a time."""
_IDLE_S: Final = 90.0
"""How long a connection is kept without a request: a network may have forgotten it by then. Go does the same."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where one request goes: an address, whether it uses TLS, and the path with its query, quoted."""

    target: Target
    secure: bool
    where: str

    @property
    def origin(self) -> str:
        """What a connection can be reused for."""
        return f"{self.secure} {self.target.authority} {self.target.socket_path}"

    @property
    def url(self) -> str:
        """The URL, which redirects are relative to."""
        return f"{'https' if self.secure else 'http'}://{self.target.authority or _LOCALHOST}{self.where}"


class HttpClient:
    """POSTs to paths below ``url`` with the same ``headers`` each time; safe to use from several threads.

    ``url`` is an address of :mod:`~collector_processor.settings.target` that HTTP supports; its query is kept. ``tls``
    decides about TLS if the address does not. Connections stay open between requests. Cookies are not kept. The
    certificates are those of ``tls.ca_file``, or of the system.

    Redirects with 307 and 308 are followed, but never from https to http, and never to another host with credentials:
    a header besides ``Content-Type`` and ``User-Agent``, a user in the URL, a client certificate.
    """

    def __init__(self, url: str, headers: Mapping[str, str], *, tls: ClientTls | None) -> None:
        self._url = url
        self._headers = dict(headers)
        self._tls = tls
        secret_headers = {name: value for name, value in headers.items() if name.lower() not in _HARMLESS}
        self.secrets = secrets_of(secret_headers, url)
        """What must not appear in a log."""
        self.idle: deque[HttpConnection] = deque(maxlen=_IDLE_CONNECTIONS)
        self._moved: dict[str, _Place] = {}
        self._closed = False

    def post(self, path: str, body: bytes, timeout_s: float, headers: Mapping[str, str]) -> Answer:
        """Send once and wait for the answer, ``timeout_s`` in total.

        Raises :class:`OSError` if another try might succeed, and :class:`ValueError` if it cannot (an invalid URL or
        header, a redirect that is not followed).
        """
        deadline = time.monotonic() + timeout_s
        place, permanent = self._moved.get(path) or self._place(path), True
        for _ in range(_MAX_REDIRECTS + 1):
            try:
                answer = self._exchange(place, body, deadline, headers)
            except OSError:
                self._moved.pop(path, None)
                raise
            location = answer.headers.get("location")
            if answer.status not in _FOLLOWED or location is None:
                return answer
            place = self._redirected(place, location)
            permanent = permanent and answer.status == _PERMANENT
            if permanent:
                self._moved[path] = place
        self._moved.pop(path, None)
        raise ValueError(f"redirected more than {_MAX_REDIRECTS} times")

    def _exchange(self, place: _Place, body: bytes, deadline: float, headers: Mapping[str, str]) -> Answer:
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("timed out")
        connection = self._kept(place.origin) or self._connect(place, left_s)
        try:
            answer = connection.exchange(self._head(place, connection, len(body), headers), body, deadline)
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

    def _kept(self, origin: str) -> HttpConnection | None:
        """Return an idle connection that the other side has not closed; None if there is none."""
        for _ in range(len(self.idle)):
            try:
                connection = self.idle.pop()
            except IndexError:
                break
            if connection.origin != origin:
                self.idle.appendleft(connection)
                continue
            if time.monotonic() - connection.idle_since < _IDLE_S and not wait_for_read(connection.sock, 0):
                return connection
            connection.close()
        return None

    def _connect(self, place: _Place, timeout_s: float) -> HttpConnection:
        target, secure = place.target, place.secure
        host, port = target.host or _LOCALHOST, target.port or (443 if secure else 80)
        proxy = proxy_of(target, "http", secure=secure)
        to, to_port = proxy.place if proxy else (host, port)
        proxy_headers = {"Proxy-Authorization": proxy.target.basic} if proxy and proxy.target.basic else {}
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
        return HttpConnection(made.sock, place.origin, prefix, proxy_headers if prefix else {})

    def _place(self, path: str) -> _Place:
        """Return where the requests to a path go, without redirects."""
        target = _http_target(self._url)
        secure = (self._tls is not None and not self._tls.insecure) if target.secure is None else target.secure
        return _Place(target, secure, _quoted(("" if target.socket_path else target.path) + path, target.query))

    def _redirected(self, place: _Place, location: str) -> _Place:
        """Return where a redirect leads; ``ValueError`` if it must not be followed."""
        url, _, _ = urljoin(place.url, location).partition("#")
        try:
            target = parse_target(url)
        except ValueError:
            target = Target("dns")
        if target.secure is None:
            raise ValueError("redirected to what is not an http:// or https:// URL")
        parts = urlsplit(url)
        where = _quoted(parts.path or "/", parts.query)
        if place.target.socket_path and target.host == _LOCALHOST:
            return replace(place, where=where)
        if place.secure and not target.secure:
            raise ValueError(f"redirected from https:// to http://{target.authority}, which is not followed")
        same_host = target.host.lower() == place.target.host.lower()
        if not same_host and self._has_credentials(place.target):
            raise ValueError(
                f"redirected to another host, {target.authority}, which does not get our credentials; "
                "if it should, set the endpoint to it"
            )
        user, password = (place.target.user, place.target.password) if same_host else (None, "")
        return _Place(replace(target, user=user, password=password), target.secure, where)

    def _has_credentials(self, target: Target) -> bool:
        certificate = self._tls is not None and self._tls.cert_file is not None
        return certificate or target.user is not None or any(name.lower() not in _HARMLESS for name in self._headers)

    def _head(self, place: _Place, connection: HttpConnection, length: int, headers: Mapping[str, str]) -> bytes:
        named = {
            "Host": place.target.authority or _LOCALHOST,
            "Accept-Encoding": "identity",
            "Content-Length": str(length),
            **({"Authorization": place.target.basic} if place.target.basic else {}),
            **self._headers,
            **headers,
            **connection.proxy_headers,
        }
        where = connection.prefix + place.where
        lines = [f"POST {where} HTTP/1.1", *(f"{name}: {value}" for name, value in named.items())]
        for line in lines:
            if not line.isprintable():
                raise ValueError(f"header '{line.partition(':')[0]}' has characters that are not allowed in a header")
        return "\r\n".join([*lines, "", ""]).encode()


def _quoted(path: str, query: str) -> str:
    where = quote(path, safe=_PATH_CHARACTERS)
    return f"{where}?{quote(query, safe=_QUERY_CHARACTERS)}" if query else where


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
