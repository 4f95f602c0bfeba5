"""``mlflow models serve`` under ``opentelemetry-instrument``: its predictions arrive at an OTLP receiver, named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from support.ports import free_port
from support.sink import Sink, listening
from support.waiting import wait_until

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of its own type hints
    mlflow: Any = pytest.importorskip("mlflow")
    pytest.importorskip("uvicorn")
    import pandas as pd

    infer_signature: Any = mlflow.models.infer_signature
    from sklearn.linear_model import LogisticRegression

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
TABLE: Any = pd.DataFrame({"age": [20.0, 30.0, 40.0, 50.0], "calls": [1.0, 7.0, 2.0, 9.0]})
LABELS = ["stays", "stays", "leaves", "leaves"]


RULE = """
import mlflow
import pandas as pd


class Rule(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return pd.DataFrame({"label": ["stays"] * len(model_input), "score": [0.25] * len(model_input)})


mlflow.models.set_model(Rule())
"""
"""A custom model, which no library's hook observes."""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a registry in a file, with one model of scikit-learn and a custom one."""
    folder = tmp_path_factory.mktemp("registry")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        mlflow.set_tracking_uri(f"sqlite:///{folder}/registry.db")
        mlflow.set_experiment("served")
        bare: dict[str, Any] = {"pip_requirements": ["scikit-learn"], "signature": infer_signature(TABLE)}
        mlflow.sklearn.log_model(
            LogisticRegression().fit(TABLE, LABELS),
            name="model",
            registered_model_name="churn",
            serialization_format="cloudpickle",
            **bare,
        )
        rule = folder / "rule.py"
        rule.write_text(RULE)
        mlflow.pyfunc.log_model(name="rule", python_model=str(rule), registered_model_name="rule", **bare)
        for name in ("churn", "rule"):
            mlflow.MlflowClient().set_registered_model_alias(name, "champion", "1")
        yield mlflow.get_tracking_uri()


@contextmanager
def serving(registry: str, sink: Sink, model: str, log: Path) -> Iterator[str]:
    """Run MLflow's own server in two processes, and yield its address."""
    port = free_port()
    scripts = Path(sys.executable).parent
    environ = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    environ |= {
        "PATH": f"{scripts}{os.pathsep}{environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "MLFLOW_TRACKING_URI": registry,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "OTEL_SERVICE_NAME": "scoring",
        "OTEL_TRACES_EXPORTER": "otlp_proto_http",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_ENDPOINT": sink.endpoint,
    }
    command = [str(scripts / "opentelemetry-instrument"), str(scripts / "mlflow"), "models", "serve"]
    command += ["--model-uri", f"models:/{model}@champion", "--port", str(port), "--env-manager", "local"]
    with log.open("w") as output:
        server = subprocess.Popen(command, env=environ, stdout=output, stderr=output, cwd=log.parent)
        try:
            ping = f"http://127.0.0.1:{port}/ping"
            wait_until(lambda: server.poll() is not None or _answers(ping), 200.0, log.read_text)
            assert server.poll() is None, log.read_text()
            yield f"http://127.0.0.1:{port}/invocations"
        finally:
            server.terminate()
            server.wait(30)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return response.status == 200
    except OSError:
        return False


def post(url: str, body: dict[str, Any], ids: list[str | None] | None = None) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        if ids is not None:
            ids.append(response.headers["X-Prediction-Id"])
        return json.loads(response.read())


def attributes(span: Span) -> dict[str, Any]:
    return {each.key: getattr(each.value, str(each.value.WhichOneof("value"))) for each in span.attributes}


def test_a_served_model_of_a_library_has_the_names_of_the_registry(registry: str, tmp_path: Path) -> None:
    ids: list[str | None] = []
    with listening() as sink:
        with serving(registry, sink, "churn", tmp_path / "server.log") as url:
            for body in (
                {"dataframe_split": TABLE[:1].to_dict("split", index=False)},
                {"dataframe_records": TABLE[:1].to_dict("records")},
                {"inputs": TABLE[:1].to_dict("list")},
            ):
                assert post(url, body, ids) == {"predictions": ["stays"]}
            with pytest.raises(urllib.error.HTTPError, match="400"):
                post(url, {"dataframe_records": [{"age": 20.0}]})
            wait_until(lambda: len(sink.spans()) >= 3, explain=(tmp_path / "server.log").read_text)
        spans = sink.spans()
    rows = [attributes(span) for span in spans]
    assert [span.name for span in spans] == ["predict churn"] * 3
    assert {row["ml.model.version"] for row in rows} == {"1"}
    assert {row["ml.prediction.class"] for row in rows} == {"stays"}
    assert {(row["ml.feature.age"], row["ml.feature.calls"]) for row in rows} == {(20.0, 1.0)}
    assert len(set(ids)) == 3
    assert {row["ml.prediction.id"] for row in rows} == set(ids)


def test_a_served_custom_model_has_features_outputs_and_failures(registry: str, tmp_path: Path) -> None:
    with listening() as sink:
        with serving(registry, sink, "rule", tmp_path / "server.log") as url:
            post(url, {"dataframe_split": TABLE[:1].to_dict("split", index=False)})
            with pytest.raises(urllib.error.HTTPError, match="400"):
                post(url, {"dataframe_records": [{"age": 20.0}]})
            wait_until(lambda: len(sink.spans()) >= 2, explain=(tmp_path / "server.log").read_text)
        answered, failed = map(attributes, sink.spans())
    assert (answered["ml.model.name"], answered["ml.model.version"]) == ("rule", "1")
    assert (answered["ml.prediction.class"], answered["ml.prediction.score"]) == ("stays", 0.25)
    assert (answered["ml.feature.age"], answered["ml.feature.calls"]) == (20.0, 1.0)
    assert failed["error.type"] == "mlflow.exceptions.MlflowException"
