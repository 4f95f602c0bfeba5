"""The packed form: what goes in comes out, and bytes that somebody has tampered with are an error and nothing else."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from collector_processor.columns.codec import pack, unpack

TYPES = ("<f8", "<f4", "<i8", "<i4", "<i2", "|i1", "<u8", "<u4", "<u2", "|u1", "|b1")
ARRAYS = st.sampled_from(TYPES).flatmap(
    lambda kind: arrays_of.arrays(kind, arrays_of.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5))
)
TEXTS = st.text() | st.sampled_from(["$array", "", "\ud800"])
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | ARRAYS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner).filter(lambda found: found.keys() != {"$array"}),
    max_leaves=20,
)


def there_and_back(plain: Any) -> Any:
    head, pieces = pack(plain)
    return unpack(head, bytearray(b"".join(pieces)))


def assert_same(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    if isinstance(one, np.ndarray):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        assert one.tobytes() == other.tobytes()
    elif isinstance(one, dict):
        assert [*one] == [*other]
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for left, right in zip(one, other, strict=True):
            assert_same(left, right)
    else:
        assert one == other or one != one


@given(PLAIN)
def test_what_goes_in_comes_out(plain: Any) -> None:
    assert_same(there_and_back(plain), plain)


@pytest.mark.parametrize("found", [np.ones(2), [None, np.ones(2)], 1, []])
def test_the_name_of_the_mark_may_be_a_senders_name(found: Any) -> None:
    assert_same(there_and_back({"$array": found}), {"$array": found})


def test_bytes_are_not_copied_unless_asked_for() -> None:
    values = np.arange(4.0)
    head, [piece] = pack(values)
    assert np.shares_memory(np.frombuffer(piece), values)
    block = bytearray(piece)
    view, own = unpack(head, block), unpack(head, block, copy=True)
    block[:8] = bytes(np.float64(9.0))
    assert (view[0], own[0]) == (9.0, 0.0)


def test_any_layout_of_an_array_is_packed() -> None:
    grid = np.arange(12.0).reshape(3, 4)
    for values in (grid.T, grid[:, ::2], grid[::-1], grid.astype(">f8"), np.broadcast_to(np.float64(1.0), (3,))):
        np.testing.assert_array_equal(there_and_back(values), values)


@pytest.mark.parametrize(
    "plain", [object(), {"a": {1}}, np.array([object()]), np.array(["a"]), np.array([1j]), np.int64(1)]
)
def test_only_json_and_plain_numbers_are_packed(plain: Any) -> None:
    with pytest.raises(ValueError, match="cannot be packed"):
        pack(plain)


def test_nesting_without_end_is_not_packed() -> None:
    plain: list[Any] = []
    for _ in range(100_000):
        plain = [plain]
    with pytest.raises(ValueError, match="cannot be packed"):
        pack(plain)


@pytest.mark.parametrize(
    "place",
    [
        ["<f8", 0, 3],
        ["<f8", 8, 2],
        ["<f8", 4, 1],
        ["<f8", 16, 1],
        ["<f8", -8, 1],
        ["<f8", 2**63 - 8, 1],
        ["<f8", 2**63, 1],
        ["<f8", 2**64, 1],
        ["<f8", 0, -1],
        ["<f8", 0, -1, -1],
        ["<f8", 0, 2**62],
        ["<f8", 0, 2**31, 2**31, 2**31],
        ["<f8", 0, 2**32, 2**29],
        ["<f8", 0, 2**61],
        ["<f8", 0, 2**200],
        ["<f8", 8, 2**61 + 1],
        ["|u1", 0, 2**63 - 1],
        ["|u1", 0, 17],
        ["<f8", 0, *[1] * 100],
        ["<f8", 0, 1.0],
        ["<f8", 0.0, 1],
        ["<f8", "0", 1],
        ["<f8", 0, "1"],
        ["<f8", None, 1],
        ["<f8", 0, [1]],
        ["<f8", 0, {}],
        ["<f8"],
        [""],
        ["|O", 0, 1],
        ["O", 0, 1],
        ["<U4", 0, 1],
        [">f8", 0, 1],
        ["<f8,<f8", 0, 1],
    ],
)
def test_a_place_that_is_not_in_the_bytes_is_a_value_error(place: Any) -> None:
    with pytest.raises(ValueError, match="an array does not fit"):
        unpack(json.dumps({"a": {"$array": place}}).encode(), bytearray(16))


@pytest.mark.parametrize("head", [b"", b"{", b"\xff", b"[" * 100_000, b'{"a":' * 100_000, b"nul", b'"\\ud800'])
def test_a_head_that_is_not_json_is_a_value_error(head: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        unpack(head, bytearray())


@given(st.data())
def test_a_head_with_any_byte_changed_gives_arrays_within_the_bytes_or_a_value_error(data: st.DataObject) -> None:
    head, pieces = pack({"a": np.arange(5.0), "b": [np.arange(6, dtype=np.int16).reshape(2, 3), "text", 1.5]})
    block = bytearray(b"".join(pieces))
    position = data.draw(st.integers(0, len(head) - 1))
    changed = bytearray(head)
    changed[position] = data.draw(st.integers(0, 255))
    block = block[: data.draw(st.integers(0, len(block)))]
    try:
        found = unpack(bytes(changed), block)
    except ValueError:
        return
    whole = np.frombuffer(block, np.uint8)
    for values in found.values() if isinstance(found, dict) else ():
        if isinstance(values, np.ndarray) and values.size:
            assert np.shares_memory(values, whole)
            assert values.nbytes <= len(block)
