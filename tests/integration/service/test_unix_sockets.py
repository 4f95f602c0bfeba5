"""OTLP on Unix sockets: by the Collector's keys, with real clients, in one service and from start to start."""

from __future__ import annotations

import asyncio
import http.client
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from collector_processor.config import ConfigError, parse_config
from collector_processor.config.load import DEFAULT
from collector_processor.receivers.otlp.grpc import SERVICES
from collector_processor.service.checks import check_setup, exposures
from collector_processor.service.run import Service
from collector_processor.service.workers.supervisor import Source


def document(protocols: Mapping[str, Any]) -> dict[str, Any]:
    changed = yaml.safe_load(DEFAULT)
    changed["receivers"]["otlp"] = {"protocols": protocols}
    changed["exporters"]["prometheus"] = {"endpoint": "localhost:0"}
    changed["extensions"]["health_check"] = {"endpoint": "localhost:0"}
    changed["service"]["telemetry"] = {"metrics": {"endpoint": "localhost:0"}}
    return changed


def problems(protocols: Mapping[str, Any], exporters: Mapping[str, Any] | None = None) -> str:
    changed = document(protocols)
    changed["exporters"].update(exporters or {})
    changed["service"]["pipelines"]["metrics"]["exporters"].extend(exporters or {})
    try:
        check_setup(parse_config(yaml.safe_dump(changed)))
    except ConfigError as error:
        return str(error)
    return ""


def span() -> bytes:
    message = ExportTraceServiceRequest()
    message.resource_spans.add().scope_spans.add().spans.add(name="predict", trace_id=b"t" * 16, span_id=b"s" * 8)
    return message.SerializeToString()


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=10)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(str(self.path))


def send_grpc(path: Path) -> None:
    with grpc.insecure_channel(
        "unix:" + str(path).replace("%", "%25").replace(" ", "%20"), options=[("grpc.use_local_subchannel_pool", 1)]
    ) as channel:
        assert channel.unary_unary(f"/{SERVICES['traces']}/Export")(span(), timeout=10) == b""


def send_http(path: Path) -> None:
    connection = UnixConnection(path)
    connection.request("POST", "/v1/traces", span(), {"Content-Type": "application/x-protobuf"})
    assert connection.getresponse().status == 200
    connection.close()


def received(service: Service) -> dict[str, float]:
    name = "otelcol_receiver_accepted_spans_total"
    value = service.telemetry.registry.get_sample_value
    return {each: value(name, {"receiver": "otlp", "transport": each}) or 0.0 for each in ("grpc", "http")}


@pytest.mark.parametrize("folder", ["plain", "a b%41c%"])
@pytest.mark.parametrize("form", ["transport", "url", "short"])
def test_real_clients_send_over_sockets_again_after_a_restart(tmp_path: Path, form: str, folder: str) -> None:
    (tmp_path / folder).mkdir()
    paths = {"grpc": tmp_path / folder / "g", "http": tmp_path / folder / "h"}
    protocols: dict[str, dict[str, Any]] = {
        name: {
            "transport": {"transport": "unix", "endpoint": str(path)},
            "url": {"endpoint": f"unix://{path}"},
            "short": {"endpoint": f"unix:{path}", "transport": "unix"},
        }[form]
        for name, path in paths.items()
    }
    protocols["grpc"]["socket_file_mode"] = "0600"
    protocols["http"]["socket_file_mode"] = "0666"
    config = parse_config(yaml.safe_dump(document(protocols)))
    assert not [line for line in exposures(config) if "receivers" in line]

    async def served() -> None:
        service = Service(config)
        await service.start()
        try:
            assert {name: service.addresses()[at][1] for at, name in enumerate(paths)} == {
                name: f"unix://{path}" for name, path in paths.items()
            }
            modes = {name: stat.S_IMODE(path.stat().st_mode) for name, path in paths.items()}
            assert modes == {"grpc": 0o600, "http": 0o666}
            await asyncio.to_thread(send_grpc, paths["grpc"])
            await asyncio.to_thread(send_http, paths["http"])
            assert received(service) == {"grpc": 1.0, "http": 1.0}
        finally:
            await service.stop()
        assert list((tmp_path / folder).iterdir()) == []

    for _ in range(2):
        asyncio.run(served())


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_socket_in_use_is_refused_and_its_owner_keeps_it(tmp_path: Path, protocol: str) -> None:
    path = tmp_path / "s"
    config = parse_config(yaml.safe_dump(document({protocol: {"endpoint": f"unix://{path}"}})))

    async def both() -> None:
        first, second = Service(config), Service(config)
        await first.start()
        try:
            with pytest.raises(
                OSError, match=f"protocols.{protocol}: cannot listen on unix://.*: address already in use"
            ):
                await second.start()
            await asyncio.to_thread(send_grpc if protocol == "grpc" else send_http, path)
        finally:
            await first.stop()

    asyncio.run(both())


def test_a_killed_service_leaves_its_sockets_and_the_next_one_takes_them(tmp_path: Path) -> None:
    paths = {"grpc": tmp_path / "g", "http": tmp_path / "h"}
    file = tmp_path / "otel-ml.yaml"
    file.write_text(yaml.safe_dump(document({name: {"endpoint": f"unix://{path}"} for name, path in paths.items()})))
    for number in (signal.SIGKILL, signal.SIGTERM):
        line = [sys.executable, "-m", "collector_processor", "serve", "--config", str(file)]
        with subprocess.Popen(line, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as process:
            assert process.stderr is not None
            ready = next(text for text in process.stderr if "ready: " in text)
            assert f"ready: grpc unix://{paths['grpc']}, http unix://{paths['http']}, " in ready
            send_grpc(paths["grpc"])
            send_http(paths["http"])
            os.kill(process.pid, number)
            process.communicate()
        assert [path.exists() for path in paths.values()] == [number == signal.SIGKILL] * 2


def test_several_workers_cannot_share_one(tmp_path: Path) -> None:
    text = yaml.safe_dump(document({"grpc": {"endpoint": f"unix://{tmp_path}/s"}}))
    service = Service(parse_config(text), workers=2, source=Source(text, tmp_path))
    with pytest.raises(OSError, match="several workers cannot share a Unix socket; use --workers 1, or a port"):
        asyncio.run(service.start())


LONG = "/run/" + "a" * 103


@pytest.mark.parametrize(
    ("protocol", "reason"),
    [
        ({"transport": "unix"}, "otlp.protocols.http.endpoint: transport is unix: write the path of a socket"),
        ({"transport": "unix", "endpoint": "localhost:4317"}, "transport is unix: write the path of a socket"),
        ({"transport": "tcp", "endpoint": "unix:///run/s"}, "http.transport: tcp, but unix:///run/s is a Unix socket"),
        ({"transport": "udp"}, "'tcp' or 'unix'"),
        ({"endpoint": "unix:run/s"}, "is not the path of a socket; write unix:///run/otel-ml/otlp.sock"),
        ({"endpoint": "unix://run/s"}, "is not the path of a socket"),
        ({"endpoint": "unix:"}, "is not the path of a socket"),
        ({"endpoint": "unix:///run/"}, "is not the path of a socket"),
        ({"endpoint": "/run/\0s"}, "is not the path of a socket"),
        ({"endpoint": LONG}, "the path of a socket can have 107 bytes"),
        ({"endpoint": "/run/" + "ü" * 52}, "the path of a socket can have 107 bytes"),
        ({"endpoint": "unix-abstract:name"}, "is not an address"),
        ({"socket_file_mode": "0660"}, "socket_file_mode: would not be used: localhost:4318 is not a Unix socket"),
        ({"endpoint": "/run/s", "socket_file_mode": 660}, "660 is not a mode; write 0600 (owner)"),
        ({"endpoint": "/run/s", "socket_file_mode": "0777"}, "'0777' is not a mode"),
        ({"endpoint": "/run/s", "socket_file_mode": True}, "True is not a mode"),
    ],
)
def test_what_cannot_work_is_refused_at_the_start(protocol: dict[str, Any], reason: str) -> None:
    assert reason in problems({"http": protocol})


@pytest.mark.parametrize("endpoint", [LONG[:-1], "/run/" + "ü" * 51, "unix:4317", "UNIX:///run/s"])
def test_what_works_is_taken(endpoint: str) -> None:
    assert problems({"http": {"endpoint": endpoint}}) == ""


def test_one_socket_for_two_listeners_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    twice = {"grpc": {"endpoint": f"{tmp_path}/s"}, "http": {"endpoint": f"unix:{tmp_path}/link/s"}}
    assert "is also receivers.otlp.protocols.grpc; each needs its own address" in problems(twice)
    assert problems({"grpc": {"endpoint": f"{tmp_path}/s"}, "http": {"endpoint": f"{tmp_path}/t"}}) == ""


@pytest.mark.parametrize("kind", ["otlp_grpc", "otlp_http"])
def test_a_loop_over_a_socket_is_seen_through_links(tmp_path: Path, kind: str) -> None:
    (tmp_path / "link").symlink_to(tmp_path)

    def refused(sent: str, received_at: str = f"unix://{tmp_path}/s") -> str:
        exporter = {"endpoint": sent, "tls": {"insecure": True}}
        return problems({"http": {"endpoint": received_at}}, {kind: exporter})

    for sent in (f"unix://{tmp_path}/s", f"unix:{tmp_path}/./s", f"unix:{tmp_path}/link/s"):
        assert "is receivers.otlp.protocols.http of this same service: a loop" in refused(sent)
    assert refused(f"unix://{tmp_path}/t") == ""
    assert refused(f"unix://{tmp_path}/t", "localhost:0") == ""
