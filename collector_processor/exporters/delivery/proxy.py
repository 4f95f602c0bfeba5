"""The HTTP proxy that the environment names for a destination, read in the same way for gRPC and HTTP.

``https_proxy`` (for TLS), ``http_proxy`` (for plain text), ``all_proxy`` and ``no_proxy`` count in lower and in upper
case; the lower case wins. gRPC also has ``grpc_proxy`` and ``no_grpc_proxy``, which come first, and uses
``https_proxy`` for plain text too, as all gRPC libraries do. As in Go, this machine is always reached directly.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import quote

from collector_processor.settings.target import Target, parse_target

Protocol = Literal["grpc", "http"]
_PORT: Final = 80
_SUPPORTED: Final = "only HTTP proxies are supported; write http://host:port, or add the destination to NO_PROXY"


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy; the user of ``target`` is None if it needs no credentials."""

    target: Target

    @property
    def place(self) -> tuple[str, int]:
        """Its host and port."""
        return self.target.host, self.target.port or _PORT

    @property
    def url(self) -> str:
        """The proxy as gRPC's library reads it."""
        user, (host, port) = self.target.user, self.place
        credentials = "" if user is None else f"{quote(user, safe='')}:{quote(self.target.password, safe='')}@"
        return f"http://{credentials}{f'[{host}]' if ':' in host else host}:{port}"


def proxy_of(
    target: Target, protocol: Protocol, *, secure: bool, environment: Mapping[str, str] | None = None
) -> Proxy | None:
    """Return the proxy for a destination, if there is one; ``ValueError`` names a variable that cannot be used.

    Sockets and lists of addresses (``ipv4:``, ``ipv6:``) are reached directly.

    >>> collector = parse_target("http://collector:4318")
    >>> proxy_of(collector, "http", secure=False, environment={"HTTP_PROXY": "proxy:3128"}).url
    'http://proxy:3128'
    >>> proxy_of(collector, "http", secure=False, environment={"HTTP_PROXY": "proxy:3128", "NO_PROXY": "collector"})
    """
    variables = os.environ if environment is None else environment
    names = [f"{'https' if secure else 'http'}_proxy", "all_proxy"]
    exceptions = ["no_proxy"]
    if protocol == "grpc":
        names, exceptions = ["grpc_proxy", "https_proxy", "http_proxy", "all_proxy"], ["no_grpc_proxy", "no_proxy"]
    name, value = _first(variables, names)
    if not value or not target.host or target.local or _excepted(target, _first(variables, exceptions)[1]):
        return None
    return _parsed(name, value)


def _first(variables: Mapping[str, str], names: Sequence[str]) -> tuple[str, str]:
    """Return the first variable that is set, and its value."""
    for name in names:
        for spelling in (name, name.upper()):
            value = variables.get(spelling, "").strip()
            if value:
                return spelling, value
    return "", ""


def _parsed(name: str, value: str) -> Proxy:
    text = value if "://" in value else f"http://{value}"
    if not text.lower().startswith("http://"):
        kind = value.partition("://")[0].lower()
        raise ValueError(f"the environment variable {name} names a proxy of the kind {kind}://; {_SUPPORTED}")
    try:
        target = parse_target(text)
    except ValueError:
        raise ValueError(f"the environment variable {name} is not an address; write http://host:port") from None
    return Proxy(target)


def _excepted(target: Target, exceptions: str) -> bool:
    host = target.host.lower().rstrip(".")
    ports = {port for _, port in target.places if port}
    return any(_matches(host, ports, entry) for entry in _entries(exceptions))


def _entries(exceptions: str) -> Iterator[str]:
    for entry in exceptions.replace(",", " ").split():
        yield entry.lower()


def _matches(host: str, ports: set[int], entry: str) -> bool:
    """Whether an entry of ``no_proxy`` covers a host: ``*``, a domain, a host, an address, a network, with a port."""
    if entry == "*":
        return True
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        pass
    name, _, port = entry.rpartition(":")
    if name and port.isdecimal() and (name.startswith("[") or ":" not in name):
        return int(port) in ports and _matches(host, ports, name)
    domain = entry.removeprefix("*").lstrip(".")
    return bool(domain) and (host == domain or host.endswith(f".{domain}"))
