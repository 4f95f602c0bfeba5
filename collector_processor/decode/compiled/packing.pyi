import numpy as np
from numpy.typing import NDArray

from collector_processor.columns.batch import I32, I64, U64

def hash_packed(octets: NDArray[np.uint8], offsets: I64) -> U64:
    """What :func:`.identity.hash_packed` gives, but for ids over its limit, which are left to the caller.

    Raises :class:`ValueError` for offsets outside of the octets.
    """

def hash_rows(prefix: bytes, digits: int, begin: int, out: U64) -> None:
    """Hashes ``prefix`` with the numbers of so many ``digits`` from ``begin`` on into ``out`` ``[n, 2]``."""

def renumbered(codes: I32, size: int) -> tuple[I32, I32]:
    """Codes numbered by their first appearance, and the old code of each new one; negative ones become −1.

    Raises :class:`ValueError` for codes from ``size`` on.
    """
