"""The endpoint that Prometheus scrapes, over TLS and for whom it is meant."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import requests
import trustme

from collector_processor.exporters.prometheus.exporter import PrometheusExporter
from collector_processor.own.telemetry import Telemetry
from collector_processor.security.server_tls import ServerTls, server_context


class Files:
    def __init__(self, folder: Path) -> None:
        self.folder, self.ca = folder, trustme.CA()
        self.ca_file = folder / "ca.pem"
        self.ca.cert_pem.write_to_path(str(self.ca_file))
        self.issue("server")
        self.issue("prometheus")

    def issue(self, name: str, ca: trustme.CA | None = None) -> tuple[str, str]:
        leaf = (ca or self.ca).issue_cert("localhost")
        pair = str(self.folder / f"{name}.pem"), str(self.folder / f"{name}.key")
        leaf.private_key_pem.write_to_path(pair[1])
        leaf.cert_chain_pems[0].write_to_path(pair[0])
        return pair


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture
def port(files: Files) -> Iterator[int]:
    tls = ServerTls(
        cert_file=files.folder / "server.pem",
        key_file=files.folder / "server.key",
        client_ca_file=files.ca_file,
        reload_interval="1ns",
    )
    secure = partial(server_context, tls, "exporters.prometheus")
    exporter = PrometheusExporter(
        "prometheus", "localhost:0", Telemetry(), secure=secure, expiration_s=300.0, max_series=1000
    )
    exporter.start()
    yield exporter.port
    exporter.shutdown(5.0)


def scrape(port: int, files: Files, pair: tuple[str, str] | None) -> int:
    url = f"https://localhost:{port}/metrics"
    with requests.Session() as session:
        session.trust_env = False
        return session.get(url, verify=str(files.ca_file), cert=pair, timeout=10).status_code


def pair_of(files: Files, name: str) -> tuple[str, str]:
    return str(files.folder / f"{name}.pem"), str(files.folder / f"{name}.key")


def test_only_a_scraper_of_the_ca_is_answered(port: int, files: Files) -> None:
    assert scrape(port, files, pair_of(files, "prometheus")) == 200
    for wrong in (None, files.issue("stranger", trustme.CA())):
        with pytest.raises(requests.ConnectionError):
            scrape(port, files, wrong)
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://localhost:{port}/metrics", timeout=10)


def test_mute_connections_keep_nobody_out(port: int, files: Files) -> None:
    mute = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(10)]
    assert scrape(port, files, pair_of(files, "prometheus")) == 200
    for sock in mute:
        sock.close()


def test_a_new_certificate_is_served_without_a_restart(port: int, files: Files) -> None:
    before = socket_certificate(port, files)
    files.issue("server")
    assert socket_certificate(port, files) != before


def socket_certificate(port: int, files: Files) -> bytes:
    context = ssl.create_default_context(cafile=str(files.ca_file))
    context.load_cert_chain(*pair_of(files, "prometheus"))
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as sock,
        context.wrap_socket(sock, server_hostname="localhost") as secure,
    ):
        shown = secure.getpeercert(binary_form=True)
    assert shown is not None
    return shown
