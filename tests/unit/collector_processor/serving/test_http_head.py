"""Heads and chunked bodies: the same however they are cut, and refused where two readers could differ."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector_processor.serving.chunked_body import ChunkedBody
from collector_processor.serving.http_head import BadRequestError, Head, HeadReader

LIMIT = 1000


def read(sent: bytes, cuts: Sequence[int] = ()) -> tuple[Head | None, bytes]:
    """The head in the bytes, which arrive in pieces, and what is left."""
    reader, pending, head = HeadReader(LIMIT), bytearray(), None
    places = [0, *sorted(cuts), len(sent)]
    for start, stop in pairwise(places):
        pending += sent[start:stop]
        if head is None:
            head = reader.take(pending)
    return head, bytes(pending)


HEADS = [
    b"POST /v1/traces?a=%20b HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\nX:  y \r\n\r\n",
    b"\r\n\r\nPOST http://host:1/v1/logs HTTP/1.1\r\nTransfer-Encoding: Chunked\r\nConnection: close\r\n\r\n",
    b"POST /%76%31/traces HTTP/1.0\r\nUpgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: 3\r\n\r\n",
    b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nExpect: 100-continue\r\n\r\n",
]


@given(sent=st.sampled_from(HEADS), rest=st.binary(max_size=30), data=st.data())
def test_a_head_is_the_same_however_it_is_cut(sent: bytes, rest: bytes, data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(sent) + len(rest)), max_size=8))
    assert read(sent + rest, cuts) == read(sent + rest) == (read(sent)[0], rest)


def test_what_a_head_says() -> None:
    heads = [read(sent)[0] for sent in HEADS]
    assert [(head.method, head.path, head.query, head.length, head.keep_alive) for head in heads if head] == [
        ("POST", "/v1/traces", "a=%20b", 12, True),
        ("POST", "/v1/logs", "", None, False),
        ("POST", "/v1/traces", "", 3, False),
        ("GET", "/", "", 0, True),
    ]
    assert heads[0] is not None
    assert (heads[0].headers["x"], heads[0].values("host")) == ("y", [b"x"])
    assert heads[3] is not None
    assert heads[3].expects_continue


@pytest.mark.parametrize(
    "lines",
    [
        ["Content-Length: 5", "Content-Length: 6"],
        ["Content-Length: 5", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked", "Content-Length: 5"],
        ["Transfer-Encoding: gzip, chunked"],
        ["Transfer-Encoding: chunked, gzip"],
        ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: xchunked"],
        ["Content-Length: -1"],
        ["Content-Length: +5"],
        ["Content-Length: 5, 5"],
        ["Content-Length: 0x5"],
        ["Content-Length: 99999999999999999999999"],
        ["Content-Length : 5"],
        ["A" * LIMIT],
        ["A: " + "b" * LIMIT],
        ["A: b\nContent-Length: 5"],
        ["A: b\r C"],
        ["A\0: b"],
        [": b"],
    ],
)
def test_a_head_that_two_readers_could_read_differently_is_refused(lines: list[str]) -> None:
    with pytest.raises(BadRequestError):
        read("\r\n".join(["POST /v1/traces HTTP/1.1", "Host: x", *lines, "", ""]).encode())


@pytest.mark.parametrize(
    "sent", [b"\x16\x03\x01\x02", b"GET / HTTP/1.1\n\n", b"GET /\r\n\r\n", b"POST / HTTP/3.0\r\n\r\n", b"\0" * 20]
)
def test_what_is_not_http_is_refused(sent: bytes) -> None:
    with pytest.raises(BadRequestError):
        read(sent)


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=5))
def test_random_bytes_raise_nothing_else(sent: bytes, cuts: list[int]) -> None:
    with contextlib.suppress(BadRequestError):
        read(sent, [min(cut, len(sent)) for cut in cuts])


def chunked(sent: bytes, cuts: Sequence[int] = (), limit: int = LIMIT) -> tuple[bytes, bool, bytes]:
    loop = asyncio.new_event_loop()
    try:
        body, pending = ChunkedBody(loop.create_future(), lambda size: None, max_bare_bytes=limit), bytearray()
        places = [0, *sorted(cuts), len(sent)]
        for start, stop in pairwise(places):
            pending += sent[start:stop]
            body.take(pending)
        return body.octets(), body.whole, bytes(pending)
    finally:
        loop.close()


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.sampled_from(["", ";a=b", " ", ";x"]), st.data())
def test_chunks_are_joined_however_they_are_cut(pieces: list[bytes], extension: str, data: st.DataObject) -> None:
    sent = b"".join(f"{len(piece):X}{extension}\r\n".encode() + piece + b"\r\n" for piece in pieces)
    sent += b"0\r\nA: trailer\r\n\r\n"
    cuts = data.draw(st.lists(st.integers(0, len(sent)), max_size=10))
    assert chunked(sent + b"GET", cuts) == (b"".join(pieces), True, b"GET")
    assert not chunked(sent[:-1], cuts[:0])[1], "an end that is cut off is not an end"


@pytest.mark.parametrize(
    "sent",
    [b"5\r\nspansX\r\n", b"x\r\n", b"-1\r\n", b"\r\n\r\n", b"1 1\r\n", b"f" * 16 + b"\r\n", b"5\nspans", b"0x5\r\n"],
)
def test_chunks_of_a_size_that_two_readers_could_read_differently_are_refused(sent: bytes) -> None:
    with pytest.raises(BadRequestError):
        chunked(sent + b"\r\n", limit=100)


@given(st.binary(max_size=200))
def test_random_chunks_raise_nothing_else(sent: bytes) -> None:
    with contextlib.suppress(BadRequestError):
        chunked(sent)
