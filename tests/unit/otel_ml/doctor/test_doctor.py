"""``python -m otel_ml doctor``, against real receivers on this machine."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme

from otel_ml.__main__ import main
from otel_ml.doctor import installed
from otel_ml.doctor.command import examine
from otel_ml.doctor.findings import Findings
from otel_ml.doctor.trial import FEATURES
from support.ports import free_port
from support.sink import Sink, listening

METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in list(os.environ):
        if name.startswith("OTEL_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    return monkeypatch


@pytest.fixture
def sink() -> Iterator[Sink]:
    with listening() as server:
        yield server


@pytest.fixture
def grpc_port() -> Iterator[int]:
    """A gRPC server that takes traces from those who have a token."""

    class Handler(grpc.GenericRpcHandler):
        def service(self, details: Any) -> Any:
            def export(request: bytes, context: Any) -> bytes:
                if dict(context.invocation_metadata()).get("authorization") != "Bearer t":
                    context.abort(grpc.StatusCode.UNAUTHENTICATED, "no token")
                return b""

            return grpc.unary_unary_rpc_method_handler(export) if details.method == METHOD else None

    with ThreadPoolExecutor(2) as pool:
        server = grpc.server(pool, handlers=[Handler()])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield port
        server.stop(None).wait()


def found(**variables: str) -> Findings:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        return examine(FEATURES, send=False)


def said(findings: Findings) -> str:
    return "\n".join(f"{problem.what} → {problem.remedy}" for problem in findings.problems)


def http(endpoint: str, **more: str) -> dict[str, str]:
    return {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf", "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, **more}


def test_a_receiver_that_answers_is_fine_and_gets_nothing_but_an_empty_request(sink: Sink) -> None:
    findings = found(**http(sink.endpoint))
    assert findings.facts["answer"] == {f"{sink.endpoint}/v1/traces": "takes requests"}
    assert sink.bodies == {"/v1/traces": [b""]}
    assert findings.healthy, said(findings)


def test_the_test_prediction_is_sent_on_request_only(sink: Sink, environment: pytest.MonkeyPatch) -> None:
    for name, value in http(sink.endpoint).items():
        environment.setenv(name, value)
    findings = examine({"tenure": 12}, send=True)
    [span] = sink.spans()
    assert span.name == "predict otel-ml-doctor"
    assert findings.facts["answer"]["test prediction"] == "delivered as model otel-ml-doctor"
    assert "features   tenure=12" in findings.prediction


def test_what_the_prediction_shows_has_passed_the_redaction(sink: Sink) -> None:
    findings = found(**http(sink.endpoint), OTEL_ML_FEATURES_DENY="city", OTEL_ML_FEATURES_BUCKET="age=10")
    assert "features   age=30, amount=12.5\n" in findings.prediction
    assert "withheld   city" in findings.prediction


def test_nothing_listens() -> None:
    port = free_port()
    assert f"nothing listens on localhost:{port}" in said(found(**http(f"http://localhost:{port}")))


def test_an_unknown_name() -> None:
    assert "the name otel-ml.invalid is unknown here" in said(found(**http("http://otel-ml.invalid:4318")))


def test_grpc_answers_and_a_missing_token_is_named(grpc_port: int) -> None:
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{grpc_port}"}
    assert "the token is missing → set OTEL_EXPORTER_OTLP_HEADERS" in said(found(**endpoint))
    findings = found(**endpoint, OTEL_EXPORTER_OTLP_HEADERS="Authorization=Bearer%20t")
    assert findings.healthy, said(findings)
    assert "Bearer" not in json.dumps(findings.as_json())
    assert "with headers authorization" in findings.facts["route"]["traces"]


def test_http_at_a_port_for_grpc(grpc_port: int) -> None:
    text = said(found(**http(f"http://127.0.0.1:{grpc_port}")))
    assert "the port speaks grpc, not http/protobuf → set OTEL_EXPORTER_OTLP_PROTOCOL=grpc" in text


def test_grpc_at_a_port_for_http(sink: Sink) -> None:
    text = said(found(OTEL_EXPORTER_OTLP_ENDPOINT=sink.endpoint))
    assert "the port speaks http/protobuf, not grpc → set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf" in text


@pytest.fixture
def tls(sink: Sink, tmp_path: Path) -> tuple[int, Path]:
    """The sink with TLS: its port, and the file of its authority."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    sink.socket = context.wrap_socket(sink.socket, server_side=True)
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return sink.server_address[1], path


def test_a_certificate_that_is_not_trusted_and_one_for_another_name(tls: tuple[int, Path]) -> None:
    port, authority = tls
    assert "its certificate is not trusted: " in said(found(**http(f"https://localhost:{port}")))
    trusted = {"OTEL_EXPORTER_OTLP_CERTIFICATE": str(authority)}
    findings = found(**http(f"https://localhost:{port}", **trusted))
    assert findings.healthy, said(findings)
    assert "127.0.0.1" in said(found(**http(f"https://127.0.0.1:{port}", **trusted)))


def test_no_tls_where_the_port_has_it_and_the_other_way_round(tls: tuple[int, Path]) -> None:
    assert "the port speaks TLS → use https://" in said(found(**http(f"http://localhost:{tls[0]}")))
    with listening() as plain:
        port = plain.server_address[1]
        assert "does not speak TLS → use http://" in said(found(**http(f"https://localhost:{port}")))
        text = said(found(OTEL_EXPORTER_OTLP_ENDPOINT=f"https://localhost:{port}"))
        assert "does not speak TLS → use http://" in text


def test_a_wrong_path(sink: Sink) -> None:
    class NotFound(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_error(404)

        def log_message(self, *args: object) -> None:
            pass

    sink.RequestHandlerClass = NotFound
    assert "there is no receiver at this path" in said(found(**http(f"{sink.endpoint}/v1/traces")))


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        ({"OTEL_SDK_DISABLED": "true"}, "OTEL_SDK_DISABLED is true"),
        ({"OTEL_TRACES_EXPORTER": "none"}, "OTEL_TRACES_EXPORTER is none"),
        ({"OTEL_TRACES_EXPORTER": "jaeger"}, "the exporter jaeger is not installed → OTEL_TRACES_EXPORTER can be: "),
        ({"OTEL_TRACES_EXPORTER": "console"}, "prints predictions and sends none"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, "the OTLP protocol 'http/json' is unknown"),
        ({"OTEL_ML_FEATURES_DENI": "ssn"}, "did you mean OTEL_ML_FEATURES_DENY?"),
        ({"OTEL_ML_MAX_FEATURES": "many"}, "OTEL_ML_MAX_FEATURES"),
        ({"OTEL_ML_ENABLED": "false"}, "OTEL_ML_ENABLED is false"),
        ({"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "flask, otel_ml_sklearn"}, "names otel_ml_sklearn"),
        ({"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "*"}, "names *"),
        ({"OTEL_ML_FOLLOW_SAMPLER": "true", "OTEL_TRACES_SAMPLER": "traceidratio"}, "figures come from a sample"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"}, "port 4318 is usually for http/protobuf"),
    ],
)
def test_what_keeps_predictions_here_is_named_with_its_remedy(variables: dict[str, str], problem: str) -> None:
    findings = found(**variables)
    assert problem in said(findings)
    assert all(each.remedy for each in findings.problems)


def test_credentials_in_an_address_and_the_salt_are_not_shown() -> None:
    findings = found(**http("http://user:secret@localhost:1"), OTEL_ML_HASH_SALT="pepper", OTEL_ML_FEATURES_HASH="id")
    text = json.dumps(findings.as_json())
    assert "secret" not in text
    assert "pepper" not in text


def test_limits_of_attributes_do_not_reach_predictions(sink: Sink) -> None:
    findings = found(**http(sink.endpoint), OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT="3", OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT="4")
    assert "features   age=37, amount=12.5, city=Bern" in findings.prediction


def test_a_missing_sdk_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "installed", lambda name: None)
    findings = Findings()
    installed.check_packages(findings)
    assert "the OpenTelemetry SDK is not installed, so nothing is sent → pip install 'otel-ml[otlp]'" in said(findings)


def test_the_exit_code_and_json(
    sink: Sink, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in http(sink.endpoint).items():
        monkeypatch.setenv(name, value)
    assert main(["doctor", "--json", "--features", '{"tenure": 12}']) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["healthy"] is True
    assert report["problems"] == []
    assert "  features   tenure=12" in report["prediction"]
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
    assert main(["doctor"]) == 1
    assert "problem: OTEL_TRACES_EXPORTER is none" in capsys.readouterr().out
    assert main(["doctor", "--features", "[1]"]) == 2
    assert main(["doctor", "--features", "{"]) == 2


def test_otel_ml_doctor_needs_no_package_of_the_service(sink: Sink) -> None:
    code = (
        "import sys\n"
        "for name in ('numpy', 'pyarrow', 'rich', 'pydantic', 'scipy', 'yaml'): sys.modules[name] = None\n"
        "from collector_processor.__main__ import main\n"
        "sys.exit(main(['doctor']))\n"
    )
    environ = {**os.environ, **http(sink.endpoint)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=environ)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no problem found" in done.stdout
