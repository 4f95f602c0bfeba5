"""From the SDK through a receiver, the journal and a forwarder into the next receiver, over both transports."""

from __future__ import annotations

import http.client
from collections.abc import Callable
from contextlib import closing
from typing import Any, Literal

import grpc
import pytest

from collector_processor.exporters.delivery.connection import Connection
from collector_processor.exporters.delivery.grpc_sender import GrpcSender
from collector_processor.exporters.delivery.http_sender import HttpSender
from collector_processor.exporters.delivery.retry import RetryPolicy, Sender
from collector_processor.exporters.otlp.originals import OriginalsForwarder
from collector_processor.receivers.otlp.grpc import SERVICES
from support.waiting import wait_until

SENT = [b"\x0a\x00\xc2\x3e\x05later", b"\x0a\x00" * 1000, b"\xc2\x3e\x07gr\xc3\xb6\xc3\x9fe\x0a\x00"]
"""Requests with a field of a later version in them."""


@pytest.mark.parametrize("onward", ["grpc", "http"])
@pytest.mark.parametrize("inward", ["grpc", "http"])
def test_what_comes_in_goes_on_byte_for_byte(
    serve: Callable[..., Any], inward: Literal["grpc", "http"], onward: Literal["grpc", "http"]
) -> None:
    first, second = serve(), serve()
    sender: Sender = GrpcSender(second.grpc_address) if onward == "grpc" else HttpSender(second.http_address)
    forwarder = OriginalsForwarder("next", first.journal, Connection("next", lambda: sender), first.telemetry)
    forwarder.start()
    for body in SENT:
        send(first, inward, body)
    wait_until(lambda: first.journal.lag("next") == 0)
    forwarder.shutdown(5.0)

    assert sorted(second.bodies()) == sorted(SENT)


def test_backpressure_of_the_next_service_is_waited_out(serve: Callable[..., Any]) -> None:
    first, second = serve(), serve(admission={"max_requests": 1, "retry_after_s": 0.02})
    quick = RetryPolicy(initial_s=0.02, max_s=0.02, max_elapsed_s=0.0)
    sender = GrpcSender(second.grpc_address)
    forwarder = OriginalsForwarder(
        "next", first.journal, Connection("next", lambda: sender), first.telemetry, retry=quick
    )
    forwarder.start()
    with second.admission.room.place():
        send(first, "grpc", SENT[0])
        wait_until(lambda: second.counted("refused", "grpc") >= 2)
    wait_until(lambda: first.journal.lag("next") == 0)
    forwarder.shutdown(5.0)

    assert second.bodies() == [SENT[0]]


def send(service: Any, transport: Literal["grpc", "http"], body: bytes) -> None:
    if transport == "grpc":
        with grpc.insecure_channel(service.grpc_address) as channel:
            channel.unary_unary(f"/{SERVICES['traces']}/Export")(body, timeout=10)
        return
    with closing(http.client.HTTPConnection(service.http_address, timeout=10)) as connection:
        connection.request("POST", "/v1/traces", body, {"Content-Type": "application/x-protobuf"})
        assert connection.getresponse().status == 200
