"""OTLP over gRPC and HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from collector_processor.decode.otlp.from_json import json_to_protobuf_and_repairs
from collector_processor.receivers.component import Receiver, ReceiverComponent, ReceiverContext
from collector_processor.receivers.otlp.grpc import GrpcReceiver
from collector_processor.receivers.otlp.http import HttpReceiver
from collector_processor.receivers.otlp.settings import OtlpReceiverSettings


def _build(settings: OtlpReceiverSettings, context: ReceiverContext) -> Iterator[Receiver]:
    grpc, http = settings.protocols.grpc, settings.protocols.http
    if grpc is not None:
        key = f"{context.key}.protocols.grpc"
        yield GrpcReceiver(
            context.address(grpc.endpoint, key),
            context.admission,
            max_bytes=grpc.max_recv_msg_size,
            tls=grpc.tls,
            guard=context.guard(grpc.auth, key),
            key=key,
            shared=context.shared,
        )
    if http is not None:
        key = f"{context.key}.protocols.http"
        yield HttpReceiver(
            context.address(http.endpoint, key),
            context.admission,
            json_to_protobuf_and_repairs,
            max_bytes=http.max_request_body_size,
            tls=http.tls,
            guard=context.guard(http.auth, key),
            key=key,
            shared=context.shared,
        )


OTLP: Final = ReceiverComponent("otlp", OtlpReceiverSettings, build=_build)
