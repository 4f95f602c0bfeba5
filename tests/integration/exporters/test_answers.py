"""What destinations answer besides success: redirects, and reasons in every form, without secrets in the log."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import trustme
from google.rpc.status_pb2 import Status

from collector_processor.exporters.delivery.answers import MAX_REASON, secrets_of
from collector_processor.exporters.delivery.http_client import HttpClient
from collector_processor.exporters.delivery.http_sender import HttpSender
from collector_processor.exporters.delivery.retry import Delivery
from collector_processor.security.client_tls import ClientTls
from support.servers import serving

KEY = "s3cr3t-key-0123"


@dataclass
class Answers:
    """What a server answers by path, and what it got."""

    by_path: dict[str, tuple[int, dict[str, str], bytes]] = field(
        default_factory=dict[str, tuple[int, dict[str, str], bytes]]
    )
    got: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list[tuple[str, dict[str, str], bytes]])
    port: int = 0

    def paths(self) -> list[str]:
        return [path for path, _, _ in self.got]


@pytest.fixture
def serve() -> Iterator[Callable[..., Answers]]:
    with ExitStack() as stack:

        def start(context: Any = None) -> Answers:
            answers = Answers()

            class Handler(BaseHTTPRequestHandler):
                protocol_version = "HTTP/1.1"

                def do_POST(self) -> None:
                    body = self.rfile.read(int(self.headers["content-length"]))
                    answers.got.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                    status, headers, text = answers.by_path.get(self.path, (200, {}, b""))
                    self.send_response(status)
                    for name, value in headers.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(text)))
                    self.end_headers()
                    self.wfile.write(text)

                def log_message(self, *_: object) -> None: ...

            server = stack.enter_context(serving(Handler))
            answers.port = server.server_port
            if context is not None:
                server.socket = context.wrap_socket(server.socket, server_side=True)
            return answers

        yield start


@pytest.fixture
def server(serve: Callable[..., Answers]) -> Answers:
    return serve()


def send(endpoint: str, times: int = 1, **settings: Any) -> Delivery:
    delivery = Delivery("retry")
    with closing(HttpSender(endpoint, compression="none", **settings)) as sender:
        for _ in range(times):
            delivery = sender.send("traces", b"body", 10.0)
    return delivery


@pytest.mark.parametrize("status", [307, 308])
@pytest.mark.parametrize("absolute", [True, False])
def test_a_redirect_is_followed_with_body_and_headers(server: Answers, status: int, absolute: bool) -> None:
    place = (f"http://127.0.0.1:{server.port}" if absolute else "") + "/moved/v1/traces/?tenant=a"
    server.by_path["/v1/traces"] = (status, {"Location": place}, b"")
    assert send(f"http://127.0.0.1:{server.port}", times=2, headers={"x-api-key": KEY}).outcome == "sent"
    assert [(headers["x-api-key"], body) for _, headers, body in server.got] == [(KEY, b"body")] * len(server.got)
    moved = ["/v1/traces", "/moved/v1/traces/?tenant=a"]
    # What moved for good is not asked for again.
    assert server.paths() == (moved * 2 if status == 307 else [*moved, moved[1]])


def test_a_redirect_to_another_host_gets_no_credentials(serve: Callable[..., Answers]) -> None:
    first, second = serve(), serve()
    first.by_path["/v1/traces"] = (307, {"Location": f"http://localhost:{second.port}/v1/traces?x={KEY}"}, b"")
    for endpoint, headers in (
        (f"http://127.0.0.1:{first.port}", {"authorization": f"Bearer {KEY}"}),
        (f"http://user:{KEY}@127.0.0.1:{first.port}", {}),
    ):
        delivery = send(endpoint, headers=headers)
        assert delivery.outcome == "refused"
        assert f"redirected to another host, localhost:{second.port}" in delivery.message
        assert KEY not in delivery.message
    assert second.got == []
    assert send(f"http://127.0.0.1:{first.port}").outcome == "sent"
    assert len(second.got) == 1


def test_a_redirect_from_tls_to_plain_text_is_not_followed(serve: Callable[..., Answers], tmp_path: Path) -> None:
    import ssl

    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(context)
    first, second = serve(context), serve()
    first.by_path["/v1/traces"] = (308, {"Location": f"http://localhost:{second.port}/v1/traces"}, b"")
    delivery = send(f"https://localhost:{first.port}", tls=ClientTls(ca_file=tmp_path / "ca.pem"))
    assert (delivery.outcome, second.got) == ("refused", [])
    assert "from https:// to http://" in delivery.message
    # The other way is fine.
    second.by_path["/v1/traces"] = (308, {"Location": f"https://localhost:{first.port}/up"}, b"")
    tls = ClientTls(ca_file=tmp_path / "ca.pem")
    assert send(f"http://localhost:{second.port}", tls=tls, headers={"x-api-key": KEY}).outcome == "sent"
    assert first.paths()[-1] == "/up"


@pytest.mark.parametrize("status", [307, 308])
@pytest.mark.parametrize(
    "location", ["/v1/traces", "ftp://localhost/x", "//", "http://localhost:port/", "", "unix:///s"]
)
def test_redirects_that_lead_nowhere_end(server: Answers, status: int, location: str) -> None:
    server.by_path["/v1/traces"] = (status, {"Location": location}, b"")
    delivery = send(f"http://127.0.0.1:{server.port}", times=2)
    assert delivery.outcome == "refused"
    assert "redirected" in delivery.message
    assert len(server.got) <= 12


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304])
def test_a_redirect_that_would_lose_the_body_is_not_followed_and_says_where_it_leads(
    server: Answers, status: int
) -> None:
    server.by_path["/v1/traces"] = (status, {"Location": f"http://user:{KEY}@elsewhere/x?key={KEY}"}, b"")
    delivery = send(f"http://127.0.0.1:{server.port}")
    assert delivery.outcome == "refused"
    assert "it redirects to elsewhere/x; set the endpoint" in delivery.message
    assert len(server.got) == 1


REASON = "tenant 'a' is unknown"
PROTOBUF = Status(code=3, message=REASON).SerializeToString()


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/x-protobuf", PROTOBUF),
        ("", PROTOBUF),
        ("application/json", json.dumps({"code": 3, "message": REASON}).encode()),
        ("application/json; charset=utf-8", json.dumps({"error": {"code": 400, "message": REASON}}).encode()),
        ("application/problem+json", json.dumps({"title": "Bad request", "detail": REASON}).encode()),
        ("application/json", json.dumps({"errors": [{"message": "a"}, REASON]}).encode()),
        ("", json.dumps({"status": "error", "error": REASON}).encode()),
        ("text/plain", REASON.encode()),
        ("text/html", f"<html>\r\n<body><h1>400</h1><p>{REASON}</p></body></html>".encode()),
        ("application/x-protobuf", REASON.encode()),
        ("application/json", REASON.encode()),
    ],
)
@pytest.mark.parametrize("status", [400, 503])
def test_the_reason_of_a_destination_is_in_the_message(
    server: Answers, content_type: str, body: bytes, status: int
) -> None:
    server.by_path["/v1/traces"] = (status, {"Content-Type": content_type} if content_type else {}, body)
    delivery = send(f"http://127.0.0.1:{server.port}")
    assert delivery.message.startswith(f"{status} ")
    assert REASON in delivery.message
    assert delivery.message.isprintable()


@pytest.mark.parametrize("form", [KEY, f"Bearer {KEY}", json.dumps({"message": f"unknown token {KEY}"})])
def test_a_reason_is_one_short_line_without_what_was_sent_as_a_secret(server: Answers, form: str) -> None:
    pair = base64.b64encode(b"user:" + KEY.encode()).decode()
    text = f"{form} \n\r\x1b[31m {pair} {KEY} {'x' * 10_000}".encode()
    server.by_path["/v1/traces?key=" + KEY] = (403, {"Content-Type": "text/plain"}, text)
    for headers in ({"authorization": f"Basic {pair}", "x-key": KEY}, {"authorization": f"Basic {pair}"}):
        delivery = send(f"http://127.0.0.1:{server.port}?key={KEY}", headers=headers)
        assert delivery.outcome == "refused"
        assert KEY not in delivery.message
        assert pair not in delivery.message
        assert delivery.message.isprintable()
        assert len(delivery.message) <= MAX_REASON + 1


@pytest.mark.parametrize("place", ["address", "header"])
def test_a_user_is_masked_as_the_password_and_the_pair_of_them_are(server: Answers, place: str) -> None:
    pair = base64.b64encode(f"tenant@shop:{KEY}".encode()).decode()
    text = f"no tenant@shop, {KEY}, {pair}, tenant%40shop".encode()
    server.by_path["/v1/traces"] = (401, {"Content-Type": "text/plain"}, text)
    if place == "address":
        delivery = send(f"http://tenant%40shop:{KEY}@127.0.0.1:{server.port}")
    else:
        delivery = send(f"http://127.0.0.1:{server.port}", headers={"authorization": f"basic {pair}"})
    [(_, headers, _)] = server.got
    assert headers["authorization"].partition(" ")[2] == pair
    assert delivery.message == "401 Unauthorized: no ***, ***, ***, ***"


@pytest.mark.parametrize("value", ["Bearer \udcffsecret", "Basic !!!", "Basic ", "basic /w==", ""])
@pytest.mark.parametrize("endpoint", ["http://host", "http://us%ff:pass%00word@host", "http://[", ""])
def test_values_that_nothing_can_send_are_masked_or_ignored(value: str, endpoint: str) -> None:
    """They are refused where they are sent; looking for secrets in them must not end the exporter."""
    assert all(secrets_of({"authorization": value}, endpoint))


@pytest.mark.parametrize(
    "body", [b"[" * 100_000, b"{" * 50_000, b'{"message": ' * 9_000, b"\xff" * 9_000, b'{"a": NaN}']
)
@pytest.mark.parametrize("status", [200, 400])
def test_hostile_answers_do_no_harm(server: Answers, body: bytes, status: int) -> None:
    server.by_path["/v1/traces"] = (status, {"Content-Type": "application/json"}, body)
    delivery = send(f"http://127.0.0.1:{server.port}")
    assert delivery.outcome == ("sent" if status == 200 else "refused")
    assert len(delivery.message) <= MAX_REASON + 1


def test_alertmanager_answers_are_read_in_the_same_way(server: Answers) -> None:
    with closing(HttpClient(f"http://127.0.0.1:{server.port}", {"authorization": f"Bearer {KEY}"}, tls=None)) as client:
        assert KEY in client.secrets
