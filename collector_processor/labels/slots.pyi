import numpy as np
from numpy.typing import NDArray

from collector_processor.columns.batch import I32, U64, Mask

def hashed(ids: U64, first_salt: int, second_salt: int) -> U64:
    """What :func:`.table.hashed` gives for ids ``[n, 2]`` with these salts."""

def insert(slots: I32, stored: U64, rows: I32, hashes: U64, settled: NDArray[np.uint8] | None) -> int:
    """What :meth:`.table.SlotTable.insert` does to its slots; ``settled`` holds a 1 for each row that is."""

def find(slots: I32, stored: U64, ids: U64, hashes: U64) -> I32:
    """What :meth:`.table.SlotTable.find` finds."""

def filter_of(hashes: U64, size: int) -> NDArray[np.uint8]:
    """The octets of a :class:`.table.Filter` of so many bits."""

def may_hold(octets: NDArray[np.uint8], hashes: U64, size: int) -> Mask:
    """What :meth:`.table.Filter.may_hold` says of a filter of so many bits."""
