import numpy as np
from numpy.typing import NDArray

from collector_processor.columns.batch import I32, U64, Mask

def hashed(ids: U64, first_salt: int, second_salt: int) -> U64:
    """Return what :func:`.slot_table.hashed` gives for ids ``[n, 2]`` with these salts."""

def insert(slots: I32, stored: U64, rows: I32, hashes: U64, settled: NDArray[np.uint8] | None) -> int:
    """Do what :meth:`.slot_table.SlotTable.insert` does to its slots; ``settled`` is 1 for each settled row."""

def find(slots: I32, stored: U64, ids: U64, hashes: U64) -> I32:
    """Return what :meth:`.slot_table.SlotTable.find` returns."""

def filter_of(hashes: U64, size: int) -> NDArray[np.uint8]:
    """Return the octets of a :class:`.slot_table.Filter` of ``size`` bits."""

def may_hold(octets: NDArray[np.uint8], hashes: U64, size: int) -> Mask:
    """Return what :meth:`.slot_table.Filter.may_hold` returns for a filter of ``size`` bits."""
