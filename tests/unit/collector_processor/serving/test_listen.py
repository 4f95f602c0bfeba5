from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector_processor.security.server_tls import ServerTls, check_tls
from collector_processor.serving.listen import check_free, listen, split_endpoint

KEY = "receivers.otlp.protocols.grpc"


@contextlib.contextmanager
def listening(endpoint: str) -> Iterator[list[socket.socket]]:
    sockets = listen(endpoint, KEY)
    try:
        yield sockets
    finally:
        for sock in sockets:
            sock.close()


def test_port_zero_takes_a_free_one_and_connections_are_accepted() -> None:
    with listening("127.0.0.1:0") as (sock,):
        address = sock.getsockname()
        with socket.create_connection(address, timeout=5):
            assert address[1] > 0


def test_all_addresses_of_a_host_share_one_port() -> None:
    with listening("localhost:0") as sockets:
        assert len({sock.getsockname()[1] for sock in sockets}) == 1


def test_a_port_in_use_is_an_error_with_the_key_and_the_address() -> None:
    with listening("localhost:0") as (sock, *_):
        port = sock.getsockname()[1]
        for attempt in (listen, check_free):
            with pytest.raises(OSError, match="address already in use") as caught:
                attempt(f"localhost:{port}", KEY)
            assert str(caught.value) == f"{KEY}: cannot listen on localhost:{port}: address already in use"


def test_checking_that_an_address_is_free_leaves_it_free() -> None:
    (address,), port = check_free("127.0.0.1:0", KEY)
    with listening(f"{address}:{port}"):
        pass


def test_an_unknown_host_is_an_error_with_the_key_and_the_address() -> None:
    with pytest.raises(OSError, match=f"{KEY}: cannot listen on no.such.host.invalid:1: "):
        listen("no.such.host.invalid:1", KEY)


def test_an_address_of_another_machine_is_an_error() -> None:
    with pytest.raises(OSError, match=f"{KEY}: cannot listen on 192.0.2.1:0: cannot assign requested address"):
        listen("192.0.2.1:0", KEY)


@pytest.mark.parametrize("endpoint", ["4317", "localhost", "localhost:", ":", "localhost:x", "localhost:70000"])
def test_what_is_no_address_is_refused(endpoint: str) -> None:
    with pytest.raises(ValueError, match="write host:port"):
        split_endpoint(endpoint)


def test_missing_tls_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=rf"{KEY}\.tls: cannot read .*server\.pem: no such file"):
        check_tls(ServerTls(cert_file=tmp_path / "server.pem", key_file=tmp_path / "server.key"), KEY)


def test_tls_files_that_are_no_certificates_are_named(tmp_path: Path) -> None:
    certificate = tmp_path / "server.pem"
    certificate.write_text("not a certificate")
    with pytest.raises(OSError, match=rf"{KEY}\.tls: cannot use .*server\.pem"):
        check_tls(ServerTls(cert_file=certificate, key_file=certificate), KEY)


def test_no_host_is_every_address() -> None:
    with listening(":0") as (sock,):
        port = sock.getsockname()[1]
        for host in ("127.0.0.1", *(["::1"] if sock.family == socket.AF_INET6 else [])):
            with socket.create_connection((host, port), timeout=5):
                pass
