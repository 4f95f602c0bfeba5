"""The hash of prediction ids is part of the format of snapshots: it never changes."""

from __future__ import annotations

import hashlib
import random
import uuid

import numpy as np
import pytest

from collector_processor.decode.rules.ids import (
    default_id,
    default_ids,
    hash_ids,
    hash_packed,
    row_ids,
)

MASK = 2**64 - 1
P, Q = 0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F


def plain_hash(text: bytes) -> list[int]:
    """The documented algorithm, one id and one step at a time."""
    if len(text) > 256:
        text = hashlib.blake2b(text, digest_size=32).digest()
    a = 0x243F6A8885A308D3 ^ (len(text) * P & MASK)
    b = (0x13198A2E03707344 + len(text) * Q) & MASK

    def rotl(x: int, bits: int) -> int:
        return (x << bits | x >> (64 - bits)) & MASK

    def f(x: int) -> int:
        x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & MASK
        x = (x ^ x >> 27) * 0x94D049BB133111EB & MASK
        return x ^ x >> 31

    for at in range(0, len(text), 8):
        k = int.from_bytes(text[at : at + 8], "little") * P & MASK
        k = (k ^ k >> 32) * Q & MASK
        a = ((rotl(a ^ k, 27) + b) * 5 + 0x52DCE729) & MASK
        b = ((rotl((b + k) & MASK, 31) ^ a) * 9 + 0x38495AB5) & MASK
    a = (a + b) & MASK
    b = (b + a) & MASK
    a, b = f(a), f(b)
    a = (a + b) & MASK
    return [a, (b + a) & MASK]


@pytest.mark.parametrize(
    ("text", "pinned"),
    [
        (b"", "bebe7b2fb95bdac3afee5e2c214463b9"),
        (b"a", "764a1ce0f3246bab0e2b3ba6c1e91112"),
        (b"order-1", "38eec2b7e0926f9e6b13f6f7102c1e20"),
        (b"12345678", "dad35f98196a1f9951d6f88b650ee089"),
        (b"123456789", "3edd4affe9103e292aa089a98d8f06f5"),
        ("größe ✓".encode(), "9456b95210fde66fef9435c52b3245ca"),
        (b"00010203-0405-0607-0809-0a0b0c0d0e0f", "572e4a48c2997ebe9ef6173d32c146e9"),
        (b"x" * 256, "965e72d41851682709417abeb5de1d7d"),
        (b"x" * 257, "d59b9d68d98ee92942549070278bb699"),
    ],
)
def test_hash_is_pinned_for_ever(text: bytes, pinned: str) -> None:
    assert "".join(f"{lane:016x}" for lane in hash_ids([text])[0].tolist()) == pinned


def test_hash_follows_the_documented_steps_at_every_length() -> None:
    random_bytes = random.Random(1).randbytes
    ids = [random_bytes(length) for length in range(280)]
    assert hash_ids(ids).tolist() == [plain_hash(text) for text in ids]


def test_a_text_is_hashed_as_its_utf8_bytes_in_any_company() -> None:
    texts = ["order-1", "größe", "", "✓✓✓", "x" * 300, "é" * 200]
    alone = [hash_ids([text])[0].tolist() for text in texts]
    assert hash_ids(texts).tolist() == alone
    assert hash_ids([text.encode() for text in texts]).tolist() == alone
    assert hash_ids(["order-1", b"order-1"]).tolist() == [alone[0], alone[0]]


def test_ids_that_differ_only_in_zero_bytes_or_length_differ() -> None:
    ids = [b"\0" * length for length in range(40)] + [b"a" + b"\0" * length for length in range(40)]
    assert len({tuple(pair) for pair in hash_ids(ids).tolist()}) == len(ids)


def test_no_ids_make_no_rows() -> None:
    assert hash_ids([]).shape == (0, 2)
    assert row_ids("call", 0).shape == (0, 2)


def test_packed_ids_hash_as_single_ones_whatever_lies_around_them() -> None:
    octets = np.frombuffer(b"..abcdefgh-ijklmnop.", np.uint8)
    hashes = hash_packed(octets, np.array([2, 10, 10, 19]))
    assert hashes.tolist() == hash_ids([b"abcdefgh", b"", b"-ijklmnop"]).tolist()


def test_blocks_do_not_change_the_hash() -> None:
    ids = [f"id-{i}" * (i % 7) for i in range(40_000)]
    picked = [0, 1, 16_383, 16_384, 16_385, 32_768, 39_999]
    assert hash_ids(ids)[picked].tolist() == [plain_hash(ids[i].encode()) for i in picked]


@pytest.mark.parametrize("rows", [1, 9, 10, 11, 100, 1001, 20_000])
def test_rows_of_a_call_hash_as_their_text_form(rows: int) -> None:
    assert row_ids("call", rows).tolist() == hash_ids([f"call:{i}" for i in range(rows)]).tolist()


@pytest.mark.parametrize("length", [253, 254, 255, 256, 5000])
def test_rows_of_a_call_with_a_long_id_hash_as_their_text_form(length: int) -> None:
    call = "x" * length
    assert row_ids(call, 120).tolist() == hash_ids([f"{call}:{i}" for i in range(120)]).tolist()


def test_rows_of_a_call_read_a_huge_id_only_once() -> None:
    assert row_ids("x" * 20_000_000, 20_000).shape == (20_000, 2)


def test_default_ids_are_the_text_that_labels_carry() -> None:
    trace_id, span_id = bytes(range(16)), bytes(range(8, 16))
    text = "000102030405060708090a0b0c0d0e0f:08090a0b0c0d0e0f"
    assert default_id(trace_id, span_id) == text
    assert default_ids(trace_id, span_id).tolist() == hash_ids([text]).tolist()
    assert default_ids(trace_id, span_id, 2).tolist() == hash_ids([f"{text}:0", f"{text}:1"]).tolist()


@pytest.mark.parametrize("kind", ["counted", "uuid", "common prefix", "rows of a call"])
def test_no_two_of_up_to_a_million_ids_share_even_one_lane(kind: str) -> None:
    count = 1_000_000 if kind == "counted" else 250_000
    if kind == "counted":
        hashes = hash_ids([str(i) for i in range(count)])
    elif kind == "uuid":
        octets = np.random.default_rng(3).integers(0, 256, (count, 16), np.uint8)
        assert str(uuid.UUID(bytes=octets[0].tobytes()))  # in their binary form: half of what the text would take
        hashes = hash_packed(octets.ravel(), np.arange(count + 1) * 16)
    elif kind == "common prefix":
        hashes = row_ids("https://shop.example.com/orders/2026/with/a/long/common/path", count)
    else:
        hashes = default_ids(bytes(16), bytes(8), count)
    for lane in hashes.T:
        assert len(np.unique(lane)) == count
        sample = np.ascontiguousarray(lane[:100_000])
        ones = np.unpackbits(sample.view(np.uint8)).reshape(-1, 64).mean(axis=0)
        assert np.abs(ones - 0.5).max() < 0.01


@pytest.mark.parametrize("length", [7, 8, 20, 36])
def test_one_flipped_bit_flips_half_of_the_hash(length: int) -> None:
    rng = np.random.default_rng(length)
    count = 4000
    octets = rng.integers(0, 256, (count, length), np.uint8)
    offsets = np.arange(count + 1) * length
    hashes = hash_packed(octets.ravel(), offsets)
    for bit in range(0, 8 * length, 5):
        flipped = octets.copy()
        flipped[:, bit // 8] ^= np.uint8(1 << bit % 8)
        change = hashes ^ hash_packed(flipped.ravel(), offsets)
        shares = np.unpackbits(change.view(np.uint8).reshape(count, 16), axis=1).mean(axis=0)
        assert np.abs(shares - 0.5).max() < 0.06
