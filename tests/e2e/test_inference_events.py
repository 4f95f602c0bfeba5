"""Real model servers that know nothing of us: KServe's and MLServer's behind a logger, and BentoML's own monitor.

Each runs in a separate environment, ``.frameworks/NAME`` (``make frameworks``; ``OTEL_ML_ENVIRONMENTS`` names another
folder of them). KServe's logger is its agent where
``.tools/bin/kserve-agent`` is (``go build -o … ./cmd/agent`` in KServe's repository), and a proxy that posts what
``pkg/logger`` posts in any case.
"""

from __future__ import annotations

import json
import os
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from server import ROOT, TOOLS, Server, wait
from stack import Stack

from collector_processor.columns.batch import PredictionBatch
from collector_processor.decode import concatenate, decode
from support.inference_events import kserve, seldon, tensor

MODELS = Path(__file__).parent / "served_elsewhere"
V2_MODEL = "/v2/models/churn/infer"


def environment(name: str, program: str, module: str) -> str:
    """Path of a program in an environment that has a module, or a skip that names what is missing."""
    folder = Path(os.environ.get("OTEL_ML_ENVIRONMENTS", ROOT / ".frameworks")) / name
    if not (folder / "bin" / program).exists():
        pytest.skip(f"{program} is not there: the environment {folder} is missing (make frameworks)")
    if not list(folder.glob("lib/python3*/site-packages/" + module)):
        pytest.skip(f"{module} is not in the environment {folder}")
    return str(folder / "bin" / program)


class Loopback:
    """An HTTP server of the test: ``answer(path, headers, body)`` returns status, headers and body."""

    def __init__(self, answer: Callable[[str, dict[str, str], bytes], tuple[int, Mapping[str, str], bytes]]) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                status, sent, answered = answer(self.path, headers, body)
                self.send_response(status)
                for name, value in {**sent, "Content-Length": str(len(answered))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answered)

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()
        self.port = self.server.server_port

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join(10)
        self.server.server_close()


Serve = Callable[..., Loopback]


@pytest.fixture
def loopback() -> Iterator[Serve]:
    running: list[Loopback] = []

    def start(answer: Any) -> Loopback:
        running.append(Loopback(answer))
        return running[-1]

    yield start
    for each in running:
        each.close()


def logger(model: str, sink: str, headers_of: Callable[[str, str, Mapping[str, str]], dict[str, str]]) -> Any:
    """A proxy before a model server that posts request and response, as the loggers do (``handler.go``)."""

    def answer(path: str, headers: dict[str, str], body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        identity = headers.get("ce-id") or str(uuid.uuid4())
        passed = {name: value for name, value in headers.items() if name in ("content-type", "ce-id")}
        assert requests.post(sink, body, headers=headers_of("request", identity, {}), timeout=30).status_code == 200
        answered = requests.post(model + path, body, headers=passed, timeout=30)
        if answered.status_code == 200:
            sent = headers_of("response", identity, answered.headers)
            assert requests.post(sink, answered.content, headers=sent, timeout=30).status_code == 200
        return answered.status_code, {"Content-Type": "application/json"}, answered.content

    return answer


def now() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Watched:
    """The service with an inference logger's receiver, and the originals that it passes on."""

    def __init__(self, stack: Stack, loopback: Serve, free_port: Callable[[], int]) -> None:
        self.bodies: list[bytes] = []
        sink = loopback(self._keep)
        self.port = free_port()
        self.service = stack.service({
            "receivers": {"inference_logger": {"endpoint": f"localhost:{self.port}"}},
            "exporters": {"otlp_http": {"endpoint": f"http://127.0.0.1:{sink.port}", "compression": "none"}},
            "service": {"pipelines": {
                "traces": {"receivers": ["otlp", "inference_logger"], "exporters": ["ml_monitor", "otlp_http"]},
            }},
        })  # fmt: skip
        self.url = f"http://127.0.0.1:{self.port}"

    def _keep(self, _: str, __: dict[str, str], body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        self.bodies.append(body)
        return 200, {"Content-Type": "application/x-protobuf"}, b""

    def rows(self, model: str) -> float:
        return self.service.counted("otel_ml_rows_total", model=model)

    def batch(self, rows: int) -> PredictionBatch:
        def seen() -> list[PredictionBatch]:
            return [batch for body in self.bodies for batch in decode("traces", body, 0).predictions]

        wait(lambda: sum(map(len, seen())) == rows)
        return concatenate(seen())


@pytest.fixture
def watched(stack: Stack, loopback: Serve, free_port: Callable[[], int]) -> Watched:
    return Watched(stack, loopback, free_port)


def texts(batch: PredictionBatch) -> list[str]:
    assert batch.prediction is not None
    assert batch.prediction.codes is not None
    return [batch.prediction.categories[code] for code in batch.prediction.codes]


def up(url: str) -> Callable[[], bool]:
    return lambda: requests.get(url, timeout=5).status_code == 200


@pytest.mark.parametrize("sender", ["agent", "replay"])
def test_a_kserve_model_server(
    sender: str, watched: Watched, loopback: Serve, free_port: Callable[[], int], tmp_path: Path
) -> None:
    python, agent = environment("kserve", "python", "kserve"), TOOLS / "kserve-agent"
    if sender == "agent" and not agent.exists():
        pytest.skip(f"kserve-agent is not there: {agent} (go build ./cmd/agent in KServe's repository)")
    port, front = free_port(), free_port()
    model = Server("kserve", [python, str(MODELS / "kserve_model.py"), str(port)], tmp_path)
    logging: Server | None = None
    try:
        model.wait(up(f"http://127.0.0.1:{port}/v2/health/ready"), 120)
        if sender == "agent":
            folder = tmp_path / "agent"
            folder.mkdir()
            flags = {
                "port": front, "component-port": port, "log-url": watched.url, "log-mode": "all",
                "inference-service": "churn", "namespace": "shop", "endpoint": "default", "component": "predictor",
                "source-uri": "http://localhost:9081/", "metadata-headers": "Traceparent",
            }  # fmt: skip
            probe = json.dumps({"tcpSocket": {"host": "127.0.0.1", "port": port}})
            env = {"SERVING_READINESS_PROBE": probe}
            logging = Server(
                "agent", [str(agent), *(f"--{name}={value}" for name, value in flags.items())], folder, env
            )
            logging.wait(lambda: requests.get(f"http://127.0.0.1:{front}/v2/health/ready", timeout=5).ok, 60)
        else:
            front = loopback(logger(f"http://127.0.0.1:{port}", watched.url, lambda side, identity, _: kserve(
                "request" if side == "request" else "response", identity, time=now()
            ))).port  # fmt: skip
        url = f"http://127.0.0.1:{front}"
        instances = [{"age": 30, "city": "Bern"}, {"age": 50, "city": "Rome"}]
        headers = {"Ce-Id": "order-1", "Traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}
        one = requests.post(
            f"{url}/v1/models/churn:predict", json={"instances": instances}, headers=headers, timeout=30
        )
        assert one.json() == {"predictions": ["stays", "leaves"]}
        inputs = {"inputs": [tensor("age", [2], "INT64", [20, 60])]}
        two = requests.post(url + V2_MODEL, json=inputs, headers={"Ce-Id": "order-2"}, timeout=30)
        assert two.status_code == 200
        # A failed request has no response, so it must not count.
        assert requests.post(url + V2_MODEL, json={"inputs": []}, timeout=30).status_code != 200
        # The agent also logs its caller's health checks, which are no inferences.
        wait(lambda: (watched.rows("churn"), watched.rows("churn@7")) == (2, 2))
        assert "counted together" not in watched.service.log_text()
        versions = {
            str(batch.model): batch for body in watched.bodies for batch in decode("traces", body, 0).predictions
        }
        v1, v2 = versions["churn"], versions["churn@7"]
        assert texts(v1) == ["stays", "leaves"]
        assert v1.features["age"].numbers is not None
        assert v1.features["age"].numbers.tolist() == [30, 50]
        assert v1.features["city"].categories == ("Bern", "Rome")
        assert texts(v2) == ["0", "1"]
        assert v2.score is not None
        assert v2.score.tolist() == [0.2, 0.6]
        assert 0 < v2.duration_s[0] < 30
        if sender == "agent":
            assert v1.traces is not None
            assert v1.traces.ids[0, 0] == 0xAAAAAAAAAAAAAAAA
    finally:
        if logging is not None:
            logging.kill()
        model.stop()


def test_mlserver_and_the_headers_that_it_writes(
    watched: Watched, loopback: Serve, free_port: Callable[[], int], tmp_path: Path
) -> None:
    program = environment("mlserver", "mlserver", "mlserver")
    port = free_port()
    (tmp_path / "mlserver_model.py").write_text((MODELS / "mlserver_model.py").read_text())
    (tmp_path / "model-settings.json").write_text(json.dumps({
        "name": "churn", "implementation": "mlserver_model.Churn", "parameters": {"version": "v7"},
    }))  # fmt: skip
    (tmp_path / "settings.json").write_text(json.dumps({
        "host": "127.0.0.1", "http_port": port, "grpc_port": free_port(), "metrics_port": free_port(),
        "parallel_workers": 0, "server_name": "income",
    }))  # fmt: skip
    model = Server("mlserver", [program, "start", "."], tmp_path)
    written: list[dict[str, str]] = []

    def headers(side: str, identity: str, answered: Mapping[str, str]) -> dict[str, str]:
        if side == "request":
            # What Seldon's executor posts, with the names that MLServer gives to its answers.
            return {**seldon("request", str(uuid.uuid4()), identity), "Ce-Modelid": "churn", "Ce-Endpoint": "churn"} | {
                "Ce-Namespace": ""
            }
        found = {name.title(): value for name, value in answered.items() if name.lower().startswith("ce-")}
        written.append(found)
        return {**found, "Content-Type": "application/json"}

    try:
        model.wait(up(f"http://127.0.0.1:{port}/v2/health/ready"), 120)
        front = loopback(logger(f"http://127.0.0.1:{port}", watched.url, headers)).port
        body = {
            "id": "order-1",
            "inputs": [tensor("input-0", [2, 2], "FP64", [30.0, 1.0, 50.0, 2.0], content_type="np")],
        }
        answer = requests.post(
            f"http://127.0.0.1:{front}{V2_MODEL}", json=body, headers={"Ce-Id": "order-1"}, timeout=30
        )
        assert answer.status_code == 200, answer.text
        assert written[0]["Ce-Type"] == "io.seldon.serving.inference.response"
        assert written[0]["Ce-Requestid"] == "order-1"
        batch = watched.batch(2)
        assert str(batch.model) == "income@v7"
        assert texts(batch) == ["0", "1"]
        assert np.allclose(np.array([batch.scores[name] for name in ("0", "1")]), [[0.7, 0.5], [0.3, 0.5]])
        assert sorted(batch.features) == ["x0", "x1"]
        wait(lambda: watched.rows("income@v7") == 2)
    finally:
        model.stop()


@pytest.mark.parametrize("meta_sample_rate", ["1", "0"])
def test_bentomls_own_monitor(
    meta_sample_rate: str, stack: Stack, free_port: Callable[[], int], tmp_path: Path
) -> None:
    program = environment("bentoml", "bentoml", "opentelemetry/exporter/otlp/proto/grpc")
    service, port = stack.service(), free_port()
    (tmp_path / "bentoml_service.py").write_text((MODELS / "bentoml_service.py").read_text())
    env = {
        "BENTOML_HOME": str(tmp_path / "home"), "BENTOML_DO_NOT_TRACK": "True", "META_SAMPLE_RATE": meta_sample_rate,
        "MONITOR_ENDPOINT": f"http://127.0.0.1:{service.http}/v1/logs",
    }  # fmt: skip
    command = [program, "serve", "bentoml_service:Churn", "--host", "127.0.0.1", "--port", str(port)]
    model = Server("bentoml", command, tmp_path, env)
    try:
        model.wait(up(f"http://127.0.0.1:{port}/readyz"), 120)
        url = f"http://127.0.0.1:{port}"
        for age in (30, 50):
            answer = requests.post(f"{url}/predict", json={"age": age, "city": "Bern", "balance": 1.5}, timeout=60)
            assert answer.status_code == 200
            assert requests.post(f"{url}/prices", json={"rooms": [1, 2, 3]}, timeout=60).status_code == 200

        def rows(model: str) -> float:
            return service.counted("otel_ml_rows_total", model=model)

        wait(lambda: (rows("churn"), rows("price")) == (2, 6))
    finally:
        model.stop()
