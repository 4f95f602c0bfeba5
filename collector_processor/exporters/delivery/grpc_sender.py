"""Delivers requests over OTLP/gRPC, byte for byte."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import grpc
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from collector_processor.exporters.delivery.answers import is_about_size, line, partial_success, secrets_of
from collector_processor.exporters.delivery.proxy import proxy_of
from collector_processor.exporters.delivery.retry import Compression, Delivery
from collector_processor.journal.base import Signal
from collector_processor.own.via import HEADER, with_service
from collector_processor.security.client_tls import ClientTls, grpc_credentials, grpc_options
from collector_processor.settings.target import Target, parse_target

_METHODS: Final[dict[Signal, str]] = {
    "traces": "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    "logs": "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    "metrics": "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
}
_RETRYABLE: Final = frozenset(
    {
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)
"""As defined by OTLP; RESOURCE_EXHAUSTED is retryable too, if the server says when to retry."""
_MAY_BE_TOO_LARGE: Final = frozenset(
    {
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.INTERNAL,
    }
)
"""Libraries differ: Rust answers OUT_OF_RANGE; a proxy that answers 413 becomes UNKNOWN."""
_OPTIONS: Final = (
    # gRPC's own back-off grows to two minutes; ours must decide.
    ("grpc.initial_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 5000),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.primary_user_agent", "otel-ml"),
)


@dataclass(frozen=True, slots=True)
class Keepalive:
    """When a connection without an answer is checked, and when it is given up; the defaults are the Collector's."""

    time_s: float = 10.0
    timeout_s: float = 10.0
    permit_without_stream: bool = False


class GrpcSender:
    """Sends to ``endpoint``, any address of :mod:`~collector_processor.settings.target` without a path.

    It sends in plain text without ``tls``, whatever the endpoint says. Header names are sent in lower case, as gRPC
    requires. It connects on the first send. If ``compression`` is None, a request is compressed if it was compressed
    when it arrived: it must be compressed again, because grpcio only accepts plain messages.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        tls: ClientTls | None = None,
        headers: Mapping[str, str] | None = None,
        compression: Compression | None = "gzip",
        keepalive: Keepalive | None = None,
        instance_id: str = "",
    ) -> None:
        self._instance_id = instance_id
        self._compression: Compression | None = compression
        secure = tls is not None and not tls.insecure
        target = parse_target(endpoint)
        options = [*_OPTIONS, *_keepalive_options(keepalive or Keepalive()), *_proxy_options(target, secure=secure)]
        if tls is None or not secure:
            self._channel = grpc.insecure_channel(target.grpc(secure=False), options)
        else:
            if target.scheme.startswith("unix") and not tls.server_name_override:
                # A socket has no name; without this, the library would compare the certificate with its path.
                options.append(("grpc.ssl_target_name_override", "localhost"))
            options += grpc_options(tls)
            self._channel = grpc.secure_channel(target.grpc(secure=True), grpc_credentials(tls), options)
        self._secrets = secrets_of(headers or {}, endpoint)
        self._metadata = tuple((name.lower(), value) for name, value in (headers or {}).items())
        self._calls = {signal: self._channel.unary_unary(method) for signal, method in _METHODS.items()}

    def send(self, signal: Signal, body: bytes, timeout_s: float, gzipped: bytes = b"", via: str = "") -> Delivery:
        """Try once to deliver a request."""
        compress = self._compression == "gzip" or (self._compression is None and bool(gzipped))
        used = grpc.Compression.Gzip if compress else grpc.Compression.NoCompression
        mark = with_service(via, self._instance_id)
        metadata = (*self._metadata, (HEADER, mark)) if mark else self._metadata
        try:
            answer: bytes = self._calls[signal](body, timeout=timeout_s, metadata=metadata, compression=used)
        except grpc.RpcError as error:
            return _failure(error, self._secrets)
        except ValueError as error:
            # The channel was closed in the meantime.
            return Delivery("retry", str(error))
        rejected, message = partial_success(signal, answer)
        return Delivery("sent", line(message, self._secrets), rejected=rejected)

    def close(self) -> None:
        """Close the channel and cancel what is being sent."""
        self._channel.close()


def _keepalive_options(keepalive: Keepalive) -> list[tuple[str, str | int]]:
    return [
        ("grpc.keepalive_time_ms", round(keepalive.time_s * 1000)),
        ("grpc.keepalive_timeout_ms", round(keepalive.timeout_s * 1000)),
        # The library's own measurements of bandwidth are checks, too: none other is sent until their minute is over.
        ("grpc.http2.ping_timeout_ms", round(keepalive.timeout_s * 1000)),
        ("grpc.keepalive_permit_without_calls", int(keepalive.permit_without_stream)),
        # By default the library stops after two checks without a request in between.
        ("grpc.http2.max_pings_without_data", 0),
    ]


def _proxy_options(target: Target, *, secure: bool) -> list[tuple[str, str | int]]:
    """Return the options for the proxy of the environment: gRPC's library itself reads only lower-case variables."""
    proxy = proxy_of(target, "grpc", secure=secure)
    return [("grpc.enable_http_proxy", 0)] if proxy is None else [("grpc.http_proxy", proxy.url)]


def _failure(error: grpc.RpcError, secrets: Sequence[str]) -> Delivery:
    if not isinstance(error, grpc.Call):
        return Delivery("refused", line(str(error), secrets))
    code = error.code()
    message = line(f"{code.name}: {error.details() or ''}", secrets)
    asked_s = _asked_s({item.key: item.value for item in error.trailing_metadata() or ()})
    if asked_s is None and code in _MAY_BE_TOO_LARGE and is_about_size(error.details() or ""):
        return Delivery("refused", message, too_large=True)
    if code in _RETRYABLE or (code is grpc.StatusCode.RESOURCE_EXHAUSTED and asked_s is not None):
        timed_out = code is grpc.StatusCode.DEADLINE_EXCEEDED
        return Delivery("retry", message, retry_after_s=asked_s, timed_out=timed_out)
    return Delivery("refused", message)


def _asked_s(trailers: Mapping[str, str | bytes]) -> float | None:
    """Return the wait that a server asks for, from either of the two places that may have it."""
    direct, details = trailers.get("google.rpc.retryinfo-bin"), trailers.get("grpc-status-details-bin")
    try:
        if isinstance(direct, bytes):
            return _seconds(RetryInfo.FromString(direct))
        for detail in Status.FromString(details).details if isinstance(details, bytes) else ():
            retry_info = RetryInfo()
            if detail.Unpack(retry_info):
                return _seconds(retry_info)
    except DecodeError:
        return None
    return None


def _seconds(retry_info: RetryInfo) -> float:
    return max(0.0, retry_info.retry_delay.seconds + retry_info.retry_delay.nanos / 1e9)
