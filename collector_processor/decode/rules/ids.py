"""128-bit hashes of prediction ids, by which labels find their predictions.

The hash is part of the snapshot format and must never change. Text ids are hashed as UTF-8. With all arithmetic
modulo 2⁶⁴, ``rotl`` a left rotation, and ``L`` the id's length in bytes:

1. An id longer than 256 bytes is replaced by its 32-byte BLAKE2b digest (and then ``L`` = 32).
2. ``a = SEED_A ^ (L · P)``, ``b = SEED_B + L · Q``.
3. For each 8 bytes ``w``, little-endian, the last word padded with zero bytes: ``k = w · P``, ``k ^= k >> 32``,
   ``k *= Q``; ``a = (rotl(a ^ k, 27) + b) · 5 + STEP_A``; ``b = (rotl(b + k, 31) ^ a) · 9 + STEP_B``.
4. ``a += b``, ``b += a``, ``a = f(a)``, ``b = f(b)``, ``a += b``, ``b += a`` where ``f`` is the finalizer
   ``x ^= x >> 30, x *= F1, x ^= x >> 27, x *= F2, x ^= x >> 31`` (David Stafford's variant 13).

The hash is ``[a, b]``. It is unkeyed: it makes chance collisions unlikely (2⁻⁶⁴ for billions of ids), but does not stop
a sender who wants their ids to collide.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from collector_processor.columns.batch import I64, U64
from collector_processor.decode.compiled import built

LONGEST_ID: Final = 256
"""Ids with more bytes are replaced by their digest before they are hashed."""

_SEED_A: Final = np.uint64(0x243F6A8885A308D3)  # the fractional part of π, 128 bits
_SEED_B: Final = np.uint64(0x13198A2E03707344)
_P: Final = np.uint64(0x9E3779B97F4A7C15)  # 2⁶⁴ / golden ratio
_Q: Final = np.uint64(0xC2B2AE3D27D4EB4F)
_STEP_A: Final = np.uint64(0x52DCE729)
_STEP_B: Final = np.uint64(0x38495AB5)
_F1: Final = np.uint64(0xBF58476D1CE4E5B9)
_F2: Final = np.uint64(0x94D049BB133111EB)
_FIVE: Final = np.uint64(5)
_NINE: Final = np.uint64(9)
_ONES: Final = np.uint64(0xFFFFFFFFFFFFFFFF)
_WORD: Final = 8
_BLOCK: Final = 16_384
"""Rows mixed at a time, so that the lanes stay in the cache."""

Octets = NDArray[np.uint8]


def hash_ids(ids: Sequence[bytes | str]) -> U64:
    """Hash ids, texts as their UTF-8 bytes, to uint64 ``[n, 2]``.

    >>> [f"{lane:016x}" for lane in hash_ids(["order-1"])[0]]
    ['38eec2b7e0926f9e', '6b13f6f7102c1e20']
    >>> bool((hash_ids(["order-1"]) == hash_ids([b"order-1"])).all())
    True
    """
    texts = [text for text in ids if isinstance(text, str)]
    joined = "".join(texts)
    if len(texts) == len(ids) and joined.isascii():  # the usual case: one encoding instead of one for each id
        return hash_packed(np.frombuffer(joined.encode(), np.uint8), _offsets(texts))
    encoded = [text.encode() if isinstance(text, str) else text for text in ids]
    return hash_packed(np.frombuffer(b"".join(encoded), np.uint8), _offsets(encoded))


def hash_packed(octets: Octets, offsets: I64) -> U64:
    """Hash contiguous ids: id ``i`` is ``octets[offsets[i]:offsets[i + 1]]``.

    ``offsets`` is int64 ``[n + 1]``, never falling and within ``octets``; the result is uint64 ``[n, 2]``.

    >>> packed = hash_packed(np.frombuffer(b"order-1order-22", np.uint8), np.array([0, 7, 15]))
    >>> bool((packed == hash_ids(["order-1", "order-22"])).all())
    True
    """
    hashes = _hash_packed(octets, offsets) if built.packing is None else built.packing.hash_packed(octets, offsets)
    for row in np.flatnonzero(np.diff(offsets) > LONGEST_ID):
        long_id = octets[offsets[row] : offsets[row + 1]].tobytes()
        hashes[row] = hash_ids([_digest(long_id).digest()])[0]
    return hashes


def _hash_packed(octets: Octets, offsets: I64) -> U64:
    """Do the same with numpy; ids that are too long get an invalid hash, which the caller replaces."""
    rows = len(offsets) - 1
    hashes = np.empty((rows, 2), np.uint64)
    # With zero bytes after the last id, every word, including the last one, can be read as eight bytes.
    windows = sliding_window_view(np.concatenate((octets, np.zeros(_WORD, np.uint8))), _WORD)
    for begin in range(0, rows, _BLOCK):
        block = offsets[begin : begin + _BLOCK + 1]
        _hash_block(windows, block[:-1], np.diff(block), hashes[begin : begin + _BLOCK])
    return hashes


def default_id(trace_id: bytes, span_id: bytes) -> str:
    """Return the text that replaces an absent ``ml.prediction.id``: both ids in lowercase hex, with a colon between.

    >>> default_id(bytes(16), bytes.fromhex("ab" * 8))
    '00000000000000000000000000000000:abababababababab'
    """
    return f"{trace_id.hex()}:{span_id.hex()}"


def default_ids(trace_id: bytes, span_id: bytes, rows: int | None = None) -> U64:
    """Hash the default ids of a call: one ``{trace}:{span}``, or ``{trace}:{span}:{i}`` for each row of a batch.

    >>> default_ids(bytes(16), bytes(8)).shape, default_ids(bytes(16), bytes(8), 3).shape
    ((1, 2), (3, 2))
    """
    text = default_id(trace_id, span_id)
    return hash_ids([text]) if rows is None else row_ids(text, rows)


def row_ids(call_id: str, rows: int) -> U64:
    """Hash ``{call_id}:{i}`` for ``i`` in 0 … ``rows`` − 1, without a Python object per row.

    >>> bool((row_ids("call", 12)[[0, 11]] == hash_ids(["call:0", "call:11"])).all())
    True
    """
    prefix = call_id.encode() + b":"
    hashes = np.empty((rows, 2), np.uint64)
    begin, digits = 0, 1
    while begin < rows:
        end = min(rows, 10**digits)
        if len(prefix) + digits > LONGEST_ID:
            hashes[begin:end] = _hash_long_rows(prefix, begin, end)
        else:
            _hash_rows(prefix, digits, begin, hashes[begin:end])
        begin, digits = end, digits + 1
    return hashes


def _hash_long_rows(prefix: bytes, begin: int, end: int) -> U64:
    """Hash ``prefix`` with the numbers from ``begin`` to ``end``, which reads a prefix of any length only once."""
    shared = _digest(prefix)
    digests: list[bytes] = []
    for row in range(begin, end):
        digest = shared.copy()
        digest.update(b"%d" % row)
        digests.append(digest.digest())
    return hash_ids(digests)


def _digest(octets: bytes) -> hashlib.blake2b:
    """Do step 1 of the hash."""
    return hashlib.blake2b(octets, digest_size=32)


def _hash_rows(prefix: bytes, digits: int, begin: int, out: U64) -> None:
    """Hash ``prefix`` with the numbers from ``begin`` on, of ``digits`` digits each, into ``out`` ``[n, 2]``."""
    if built.packing is not None:
        built.packing.hash_rows(prefix, digits, begin, out)
        return
    shared = len(prefix) // _WORD * _WORD
    lead, rest = np.frombuffer(prefix[:shared], "<u8").astype(np.uint64), np.frombuffer(prefix[shared:], np.uint8)
    a, b = _seeds(np.array([len(prefix) + digits], np.uint64))
    for word in lead:  # the words that all rows share are mixed once
        a, b = _absorb(a, b, word[None])
    width = -(-(len(rest) + digits) // _WORD) * _WORD
    for first in range(0, len(out), _BLOCK):
        block = out[first : first + _BLOCK]
        octets = np.zeros((len(block), width), np.uint8)
        octets[:, : len(rest)] = rest
        number = np.arange(begin + first, begin + first + len(block), dtype=np.uint32)
        for place in range(digits):
            octets[:, len(rest) + digits - 1 - place] = number % 10 + ord("0")
            number //= 10
        lanes = a, b
        for word in octets.view("<u8").T:
            lanes = _absorb(*lanes, word.astype(np.uint64))
        block[:, 0], block[:, 1] = _finish(*lanes)


def _offsets(ids: Sequence[bytes | str]) -> I64:
    offsets = np.zeros(len(ids) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, ids), np.int64, len(ids)), out=offsets[1:])
    return offsets


def _hash_block(windows: Octets, starts: I64, lengths: I64, out: U64) -> None:
    """Hash the ids at ``starts`` into ``out`` ``[n, 2]``; one that is too long gets an invalid hash to be replaced."""
    a, b = _seeds(lengths.astype(np.uint64))
    for at in range(0, min(int(lengths.max(initial=0)), LONGEST_ID), _WORD):
        remaining = lengths - at
        if (remaining > 0).all():
            a, b = _absorb(a, b, _words(windows, starts + at, remaining))
            continue
        live = np.flatnonzero(remaining > 0)
        a[live], b[live] = _absorb(a[live], b[live], _words(windows, starts[live] + at, remaining[live]))
    out[:, 0], out[:, 1] = _finish(a, b)


def _seeds(lengths: U64) -> tuple[U64, U64]:
    """Do step 2 of the hash."""
    return _SEED_A ^ (lengths * _P), _SEED_B + lengths * _Q


def _words(windows: Octets, starts: I64, remaining: I64) -> U64:
    """Return eight bytes at each start as a little-endian number; bytes beyond the id's ``remaining`` ones are zero."""
    words = windows[starts].view("<u8")[:, 0].astype(np.uint64, copy=False)
    if remaining.min() < _WORD:
        surplus = (_WORD - np.minimum(remaining, _WORD)).astype(np.uint64) * np.uint64(8)
        words &= _ONES >> surplus
    return words


def _absorb(a: U64, b: U64, word: U64) -> tuple[U64, U64]:
    """Do step 3 of the hash for one word."""
    k = word * _P
    k ^= k >> np.uint64(32)
    k *= _Q
    a = (_rotl(a ^ k, 27) + b) * _FIVE + _STEP_A
    b = (_rotl(b + k, 31) ^ a) * _NINE + _STEP_B
    return a, b


def _finish(a: U64, b: U64) -> tuple[U64, U64]:
    """Do step 4 of the hash."""
    a = a + b
    b = b + a
    a, b = _scramble(a), _scramble(b)
    a += b
    b += a
    return a, b


def _scramble(x: U64) -> U64:
    """Apply the finalizer ``f``, a bijection."""
    x = (x ^ (x >> np.uint64(30))) * _F1
    x = (x ^ (x >> np.uint64(27))) * _F2
    return x ^ (x >> np.uint64(31))


def _rotl(x: U64, bits: int) -> U64:
    return (x << np.uint64(bits)) | (x >> np.uint64(64 - bits))
