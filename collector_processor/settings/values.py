"""The Collector's small value grammar: durations, sizes, row counts and endpoints."""

from __future__ import annotations

import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import yaml
from pydantic import AfterValidator, BeforeValidator, ValidationInfo

from collector_processor.settings.target import parse_target
from otel_ml.classes import canonical_class

BASE: Final = "base"
"""Key of the configuration file's folder in a validation's context."""
_log = logging.getLogger(__name__)
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
_ANY: Final = ("0.0.0.0", "::", "")  # noqa: S104 -- compared, not listened on
_SOCKET: Final = "unix://"
_LONGEST_SOCKET: Final = 107
"""Bytes in the path of a Unix socket, by the system's ``sockaddr_un``."""
_SOCKET_MODES: Final = {"0600": 0o600, "0660": 0o660, "0666": 0o666}
_S = 10**9
_NS = {
    "ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": _S, "m": 60 * _S, "h": 3600 * _S,
    "d": 86_400 * _S, "w": 7 * 86_400 * _S,
}  # fmt: skip
_LONGEST: Final = 36_500 * 86_400 * _S
"""A hundred years: longer times would not fit beside the time of today."""
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h|d|w)")
_BYTES = {"b": 1, "kib": 2**10, "mib": 2**20, "gib": 2**30, "kb": 10**3, "mb": 10**6, "gb": 10**9}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)", re.IGNORECASE)
_ROWS = re.compile(r"(\d[\d_]*)\s*rows?")
_MINUTES = {"day": 1440.0, "week": 10_080.0, "month": 43_800.0, "year": 525_600.0}
_RATE = re.compile(r"(\d+(?:\.\d+)?) per (day|week|month|year)")


class FromEnvironment(str):
    """A value that is one environment variable: a text, unless the setting is a list or a mapping.

    >>> FromEnvironment("[a, b]").structure()
    ['a', 'b']
    """

    __slots__ = ()

    def structure(self) -> object:
        """Return what the text means as YAML, or the text itself where it is not valid YAML."""
        try:
            return yaml.safe_load(self)
        except (yaml.YAMLError, ValueError, RecursionError):
            return str(self)


def duration_ns(value: object) -> int:
    """Return the nanoseconds of a duration in Go's notation, with ``d`` and ``w`` added.

    >>> duration_ns("1h30m") // 10**9, duration_ns("250ms"), duration_ns("7d") // 10**9
    (5400, 250000000, 604800)
    >>> duration_ns(60)
    Traceback (most recent call last):
    ValueError: 60 is not a duration; write a number with a unit, such as 10s, 5m, 1h30m or 7d
    """
    if isinstance(value, str) and value.strip() == "0":
        return 0
    text = value.strip() if isinstance(value, str) else ""
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{value!r} is not a duration; write a number with a unit, such as 10s, 5m, 1h30m or 7d")
    duration = sum(float(number) * _NS[unit] for number, unit in parts)
    if duration > _LONGEST:
        raise ValueError(f"{text[:40]!r} is longer than a hundred years, 36500d")
    return round(duration)


def size_bytes(value: object) -> int:
    """Return the bytes of a size.

    >>> size_bytes("64MiB"), size_bytes(1024)
    (67108864, 1024)
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and value.strip().isdecimal():
        return int(value)
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None or match[2].lower() not in _BYTES:
        raise ValueError(
            f"{value!r} is not a size; write a number of bytes, or a number with a unit, such as 512KiB or 64MiB"
        )
    return int(float(match[1]) * _BYTES[match[2].lower()])


def class_name(value: object) -> str:
    """Return a class as it is compared: YAML's ``true``, ``1`` and ``"1.0"`` are one class.

    >>> class_name(True), class_name(1), class_name("1.0"), class_name("fraud")
    ('1', '1', '1', 'fraud')
    """
    if value == "":
        return ""
    if not isinstance(value, (str, bool, int, float)):
        raise ValueError(f"{value!r} is not a class; write its name, such as fraud, 1 or true")
    name = canonical_class(str(value))
    if not name:
        raise ValueError(f"{value!r} stands for a missing class; write a class that the model predicts")
    return name


def rate(value: object) -> str:
    """Return a number of events per time as it is written: ``1 per year``; 0 is ``0``.

    >>> rate("2  per  week"), rate(0), rate("1 per fortnight")
    Traceback (most recent call last):
    ValueError: '1 per fortnight' is not a rate; write a number per day, week, month or year, such as 1 per year, or 0
    """
    text = " ".join(value.split()) if isinstance(value, str) else str(value) if value == 0 else ""
    if text in ("0", "0.0"):
        return "0"
    match = _RATE.fullmatch(text)
    if match is None or isinstance(value, bool):
        choices = f"{', '.join([*_MINUTES][:-1])} or {[*_MINUTES][-1]}"
        raise ValueError(f"{value!r} is not a rate; write a number per {choices}, such as 1 per year, or 0")
    return text if float(match[1]) > 0.0 else "0"


def alarms_per_minute(rate: str) -> float:
    """Return the events per minute of a rate.

    >>> 1 / alarms_per_minute("1 per year"), alarms_per_minute("0")
    (525600.0, 0.0)
    """
    number, _, unit = rate.partition(" per ")
    return float(number) / _MINUTES[unit] if unit else 0.0


@dataclass(frozen=True, slots=True)
class Extent:
    """The length of a window, in time (``ns``) or in rows; one of the two is 0."""

    ns: int = 0
    rows: int = 0


def extent(value: object) -> Extent:
    """Return the extent of a window from ``1h`` or ``5000 rows``.

    >>> extent("5000 rows")
    Extent(ns=0, rows=5000)
    """
    if isinstance(value, Extent):
        return value
    match = _ROWS.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is not None:
        return Extent(rows=int(match[1]))
    try:
        return Extent(ns=duration_ns(value))
    except ValueError:
        raise ValueError(f"{value!r} is neither a duration (1h) nor a number of rows (5000 rows)") from None


def rows(value: object) -> object:
    """Return the number of rows in ``5000 rows``; leave anything else for the type check.

    >>> rows("5000 rows")
    5000
    """
    match = _ROWS.fullmatch(value.strip()) if isinstance(value, str) else None
    return value if match is None else int(match[1])


def endpoint(value: object) -> str:
    """Return a ``host:port`` to listen on; without a host, on every address.

    >>> endpoint("localhost:4317"), endpoint(":4317")
    ('localhost:4317', ':4317')
    """
    text = value if isinstance(value, str) else ""
    _, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"{value!r} is not an address; write host:port, such as localhost:4317 or 0.0.0.0:4317")
    return text


def endpoint_or_socket(value: object) -> str:
    """Return a ``host:port``, or ``unix:///path`` for the absolute path of a Unix socket, to listen on.

    >>> endpoint_or_socket("localhost:4317"), endpoint_or_socket("unix:/run/s"), endpoint_or_socket("/run/s")
    ('localhost:4317', 'unix:///run/s', 'unix:///run/s')
    """
    text = value if isinstance(value, str) else ""
    head, _, rest = text.partition(":")
    if not text.startswith("/") and (head.lower() != "unix" or rest.isdecimal()):
        return endpoint(value)
    path = text if text.startswith("/") else rest.removeprefix("//")
    if not path.startswith("/") or path.endswith("/") or not path.isprintable():
        raise ValueError(f"{value!r} is not the path of a socket; write unix:///run/otel-ml/otlp.sock")
    size = len(os.fsencode(path))
    if size > _LONGEST_SOCKET:
        raise ValueError(f"the path of a socket can have {_LONGEST_SOCKET} bytes; {path!r} has {size}")
    return f"{_SOCKET}{path}"


def socket_path(address: str) -> str:
    """Return the path of an address to listen on; empty if it is not a Unix socket.

    >>> socket_path("unix:///run/otel-ml/otlp.sock"), socket_path("localhost:4317")
    ('/run/otel-ml/otlp.sock', '')
    """
    return address.removeprefix(_SOCKET) if address.startswith(f"{_SOCKET}/") else ""


def socket_mode(value: object) -> int:
    """Return the mode of a socket's file; YAML reads ``0660`` as a number, which is the same one.

    >>> socket_mode("0660") == socket_mode(0o660) == 0o660
    True
    """
    mode = _SOCKET_MODES.get(value.removeprefix("0o").zfill(4)) if isinstance(value, str) else value
    if isinstance(mode, bool) or not isinstance(mode, int) or mode not in _SOCKET_MODES.values():
        raise ValueError(f"{value!r} is not a mode; write 0600 (owner), 0660 (group, too) or 0666 (everyone)")
    return mode


def destination(value: object) -> str:
    """Return an address to send to; see :mod:`.target` for its forms. No error shows it.

    >>> destination("https://collector:4318/otlp")
    'https://collector:4318/otlp'
    """
    text = value if isinstance(value, str) else ""
    parse_target(text)
    return text


def is_local(address: str) -> bool:
    """Return whether an address without its scheme can only be reached from this machine.

    >>> is_local("localhost:4317/otlp"), is_local("[::1]:4317"), is_local("0.0.0.0:4317")
    (True, True, False)
    """
    if socket_path(address):
        return True
    return address.partition("/")[0].rpartition(":")[0].strip("[]") in _LOOPBACK


def host_and_port(address: str) -> tuple[str, str]:
    """Return the host and port of an address; the host is empty for every name of this machine.

    >>> host_and_port("http://127.0.0.1:4318/otlp") == host_and_port("localhost:4318")
    True
    """
    host, _, port = address.rpartition("://")[2].partition("/")[0].rpartition("@")[2].rpartition(":")
    return "" if host.strip("[]") in (*_LOOPBACK, *_ANY) else host.lower(), port


def listener_place(address: str) -> tuple[str, str]:
    """Return what is equal for two names of one listener: :func:`host_and_port`, or a socket's path without links."""
    path = socket_path(address)
    return ("unix", os.path.realpath(path)) if path else host_and_port(address)


def overlap(first: str, second: str) -> bool:
    """Whether two addresses to listen on cannot both be had; port 0 is any free port.

    >>> overlap("localhost:4317", "[::1]:4317"), overlap("127.0.0.1:4317", "[::1]:4317")
    (True, False)
    >>> overlap("0.0.0.0:4317", "127.0.0.1:4317"), overlap("localhost:0", "localhost:0")
    (True, False)
    >>> overlap("unix:///run/s", "unix:///run/./s"), overlap("unix:///run/s", "localhost:4317")
    (True, False)
    """
    if socket_path(first) or socket_path(second):
        return listener_place(first) == listener_place(second)
    (first_hosts, first_port), (second_hosts, second_port) = _hosts(first), _hosts(second)
    return first_port == second_port != "0" and bool(first_hosts & second_hosts)


def _hosts(address: str) -> tuple[frozenset[str], str]:
    """The host as the loopback addresses that it covers, or as itself, and the port."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]").lower()
    every = ("127.0.0.1", "::1")
    covered = {"localhost": every, "0.0.0.0": ("127.0.0.1",), "::": every, "": every}  # noqa: S104
    return frozenset(covered.get(host, (host,))), port


def beside_file(path: Path, info: ValidationInfo) -> Path:
    """Return a path, relative to the folder of the configuration file if there is one."""
    base: Path | None = (info.context or {}).get(BASE)
    return path if base is None else base / path


def existing_beside_file(path: Path, info: ValidationInfo) -> Path:
    """Return the path of a file that exists: beside the configuration file, else where version 0.1.0 looked for it."""
    beside = beside_file(path, info)
    if beside == path or beside.exists() or not path.exists():
        return beside
    _log.warning(
        "%s is relative to the working directory; that is deprecated: give its path relative to the folder of the "
        "configuration file, %s",
        path,
        beside.parent,
    )
    return path


FilePath = Annotated[Path, AfterValidator(beside_file)]
"""A path; a relative path starts from the folder of the configuration file."""
SecretPath = Annotated[Path, AfterValidator(existing_beside_file)]
"""The path of a certificate, a key or tokens; a relative path starts from the folder of the configuration file."""
Duration = Annotated[int, BeforeValidator(duration_ns)]
"""Nanoseconds, written as a duration."""
Bytes = Annotated[int, BeforeValidator(size_bytes)]
"""Bytes, written as a size."""
WindowExtent = Annotated[Extent, BeforeValidator(extent)]
"""The extent of a window, written as a duration or a number of rows."""
Rows = Annotated[int, BeforeValidator(rows)]
"""A number of rows, written with or without the word ``rows``."""
Rate = Annotated[str, BeforeValidator(rate)]
"""A number of events per time, written ``1 per year``."""
ClassName = Annotated[str, BeforeValidator(class_name)]
"""A class, in its one spelling; empty for none."""
Endpoint = Annotated[str, BeforeValidator(endpoint)]
"""An address to listen on, written ``host:port``."""
EndpointOrSocket = Annotated[str, BeforeValidator(endpoint_or_socket)]
"""An address to listen on, written ``host:port``, ``unix:///path`` or ``/path``."""
SocketMode = Annotated[int, BeforeValidator(socket_mode)]
"""The mode of a socket's file, written in octal."""
Destination = Annotated[str, BeforeValidator(destination)]
"""An address to send to."""
