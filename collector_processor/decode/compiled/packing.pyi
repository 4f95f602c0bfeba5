import numpy as np
from numpy.typing import NDArray

from collector_processor.columns.batch import I32, I64, U64

def hash_packed(octets: NDArray[np.uint8], offsets: I64) -> U64:
    """Return what :func:`.ids.hash_packed` returns, except for ids over its limit, which are left to the caller.

    Raises :class:`ValueError` for offsets outside the octets.
    """

def hash_rows(prefix: bytes, digits: int, begin: int, out: U64) -> None:
    """Hash ``prefix`` with the numbers from ``begin`` on, of ``digits`` digits each, into ``out`` ``[n, 2]``."""

def renumbered(codes: I32, size: int) -> tuple[I32, I32]:
    """Return codes numbered by first appearance, and the old code of each new one; negative ones become −1.

    Raises :class:`ValueError` for codes from ``size`` on.
    """
