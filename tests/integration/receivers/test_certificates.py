"""Certificates of every kind on both transports: those that are taken, those that are not, and those replaced."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from collector_processor.exporters.delivery.connection import Connection
from collector_processor.exporters.delivery.grpc_sender import GrpcSender
from collector_processor.exporters.delivery.http_sender import HttpSender
from collector_processor.exporters.delivery.retry import Delivery, Sender
from collector_processor.receivers.otlp.grpc import GrpcReceiver
from collector_processor.receivers.otlp.http import HttpReceiver
from collector_processor.security.client_tls import ClientTls
from collector_processor.security.credentials import Watched
from collector_processor.security.server_tls import ServerTls

EMPTY_SPANS = b"\x0a\x00"
Transport = Literal["grpc", "http"]
EACH_TRANSPORT = pytest.mark.parametrize("transport", ["grpc", "http"])
NOW = datetime.now(tz=timezone.utc)
LONG_AGO, YESTERDAY, TOMORROW = NOW - timedelta(days=30), NOW - timedelta(days=1), NOW + timedelta(days=1)


class Pair(NamedTuple):
    cert_file: Path
    key_file: Path


class Certificates:
    """One CA that everybody trusts, another one that nobody does, and what they have signed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.ca, self.strange_ca = trustme.CA(), trustme.CA()
        self.ca_file = self._written("ca.pem", self.ca.cert_pem)
        self.strange_ca_file = self._written("strange-ca.pem", self.strange_ca.cert_pem)
        self.server = self.pair("server", self.ca.issue_cert("localhost", "127.0.0.1"))
        self.other_host = self.pair("other-host", self.ca.issue_cert("otel.example.org"))
        self.expired = self.pair("expired", self._issued(LONG_AGO, YESTERDAY))
        self.not_yet = self.pair("not-yet", self._issued(TOMORROW, TOMORROW + timedelta(days=1)))
        self.strange = self.pair("strange", self.strange_ca.issue_cert("localhost", "127.0.0.1"))
        self.client = self.pair("client", self.ca.issue_cert("app@example.org"))

    def _issued(self, start: datetime, end: datetime) -> trustme.LeafCert:
        return self.ca.issue_cert("localhost", "127.0.0.1", not_before=start, not_after=end)

    def pair(self, name: str, leaf: trustme.LeafCert) -> Pair:
        chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
        pair = Pair(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        replace(pair.cert_file, chain)
        replace(pair.key_file, leaf.private_key_pem.bytes())
        return pair

    def _written(self, name: str, blob: trustme.Blob) -> Path:
        blob.write_to_path(str(self._folder / name))
        return self._folder / name


def replace(file: Path, content: bytes) -> None:
    """As certificates are renewed: whole, by a rename."""
    fresh = file.with_name(f"{file.name}.fresh")
    fresh.write_bytes(content)
    fresh.replace(file)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def own(tmp_path: Path) -> Certificates:
    """Certificates that a test may replace."""
    return Certificates(tmp_path)


def server_tls(pair: Pair, **more: Any) -> ServerTls:
    return ServerTls(cert_file=pair.cert_file, key_file=pair.key_file, **more)


def sender(service: Any, transport: Transport, tls: ClientTls) -> Sender:
    if transport == "grpc":
        return GrpcSender(service.grpc_address, tls=tls)
    return HttpSender(f"https://{service.http_address}", tls=tls)


def delivered(service: Any, transport: Transport, tls: ClientTls) -> Delivery:
    with contextlib.closing(sender(service, transport, tls)) as sending:
        return sending.send("traces", EMPTY_SPANS, 3.0)


@EACH_TRANSPORT
@pytest.mark.parametrize("wrong", ["other_host", "expired", "not_yet", "strange"])
def test_a_server_that_is_not_who_it_says_gets_nothing(
    serve: Callable[..., Any], made: Certificates, transport: Transport, wrong: str
) -> None:
    service = serve(**{transport: {"tls": server_tls(getattr(made, wrong))}})
    assert delivered(service, transport, ClientTls(ca_file=made.ca_file)).outcome == "retry"
    assert service.bodies() == []


@EACH_TRANSPORT
def test_a_certificate_of_another_name_is_taken_when_that_name_is_asked_for(
    serve: Callable[..., Any], made: Certificates, transport: Transport
) -> None:
    service = serve(**{transport: {"tls": server_tls(made.other_host)}})
    tls = ClientTls(ca_file=made.ca_file, server_name_override="otel.example.org")
    assert delivered(service, transport, tls).outcome == "sent"
    other = ClientTls(ca_file=made.ca_file, server_name_override="elsewhere.example.org")
    assert delivered(service, transport, other).outcome == "retry"


@pytest.mark.parametrize("wrong", ["other_host", "expired", "strange"])
def test_any_server_is_taken_over_http_when_nothing_is_verified(
    serve: Callable[..., Any], made: Certificates, wrong: str
) -> None:
    service = serve(http={"tls": server_tls(getattr(made, wrong))})
    assert delivered(service, "http", ClientTls(insecure_skip_verify=True)).outcome == "sent"


@EACH_TRANSPORT
def test_only_clients_of_the_ca_are_let_in(serve: Callable[..., Any], made: Certificates, transport: Transport) -> None:
    service = serve(**{transport: {"tls": server_tls(made.server, client_ca_file=made.ca_file)}})

    def outcome(pair: Pair | None) -> str:
        files = {} if pair is None else pair._asdict()
        return delivered(service, transport, ClientTls(ca_file=made.ca_file, **files)).outcome

    assert outcome(made.client) == "sent"
    for wrong in (None, made.strange, made.expired, made.not_yet):
        assert outcome(wrong) == "retry", wrong
    assert service.bodies() == [EMPTY_SPANS]


@EACH_TRANSPORT
def test_plain_text_and_tls_do_not_meet(serve: Callable[..., Any], made: Certificates, transport: Transport) -> None:
    secure, plain = serve(**{transport: {"tls": server_tls(made.server)}}), serve()
    to_tls = GrpcSender(secure.grpc_address) if transport == "grpc" else HttpSender(f"http://{secure.http_address}")
    with contextlib.closing(to_tls):
        assert to_tls.send("traces", EMPTY_SPANS, 3.0).outcome == "retry"
    assert delivered(plain, transport, ClientTls(ca_file=made.ca_file)).outcome == "retry"
    assert delivered(secure, transport, ClientTls(ca_file=made.ca_file)).outcome == "sent"
    assert (secure.bodies(), plain.bodies()) == ([EMPTY_SPANS], [])


def handshake(port: int, ca_file: Path, **versions: ssl.TLSVersion) -> str | None:
    """The version of TLS that is agreed on with these limits."""
    context = ssl.create_default_context(cafile=str(ca_file))
    for name, version in versions.items():
        setattr(context, name, version)
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as sock,
        context.wrap_socket(sock, server_hostname="localhost") as secure,
    ):
        return secure.version()


def test_old_versions_of_tls_are_not_spoken(serve: Callable[..., Any], made: Certificates) -> None:
    usual = serve(grpc={"tls": server_tls(made.server)}, http={"tls": server_tls(made.server)})
    strict = serve(http={"tls": server_tls(made.server, min_version="1.3")})
    only_12 = {"maximum_version": ssl.TLSVersion.TLSv1_2}
    assert handshake(usual.http.port, made.ca_file, **only_12) == "TLSv1.2"
    assert handshake(strict.http.port, made.ca_file) == "TLSv1.3"
    with pytest.raises(ssl.SSLError):
        handshake(strict.http.port, made.ca_file, **only_12)
    for port in (usual.http.port, usual.grpc.port):
        # An old client, as far as this machine's own library can still play one.
        with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
            sock.sendall(bytes.fromhex("160301002f0100002b0301") + bytes(32) + bytes.fromhex("000004002f00ff0100"))
            assert not sock.recv(64).startswith(b"\x16\x03\x01\x00\x31")


def test_a_client_may_ask_for_a_version(serve: Callable[..., Any], made: Certificates) -> None:
    service = serve(http={"tls": server_tls(made.server)})
    assert delivered(service, "http", ClientTls(ca_file=made.ca_file, min_version="1.3")).outcome == "sent"


@pytest.fixture
def mute() -> Iterator[Callable[[int], None]]:
    """Connects many times, begins a handshake and says no more."""
    opened: list[socket.socket] = []

    def connect(port: int) -> None:
        for number in range(40):
            sock = socket.create_connection(("127.0.0.1", port), timeout=10)
            # The beginning of a ClientHello, of another length each time.
            sock.sendall(bytes.fromhex("1603010200010001fc0303")[: 1 + number % 11])
            opened.append(sock)

    yield connect
    for sock in opened:
        sock.close()


@EACH_TRANSPORT
def test_handshakes_that_never_end_keep_nobody_out(
    serve: Callable[..., Any], made: Certificates, mute: Callable[[int], None], transport: Transport
) -> None:
    service = serve(**{transport: {"tls": server_tls(made.server)}})
    mute(service.grpc.port if transport == "grpc" else service.http.port)
    assert delivered(service, transport, ClientTls(ca_file=made.ca_file)).outcome == "sent"


@EACH_TRANSPORT
@pytest.mark.parametrize(
    "junk", [b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", bytes(300), b"\xff" * 5000]
)
def test_junk_before_a_handshake_is_hung_up_on(
    serve: Callable[..., Any], made: Certificates, transport: Transport, junk: bytes
) -> None:
    service = serve(**{transport: {"tls": server_tls(made.server)}})
    port = service.grpc.port if transport == "grpc" else service.http.port
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock, contextlib.suppress(ConnectionError):
        sock.sendall(junk)
        while sock.recv(4096):
            pass
    assert delivered(service, transport, ClientTls(ca_file=made.ca_file)).outcome == "sent"


# --- replaced while the service runs -------------------------------------------------------------------------


@EACH_TRANSPORT
def test_a_new_certificate_is_served_without_a_restart(
    serve: Callable[..., Any], own: Certificates, transport: Transport
) -> None:
    service = serve(**{transport: {"tls": server_tls(own.expired, reload_interval="1ns")}})
    trusting = ClientTls(ca_file=own.ca_file)
    assert delivered(service, transport, trusting).outcome == "retry"
    own.pair("expired", own.ca.issue_cert("localhost", "127.0.0.1"))
    assert delivered(service, transport, trusting).outcome == "sent"


@EACH_TRANSPORT
def test_without_an_interval_the_certificates_are_those_of_the_start(
    serve: Callable[..., Any], own: Certificates, transport: Transport
) -> None:
    service = serve(**{transport: {"tls": server_tls(own.server)}})
    own.pair("server", own.strange_ca.issue_cert("localhost", "127.0.0.1"))
    assert delivered(service, transport, ClientTls(ca_file=own.ca_file)).outcome == "sent"


@EACH_TRANSPORT
@pytest.mark.parametrize("broken", ["key of another", "no certificate", "gone", "encrypted"])
def test_certificates_that_cannot_be_used_leave_the_ones_from_before(
    serve: Callable[..., Any], own: Certificates, transport: Transport, broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    service = serve(**{transport: {"tls": server_tls(own.server, reload_interval="1ns")}})
    if broken == "key of another":
        replace(own.server.key_file, own.client.key_file.read_bytes())
    elif broken == "no certificate":
        replace(own.server.cert_file, b"junk")
    elif broken == "encrypted":
        replace(own.server.key_file, encrypted(own.server.key_file))
    else:
        own.server.cert_file.unlink()
    assert delivered(service, transport, ClientTls(ca_file=own.ca_file)).outcome == "sent"
    assert ("the previous certificates stay in use" in caplog.text) == (broken != "gone")
    own.pair("server", own.strange_ca.issue_cert("localhost", "127.0.0.1"))
    assert delivered(service, transport, ClientTls(ca_file=own.strange_ca_file)).outcome == "sent"


@EACH_TRANSPORT
def test_a_new_ca_of_clients_holds_from_the_next_connection_on(
    serve: Callable[..., Any], own: Certificates, transport: Transport
) -> None:
    tls = server_tls(own.server, client_ca_file=own.strange_ca_file, reload_interval="1ns")
    service = serve(**{transport: {"tls": tls}})
    client = ClientTls(ca_file=own.ca_file, **own.client._asdict())
    assert delivered(service, transport, client).outcome == "retry"
    replace(own.strange_ca_file, own.ca_file.read_bytes())
    assert delivered(service, transport, client).outcome == "sent"
    assert delivered(service, transport, ClientTls(ca_file=own.ca_file, **own.strange._asdict())).outcome == "retry"


def send_empty(sender: Sender) -> Delivery:
    return sender.send("traces", EMPTY_SPANS, 3.0)


@EACH_TRANSPORT
def test_a_sender_shows_its_new_certificate(serve: Callable[..., Any], own: Certificates, transport: Transport) -> None:
    service = serve(**{transport: {"tls": server_tls(own.server, client_ca_file=own.ca_file)}})
    tls = ClientTls(ca_file=own.ca_file, **own.strange._asdict())
    watched = Watched(own.strange)
    with contextlib.closing(Connection("otlp", lambda: sender(service, transport, tls), watched.changed)) as sending:
        assert sending.use(send_empty).outcome == "retry"
        own.pair("strange", own.ca.issue_cert("app@example.org"))
        outcomes: list[str] = []
        deadline = time.monotonic() + 20
        # Between the two files of a pair they may not fit.
        while outcomes[-1:] != ["sent"]:
            outcomes.append(sending.use(send_empty).outcome)
            assert time.monotonic() < deadline, outcomes


def encrypted(key_file: Path) -> bytes:
    key = serialization.load_pem_private_key(key_file.read_bytes(), None)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"password"),
    )


@EACH_TRANSPORT
def test_an_encrypted_key_stops_the_start_and_asks_nobody(
    service: Any, own: Certificates, transport: Transport
) -> None:
    replace(own.server.key_file, encrypted(own.server.key_file))
    kind: Any = GrpcReceiver if transport == "grpc" else HttpReceiver
    more = () if transport == "grpc" else (lambda signal, body: body,)
    receiver = kind("127.0.0.1:0", service.admission, *more, tls=server_tls(own.server))
    with pytest.raises(OSError, match=rf"receivers\.otlp\.protocols\.{transport}\.tls: cannot use "):
        service.run(receiver.start())


@EACH_TRANSPORT
def test_many_connect_while_certificates_are_replaced(
    serve: Callable[..., Any], own: Certificates, transport: Transport
) -> None:
    service = serve(**{transport: {"tls": server_tls(own.server, reload_interval="1ns")}})
    outcomes: list[str] = []

    def connect() -> None:
        outcomes.extend(delivered(service, transport, ClientTls(ca_file=own.ca_file)).outcome for _ in range(8))

    threads = [threading.Thread(target=connect) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        own.pair("server", own.ca.issue_cert("localhost", "127.0.0.1"))
    for thread in threads:
        thread.join(60)
    assert outcomes == ["sent"] * 24
