"""TLS and mutual TLS, our senders against our receivers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pytest

from collector_processor.exporters.delivery.grpc_sender import GrpcSender
from collector_processor.exporters.delivery.http_sender import HttpSender
from collector_processor.exporters.delivery.retry import Sender
from collector_processor.receivers.otlp.grpc import GrpcReceiver

# A throw-away pair for localhost and 127.0.0.1 that is its own CA, made with `openssl req -x509` for these tests alone.
CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIB0jCCAXigAwIBAgIUQcHK1COvvR0aqwHB0QGt8wlwQEIwCgYIKoZIzj0EAwIw
FzEVMBMGA1UEAwwMb3RlbC1tbC10ZXN0MCAXDTI2MTEyMDIyNTkzMFoYDzIxMjYx
MDI3MjI1OTMwWjAXMRUwEwYDVQQDDAxvdGVsLW1sLXRlc3QwWTATBgcqhkjOPQIB
BggqhkjOPQMBBwNCAATjoL/yO2NY0pJ6mg4vQd4hbCZP7fnI1HB+m6N4lLNotaos
p01vD6B7L/oljUfALk9E9cGyp6jBFgLsDLWi3ICeo4GfMIGcMB0GA1UdDgQWBBSh
sRjxjRPlU1+01k+L51up96JiLDAfBgNVHSMEGDAWgBShsRjxjRPlU1+01k+L51up
96JiLDAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwDwYDVR0TAQH/BAUwAwEB
/zAOBgNVHQ8BAf8EBAMCAoQwHQYDVR0lBBYwFAYIKwYBBQUHAwEGCCsGAQUFBwMC
MAoGCCqGSM49BAMCA0gAMEUCIQDSnB2BoH6puML7jxK+JfGZm0nqP3r+CW65eMM7
Nr3DZQIgZx3UKD4aJ79EAGj/lT6+JgwtZj2bVU0S0vVMODWFGPo=
-----END CERTIFICATE-----
"""
KEY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgAJGz4dwTi+PWugFB
1yP+cDCQlDq5bRFmA6JZa59WNLmhRANCAATjoL/yO2NY0pJ6mg4vQd4hbCZP7fnI
1HB+m6N4lLNotaosp01vD6B7L/oljUfALk9E9cGyp6jBFgLsDLWi3ICe
-----END PRIVATE KEY-----
"""
EMPTY_SPANS = b"\x0a\x00"
Transport = Literal["grpc", "http"]


class ServerTls(NamedTuple):
    cert_file: Path
    key_file: Path
    client_ca_file: Path | None = None
    min_version: str = "1.2"
    reload_interval: int | None = None


class ClientTls(NamedTuple):
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    insecure: bool = False
    insecure_skip_verify: bool = False
    server_name_override: str = ""
    min_version: str = "1.2"


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    certificate, key = tmp_path / "pair.pem", tmp_path / "pair.key"
    certificate.write_text(CERTIFICATE)
    key.write_text(KEY)
    return certificate, key


def outcome(service: Any, transport: Transport, tls: ClientTls) -> str:
    sender: Sender
    if transport == "grpc":
        sender = GrpcSender(service.grpc_address, tls=tls)
    else:
        sender = HttpSender(f"https://{service.http_address}", tls=tls)
    delivery = sender.send("traces", EMPTY_SPANS, 5.0)
    sender.close()
    return delivery.outcome


@pytest.mark.parametrize("transport", ["grpc", "http"])
def test_tls_serves_those_who_trust_it(
    serve: Callable[..., Any], files: tuple[Path, Path], transport: Transport
) -> None:
    service = serve(**{transport: {"tls": ServerTls(*files)}})

    assert outcome(service, transport, ClientTls(ca_file=files[0])) == "sent"
    assert service.bodies() == [EMPTY_SPANS]
    assert outcome(service, transport, ClientTls()) == "retry"


@pytest.mark.parametrize("transport", ["grpc", "http"])
def test_mutual_tls_serves_only_clients_of_its_ca(
    serve: Callable[..., Any], files: tuple[Path, Path], transport: Transport
) -> None:
    certificate, key = files
    service = serve(**{transport: {"tls": ServerTls(certificate, key, client_ca_file=certificate)}})

    assert outcome(service, transport, ClientTls(certificate, certificate, key)) == "sent"
    assert outcome(service, transport, ClientTls(certificate)) == "retry"


def test_missing_certificates_stop_the_start(service: Any, tmp_path: Path) -> None:
    absent = ServerTls(tmp_path / "absent.pem", tmp_path / "absent.key")
    receiver = GrpcReceiver("127.0.0.1:0", service.admission, tls=absent)
    with pytest.raises(OSError, match=r"receivers\.otlp\.protocols\.grpc\.tls: cannot read .*absent\.pem"):
        service.run(receiver.start())
