"""gRPC's health service without reflection, and the limits of its connections."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import grpc
import pytest

from collector_processor.own.telemetry import Telemetry
from collector_processor.receivers.otlp.grpc import SERVICES
from collector_processor.receivers.otlp.settings import GrpcProtocol
from collector_processor.security.credentials import Tokens
from collector_processor.security.guard import Guard
from support.waiting import wait_until

CHECK, WATCH = "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"
SERVING, NOT_SERVING, SERVICE_UNKNOWN = b"\x08\x01", b"\x08\x02", b"\x08\x03"


def named(service: str) -> bytes:
    return b"\x0a" + bytes([len(service)]) + service.encode() if service else b""


@pytest.fixture
def connect() -> Iterator[Callable[[Any], grpc.Channel]]:
    with ExitStack() as opened:
        yield lambda service: opened.enter_context(
            grpc.insecure_channel(service.grpc_address, options=[("grpc.use_local_subchannel_pool", 1)])
        )


@pytest.mark.parametrize("service_name", ["", *SERVICES.values()])
def test_a_probe_is_answered(service: Any, connect: Callable[[Any], grpc.Channel], service_name: str) -> None:
    assert connect(service).unary_unary(CHECK)(named(service_name), timeout=10) == SERVING


@pytest.mark.parametrize("request_bytes", [named("other"), b"\xff\xff", b"\x0a\x7f", bytes(100_000)])
def test_a_probe_of_something_else_is_not_found(
    service: Any, connect: Callable[[Any], grpc.Channel], request_bytes: bytes
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        connect(service).unary_unary(CHECK)(request_bytes, timeout=10)
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def test_a_probe_needs_no_token(serve: Callable[..., Any], connect: Callable[[Any], grpc.Channel]) -> None:
    guard = Guard(Tokens("extensions.x", ("s3cret",), None), Telemetry(), key="some")
    service = serve(grpc={"guard": guard})
    assert connect(service).unary_unary(CHECK)(b"", timeout=10) == SERVING
    with pytest.raises(grpc.RpcError) as caught:
        connect(service).unary_unary(f"/{SERVICES['traces']}/Export")(b"", timeout=10)
    assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED


def test_a_watcher_learns_of_the_stop(serve: Callable[..., Any], connect: Callable[[Any], grpc.Channel]) -> None:
    service = serve()
    watched = connect(service).unary_stream(WATCH)(named(SERVICES["logs"]), timeout=20)
    assert next(watched) == SERVING
    stopping = threading.Thread(target=lambda: service.run(service.grpc.stop(10.0)))
    stopping.start()
    assert list(watched) == [NOT_SERVING]
    stopping.join(10)


def test_a_watcher_of_an_unknown_service_learns_that(service: Any, connect: Callable[[Any], grpc.Channel]) -> None:
    watched = connect(service).unary_stream(WATCH)(named("other"), timeout=20)
    assert next(watched) == SERVICE_UNKNOWN
    watched.cancel()


def test_watchers_are_bounded(service: Any, connect: Callable[[Any], grpc.Channel]) -> None:
    channels = [connect(service) for _ in range(2)]
    watched = [channels[number % 2].unary_stream(WATCH)(b"", timeout=20) for number in range(128)]
    assert [next(each) for each in watched] == [SERVING] * 128
    with pytest.raises(grpc.RpcError) as caught:
        next(connect(service).unary_stream(WATCH)(b"", timeout=20))
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    for each in watched:
        each.cancel()


def test_connections_over_the_limit_are_refused(
    serve: Callable[..., Any], connect: Callable[[Any], grpc.Channel]
) -> None:
    service = serve(grpc={"options": GrpcProtocol(max_connections=2).options()})
    first, second, third = (connect(service) for _ in range(3))
    for channel in (first, second):
        assert channel.unary_unary(CHECK)(b"", timeout=10) == SERVING
    with pytest.raises(grpc.RpcError) as caught:
        third.unary_unary(CHECK)(b"", timeout=10)
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
    first.close()
    assert third.unary_unary(CHECK)(b"", timeout=20, wait_for_ready=True) == SERVING


def test_a_connection_of_a_great_age_is_replaced(
    serve: Callable[..., Any], connect: Callable[[Any], grpc.Channel]
) -> None:
    keepalive = {"server_parameters": {"max_connection_age": "300ms", "max_connection_age_grace": "5s"}}
    service = serve(grpc={"options": GrpcProtocol.model_validate({"keepalive": keepalive}).options()})
    channel, states, before = connect(service), list[grpc.ChannelConnectivity](), set(threading.enumerate())
    watch = states.append
    channel.subscribe(watch, try_to_connect=True)
    wait_until(lambda: grpc.ChannelConnectivity.IDLE in states[1:])
    assert channel.unary_unary(CHECK)(b"", timeout=10) == SERVING
    channel.unsubscribe(watch)
    # gRPC's thread raises if the channel is closed while it watches it.
    wait_until(lambda: not any(thread.name.endswith("(_run)") for thread in set(threading.enumerate()) - before))


def test_the_keys_of_the_collector_reach_grpc() -> None:
    parameters = {"max_connection_idle": "11s", "max_connection_age": "12s", "time": "13s", "timeout": "1s"}
    policy = {"min_time": "14s", "permit_without_stream": True}
    keepalive = {"server_parameters": parameters, "enforcement_policy": policy}
    settings = GrpcProtocol.model_validate({"keepalive": keepalive})
    options = dict(settings.options())
    assert options == {
        "grpc.max_connection_idle_ms": 11_000,
        "grpc.max_connection_age_ms": 12_000,
        "grpc.keepalive_time_ms": 13_000,
        "grpc.keepalive_timeout_ms": 1000,
        "grpc.http2.min_ping_interval_without_data_ms": 14_000,
        "grpc.http2.max_ping_strikes": 2,
        "grpc.keepalive_permit_without_calls": 1,
        "grpc.max_allowed_incoming_connections": 2048,
    }
    assert dict(GrpcProtocol().options())["grpc.http2.max_ping_strikes"] == 0
