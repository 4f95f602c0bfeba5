"""Listen on addresses, with errors that name the address and the reason."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Generator
from typing import Final

BACKLOG: Final = 1024
_PORT_TRIES: Final = 16


def split_endpoint(endpoint: str) -> tuple[str, int]:
    """Split ``host:port`` into host and port; IPv6 addresses are in brackets, no host is every address.

    >>> split_endpoint("localhost:4317"), split_endpoint("[::1]:0"), split_endpoint(":4317")
    (('localhost', 4317), ('::1', 0), ('', 4317))
    """
    host, colon, port = endpoint.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"'{endpoint}' is not an address; write host:port, such as localhost:4317")
    return host.removeprefix("[").removesuffix("]"), int(port)


def listen(endpoint: str, key: str, *, shared: bool = False, accepting: bool = True) -> list[socket.socket]:
    """Return listening sockets on every address of the endpoint's host, on one port (any free one for port 0).

    ``shared`` sockets let other processes that share the port listen there as well; a socket that is not ``accepting``
    holds the port and gets no connections. Raises ``OSError`` that names ``key`` (the endpoint's place in the
    configuration) and the endpoint if it cannot be used.
    """
    with naming(endpoint, key):
        host, port = split_endpoint(endpoint)
        return _listen_all(_addresses(host), port, _PORT_TRIES, shared, accepting)


def check_free(endpoint: str, key: str, *, shared: bool = False) -> tuple[list[str], int]:
    """Return the addresses behind an endpoint, as ``host:``, and a port that was free on all of them a moment ago."""
    sockets = listen(endpoint, key, shared=shared, accepting=not shared)
    try:
        port = sockets[0].getsockname()[1]
        names = [sock.getsockname()[0] for sock in sockets]
    finally:
        for sock in sockets:
            sock.close()
    return [f"[{name}]" if ":" in name else name for name in names], port


@contextlib.contextmanager
def naming(endpoint: str, key: str) -> Generator[None]:
    """Convert an ``OSError`` into one that names the configuration's key and the address."""
    try:
        yield
    except OSError as error:
        raise OSError(f"{key}: cannot listen on {endpoint}: {_reason(error)}") from error


def _reason(error: OSError) -> str:
    if isinstance(error, socket.gaierror) or error.errno is None:
        return str(error.strerror or error).lower()
    return os.strerror(error.errno).lower()


def _addresses(host: str) -> list[tuple[socket.AddressFamily, str]]:
    """Return the host's addresses that this machine has; an address family that is disabled is omitted."""
    if not host:
        # As the Collector does: one socket for both versions, where the machine has IPv6.
        ipv6 = (socket.AF_INET6, "::")
        return [ipv6 if _exists(*ipv6) else (socket.AF_INET, "0.0.0.0")]  # noqa: S104 -- this is what was asked for
    resolved = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    addresses = list(dict.fromkeys((family, str(address[0])) for family, _, _, _, address in resolved))
    usable = [address for address in addresses if len(addresses) == 1 or _exists(*address)]
    return usable or addresses


def _exists(family: socket.AddressFamily, address: str) -> bool:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.bind((address, 0))
    except OSError:
        return False
    return True


def _listen_all(
    addresses: list[tuple[socket.AddressFamily, str]], port: int, tries: int, shared: bool, accepting: bool
) -> list[socket.socket]:
    try:
        return _listen_once(addresses, port, shared, accepting)
    except OSError:
        # A port that is free on the first address may be in use on the second: try another one.
        if port or tries <= 1:
            raise
    return _listen_all(addresses, port, tries - 1, shared, accepting)


def _listen_once(
    addresses: list[tuple[socket.AddressFamily, str]], port: int, shared: bool, accepting: bool
) -> list[socket.socket]:
    with contextlib.ExitStack() as opened:
        sockets: list[socket.socket] = []
        for family, address in addresses:
            sock = opened.enter_context(socket.socket(family, socket.SOCK_STREAM))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if shared:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                # As the Collector does: [::] means every address, of both versions.
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, address != "::")
            sock.bind((address, port))
            if accepting:
                sock.listen(BACKLOG)
            sock.setblocking(False)
            port = port or sock.getsockname()[1]
            sockets.append(sock)
        opened.pop_all()
        return sockets
