"""Ids hashed and codes renumbered by the compiled part are those of numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector_processor.decode.compiled import built
from collector_processor.decode.limits import DecodeLimits, Tally
from collector_processor.decode.rules.cell_columns import compacted
from collector_processor.decode.rules.ids import hash_ids, hash_packed, row_ids

packing = pytest.importorskip("collector_processor.decode.compiled.packing", reason="built without a C compiler")


@given(st.lists(st.one_of(st.text(max_size=40), st.binary(max_size=300)), max_size=20))
def test_ids_of_any_length_have_the_hash_of_numpy(ids: list[str | bytes]) -> None:
    compiled = hash_ids(ids)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(built, "packing", None)
        np.testing.assert_array_equal(compiled, hash_ids(ids))


@pytest.mark.parametrize("call", ["", "x", "a call", "é" * 20, "c" * 245, "c" * 250, "c" * 254, "c" * 255, "c" * 400])
def test_ids_of_rows_have_the_hash_of_their_texts(call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = row_ids(call, 1234)
    np.testing.assert_array_equal(compiled, hash_ids([f"{call}:{row}" for row in range(1234)]))
    monkeypatch.setattr(built, "packing", None)
    np.testing.assert_array_equal(compiled, row_ids(call, 1234))


@given(st.lists(st.integers(-3, 5), max_size=50), st.lists(st.sampled_from(["a", "b", "c", None]), min_size=6))
def test_codes_are_compacted_as_with_numpy(codes: list[int], texts: list[str | None]) -> None:
    compiled = compacted(np.array(codes, np.int64), texts, Tally(DecodeLimits()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(built, "packing", None)
        plain = compacted(np.array(codes, np.int64), texts, Tally(DecodeLimits()))
    assert compiled[0].tolist() == plain[0].tolist()
    assert compiled[1] == plain[1]
    of_rows = [texts[code] if code >= 0 else None for code in codes]
    assert [compiled[1][code] if code >= 0 else None for code in compiled[0].tolist()] == of_rows


def test_offsets_and_codes_outside_are_refused() -> None:
    octets = np.zeros(10, np.uint8)
    for offsets in ([0, 11], [-1, 3], [5, 3]):
        with pytest.raises(ValueError, match="the offsets are not within the octets, or fall"):
            hash_packed(octets, np.array(offsets))
    with pytest.raises(ValueError, match="a code is not below 3"):
        packing.renumbered(np.array([0, 3], np.int32), 3)
    with pytest.raises(ValueError, match="ids that long"):
        packing.hash_rows(b"x" * 250, 7, 0, np.zeros((1, 2), np.uint64))
    assert len(hash_packed(octets, np.zeros(1, np.int64))) == 0
