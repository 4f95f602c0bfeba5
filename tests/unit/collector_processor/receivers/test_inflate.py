from __future__ import annotations

import gzip
import random
import sys
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector_processor.columns.batch import MalformedRequestError
from collector_processor.receivers.inflate import Body, Coding, TooLargeError, inflate_message

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MIB = 2**20


def compress(coding: Coding, body: bytes) -> bytes:
    return {"identity": bytes, "gzip": gzip.compress, "deflate": zlib.compress, "zstd": zstd.compress}[coding](body)


def read(coding: Coding, pieces: list[bytes], limit: int = MIB) -> bytes:
    body = Body(coding, limit)
    for piece in pieces:
        body.feed(piece)
    return body.finish()


@given(st.binary(max_size=5000), st.sampled_from(["identity", "gzip", "deflate", "zstd"]), st.integers(1, 700))
def test_a_body_is_the_same_however_it_is_cut_and_coded(body: bytes, coding: Coding, size: int) -> None:
    sent = compress(coding, body)

    assert read(coding, [sent[start : start + size] for start in range(0, len(sent), size)]) == body


@given(st.binary(max_size=300), st.sampled_from(["gzip", "deflate", "zstd"]))
def test_garbage_is_malformed_or_a_body_and_nothing_else(sent: bytes, coding: Coding) -> None:
    try:
        read(coding, [sent])
    except MalformedRequestError as error:
        assert coding in str(error)  # noqa: PT017 -- most garbage raises, some may be a stream


@pytest.mark.parametrize("coding", ["identity", "gzip", "deflate", "zstd"])
def test_a_body_of_exactly_the_limit_passes_and_one_byte_more_does_not(coding: Coding) -> None:
    assert len(read(coding, [compress(coding, bytes(1000))], limit=1000)) == 1000
    with pytest.raises(TooLargeError, match="1000 bytes"):
        read(coding, [compress(coding, bytes(1001))], limit=1000)


@pytest.mark.parametrize("coding", ["identity", "gzip", "deflate", "zstd"])
def test_no_bytes_at_all_are_an_empty_body(coding: Coding) -> None:
    assert read(coding, []) == b""
    assert read(coding, [b""]) == b""


@pytest.mark.parametrize("coding", ["gzip", "deflate", "zstd"])
def test_a_stream_that_ends_early_is_malformed(coding: Coding) -> None:
    with pytest.raises(MalformedRequestError, match="ends too early"):
        read(coding, [compress(coding, bytes(range(256)))[:-3]])


def test_a_broken_checksum_is_malformed() -> None:
    sent = bytearray(gzip.compress(b"spans"))
    sent[-8] ^= 1
    with pytest.raises(MalformedRequestError, match="not a gzip stream"):
        read("gzip", [bytes(sent)])


def test_gzip_members_may_be_glued_together() -> None:
    sent = gzip.compress(b"one") + gzip.compress(b"") + gzip.compress(b"two")

    assert read("gzip", [sent]) == b"onetwo"
    assert read("gzip", [sent[i : i + 1] for i in range(len(sent))]) == b"onetwo"


def test_bytes_after_a_zlib_stream_are_malformed() -> None:
    with pytest.raises(MalformedRequestError, match="bytes follow its end"):
        read("deflate", [zlib.compress(b"one") + b"two"])


def test_a_flood_of_empty_members_is_malformed() -> None:
    with pytest.raises(MalformedRequestError, match="bytes follow its end"):
        read("gzip", [gzip.compress(b"") * 5000])


def test_a_bomb_is_refused_before_it_is_inflated() -> None:
    bomb = gzip.compress(bytes(64 * MIB)) * 16
    tracemalloc.start()
    try:
        with pytest.raises(TooLargeError):
            read("gzip", [bomb], limit=MIB)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 8 * MIB


def test_a_compressed_body_may_not_be_larger_than_the_limit_either() -> None:
    with pytest.raises(TooLargeError):
        read("gzip", [gzip.compress(b"") * 100], limit=1000)


@pytest.mark.parametrize("coding", ["identity", "gzip", "deflate", "zstd"])
def test_a_grpc_message_shows_its_coding_by_its_first_bytes(coding: Coding) -> None:
    body = b"\x0a\x03\x12\x01x" * 100

    assert inflate_message(compress(coding, body), MIB) == body


def test_a_grpc_message_that_only_looks_like_zlib_stays_as_it_is() -> None:
    field_15 = b"\x78\x01\x0a\x00"

    assert inflate_message(field_15, MIB) == field_15


def test_a_cut_gzip_message_is_malformed() -> None:
    with pytest.raises(MalformedRequestError, match="ends too early"):
        inflate_message(gzip.compress(b"spans" * 100)[:-9], MIB)


@pytest.mark.parametrize("message", [b"", b"\x1f", b"\x78", b"\x0a\x00"])
def test_short_messages_are_themselves(message: bytes) -> None:
    assert inflate_message(message, MIB) == message


def test_many_members_cost_no_copy_of_the_whole_message_each(monkeypatch: pytest.MonkeyPatch) -> None:
    fed: list[int] = []

    class Counting:
        """A decompressor that notes what it was given."""

        def __init__(self, wbits: int) -> None:
            self._real = make(wbits)

        def decompress(self, piece: bytes, longest: int) -> bytes:
            fed.append(len(piece))
            return self._real.decompress(piece, longest)

        def __getattr__(self, name: str) -> object:
            return getattr(self._real, name)

    make = zlib.decompressobj
    monkeypatch.setattr(zlib, "decompressobj", Counting)
    members, rest = 500, random.Random(0).randbytes(2 * MIB)
    message = gzip.compress(b"") * members + gzip.compress(rest, 0)

    assert inflate_message(message, 4 * MIB) == rest
    assert sum(fed) < len(message) + members * 2**16


def test_zstd_in_several_frames_is_one_body_and_more_than_that_is_not() -> None:
    frames = [zstd.compress(b"spans "), zstd.compress(b""), zstd.compress(b"and more")]
    assert read("zstd", [b"".join(frames)]) == b"spans and more"
    with pytest.raises(MalformedRequestError):
        read("zstd", [frames[0] + b"garbage"])
    with pytest.raises(MalformedRequestError, match="bytes follow its end"):
        read("zstd", [zstd.compress(b"") * 1025])


def test_a_frame_of_zstd_that_asks_for_much_memory_is_refused() -> None:
    """A frame without content that announces a window of 1 GiB."""
    with pytest.raises(MalformedRequestError, match="zstd"):
        read("zstd", [b"\x28\xb5\x2f\xfd" + b"\x00" + bytes([(30 - 10) << 3]) + b"\x01\x00\x00"])


def test_a_bomb_of_zstd_is_inflated_no_further_than_the_limit() -> None:
    bomb = zstd.compress(bytes(256 * MIB))
    tracemalloc.start()
    try:
        with pytest.raises(TooLargeError):
            read("zstd", [bomb], limit=MIB)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * MIB
