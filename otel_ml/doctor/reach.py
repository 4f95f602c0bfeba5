"""Whether a receiver answers: one empty OTLP request, and in words what is wrong if it does not."""

from __future__ import annotations

import http.client
import socket
import ssl
import urllib.error
import urllib.request
from contextlib import suppress
from typing import Any, Final

from otel_ml.doctor.findings import Findings
from otel_ml.doctor.route import GRPC, HTTP, Route, shown

_MOST_S: Final = 10.0
_METHOD: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""What a client of HTTP/2 says first; the server answers with its settings, a frame of type 4."""


class NoAnswerError(Exception):
    """The receiver did not take the request; the message says why, and ``remedy`` what to do."""

    def __init__(self, why: str, remedy: str) -> None:
        super().__init__(why)
        self.remedy = remedy


def check_answer(findings: Findings, route: Route) -> None:
    """Send an empty request and note the answer."""
    name = shown(route.url)
    try:
        _connect(route)
        if route.protocol == HTTP:
            _ask_http(route)
        else:
            _ask_grpc(route)
    except NoAnswerError as error:
        findings.fact("answer", name, str(error))
        findings.problem(f"{name} does not take a request: {error}", error.remedy)
    except Exception as error:  # noqa: BLE001 - whatever a network does must be said, not raised
        findings.fact("answer", name, type(error).__name__)
        findings.problem(f"{name} does not take a request: {type(error).__name__}: {error}", "check the address")
    else:
        findings.fact("answer", name, "takes requests")


def _timeout(route: Route) -> float:
    return min(route.timeout_s, _MOST_S)


def _connect(route: Route) -> None:
    """Connect and do nothing else, since a name, a port and a firewall each fail in another way."""
    if not route.host:
        raise NoAnswerError(f"{shown(route.url)} names no host", "set OTEL_EXPORTER_OTLP_ENDPOINT=http://HOST:PORT")
    if route.protocol == HTTP and urllib.request.getproxies().get(route.url.partition(":")[0]):
        return  # the proxy connects
    place = f"{route.host}:{route.port}"
    try:
        socket.create_connection((route.host, route.port), _timeout(route)).close()
    except socket.gaierror as error:
        raise NoAnswerError(f"the name {route.host} is unknown here", "correct the host of the endpoint") from error
    except ConnectionRefusedError as error:
        remedy = "start the service there (`otel-ml serve`), or correct OTEL_EXPORTER_OTLP_ENDPOINT"
        raise NoAnswerError(f"nothing listens on {place}", remedy) from error
    except TimeoutError as error:
        raise NoAnswerError(f"{place} does not answer", "check firewall and network policy") from error
    except OSError as error:
        raise NoAnswerError(f"{place} cannot be reached: {error.strerror or error}", "check the network") from error


def _tls(route: Route) -> ssl.SSLContext:
    authorities = route.certificate
    if authorities is None:
        with suppress(ImportError):
            import certifi

            authorities = certifi.where()
    try:
        context = ssl.create_default_context(cafile=authorities)
        if route.client_certificate:
            context.load_cert_chain(route.client_certificate, route.client_key)
    except OSError as error:
        remedy = "correct OTEL_EXPORTER_OTLP_CERTIFICATE and its siblings"
        raise NoAnswerError(f"a certificate cannot be read: {error.strerror or error}", remedy) from error
    return context


def _ask_http(route: Route) -> None:
    headers = {"Content-Type": "application/x-protobuf", **route.headers}
    request = urllib.request.Request(route.url, data=b"", headers=headers, method="POST")  # noqa: S310 - http(s) only
    handlers: list[Any] = [urllib.request.HTTPSHandler(context=_tls(route))] if route.secure else []
    try:
        urllib.request.build_opener(*handlers).open(request, timeout=_timeout(route)).close()
    except urllib.error.HTTPError as error:
        raise _refused(f"HTTP {error.code} {error.reason}", error.code, route) from error
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(reason, ssl.SSLError):
            raise _untrusted(reason, route) from error
        raise _misunderstood(route, str(reason)) from error


def _refused(what: str, code: int, route: Route) -> NoAnswerError:
    if code in (401, 403):
        has = "is not accepted" if route.headers else "is missing"
        return NoAnswerError(f"{what}: the token {has}", "set OTEL_EXPORTER_OTLP_HEADERS=authorization=Bearer%20TOKEN")
    if code == 404:
        return NoAnswerError(
            f"{what}: there is no receiver at this path",
            "OTEL_EXPORTER_OTLP_ENDPOINT is without a path (/v1/traces is appended);"
            " OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is used as it is",
        )
    return NoAnswerError(what, "read the log of the receiver")


def _ask_grpc(route: Route) -> None:
    try:
        import grpc  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise NoAnswerError("grpcio is not installed", "pip install opentelemetry-exporter-otlp-proto-grpc") from error
    target = f"{route.host}:{route.port}"
    rpc: Any = grpc
    if route.secure:
        _handshake(route)
        read = [None if path is None else _octets(path) for path in _files(route)]
        channel = rpc.secure_channel(target, rpc.ssl_channel_credentials(*read))
    else:
        channel = rpc.insecure_channel(target)
    try:
        call = channel.unary_unary(_METHOD, request_serializer=None, response_deserializer=None)
        call(b"", timeout=_timeout(route), metadata=tuple(route.headers.items()))
    except rpc.RpcError as error:
        failure: Any = error
        code = failure.code().name
        if code in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
            raise _refused(code, 401, route) from error
        if code == "UNIMPLEMENTED":
            raise NoAnswerError(
                "a gRPC server that takes no traces", "correct the port of OTEL_EXPORTER_OTLP_ENDPOINT"
            ) from error
        raise _misunderstood(route, f"{code}: {failure.details()}") from error
    finally:
        channel.close()


def _files(route: Route) -> tuple[str | None, str | None, str | None]:
    return route.certificate, route.client_key, route.client_certificate


def _octets(path: str) -> bytes:
    with open(path, "rb") as file:  # noqa: PTH123 - a path of a variable, as it is
        return file.read()


def _handshake(route: Route) -> None:
    """Shake hands once: gRPC says of every failure that the server is unavailable."""
    try:
        with socket.create_connection((route.host, route.port), _timeout(route)) as plain:
            _tls(route).wrap_socket(plain, server_hostname=route.host).close()
    except ssl.SSLError as error:
        raise _untrusted(error, route) from error


def _untrusted(error: ssl.SSLError, route: Route) -> NoAnswerError:
    if isinstance(error, ssl.SSLCertVerificationError):
        return NoAnswerError(
            f"its certificate is not trusted: {error.verify_message}",
            "set OTEL_EXPORTER_OTLP_CERTIFICATE to the file of the authority that signed it, and use the host name"
            " that the certificate is for",
        )
    if error.reason == "WRONG_VERSION_NUMBER":
        return NoAnswerError("the port does not speak TLS", f"use http:// for port {route.port}")
    return NoAnswerError(f"TLS fails: {error.reason or error}", "check certificate and key on both sides")


def _misunderstood(route: Route, why: str) -> NoAnswerError:
    """Return what the port speaks, if not what was expected."""
    spoken = "" if route.secure else spoken_at(route.host, route.port)
    if spoken == "tls":
        return NoAnswerError("the port speaks TLS", "use https:// in OTEL_EXPORTER_OTLP_ENDPOINT")
    if spoken and spoken != route.protocol:
        return NoAnswerError(
            f"the port speaks {spoken}, not {route.protocol}",
            f"set OTEL_EXPORTER_OTLP_PROTOCOL={spoken}, or use the port for {route.protocol}"
            f" ({4317 if route.protocol == GRPC else 4318} by default)",
        )
    return NoAnswerError(why, "read the log of the receiver")


def spoken_at(host: str, port: int) -> str:
    """Return what a port speaks: ``grpc``, ``http/protobuf``, ``tls``, or nothing that we know."""
    answer = _said(host, port, _PREFACE)
    if len(answer) > 3 and answer[3] == 4:
        return GRPC
    if answer.startswith(b"HTTP/1") or _said(host, port, b"GET / HTTP/1.1\r\nHost: doctor\r\n\r\n")[:6] == b"HTTP/1":
        return HTTP
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with suppress(OSError), socket.create_connection((host, port), 2) as plain:
        context.wrap_socket(plain, server_hostname=host).close()
        return "tls"
    return ""


def _said(host: str, port: int, octets: bytes) -> bytes:
    with suppress(OSError), socket.create_connection((host, port), 2) as connection:
        connection.sendall(octets)
        return connection.recv(64)
    return b""
