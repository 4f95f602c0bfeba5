"""Model servers of other projects, with no line of ours in them: their predictions and labels meet in the service."""

from __future__ import annotations

from pathlib import Path

import pytest
from stack import ROOT, Service, Stack, free_port
from traffic import model

from support.model_servers import KSERVE, inference_request, write_mlserver
from support.served import ask, serving, together

ENVIRONMENTS = ROOT / ".frameworks"
LEARNS = {"connectors": {"ml_monitor": {"reference": {"learn": 100}}}}
AGES = [float(age) for age in range(18, 118)]


def scripts_of(name: str) -> Path:
    """The environment that `make frameworks` makes for a server."""
    scripts = ENVIRONMENTS / name / "bin"
    if not (scripts / "opentelemetry-instrument").exists():
        pytest.skip(f"{name} has no environment here: python tests/frameworks/run.py {name}")
    return scripts


def served(service: Service, key: str, url: str, kind: str, rows: int) -> None:
    """Send a request for each age; all rows until now have come then."""
    answers = together([lambda age=age: ask(url, inference_request([age], f"{kind}-{age:g}")) for age in AGES])
    assert {answer.status for answer in answers} == {200}
    service.wait(lambda: service.counted("otel_ml_rows_total", model=key) == rows)


def expect(service: Service, key: str, url: str) -> None:
    """Each request is one row of the model, and its label joins on the request's id."""
    served(service, key, url, "learned", len(AGES))
    served(service, key, url, "order", 2 * len(AGES))
    with model(service.grpc, "churn") as labeled:
        labeled.labels([f"order-{age:g}" for age in AGES], classes=["leaves" if age > 35 else "stays" for age in AGES])
    service.wait(lambda: service.counted("otel_ml_labels_total", model="churn", outcome="joined") == len(AGES))


def test_predictions_of_mlserver_meet_their_labels(stack: Stack, tmp_path: Path) -> None:
    scripts, service, port = scripts_of("mlserver"), stack.service(LEARNS), free_port()
    write_mlserver(tmp_path, port, free_port(), free_port(), workers=1)
    url = f"http://127.0.0.1:{port}/v2"
    command = [scripts / "mlserver", "start", "."]
    with serving(f"http://localhost:{service.http}", tmp_path, command, f"{url}/health/ready", scripts=scripts):
        expect(service, "churn@v7", f"{url}/models/churn/infer")


def test_predictions_of_kserve_meet_their_labels(stack: Stack, tmp_path: Path) -> None:
    scripts, service, port = scripts_of("kserve"), stack.service(LEARNS), free_port()
    (tmp_path / "server.py").write_text(KSERVE)
    url = f"http://127.0.0.1:{port}/v2"
    command = [scripts / "python", "server.py", f"--http_port={port}", "--enable_grpc=false"]
    with serving(f"http://localhost:{service.http}", tmp_path, command, f"{url}/health/ready", scripts=scripts):
        expect(service, "churn", f"{url}/models/churn/infer")
