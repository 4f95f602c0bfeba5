"""Bodies of known length: cut anyhow, broken off, only announced, one behind the other; and what is kept of gzip."""

from __future__ import annotations

import gzip
import http.client
import random
import socket
import struct
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from typing import Any

import pytest

from collector_processor.own.memory import resident_bytes
from support.waiting import wait_until

MIB = 2**20
PROTOBUF = "application/x-protobuf"
UNKNOWN_FIELD = b"\xc2\x3e"
"""Field 1000, of bytes: a request that holds only this decodes to nothing, whatever follows."""


def body_of(size: int, seed: int = 0) -> bytes:
    """A request of about ``size`` bytes that no decoder objects to and that can be told from any other."""
    filler = random.Random(seed).randbytes(size)
    length, varint = len(filler), b""
    while length >= 128:
        varint += bytes([length & 127 | 128])
        length >>= 7
    return UNKNOWN_FIELD + varint + bytes([length]) + filler


def head_of(length: int, *lines: str) -> bytes:
    lines = ("POST /v1/traces HTTP/1.1", "Host: x", f"Content-Type: {PROTOBUF}", f"Content-Length: {length}", *lines)
    return "\r\n".join([*lines, "", ""]).encode()


def connect(service: Any) -> socket.socket:
    host, port = service.http_address.split(":")
    return socket.create_connection((host, int(port)), timeout=20)


def statuses(connection: socket.socket, count: int) -> list[int]:
    """The statuses of the next answers, each of which has an empty or a short body."""
    with connection.makefile("rb") as stream:
        found: list[int] = []
        for _ in range(count):
            found.append(int(stream.readline().split()[1]))
            length = 0
            while (line := stream.readline().strip()) != b"":
                name, _, value = line.lower().partition(b":")
                length = int(value) if name == b"content-length" else length
            stream.read(length)
        return found


def cut(sent: bytes, sizes: Sequence[int]) -> Iterator[bytes]:
    start = 0
    for size in sizes:
        yield sent[start : start + size]
        start += size
    yield sent[start:]


@pytest.mark.parametrize(
    "sizes", [[], [1], [20, 100], [200, 1, 1, 1], [40_000], [100_000, 1], [32_768, 32_768], [200, 2 * MIB]]
)
def test_a_body_arrives_whole_however_it_is_cut(service: Any, sizes: list[int]) -> None:
    body = body_of(2 * MIB)
    with closing(connect(service)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in cut(head_of(len(body)) + body, sizes):
            connection.sendall(piece)
        assert statuses(connection, 1) == [200]

    assert service.bodies() == [body]


def test_requests_sent_without_waiting_are_answered_in_order(service: Any) -> None:
    bodies = [body_of(size, size) for size in (300_000, 10, 1, 500_000, 70_000, 40_000)]
    with closing(connect(service)) as connection:
        sender = threading.Thread(
            target=connection.sendall, args=(b"".join(head_of(len(body)) + body for body in bodies),)
        )
        sender.start()
        assert statuses(connection, len(bodies)) == [200] * len(bodies)
        sender.join(10)

    assert service.bodies() == bodies


def test_a_sender_that_waits_to_be_asked_is_asked(service: Any) -> None:
    body = body_of(MIB)
    with closing(connect(service)) as connection:
        connection.sendall(head_of(len(body), "Expect: 100-continue"))
        assert connection.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert statuses(connection, 1) == [200]


def test_a_connection_serves_on_after_a_body_that_found_no_room(serve: Callable[..., Any]) -> None:
    service = serve(admission={"max_request_bytes": MIB})
    refused, small = body_of(2 * MIB), body_of(100)
    with closing(connect(service)) as connection, service.admission.room.place() as hold:
        hold(MIB - 10_000)
        connection.sendall(head_of(len(refused)) + refused)
        assert statuses(connection, 1) == [503]
        connection.sendall(head_of(len(small)) + small)
        assert statuses(connection, 1) == [200]

    assert service.bodies() == [small]


@pytest.mark.parametrize("came", [0, 1, 10_000, 700_000])
def test_a_body_that_stays_unfinished_times_out(serve: Callable[..., Any], came: int) -> None:
    service = serve(http={"body_timeout_s": 0.2})
    with closing(connect(service)) as connection:
        connection.sendall(head_of(MIB) + body_of(came)[:came])
        assert statuses(connection, 1) == [408]

    assert service.bodies() == []
    assert service.admission.room.bytes == 0


@pytest.mark.parametrize("came", [0, 1000, 700_000])
def test_a_connection_reset_within_a_body_leaves_nothing_behind(service: Any, came: int) -> None:
    with closing(connect(service)) as connection:
        connection.sendall(head_of(MIB) + bytes(came))
        wait_until(lambda: service.admission.room.requests == 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wait_until(lambda: service.admission.room.requests == 0)

    assert service.admission.room.bytes == 0
    assert service.bodies() == []


def test_a_length_that_is_only_announced_takes_no_memory(service: Any) -> None:
    before = resident_bytes() or 0
    with ExitStack() as opened:
        for _ in range(16):
            opened.enter_context(closing(connect(service))).sendall(head_of(60 * MIB) + b"\0")
        wait_until(lambda: service.admission.room.requests == 16)
        held, taken = service.admission.room.bytes, (resident_bytes() or 0) - before

    assert held == 16
    assert taken < 64 * MIB


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [10, MIB])
def test_a_body_that_came_with_gzip_is_kept_so_as_well(service: Any, size: int, chunked: bool) -> None:
    body = body_of(size)
    sent = gzip.compress(body[: len(body) // 2]) + gzip.compress(body[len(body) // 2 :])
    headers = {"Content-Type": PROTOBUF, "Content-Encoding": "gzip"}
    with closing(http.client.HTTPConnection(service.http_address, timeout=20)) as connection:
        connection.request("POST", "/v1/traces", iter(cut(sent, [7, 5000])) if chunked else sent, headers)
        assert connection.getresponse().status == 200
    [entry] = service.received()

    assert (entry.request.body, entry.request.gzipped) == (body, sent)


@pytest.mark.parametrize(
    ("content_type", "coding", "sent"),
    [
        (PROTOBUF, "identity", body_of(1000)),
        (PROTOBUF, "deflate", zlib.compress(body_of(1000))),
        ("application/json", "gzip", gzip.compress(b'{"resourceSpans": [{}]}')),
    ],
    ids=["plain", "deflate", "JSON in gzip"],
)
def test_only_protobuf_in_gzip_is_kept_as_it_came(service: Any, content_type: str, coding: str, sent: bytes) -> None:
    headers = {"Content-Type": content_type, "Content-Encoding": coding}
    with closing(http.client.HTTPConnection(service.http_address, timeout=20)) as connection:
        connection.request("POST", "/v1/traces", sent, headers)
        assert connection.getresponse().status == 200
    [entry] = service.received()

    assert entry.request.gzipped == b""


def test_both_forms_of_a_body_count_against_the_room(serve: Callable[..., Any]) -> None:
    service = serve(admission={"max_request_bytes": 3 * MIB})
    body = body_of(2 * MIB)
    with service.admission.room.place() as hold:
        hold(1)
        headers = {"Content-Type": PROTOBUF, "Content-Encoding": "gzip"}
        with closing(http.client.HTTPConnection(service.http_address, timeout=20)) as connection:
            connection.request("POST", "/v1/traces", gzip.compress(body), headers)
            assert connection.getresponse().status == 503

    assert service.admission.room.bytes == 0


CHUNKED = (
    f"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: {PROTOBUF}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
)


@pytest.mark.parametrize(
    "bare",
    [b"0\r\n" + b"A: " + b"b" * 8000 + b"\r\n", b"0\r\nA: ", b"5;a="],
    ids=["many trailers", "a long trailer", "a long extension"],
)
def test_what_is_no_body_has_an_end(service: Any, bare: bytes) -> None:
    again = bare.removeprefix(b"0\r\n") if bare.endswith(b"\n") else b"b" * 8000
    with closing(connect(service)) as connection:
        connection.sendall(CHUNKED + b"3\r\n\xc2\x3e\x00\r\n" + bare)
        with pytest.raises(OSError, match=r"reset|pipe"):
            connection.sendall(again * 4000)

    wait_until(lambda: service.admission.room.requests == 0)


def test_trailers_are_no_headers(service: Any) -> None:
    body = b"3\r\n\xc2\x3e\x00\r\n0\r\nContent-Encoding: gzip\r\n\r\n"
    with closing(connect(service)) as connection:
        connection.sendall(2 * (CHUNKED + body))
        assert statuses(connection, 2) == [200, 200]

    assert service.bodies() == [b"\xc2\x3e\x00"] * 2


def test_a_body_in_small_chunks_arrives_whole(service: Any) -> None:
    body = body_of(100_000)
    with closing(connect(service)) as connection:
        connection.sendall(CHUNKED + b"".join(b"1\r\n%c\r\n" % octet for octet in body) + b"0\r\n\r\n")
        assert statuses(connection, 1) == [200]

    assert service.bodies() == [body]


def test_two_services_in_one_process_do_not_read_into_each_other(serve: Callable[..., Any]) -> None:
    services = [serve(), serve()]
    bodies = [[body_of(20_000, seed=100 * number + each) for each in range(40)] for number in range(2)]

    def send(number: int) -> None:
        with closing(connect(services[number])) as connection:
            for body in bodies[number]:
                connection.sendall(CHUNKED + b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n")
                assert statuses(connection, 1) == [200]

    senders = [threading.Thread(target=send, args=(number,)) for number in range(2)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join(30)
    assert [service.bodies() for service in services] == bodies
