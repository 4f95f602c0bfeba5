"""Chooses the predictions that are explained, by a hash of their ids."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

_MIX: Final = 0x9E3779B1
"""2³² divided by the golden ratio: it spreads the checksums of similar texts."""
_RANGE: Final = 2**32


@dataclass(frozen=True, slots=True)
class Sample:
    """One prediction in ``one_in``: the same ids in each process, so champion and challenger explain the same rows.

    >>> Sample(1).chooses("order-7"), sum(map(Sample(100).chooses, map(str, range(10_000))))
    (True, 99)
    """

    one_in: int

    def chooses(self, prediction_id: str) -> bool:
        """Return whether the prediction with this id is explained."""
        return place(prediction_id) * self.one_in < _RANGE

    def first(self, ids: Iterable[str], most: int) -> tuple[list[int], float]:
        """Return the rows whose ids are chosen, the ``most`` with the smallest hashes, and what each stands for.

        >>> Sample(1).first(["a", "b", "c", "d"], 2)
        ([1, 2], 2.0)
        """
        found = [(hashed, row) for row, each in enumerate(ids) if (hashed := place(each)) * self.one_in < _RANGE]
        kept = sorted(found)[:most]
        return sorted(row for _, row in kept), self.one_in * len(found) / max(len(kept), 1)


def place(prediction_id: str) -> int:
    """Return the hash of an id, from 0 up to 2³²: CRC-32 of its UTF-8 bytes, times 2654435761, modulo 2³².

    >>> place("order-7")
    296639162
    """
    return zlib.crc32(prediction_id.encode("utf-8", "replace")) * _MIX % _RANGE
