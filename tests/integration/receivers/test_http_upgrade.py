"""A request to switch to another protocol is answered as the HTTP/1.1 request that it is, with its body."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

PROTOBUF = "application/x-protobuf"
UPGRADES = {
    "h2c, as the JDK's HttpClient": "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAA",
    "Upgrade": "Connection: Upgrade\r\nUpgrade: h2c",
    "lower case": "connection: upgrade\r\nupgrade: h2c",
    "websocket": "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "TLS": "Connection: Upgrade\r\nUpgrade: TLS/1.2, HTTP/1.1",
    "no Connection": "Upgrade: h2c",
    "no Upgrade": "Connection: Upgrade",
}


def request(spans: int) -> bytes:
    message = ExportTraceServiceRequest()
    scope = message.resource_spans.add().scope_spans.add()
    for number in range(spans):
        scope.spans.add(name=f"predict {number}", trace_id=bytes(16), span_id=bytes(8))
    return message.SerializeToString()


def connect(service: Any) -> socket.socket:
    host, port = service.http_address.split(":")
    return socket.create_connection((host, int(port)), timeout=20)


def answers(connection: socket.socket, count: int) -> list[int]:
    """The statuses of the next answers without a body."""
    with connection.makefile("rb") as stream:
        found: list[int] = []
        for _ in range(count):
            found.append(int(stream.readline().split()[1]))
            while stream.readline().strip():
                pass
        return found


def head(upgrade: str, framing: str) -> bytes:
    return f"POST /v1/traces HTTP/1.1\r\nHost: x\r\n{upgrade}\r\nContent-Type: {PROTOBUF}\r\n{framing}\r\n\r\n".encode()


@pytest.mark.parametrize("spans", [1, 5000])
@pytest.mark.parametrize("upgrade", UPGRADES.values(), ids=UPGRADES.keys())
def test_a_body_with_an_upgrade_arrives(service: Any, upgrade: str, spans: int) -> None:
    body = request(spans)
    with closing(connect(service)) as connection:
        connection.sendall(3 * (head(upgrade, f"Content-Length: {len(body)}") + body))
        assert answers(connection, 3) == [200, 200, 200]

    assert service.bodies() == [body] * 3


@pytest.mark.parametrize("upgrade", UPGRADES.values(), ids=UPGRADES.keys())
def test_a_chunked_body_with_an_upgrade_arrives(service: Any, upgrade: str) -> None:
    body = request(3000)
    chunks = b"".join(
        b"%x\r\n%b\r\n" % (len(body[at : at + 999]), body[at : at + 999]) for at in range(0, len(body), 999)
    )
    with closing(connect(service)) as connection:
        connection.sendall(2 * (head(upgrade, "Transfer-Encoding: chunked") + chunks + b"0\r\n\r\n"))
        assert answers(connection, 2) == [200, 200]

    assert service.bodies() == [body] * 2


@pytest.mark.parametrize("framing", ["Content-Length: 1000", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("upgrade", ["X: y", *UPGRADES.values()])
def test_a_declared_body_that_does_not_come_is_never_a_success(service: Any, upgrade: str, framing: str) -> None:
    with closing(connect(service)) as connection:
        connection.sendall(head(upgrade, framing))
        connection.shutdown(socket.SHUT_WR)
        assert b" 200 " not in connection.makefile("rb").read()

    assert service.bodies() == []


def test_a_sender_that_closes_its_half_of_the_connection_is_answered(service: Any) -> None:
    body = request(5)
    with closing(connect(service)) as connection:
        connection.sendall(head("X: y", f"Content-Length: {len(body)}") + body)
        connection.shutdown(socket.SHUT_WR)
        assert answers(connection, 1) == [200]

    assert service.bodies() == [body]


def test_http_2_without_asking_is_a_bad_request(service: Any) -> None:
    with closing(connect(service)) as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert answers(connection, 1) == [400]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not on this machine")
@pytest.mark.parametrize("version", ["--http2", "--http1.1", "--http1.0"])
def test_curl_delivers(service: Any, tmp_path: Path, version: str) -> None:
    body = request(2000)
    (tmp_path / "body").write_bytes(body)
    command = ["curl", "-sS", version, "-o", str(tmp_path / "answer"), "-w", "%{http_code}"]
    command += ["-H", f"Content-Type: {PROTOBUF}", "--data-binary", f"@{tmp_path / 'body'}"]
    done = subprocess.run(
        [*command, f"http://{service.http_address}/v1/traces"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("200", "")
    assert service.bodies() == [body]


JAVA = """
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Path;

class Send {
  public static void main(String[] arguments) throws Exception {
    HttpClient client = HttpClient.newHttpClient();
    for (int i = 0; i < 2; i++) {
      HttpRequest request = HttpRequest.newBuilder(URI.create(arguments[0]))
          .header("Content-Type", "application/x-protobuf")
          .POST(HttpRequest.BodyPublishers.ofFile(Path.of(arguments[1])))
          .build();
      HttpResponse<byte[]> answer = client.send(request, HttpResponse.BodyHandlers.ofByteArray());
      System.out.println(answer.statusCode());
    }
  }
}
"""


@pytest.fixture
def java() -> str:
    found = shutil.which("java")
    if found is None:
        pytest.skip("Java is not on this machine")
    modules = subprocess.run([found, "--list-modules"], capture_output=True, text=True, timeout=60, check=False).stdout
    if "jdk.compiler" not in modules or "java.net.http" not in modules:
        pytest.skip("this Java cannot compile, or has no HttpClient")
    return found


def test_the_http_client_of_the_jdk_delivers(serve: Callable[..., Any], java: str, tmp_path: Path) -> None:
    service, body = serve(), request(2000)
    (tmp_path / "body").write_bytes(body)
    (tmp_path / "Send.java").write_text(JAVA)
    done = subprocess.run(
        [java, str(tmp_path / "Send.java"), f"http://{service.http_address}/v1/traces", str(tmp_path / "body")],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (done.stdout.split(), done.stderr) == (["200", "200"], "")
    assert service.bodies() == [body] * 2
