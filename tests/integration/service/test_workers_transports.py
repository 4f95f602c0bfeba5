"""Several receiving processes behind TLS and tokens, over every transport: the figures are those of one process."""

from __future__ import annotations

import base64
import itertools
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import requests
import trustme
import yaml
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client.parser import text_string_to_metric_families

from support.waiting import wait_until

DEADLINE_S = 60.0
MODEL = "fraud"
MINUTE_NS = 60 * 10**9
TOKEN = "s3cret-of-the-apps"
CONNECTIONS = 16
"""The system deals them out: that all come to one worker is next to impossible."""
PASSING = ("otel_ml", "process_", "python_", "target_info", "ml_prediction_age", "ml_window_age")
EXPORT = {
    "traces": "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    "logs": "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
}
Figures = dict[Any, float]
Send = Callable[[str, bytes], None]
Traffic = list[list[bytes]]


@pytest.fixture(scope="module")
def sent(otlp: Any) -> Traffic:
    """What the reference is learned from; what goes into the window after it, with labels; and what closes that."""
    rng, start_ns = np.random.default_rng(7), (time.time_ns() // MINUTE_NS - 8) * MINUTE_NS

    def prediction(number: int, time_ns: int) -> Any:
        score = float(rng.random())
        attributes = {
            "ml.prediction.id": f"p{number}",
            "ml.prediction.score": score,
            "ml.prediction.class": "fraud" if score > 0.5 else "ok",
            "ml.feature.amount": float(rng.normal(100, 20)),
            "ml.feature.plan": str(rng.choice(["basic", "pro"])),
            "ml.segment.country": str(rng.choice(["DE", "FR"])),
        }
        return otlp.prediction(MODEL, attributes, number, start_time_unix_nano=time_ns)

    def label(row: int) -> Any:
        said = {"ml.label.class": str(rng.choice(["fraud", "ok"]))}
        return otlp.label(MODEL, f"p{1000 + row}", said, start_time_unix_nano=int(times[row]) + 1)

    times = start_ns + MINUTE_NS + rng.integers(0, MINUTE_NS, 1600)
    rows = [prediction(1000 + row, int(at)) for row, at in enumerate(times)]
    labels = [label(row) for row in range(800)]
    return [
        [otlp.request([prediction(number, start_ns + number) for number in range(1000)])],
        [otlp.request(rows[first : first + 50]) for first in range(0, 1600, 50)],
        [otlp.request(labels[first : first + 50]) for first in range(0, 800, 50)],
        [otlp.request([prediction(9999, start_ns + 4 * MINUTE_NS + 2 * 10**9)])],
    ]


def samples(port: int) -> Figures:
    text = requests.get(f"http://localhost:{port}/metrics", timeout=10).text
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def figures(
    folder: Path, settings: Mapping[str, Any], workers: int, sent: Traffic, make: Callable[[dict[str, int]], Send]
) -> Figures:
    """What a real ``otel-ml serve`` measures, in which nothing was refused, lost or counted twice."""
    file = folder / "otel-ml.yaml"
    file.write_text(yaml.safe_dump(settings))
    line = [
        sys.executable,
        "-m",
        "collector_processor",
        "serve",
        "--config",
        str(file),
        "--workers",
        str(workers),
    ]
    process = subprocess.Popen(line, stderr=subprocess.PIPE, text=True)
    try:
        ports = _ports(process)
        send = make(ports)
        for part in sent:
            for body in part:
                send("traces", body)
            wait_until(lambda: _own(ports, "otel_ml_journal_entries") == 0)
        assert _own(ports, "otelcol_receiver_accepted_spans_total", "otelcol_receiver_accepted_log_records_total") == (
            1000 + 1600 + 800 + 1
        )
        assert _own(ports, "otelcol_receiver_refused_spans_total") == _own(ports, "otel_ml_unauthenticated_total")
        assert _own(ports, "otel_ml_errors_total") == 0
        found: Figures = {}

        def closed() -> bool:
            found.clear()
            found.update((key, value) for key, value in samples(ports["prometheus"]).items() if _lasts(key[0]))
            return any(name == "ml_window_labels" and value == 800 for (name, _), value in found.items())

        wait_until(closed)
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 0, log
        return found
    finally:
        process.kill()
        process.communicate()


def _lasts(name: str) -> bool:
    return not name.startswith(PASSING)


def _own(ports: Mapping[str, int], *names: str) -> float:
    return sum(value for (name, _), value in samples(ports["own metrics"]).items() if name in names)


def _ports(process: subprocess.Popen[str]) -> dict[str, int]:
    assert process.stderr is not None
    for line in process.stderr:
        if "ready: " in line:
            pairs = (pair.rpartition(" :") for pair in line.partition("ready: ")[2].strip().split(", "))
            return {name: int(port) for name, _, port in pairs}
    raise AssertionError("it did not become ready")


def as_json(body: bytes) -> dict[str, Any]:
    """A request of spans in OTLP's JSON, which has ids in hex."""
    found = MessageToDict(ExportTraceServiceRequest.FromString(body))
    for resource in found["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                for name in ("traceId", "spanId"):
                    span[name] = base64.b64decode(span[name]).hex()
    return found


def as_records(body: bytes) -> bytes:
    """Labels in spans as log records."""
    request = ExportLogsServiceRequest()
    records = request.resource_logs.add().scope_logs.add().log_records
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        for span in resource.scope_spans[0].spans:
            record = records.add(event_name="ml.label", time_unix_nano=span.start_time_unix_nano)
            record.attributes.extend(span.attributes)
    return request.SerializeToString()


class Secure:
    """Clients with a CA and a token."""

    def __init__(self, folder: Path) -> None:
        ca, self.folder = trustme.CA(), folder
        leaf = ca.issue_cert("localhost")
        self.ca = folder / "ca.pem"
        ca.cert_pem.write_to_path(str(self.ca))
        leaf.private_key_pem.write_to_path(str(folder / "server.key"))
        (folder / "server.pem").write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))

    def settings(self, make: Callable[..., dict[str, Any]], changes: Mapping[str, Any]) -> dict[str, Any]:
        tls = {"cert_file": str(self.folder / "server.pem"), "key_file": str(self.folder / "server.key")}
        found = make(self.folder / "state", changes)
        for protocol in found["receivers"]["otlp"]["protocols"].values():
            protocol |= {"tls": tls, "auth": {"authenticator": "bearertokenauth"}}
        found["extensions"]["bearertokenauth"] = {"token": TOKEN}
        found["service"]["extensions"].append("bearertokenauth")
        return found

    def over_grpc(self, ports: Mapping[str, int]) -> Send:
        credentials = grpc.ssl_channel_credentials(self.ca.read_bytes())
        options = (("grpc.use_local_subchannel_pool", 1),)
        target = f"localhost:{ports['grpc']}"
        turns = itertools.cycle([grpc.secure_channel(target, credentials, options) for _ in range(CONNECTIONS)])
        stranger = grpc.secure_channel(target, credentials).unary_unary(EXPORT["traces"])
        with pytest.raises(grpc.RpcError) as caught:
            stranger(b"", timeout=DEADLINE_S)
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED

        def send(name: str, body: bytes) -> None:
            call = next(turns).unary_unary(EXPORT[name])
            metadata = (("authorization", f"Bearer {TOKEN}"),)
            assert call(body, timeout=DEADLINE_S, metadata=metadata, compression=grpc.Compression.Gzip) == b""

        return send

    def over_http(self, ports: Mapping[str, int], **headers: str) -> Callable[[str, Mapping[str, Any]], None]:
        turns = itertools.cycle([requests.Session() for _ in range(CONNECTIONS)])
        url = f"https://localhost:{ports['http']}/v1"
        stranger = requests.post(f"{url}/traces", b"", headers=headers, verify=str(self.ca), timeout=DEADLINE_S)
        assert stranger.status_code == 401

        def send(name: str, content: Mapping[str, Any]) -> None:
            answer = next(turns).post(
                f"{url}/{name}",
                headers={**headers, "Authorization": f"Bearer {TOKEN}"},
                verify=str(self.ca),
                timeout=DEADLINE_S,
                **content,
            )
            assert (answer.status_code, answer.content) in ((200, b""), (200, b"{}"))

        return send

    def as_json(self, ports: Mapping[str, int]) -> Send:
        send = self.over_http(ports)
        return lambda name, body: send(name, {"json": as_json(body)})

    def with_records(self, ports: Mapping[str, int]) -> Send:
        send = self.over_http(ports, **{"Content-Type": "application/x-protobuf"})

        def each(name: str, body: bytes) -> None:
            labels = b"ml.label.class" in body
            send("logs" if labels else name, {"data": as_records(body) if labels else body})

        return each


def plain(ports: Mapping[str, int]) -> Send:
    url, headers = f"http://localhost:{ports['http']}/v1", {"Content-Type": "application/x-protobuf"}

    def send(name: str, body: bytes) -> None:
        assert requests.post(f"{url}/{name}", body, headers=headers, timeout=DEADLINE_S).status_code == 200

    return send


@pytest.fixture(scope="module")
def changes() -> Mapping[str, Any]:
    window = {"size": "60s", "every": "60s", "allowed_lateness": "120s", "min_rows": 100}
    return {"connectors": {"ml_monitor": {"window": window}}}


@pytest.fixture(scope="module")
def expected(
    tmp_path_factory: pytest.TempPathFactory,
    service_settings: Callable[..., dict[str, Any]],
    changes: Mapping[str, Any],
    sent: Traffic,
) -> Figures:
    """The figures of one process, over plain HTTP."""
    folder = tmp_path_factory.mktemp("one")
    return figures(folder, service_settings(folder / "state", changes), 1, sent, plain)


@pytest.mark.parametrize("how", ["over_grpc", "as_json", "with_records"])
def test_the_figures_of_two_workers_are_those_of_one_over_every_transport(
    tmp_path: Path,
    service_settings: Callable[..., dict[str, Any]],
    changes: Mapping[str, Any],
    sent: Traffic,
    expected: Figures,
    how: str,
) -> None:
    secure = Secure(tmp_path)
    found = figures(tmp_path, secure.settings(service_settings, changes), 2, sent, getattr(secure, how))

    assert len(expected) > 50
    assert found.keys() == expected.keys()
    assert found == pytest.approx(expected, rel=1e-12, abs=1e-12)
