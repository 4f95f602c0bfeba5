"""TLS, mutual TLS and tokens on the whole way: the real SDK to the service, and one service to another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import grpc
import pytest
import requests
import trustme
import yaml
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpanExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter

from collector_processor.cli import main as cli
from otel_ml import Model

Run = Callable[..., Any]
TOKEN = "s3cret-of-the-apps"
EACH_PROTOCOL = pytest.mark.parametrize("protocol", ["grpc", "http"])


class Files:
    """A CA, a server's and a client's certificate, and a file with a token."""

    def __init__(self, folder: Path) -> None:
        ca = trustme.CA()
        self.ca = folder / "ca.pem"
        ca.cert_pem.write_to_path(str(self.ca))
        for name, leaf in (("server", ca.issue_cert("localhost")), ("client", ca.issue_cert("app@example.org"))):
            leaf.private_key_pem.write_to_path(str(folder / f"{name}.key"))
            (folder / f"{name}.pem").write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        self.folder = folder
        self.token = folder / "token"
        self.write_token(TOKEN)

    def write_token(self, *tokens: str) -> None:
        fresh = self.folder / "token.fresh"
        fresh.write_text("\n".join(tokens))
        fresh.replace(self.token)

    def path(self, name: str) -> str:
        return str(self.folder / name)

    @property
    def guarded(self) -> dict[str, Any]:
        """What makes a service ask for a certificate and a token on both protocols."""
        tls = {
            "cert_file": self.path("server.pem"),
            "key_file": self.path("server.key"),
            "client_ca_file": str(self.ca),
        }
        asked = {"tls": tls, "auth": {"authenticator": "bearertokenauth"}}
        return {
            "receivers": {"otlp": {"protocols": {"grpc": asked, "http": asked}}},
            "extensions": {"bearertokenauth": {"filename": str(self.token)}},
            "service": {"extensions": ["health_check", "file_storage", "bearertokenauth"]},
        }

    @property
    def client_tls(self) -> dict[str, str]:
        return {"ca_file": str(self.ca), "cert_file": self.path("client.pem"), "key_file": self.path("client.key")}


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)  # they would win over what the SDK is told
    return Files(tmp_path)


def sdk_exporter(protocol: str, port: int, files: Files, token: str | None, certificate: bool = True) -> SpanExporter:
    """The SDK's own exporter, with TLS."""
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    if protocol == "grpc":
        pair = [Path(files.path(name)).read_bytes() for name in ("client.key", "client.pem")] if certificate else []
        credentials = grpc.ssl_channel_credentials(files.ca.read_bytes(), *pair)
        return GrpcSpanExporter(f"localhost:{port}", credentials=credentials, headers=headers, timeout=3)
    return HttpSpanExporter(
        f"https://localhost:{port}/v1/traces",
        certificate_file=str(files.ca),
        client_key_file=files.path("client.key") if certificate else None,
        client_certificate_file=files.path("client.pem") if certificate else None,
        headers=headers,
        timeout=3,
    )


def predict(exporter: SpanExporter, rows: int) -> None:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    model = Model("fraud", version="1", task="binary_classification", positive_class="fraud", tracer_provider=provider)
    for row in range(rows):
        with model.predict({"amount": float(row)}) as prediction:
            prediction.record(score=0.5, class_="ok")
    provider.shutdown()


@EACH_PROTOCOL
def test_the_sdk_sends_with_a_certificate_and_a_token(run: Run, files: Files, protocol: str) -> None:
    with run(files.guarded) as running:
        predict(sdk_exporter(protocol, running.port(protocol), files, TOKEN), 20)
        running.wait(lambda: running.counted("otel_ml_rows_total", model="fraud@1") == 20)


@EACH_PROTOCOL
@pytest.mark.parametrize("wrong", ["token", "no token", "no certificate"])
def test_the_sdk_gets_nowhere_without_either(run: Run, files: Files, protocol: str, wrong: str) -> None:
    token = {"token": "another", "no token": None, "no certificate": TOKEN}[wrong]
    with run(files.guarded) as running:
        predict(sdk_exporter(protocol, running.port(protocol), files, token, wrong != "no certificate"), 1)
        reason = {"token": "unknown", "no token": "missing"}.get(wrong)
        refused = {"transport": protocol, **({"reason": reason} if reason else {})}
        assert running.counted("otel_ml_unauthenticated_total", **refused) == (1 if reason else 0)
        assert running.counted("otelcol_receiver_accepted_spans_total") == 0


def forwarding(files: Files, protocol: str, port: int, **changes: Any) -> Mapping[str, Any]:
    """What makes a service send its originals and its measurements on, with a certificate and a token."""
    name = f"otlp_{protocol}"
    exporter = {
        "endpoint": f"localhost:{port}",
        "tls": {**files.client_tls, "reload_interval": "1ns"},
        "auth": {"authenticator": "bearertokenauth"},
        "timeout": "3s",
        "retry_on_failure": {"initial_interval": "50ms", "max_interval": "100ms"},
        **changes,
    }
    return {
        "exporters": {name: exporter},
        "extensions": {"bearertokenauth": {"filename": str(files.token)}},
        "service": {
            "extensions": ["health_check", "file_storage", "bearertokenauth"],
            "pipelines": {
                "traces": {"receivers": ["otlp"], "exporters": ["ml_monitor", name]},
                "metrics": {"receivers": ["ml_monitor"], "exporters": ["prometheus", name]},
            },
        },
    }


@EACH_PROTOCOL
def test_one_service_sends_to_another_while_token_and_certificate_are_replaced(
    run: Run, files: Files, protocol: str, tmp_path: Path, service_type: Any, sender: Any, send: Any
) -> None:
    with (
        run(files.guarded) as behind,
        service_type(tmp_path / "front", forwarding(files, protocol, behind.port(protocol))) as front,
    ):
        with sender(front) as model:
            send(model, 50)
        behind.wait(lambda: behind.counted("otel_ml_rows_total", model="fraud@1") == 50)
        files.write_token("another")
        with sender(front) as model:
            send(model, 50, seed=1)
        behind.wait(lambda: behind.counted("otel_ml_rows_total", model="fraud@1") == 100)
        assert behind.counted("otel_ml_unauthenticated_total") == 0
        # What is derived goes the same way.
        with sender(front) as model:
            send(model, 3000, seed=2)
        behind.wait(lambda: behind.counted("otelcol_receiver_accepted_metric_points_total", transport=protocol) > 0)
        assert front.counted("otelcol_exporter_send_failed_spans_total") == 0


@EACH_PROTOCOL
def test_a_service_with_a_wrong_token_is_refused_for_good_and_says_so(
    run: Run, files: Files, protocol: str, tmp_path: Path, service_type: Any, sender: Any, send: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    other = tmp_path / "other-token"
    other.write_text("wr0ng-token")
    with run(files.guarded) as behind:
        settings = forwarding(files, protocol, behind.port(protocol))
        settings["extensions"]["bearertokenauth"]["filename"] = str(other)
        with service_type(tmp_path / "front", settings) as front:
            with sender(front) as model:
                send(model, 20)
            front.wait(lambda: front.counted("otelcol_exporter_send_failed_spans_total") == 20)
        assert behind.counted("otel_ml_unauthenticated_total", transport=protocol, reason="unknown") >= 1
    assert "this receiver requires a bearer token" in caplog.text
    assert "wr0ng-token" not in caplog.text
    assert TOKEN not in caplog.text


def test_validate_prints_no_token_whatever_is_wrong(
    files: Files, service_settings: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "otel-ml.yaml"

    def told(**changes: Any) -> str:
        settings = service_settings(tmp_path / "state", files.guarded | changes)
        config.write_text(yaml.safe_dump(settings))
        cli.main(["validate", "--config", str(config)])
        printed = capsys.readouterr()
        return printed.out + printed.err

    assert "valid" in told()
    for token in ({"token": TOKEN}, {"token": TOKEN, "filename": "x"}, {"token": [TOKEN]}, {"tokens": TOKEN}, TOKEN):
        assert TOKEN not in told(extensions={"bearertokenauth": token})
    files.write_token(f"{TOKEN} and more")
    said = told()
    assert "extensions.bearertokenauth: " in said
    assert "line 1: not a valid token" in said
    assert TOKEN not in said


def test_figures_are_shown_only_to_who_has_a_token_and_health_to_anyone(run: Run, files: Files) -> None:
    tls = {"cert_file": files.path("server.pem"), "key_file": files.path("server.key")}
    asked = {"tls": tls, "auth": {"authenticator": "bearertokenauth"}}
    changes = {
        "exporters": {"prometheus": asked},
        "extensions": {"bearertokenauth": {"filename": str(files.token)}},
        "service": {
            "extensions": ["health_check", "file_storage", "bearertokenauth"],
            "telemetry": {"metrics": asked},
        },
    }
    with run(changes) as running, requests.Session() as session:
        ports = dict(running.service.addresses())
        pages = [
            (ports["prometheus"], "/metrics"),
            (ports["own metrics"], "/metrics"),
            (ports["own metrics"], "/status"),
        ]
        for port, path in pages:
            url = f"https://localhost:{port}{path}"
            stranger = session.get(url, verify=str(files.ca), timeout=10)
            assert (stranger.status_code, stranger.headers["www-authenticate"]) == (401, 'Bearer realm="otel-ml"')
            assert stranger.text.startswith("this address requires a bearer token")
            known = session.get(url, verify=str(files.ca), headers={"authorization": f"Bearer {TOKEN}"}, timeout=10)
            assert known.status_code == 200
        files.write_token("another")
        known = {"authorization": "Bearer another"}
        running.wait(lambda: session.get(url, verify=str(files.ca), headers=known, timeout=10).status_code == 200)
        assert session.get(f"http://localhost:{ports['health_check']}/", timeout=10).status_code == 200
