"""OTLP over gRPC and HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from collector_processor.decode.otlp.from_json import json_to_protobuf_and_repairs
from collector_processor.receivers.component import Receiver, ReceiverComponent, ReceiverContext
from collector_processor.receivers.otlp.grpc import GrpcReceiver
from collector_processor.receivers.otlp.http import HttpReceiver
from collector_processor.receivers.otlp.settings import OtlpReceiverSettings

_S: Final = 1e9


def _build(settings: OtlpReceiverSettings, context: ReceiverContext) -> Iterator[Receiver]:
    grpc, http = settings.protocols.grpc, settings.protocols.http
    if grpc is not None:
        key = f"{context.key}.protocols.grpc"
        yield GrpcReceiver(
            context.address(grpc.endpoint, key),
            context.admission,
            max_bytes=grpc.max_recv_msg_size,
            body_timeout_s=grpc.read_timeout / _S,
            max_streams=grpc.max_concurrent_streams,
            options=grpc.options(),
            tls=grpc.tls,
            guard=context.guard(grpc.auth, key),
            key=key,
            socket_mode=grpc.socket_file_mode,
            shared=context.shared,
        )
    if http is not None:
        key = f"{context.key}.protocols.http"
        yield HttpReceiver(
            context.address(http.endpoint, key),
            context.admission,
            json_to_protobuf_and_repairs,
            max_bytes=http.max_request_body_size,
            limits=http.http_limits(),
            cors=http.cors,
            body_timeout_s=http.read_timeout / _S,
            tls=http.tls,
            guard=context.guard(http.auth, key),
            key=key,
            socket_mode=http.socket_file_mode,
            shared=context.shared,
        )


OTLP: Final = ReceiverComponent("otlp", OtlpReceiverSettings, build=_build)
