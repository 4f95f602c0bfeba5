"""Addresses to send to, in every form that the Collector's users write; one parser for all exporters.

| form | gRPC | HTTP |
|---|---|---|
| ``host``, ``host:port``, ``:port`` (this machine), ``[IPv6]:port`` | yes | yes |
| ``http://…`` (plain text), ``https://…`` (TLS) | yes, without a path | yes, with a path and a query |
| ``unix:path``, ``unix:///path`` | yes | yes |
| ``dns:host:port``, ``dns:///host:port``, ``ipv4:…``, ``ipv6:…``, ``unix-abstract:…`` | yes | no |

Only ``http://`` and ``https://`` say whether TLS is used; for any other form ``tls.insecure`` decides.
"""

from __future__ import annotations

import ipaddress
import re
from base64 import b64encode
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal
from urllib.parse import unquote, urlsplit

Scheme = Literal["", "http", "https", "dns", "unix", "unix-abstract", "ipv4", "ipv6"]
EXPECTED: Final = "not a valid address; write host:port, http://host:port or https://host:port"
"""An address may contain a password, so no error shows it."""
_OPAQUE: Final[dict[str, Scheme]] = {
    "dns": "dns", "unix": "unix", "unix-abstract": "unix-abstract", "ipv4": "ipv4", "ipv6": "ipv6"
}  # fmt: skip
_HOST = re.compile(r"[\w]([\w.-]*[\w.])?")
_OTLP_GRPC_PORT: Final = 4317
_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Target:
    """One parsed address.

    ``host`` is without brackets, and empty for sockets and lists of addresses. ``path`` is that of a URL, without a
    slash at the end, or of a socket. ``user`` and ``password`` are decoded; ``user`` is None if the address has none.
    ``addresses`` are those of ``ipv4:`` and ``ipv6:``.
    """

    scheme: Scheme
    host: str = ""
    port: int | None = None
    path: str = ""
    query: str = ""
    user: str | None = None
    password: str = ""
    addresses: tuple[tuple[str, int], ...] = ()

    @property
    def secure(self) -> bool | None:
        """Whether the address asks for TLS; None if it does not say."""
        return {"http": False, "https": True}.get(self.scheme)

    @property
    def socket_path(self) -> str:
        """The path of a Unix socket; empty for anything else."""
        return self.path if self.scheme == "unix" else ""

    @property
    def local(self) -> bool:
        """Whether it can only be reached from this machine."""
        if self.scheme.startswith("unix"):
            return True
        hosts = [host for host, _ in self.addresses] or [self.host]
        return all(_is_loopback(host) for host in hosts)

    @property
    def places(self) -> tuple[tuple[str, int], ...]:
        """The hosts and ports that it names; the port is 0 if the address has none."""
        return self.addresses or ((self.host, self.port or _PORTS.get(self.scheme, 0)),)

    @property
    def authority(self) -> str:
        """``host`` or ``host:port`` as a URL and a ``Host`` header have it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"

    @property
    def basic(self) -> str:
        """The user and the password as an ``Authorization`` header has them; empty without a user."""
        return "" if self.user is None else f"Basic {b64encode(f'{self.user}:{self.password}'.encode()).decode()}"

    def grpc(self, *, secure: bool) -> str:
        """Return the address as gRPC's library reads it.

        Without a port, TLS means 443, as in a URL, and plain text 4317, the port of OTLP.

        >>> parse_target("collector").grpc(secure=False), parse_target("https://[::1]").grpc(secure=True)
        ('dns:///collector:4317', 'dns:///[::1]:443')
        """
        if self.scheme.startswith("unix"):
            return f"{self.scheme}:{self.path}"
        if self.addresses:
            return f"{self.scheme}:" + ",".join(
                f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.addresses
            )
        port = self.port or _PORTS.get(self.scheme) or (443 if secure else _OTLP_GRPC_PORT)
        # With its scheme, a host that is called unix or dns is not taken for one.
        return f"dns:///{f'[{self.host}]' if ':' in self.host else self.host}:{port}"


@lru_cache(maxsize=256)
def parse_target(text: str) -> Target:
    """Return the parts of an address; ``ValueError`` says what to write, without showing the address.

    >>> parse_target("https://collector:4318/otlp?tenant=a").path
    '/otlp'
    >>> parse_target(":4317").authority, parse_target("dns:///collector:4317").authority
    ('localhost:4317', 'collector:4317')
    """
    if not text or not text.isprintable() or " " in text or "\\" in text:
        raise ValueError(EXPECTED)
    head, colon, rest = text.partition(":")
    scheme = head.lower()
    if scheme in _OPAQUE and colon and not rest.isdecimal():
        return _opaque(_OPAQUE[scheme], rest)
    if rest.startswith("//"):
        if scheme not in ("http", "https"):
            raise ValueError(EXPECTED)
        return _url(scheme, f"//{rest[2:]}")
    return _url("", f"//localhost{text}" if not head else f"//{text}")


def _url(scheme: Literal["", "http", "https"], text: str) -> Target:
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError(EXPECTED) from None
    bracketed = parts.netloc.rpartition("@")[2].startswith("[")
    if not _is_host(host, bracketed=bracketed) or port == 0 or parts.netloc.endswith(":"):
        raise ValueError(EXPECTED)
    if parts.fragment or text.endswith("#"):
        raise ValueError("an address to send to cannot have a fragment ('#…')")
    user = None if parts.username is None else unquote(parts.username)
    path = parts.path.rstrip("/")
    return Target(scheme, host, port, path, parts.query, user, unquote(parts.password or ""))


def _opaque(scheme: Scheme, rest: str) -> Target:
    if scheme == "unix":
        if rest.startswith("//") and not rest.startswith("///"):
            raise ValueError("write unix:///absolute/path or unix:relative/path")
        path = rest[2:] if rest.startswith("///") else rest
        if not path or path.endswith("/"):
            raise ValueError("not the path of a socket; write unix:///path")
        return Target(scheme, path=path)
    if scheme == "unix-abstract":
        if not rest:
            raise ValueError("not the name of a socket; write unix-abstract:name")
        return Target(scheme, path=rest)
    if scheme == "dns":
        if rest.startswith("//") and not rest.startswith("///"):
            raise ValueError("a DNS server cannot be chosen here; write dns:///host:port")
        target = _url("", f"//{rest.removeprefix('///')}")
        if target.path or target.query or target.user is not None:
            raise ValueError("write dns:///host:port")
        return Target(scheme, target.host, target.port)
    return Target(scheme, addresses=tuple(_address(scheme, each) for each in rest.split(",")))


def _address(scheme: Scheme, text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        address = ipaddress.ip_address(host[1:-1] if bracketed else host)
        fits = f"ipv{address.version}" == scheme and bracketed == (address.version == 6)
    except ValueError:
        fits = False
    if not fits or not port.isdecimal() or not 0 < int(port) <= 65535:
        example = {"ipv4": "ipv4:127.0.0.1:4317", "ipv6": "ipv6:[::1]:4317"}[scheme]
        raise ValueError(f"not a list of addresses with ports; write {example}, several with a comma")
    return host[1:-1] if bracketed else host, int(port)


def _is_host(host: str, *, bracketed: bool) -> bool:
    if bracketed:
        try:
            return bool(ipaddress.IPv6Address(host))
        except ValueError:
            return False
    return _HOST.fullmatch(host) is not None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"
