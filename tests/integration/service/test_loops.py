"""Originals that come back to a service that has forwarded them are refused, and do not multiply."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
import requests

from collector_processor.own.via import HEADER
from support.ports import free_port

SPANS = "otelcol_receiver_accepted_spans_total"


def forwarding(protocol: str, port: int, destination: str) -> Mapping[str, Any]:
    """A service that listens on every address, and forwards its traces."""
    http = protocol == "http"
    exporter = {
        "endpoint": f"http://{destination}" if http else destination,
        **({} if http else {"tls": {"insecure": True}}),
    }
    return {
        "receivers": {"otlp": {"protocols": {protocol: {"endpoint": f"0.0.0.0:{port}"}}}},
        "exporters": {f"otlp_{protocol}": exporter},
        "service": {"pipelines": {"traces": {"exporters": ["ml_monitor", f"otlp_{protocol}"]}}},
    }


def host() -> str:
    """The name of this machine, which is not one of the names of a loopback address."""
    name = socket.gethostname()
    try:
        socket.getaddrinfo(name, None)
    except OSError:
        pytest.skip("this machine's name does not resolve")
    return name


def refused(running: Any) -> float:
    return running.counted("otel_ml_dropped_total", stage="receiver", reason="loop")


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_service_that_forwards_to_itself_by_the_machines_name_keeps_one_span_one(
    service_type: Callable[..., Any], tmp_path: Path, otlp: Any, protocol: str, caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    with service_type(tmp_path, forwarding(protocol, port, f"{host()}:{port}")) as running:
        body = otlp.request([otlp.prediction("fraud", {"ml.feature.a": 1.0})])
        assert running.send(protocol, "traces", body).code == 0
        running.wait(lambda: refused(running) == 1)
        running.wait(lambda: running.counted("otelcol_exporter_send_failed_spans_total") == 1)
        assert running.counted(SPANS) == 1
    assert sum("a loop" in record.message for record in caplog.records) == 1


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_services_that_forward_in_a_circle_count_a_span_once_each(
    service_type: Callable[..., Any], tmp_path: Path, otlp: Any, protocol: str
) -> None:
    ports = [free_port() for _ in range(3)]
    with ExitStack() as opened:
        circle = [
            opened.enter_context(
                service_type(tmp_path / str(number), forwarding(protocol, port, f"127.0.0.1:{ports[number - 2]}"))
            )
            for number, port in enumerate(ports)
        ]
        body = otlp.request([otlp.prediction("fraud", {"ml.feature.a": 1.0})])
        for times in (1, 2):
            assert circle[0].send(protocol, "traces", body).code == 0
            circle[0].wait(lambda times=times: refused(circle[0]) == times)
        assert [each.counted(SPANS) for each in circle] == [2, 2, 2]
        assert [refused(each) for each in circle] == [2, 0, 0]


def test_a_mark_of_others_is_no_loop_and_a_hostile_one_refuses_only_its_request(
    service_type: Callable[..., Any], tmp_path: Path, otlp: Any
) -> None:
    body = otlp.request([otlp.prediction("fraud", {"ml.feature.a": 1.0})])
    with service_type(tmp_path) as running:
        url = f"http://localhost:{running.port('http')}/v1/traces"
        for mark, status in (
            ("one, other", 200),
            ("x" * 10_000, 200),
            (b"\xff", 200),
            (",", 200),
            (", ".join("abcdefghijklmnopqr"), 400),
        ):
            headers = {"Content-Type": "application/x-protobuf", HEADER: mark}
            assert requests.post(url, body, headers=headers, timeout=20).status_code == status
        with grpc.insecure_channel(f"localhost:{running.port('grpc')}") as channel:
            export = channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")
            export(body, timeout=20, metadata=[(HEADER, "one, other")])
        assert running.send("http", "traces", body).code == 0
        assert running.counted(SPANS) == 6
