"""Every form of an address against a real server of each kind: it arrives, with TLS where TLS is asked for, or is
refused at the start."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal

import pytest
import trustme
import yaml

from collector_processor.config import ConfigError, parse_config
from collector_processor.config.load import DEFAULT
from collector_processor.exporters.component import ExporterContext
from collector_processor.exporters.otlp.connection import connect
from collector_processor.exporters.otlp.settings import OtlpGrpcSettings, OtlpHttpSettings, OtlpSettings
from collector_processor.own.telemetry import Telemetry
from collector_processor.service.checks import check_setup, exposures
from support.sinks import Pem, Sink, grpc_sink, http_sink

Protocol = Literal["grpc", "http"]
SECRET: Final = "s3cret"
BODY: Final = b"\x0a\x00"
PLAIN: Final = {"insecure": True}
IPV4, IPV6, UNIX, ABSTRACT = "127.0.0.1:0", "[::1]:0", "unix:{folder}/s", "unix-abstract:{name}"
FORMS: Final[list[tuple[Protocol, str, str, bool | None]]] = [
    # Protocol, where the server is, the address, and whether the address itself says TLS (None: tls.insecure does).
    ("grpc", IPV4, "127.0.0.1:{port}", None),
    ("grpc", IPV4, "localhost:{port}", None),
    ("grpc", IPV4, ":{port}", None),
    ("grpc", IPV4, "http://127.0.0.1:{port}", False),
    ("grpc", IPV4, "http://localhost:{port}/", False),
    ("grpc", IPV4, "https://localhost:{port}", True),
    ("grpc", IPV4, "HTTPS://localhost:{port}/", True),
    ("grpc", IPV4, "dns:localhost:{port}", None),
    ("grpc", IPV4, "dns:///localhost:{port}", None),
    ("grpc", IPV4, "ipv4:127.0.0.1:{port}", None),
    ("grpc", IPV4, "ipv4:127.0.0.2:{port},127.0.0.1:{port}", False),
    ("grpc", IPV6, "[::1]:{port}", None),
    ("grpc", IPV6, "http://[::1]:{port}", False),
    ("grpc", IPV6, "https://[::1]:{port}", True),
    ("grpc", IPV6, "ipv6:[::1]:{port}", None),
    ("grpc", UNIX, "unix:{folder}/s", None),
    ("grpc", UNIX, "unix://{folder}/s", None),
    ("grpc", ABSTRACT, "unix-abstract:{name}", None),
    ("http", IPV4, "127.0.0.1:{port}", None),
    ("http", IPV4, "localhost:{port}", None),
    ("http", IPV4, "localhost:{port}/otlp", None),
    ("http", IPV4, ":{port}", None),
    ("http", IPV4, "http://127.0.0.1:{port}", False),
    ("http", IPV4, "http://localhost:{port}/otlp?to=http://a&b=c", False),
    ("http", IPV4, "https://localhost:{port}", True),
    ("http", IPV4, "HTTPS://localhost:{port}/otlp/?redirect=http://elsewhere", True),
    ("http", IPV6, "[::1]:{port}", None),
    ("http", IPV6, "https://[::1]:{port}/v1/traces", True),
    ("http", UNIX, "unix:{folder}/s", None),
    ("http", UNIX, "unix://{folder}/s", None),
]


class Certificates:
    def __init__(self, folder: Path) -> None:
        ca, leaf = trustme.CA(), None
        leaf = ca.issue_cert("localhost", "127.0.0.1", "127.0.0.2", "::1")
        self.ca_file = folder / "ca.pem"
        ca.cert_pem.write_to_path(str(self.ca_file))
        self.pem = Pem(folder / "cert.pem", folder / "key.pem")
        self.pem.cert_file.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        leaf.private_key_pem.write_to_path(str(self.pem.key_file))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy", "no_proxy", "no_grpc_proxy"):
        for spelling in (name, name.upper()):
            monkeypatch.delenv(spelling, raising=False)


def settings_of(protocol: Protocol, endpoint: str, tls: dict[str, Any], **more: Any) -> OtlpSettings:
    kind = OtlpGrpcSettings if protocol == "grpc" else OtlpHttpSettings
    return kind.model_validate({"endpoint": endpoint, "tls": tls, "headers": {"x-api-key": SECRET}, **more})


@contextlib.contextmanager
def serving(protocol: Protocol, where: str, folder: Path, pem: Pem | None) -> Iterator[tuple[Sink, dict[str, object]]]:
    names = {"folder": folder, "name": f"otel-ml-test-{os.getpid()}-{folder.name}"}
    with (grpc_sink if protocol == "grpc" else http_sink)(where.format(**names), pem) as sink:
        yield sink, {**names, "port": sink.port}


def sent(settings: OtlpSettings, protocol: Protocol) -> str:
    context = ExporterContext("otlp", Telemetry(), "one", expiration_s=60.0, max_series=10)
    connection = connect(settings, context, protocol)
    try:
        connection.open()
        return connection.use(lambda sender: sender.send("traces", BODY, 10.0)).outcome
    finally:
        connection.close()


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize(("protocol", "where", "endpoint", "says"), FORMS, ids=[f"{f[0]}-{f[2]}" for f in FORMS])
def test_every_form_arrives_with_its_headers(
    certificates: Certificates,
    tmp_path: Path,
    protocol: Protocol,
    where: str,
    endpoint: str,
    says: bool | None,
    secure: bool,
) -> None:
    if says not in (None, secure):
        pytest.skip("the address says the opposite")
    tls = {"ca_file": certificates.ca_file} if secure else {} if "://" in endpoint and says is False else PLAIN
    with serving(protocol, where, tmp_path, certificates.pem if secure else None) as (sink, names):
        settings = settings_of(protocol, endpoint.format(**names), tls)
        assert list(settings.mistakes("exporters.otlp")) == []
        assert settings.secure is secure
        assert sent(settings, protocol) == "sent"
    assert (sink.headers("x-api-key"), [body for _, _, body in sink.got]) == ([SECRET], [BODY])


def test_a_url_keeps_its_path_and_its_query_and_the_path_of_a_signal_is_not_repeated(tmp_path: Path) -> None:
    paths = {
        "": "/v1/traces",
        "/": "/v1/traces",
        "/otlp": "/otlp/v1/traces",
        "/otlp/?to=http://a/v1/traces&b=%20": "/otlp/v1/traces?to=http://a/v1/traces&b=%20",
        "/v1/traces": "/v1/traces",
        "/api/v1/otlp/v1/metrics/": "/api/v1/otlp/v1/traces",
        "/v1/logs?key=a": "/v1/traces?key=a",
        "/v1/tracesmore": "/v1/tracesmore/v1/traces",
        "?key=a": "/v1/traces?key=a",
    }
    with serving("http", IPV4, tmp_path, None) as (sink, names):
        for path in paths:
            assert sent(settings_of("http", f"http://127.0.0.1:{names['port']}{path}", {}), "http") == "sent"
    assert [path for path, _, _ in sink.got] == [*paths.values()]


@pytest.mark.parametrize(
    ("protocol", "endpoint"),
    [(f[0], f[2]) for f in FORMS if f[1] == IPV4 and f[3] is not False],
)
def test_with_a_ca_nothing_leaves_in_plain_text(
    certificates: Certificates, tmp_path: Path, protocol: Protocol, endpoint: str
) -> None:
    came: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def run() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(10)
                    # The server sends its settings in plain text first; a client in plain text then sends its headers.
                    connection.sendall(b"\x00\x00\x00\x04\x00\x00\x00\x00\x00")
                    came.append(connection.recv(65536))

        thread = threading.Thread(target=run)
        thread.start()
        address = endpoint.format(port=listening.getsockname()[1], folder=tmp_path, name="none")
        assert sent(settings_of(protocol, address, {"ca_file": certificates.ca_file}), protocol) == "retry"
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(10)
    assert came
    assert [first[:1] for first in came] == [b"\x16"] * len(came), "the first byte of a TLS handshake"


def refused(kind: str, endpoint: str, **settings: Any) -> str:
    document = yaml.safe_load(DEFAULT)
    document["exporters"][kind] = {"endpoint": endpoint, **settings}
    document["service"]["pipelines"]["metrics"]["exporters"].append(kind)
    try:
        check_setup(parse_config(yaml.safe_dump(document)))
    except ConfigError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("kind", "endpoint", "reason"),
    [
        ("otlp_grpc", "dns://collector:4317", "write dns:///host:port"),
        ("otlp_grpc", "dns://10.0.0.1/collector:4317", "write dns:///host:port"),
        ("otlp_grpc", "dns:///collector:4317/path", "write dns:///host:port"),
        ("otlp_grpc", "unix://run/collector.sock", "write unix:///absolute/path"),
        ("otlp_grpc", "unix:", "write unix:///path"),
        ("otlp_grpc", "unix-abstract:", "write unix-abstract:name"),
        ("otlp_grpc", "ipv4:collector:4317", "write ipv4:127.0.0.1:4317"),
        ("otlp_grpc", "ipv4://127.0.0.1:4317", "write ipv4:127.0.0.1:4317"),
        ("otlp_grpc", "ipv4:127.0.0.1", "write ipv4:127.0.0.1:4317"),
        ("otlp_grpc", "ipv6:::1:4317", "write ipv6:[::1]:4317"),
        ("otlp_grpc", "ipv6:[127.0.0.1]:4317", "write ipv6:[::1]:4317"),
        ("otlp_grpc", "xds:///collector", "write host:port"),
        ("otlp_grpc", "vsock:2:4317", "write host:port"),
        ("otlp_grpc", "http://collector:4317/v1/traces", "gRPC has no paths"),
        ("otlp_grpc", "collector:4317/otlp", "gRPC has no paths"),
        ("otlp_grpc", "collector:4317?a=b", "gRPC has no paths"),
        ("otlp_grpc", "::1:4317", "write host:port"),
        ("otlp_grpc", "collector:", "write host:port"),
        ("otlp_grpc", "collector:0", "write host:port"),
        ("otlp_grpc", "http://collector:0", "write host:port"),
        ("otlp_http", "dns:///collector:4318", "dns: is for gRPC only"),
        ("otlp_http", "dns:collector:4318", "dns: is for gRPC only"),
        ("otlp_http", "ipv4:127.0.0.1:4318", "ipv4: is for gRPC only"),
        ("otlp_http", "ipv6:[::1]:4318", "ipv6: is for gRPC only"),
        ("otlp_http", "unix-abstract:name", "unix-abstract: is for gRPC only"),
        ("otlp_http", "http://collector:4318/#part", "fragment"),
        ("otlp_http", "http://[::1:4318", "write host:port"),
        ("otlp_http", "http://[collector]:4318", "write host:port"),
        ("otlp_http", "http:/collector:4318", "write host:port"),
        ("otlp_http", "http:collector", "write host:port"),
        ("otlp_http", "https:///collector", "write host:port"),
    ],
)
def test_what_is_not_supported_is_refused_at_the_start(kind: str, endpoint: str, reason: str) -> None:
    message = refused(kind, endpoint)
    assert f"exporters.{kind}.endpoint" in message
    assert reason in message


def test_several_addresses_with_tls_need_the_name_in_their_certificates() -> None:
    addresses = "ipv4:127.0.0.2:4317,127.0.0.3:4317"
    assert "exporters.otlp_grpc.tls.server_name_override: needed" in refused("otlp_grpc", addresses)
    assert refused("otlp_grpc", addresses, tls={"server_name_override": "collector"}) == ""


@pytest.mark.parametrize("kind", ["otlp_grpc", "otlp_http"])
@pytest.mark.parametrize(
    ("endpoint", "insecure"), [("http://collector:4317", False), ("collector:4317", True), ("unix:///run/s", True)]
)
def test_certificates_that_would_not_be_used_are_refused(
    certificates: Certificates, kind: str, endpoint: str, insecure: bool
) -> None:
    tls = {"ca_file": str(certificates.ca_file), "insecure": insecure}
    assert f"exporters.{kind}.tls.ca_file: would not be used" in refused(kind, endpoint, tls=tls)


@pytest.mark.parametrize(
    ("endpoint", "shown"),
    [
        ("http://localhost:4318", "localhost:4318"),
        (":4318", "localhost:4318"),
        ("http://user:s3cret@127.0.0.1:4318/?key=s3cret", "127.0.0.1:4318"),
        ("HTTP://[::1]:4318", "[::1]:4318"),
    ],
)
def test_a_loop_is_seen_in_every_form(endpoint: str, shown: str) -> None:
    message = refused("otlp_http", endpoint, tls=PLAIN)
    assert f"{shown} is receivers.otlp.protocols.http of this same service: a loop" in message
    assert SECRET not in message


@pytest.mark.parametrize("endpoint", ["dns:///localhost:4317", "ipv4:10.0.0.1:9,127.0.0.1:4317", "ipv6:[::1]:4317"])
def test_a_loop_is_seen_in_the_forms_of_grpc(endpoint: str) -> None:
    assert "a loop" in refused("otlp_grpc", endpoint, tls=PLAIN)


@pytest.mark.parametrize(
    ("endpoint", "headers", "lines"),
    [
        ("http://collector:4318", {"X-Api-Key": SECRET}, 1),
        ("http://me:pass@collector:4318", {}, 1),
        ("http://collector:4318", {"X-Scope-OrgID": "7"}, 0),
        ("http://localhost:4318", {"X-Api-Key": SECRET}, 0),
        ("https://collector:4318", {"X-Api-Key": SECRET}, 0),
    ],
)
def test_secrets_in_plain_text_are_logged_without_them(endpoint: str, headers: dict[str, str], lines: int) -> None:
    document = yaml.safe_load(DEFAULT)
    document["exporters"]["otlp_http"] = {"endpoint": endpoint, "headers": headers}
    document["service"]["pipelines"]["metrics"]["exporters"].append("otlp_http")
    logged = [line for line in exposures(parse_config(yaml.safe_dump(document))) if "otlp_http" in line]
    assert len(logged) == lines
    assert all("plain text" in line and SECRET not in line and "pass" not in line for line in logged)


@pytest.mark.parametrize(
    ("kind", "settings", "key"),
    [
        ("otlp_grpc", {"timeout": "0s"}, "timeout"),
        ("otlp_http", {"retry_on_failure": {"initial_interval": "0s"}}, "retry_on_failure.initial_interval"),
        ("otlp_http", {"retry_on_failure": {"max_interval": "0s"}}, "retry_on_failure.max_interval"),
        ("otlp_http", {"sending_queue": {"num_consumers": 0}}, "sending_queue.num_consumers"),
        ("otlp_http", {"sending_queue": {"batch": {"min_size": 10, "max_size": 9}}}, "sending_queue.batch"),
        ("otlp_http", {"sending_queue": {"batch": {"flush_timeout": "0s"}}}, "sending_queue.batch"),
    ],
)
def test_settings_that_would_send_without_end_or_never_are_refused(
    kind: str, settings: dict[str, Any], key: str
) -> None:
    assert f"exporters.{kind}.{key}: " in refused(kind, "http://collector:4317", **settings)
