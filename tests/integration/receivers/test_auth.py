"""Bearer tokens on real receivers: who may send, what the others are told, and what they are not."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import requests
from google.rpc.status_pb2 import Status

from collector_processor.own.telemetry import Telemetry
from collector_processor.security.credentials import Tokens
from collector_processor.security.guard import Guard

EMPTY_SPANS = b"\x0a\x00"
SECRETS = ("s3cret-one", "s3cret-two")
EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
PROTOBUF, JSON = "application/x-protobuf", "application/json"


class Guarded:
    """A service whose two receivers ask for a token; counts in ``telemetry``."""

    def __init__(self, serve: Callable[..., Any], tokens: Tokens, scheme: str = "Bearer") -> None:
        self.telemetry = Telemetry()
        guard = Guard(tokens, self.telemetry, scheme=scheme, key="receivers.otlp")
        self.service = serve(grpc={"guard": guard}, http={"guard": guard})

    def refused(self, transport: str, reason: str) -> float:
        labels = {"transport": transport, "reason": reason}
        return self.telemetry.registry.get_sample_value("otel_ml_unauthenticated_total", labels) or 0.0

    def over_grpc(self, *metadata: tuple[str, str], body: bytes = EMPTY_SPANS) -> tuple[grpc.StatusCode, str]:
        with grpc.insecure_channel(self.service.grpc_address) as channel:
            try:
                channel.unary_unary(EXPORT)(body, metadata=metadata, timeout=10)
            except grpc.RpcError as error:
                failed: Any = error
                return failed.code(), failed.details() or ""
        return grpc.StatusCode.OK, ""

    def over_http(
        self,
        authorization: str | None,
        content_type: str = PROTOBUF,
        path: str = "/v1/traces",
        body: bytes = EMPTY_SPANS,
    ) -> requests.Response:
        headers = {"Content-Type": content_type} | ({} if authorization is None else {"Authorization": authorization})
        return requests.post(f"http://{self.service.http_address}{path}", body, headers=headers, timeout=10)


@pytest.fixture
def guarded(serve: Callable[..., Any]) -> Guarded:
    return Guarded(serve, Tokens("extensions.bearertokenauth", SECRETS))


@pytest.mark.parametrize("token", SECRETS)
@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER "])
def test_each_of_several_tokens_lets_in_and_the_scheme_has_no_case(guarded: Guarded, token: str, scheme: str) -> None:
    assert guarded.over_grpc(("authorization", f"{scheme} {token}"))[0] is grpc.StatusCode.OK
    assert guarded.over_http(f"{scheme} {token}").status_code == 200
    assert guarded.service.bodies() == [EMPTY_SPANS] * 2


HOSTILE = {
    "none": (None, "missing"),
    "empty": ("", "malformed"),
    "scheme alone": ("Bearer", "malformed"),
    "empty token": ("Bearer ", "malformed"),
    "token alone": (SECRETS[0], "malformed"),
    "another scheme": (f"Basic {SECRETS[0]}", "malformed"),
    "wrong": ("Bearer wrong", "unknown"),
    "a part": (f"Bearer {SECRETS[0][:-1]}", "unknown"),
    "more": (f"Bearer {SECRETS[0]}x", "unknown"),
    "two in one": (f"Bearer {SECRETS[0]} {SECRETS[1]}", "unknown"),
    "with a comma": (f"Bearer {SECRETS[0]}, Bearer {SECRETS[1]}", "unknown"),
    "huge": ("Bearer " + "x" * 6000, "unknown"),
    "another case": (f"Bearer {SECRETS[0].upper()}", "unknown"),
}


@pytest.mark.parametrize(("header", "reason"), HOSTILE.values(), ids=HOSTILE)
def test_nobody_else_is_let_in_over_grpc(guarded: Guarded, header: str | None, reason: str) -> None:
    metadata = () if header is None else (("authorization", header),)
    code, said = guarded.over_grpc(*metadata)
    assert code is grpc.StatusCode.UNAUTHENTICATED
    assert "send 'authorization: Bearer <token>'" in said
    assert "s3cret" not in said
    assert guarded.service.bodies() == []
    assert guarded.refused("grpc", reason) == 1


@pytest.mark.parametrize(("header", "reason"), HOSTILE.values(), ids=HOSTILE)
def test_nobody_else_is_let_in_over_http(guarded: Guarded, header: str | None, reason: str) -> None:
    response = guarded.over_http(header)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == 'Bearer realm="otel-ml"'
    assert response.headers["content-type"] == PROTOBUF
    status = Status.FromString(response.content)
    assert status.code == 16
    assert "send 'authorization: Bearer <token>'" in status.message
    assert b"s3cret" not in response.content
    assert guarded.service.bodies() == []
    assert guarded.refused("http", reason) == 1


def test_a_token_larger_than_any_head_is_refused_and_the_service_goes_on(guarded: Guarded) -> None:
    huge = f"Bearer {'x' * 500_000}"
    assert guarded.over_grpc(("authorization", huge))[0] is not grpc.StatusCode.OK
    with contextlib.suppress(requests.ConnectionError):
        assert guarded.over_http(huge).status_code == 400
    assert guarded.over_grpc(("authorization", f"Bearer {SECRETS[0]}"))[0] is grpc.StatusCode.OK
    assert guarded.over_http(f"Bearer {SECRETS[0]}").status_code == 200


def test_a_refusal_counts_one_refused_item_of_its_signal(guarded: Guarded) -> None:
    guarded.over_grpc()
    guarded.over_http(None)
    for transport in ("grpc", "http"):
        labels = {"receiver": "otlp", "transport": transport}
        assert guarded.telemetry.registry.get_sample_value("otelcol_receiver_refused_spans_total", labels) == 1


def test_a_refusal_over_http_is_in_the_request_s_content_type(guarded: Guarded) -> None:
    response = guarded.over_http(None, content_type=f"{JSON}; charset=utf-8", body=b"{}")
    assert response.headers["content-type"] == JSON
    assert json.loads(response.content)["code"] == 16
    assert guarded.over_http(None, content_type="text/plain").headers["content-type"] == JSON


def test_a_stranger_learns_nothing_about_paths(guarded: Guarded) -> None:
    assert guarded.over_http(None, path="/v1/nowhere").status_code == 401
    assert guarded.over_http(f"Bearer {SECRETS[0]}", path="/v1/nowhere").status_code == 404


def test_two_headers_are_refused_even_when_one_is_right(guarded: Guarded) -> None:
    right = ("authorization", f"Bearer {SECRETS[0]}")
    assert guarded.over_grpc(right, ("authorization", "Bearer wrong"))[0] is grpc.StatusCode.UNAUTHENTICATED
    with contextlib.closing(socket.create_connection(("127.0.0.1", guarded.service.http.port), timeout=10)) as sock:
        sock.sendall(
            b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\nContent-Length: 2\r\n"
            b"Authorization: Bearer s3cret-one\r\nAuthorization: Bearer wrong\r\n\r\n" + EMPTY_SPANS
        )
        assert sock.recv(65536).startswith(b"HTTP/1.1 401 ")


def test_a_stranger_over_http_is_answered_before_the_body_is_read(guarded: Guarded) -> None:
    with contextlib.closing(socket.create_connection(("127.0.0.1", guarded.service.http.port), timeout=10)) as sock:
        sock.sendall(
            b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n"
            b"Content-Length: 60000000\r\n\r\n"
        )
        assert sock.recv(65536).startswith(b"HTTP/1.1 401 ")


def test_a_stranger_over_grpc_is_answered_before_the_body_is_read(guarded: Guarded) -> None:
    # A message over the limit would be RESOURCE_EXHAUSTED, had it been read.
    code, _ = guarded.over_grpc(body=bytes(65 * 2**20))
    assert code is grpc.StatusCode.UNAUTHENTICATED


def test_a_body_that_is_no_request_tells_a_stranger_nothing(guarded: Guarded) -> None:
    assert guarded.over_grpc(body=b"\xff")[0] is grpc.StatusCode.UNAUTHENTICATED
    assert guarded.over_http(None, body=b"\xff").status_code == 401
    assert guarded.over_http(f"Bearer {SECRETS[0]}", body=b"\xff").status_code == 400


def test_bytes_that_are_no_text_are_a_wrong_token(guarded: Guarded) -> None:
    with contextlib.closing(socket.create_connection(("127.0.0.1", guarded.service.http.port), timeout=10)) as sock:
        sock.sendall(
            b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nAuthorization: Bearer \xff\xfe\xc3\r\n\r\n"
        )
        assert sock.recv(65536).startswith(b"HTTP/1.1 401 ")


def test_another_scheme_can_be_asked_for(serve: Callable[..., Any]) -> None:
    guarded = Guarded(serve, Tokens("extensions.bearertokenauth", SECRETS), scheme="Token")
    assert guarded.over_http(f"Token {SECRETS[0]}").status_code == 200
    refused = guarded.over_http(f"Bearer {SECRETS[0]}")
    assert refused.headers["www-authenticate"] == 'Token realm="otel-ml"'


def test_a_file_of_tokens_is_followed(serve: Callable[..., Any], tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("old\n")
    guarded = Guarded(serve, Tokens("extensions.bearertokenauth", file=file))
    assert guarded.over_http("Bearer old").status_code == 200

    fresh = tmp_path / "fresh"
    fresh.write_text("old\nnew\n")
    fresh.replace(file)
    assert [guarded.over_http(f"Bearer {token}").status_code for token in ("old", "new")] == [200, 200]

    file.write_text("new\n")
    assert [guarded.over_http(f"Bearer {token}").status_code for token in ("old", "new")] == [401, 200]
    assert guarded.over_grpc(("authorization", "Bearer old"))[0] is grpc.StatusCode.UNAUTHENTICATED


def test_the_log_names_the_stranger_now_and_then_and_no_token(
    guarded: Guarded, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(5):
        guarded.over_http("Bearer wr0ng-token")
        guarded.over_grpc(("authorization", "Bearer wr0ng-token"))
    lines = [record.getMessage() for record in caplog.records if "refused a request" in record.getMessage()]
    assert lines == ["receivers.otlp: refused a request from 127.0.0.1: authorization: the token is not valid"]
    assert "wr0ng" not in caplog.text
    assert "s3cret" not in caplog.text


@pytest.fixture
def crowd(guarded: Guarded) -> Iterator[list[socket.socket]]:
    """Strangers who have sent a head and hold back the body."""
    crowd = [socket.create_connection(("127.0.0.1", guarded.service.http.port), timeout=10) for _ in range(50)]
    for sock in crowd:
        sock.sendall(b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")
    yield crowd
    for sock in crowd:
        sock.close()


def test_strangers_take_no_room_from_those_who_may_send(guarded: Guarded, crowd: list[socket.socket]) -> None:
    assert all(sock.recv(64).startswith(b"HTTP/1.1 401") for sock in crowd)
    assert guarded.service.admission.room.requests == 0
    assert guarded.over_http(f"Bearer {SECRETS[1]}").status_code == 200


def test_tokens_may_be_replaced_while_many_send(serve: Callable[..., Any], tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("always\nno0\n")
    guarded = Guarded(serve, Tokens("extensions.bearertokenauth", file=file))
    codes: list[int] = []
    stop = threading.Event()

    def send() -> None:
        while not stop.is_set():
            codes.append(guarded.over_http("Bearer always").status_code)

    threads = [threading.Thread(target=send) for _ in range(3)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 30
    for number in range(50):
        # In place, so that readers meet an empty file now and then.
        file.write_text(f"always\nno{number}\n")
    while len(codes) < 20:
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)
    stop.set()
    for thread in threads:
        thread.join(30)
    assert set(codes) == {200}
