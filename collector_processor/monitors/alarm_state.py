"""What alarms remember of each column, in few bytes: evidence, when it began, and alarms that were raised."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from collector_processor.columns.batch import F64, I64
from collector_processor.detectors.shiryaev_roberts import mean_age, updated

U8 = NDArray[np.uint8]
U16 = NDArray[np.uint16]
U32 = NDArray[np.uint32]
I16 = NDArray[np.int16]
F32 = NDArray[np.float32]

LOWEST: Final = -24.0
"""The log of the least M that is not 0."""
_PER_NAT: Final = 1024.0
_MOST: Final = 2**16 - 1
PER_PAIR: Final = 32.0
OLDEST: Final = 60_000
"""The oldest change that a state can hold, in units of time."""


@dataclass(frozen=True, slots=True)
class AlarmState:
    """The state of ``C`` columns with ``A`` alternatives in all; 198 bytes for a numeric column of ten bins.

    - ``evidence`` ``[A]``: log M in steps of 1/1024 from −24 to 40, rounded down, so that it is never overstated; 0 is
      M = 0.
    - ``since`` ``[A]``: the mean time of a possible change, in units of time modulo 2¹⁶.
    - ``pairs`` and ``alike`` ``[C]``: recent pairs of rows of one call, and those alike beyond chance, in 1/32.
    - ``left`` ``[C]``: minutes for which an alarm stays, 0 without one; ``change`` ``[C]``: the alternative that it is
      about; ``changed_s`` ``[C]``: when the change began, Unix seconds.
    - ``calls`` ``[2, S]``: recent weights of rows by row and by call, for labels, whose calls are not known.
    - ``unit_ns``: the unit of time, the width of the first pane; 0 before it.
    """

    evidence: U16
    since: U16
    pairs: U16
    alike: I16
    left: F32
    change: U8
    changed_s: U32
    calls: F32
    unit_ns: I64


def coded(log_m: F64) -> U16:
    """Return evidence as it is kept.

    >>> coded(np.array([-np.inf, -30.0, -24.0, 0.0, 99.0])).tolist()
    [0, 0, 1, 24577, 65535]
    """
    places = log_m - LOWEST
    places *= _PER_NAT
    np.floor(places, out=places)
    places += 1.0
    return np.clip(places, 0.0, _MOST, out=places).astype(np.uint16)


def decoded(codes: U16) -> F64:
    """Return the log of M, ``-inf`` for 0.

    >>> decoded(np.array([0, 1, 24577], np.uint16)).tolist()
    [-inf, -24.0, 0.0]
    """
    return np.where(codes > 0, (codes.astype(np.float64) - 1.0) / _PER_NAT + LOWEST, -np.inf)


@dataclass(frozen=True, slots=True)
class Tables:
    """What Shiryaev and Roberts' step makes of each of the 2¹⁶ codes, for panes of one width.

    - ``grown``: log (w + M), to which the increment is added (:func:`.shiryaev_roberts.updated`);
    - ``shrinks``: what the mean age is divided by (:func:`.shiryaev_roberts.mean_age`);
    - ``m``: M itself.
    """

    grown: F64
    shrinks: F64
    m: F64


@lru_cache(maxsize=4)
def tables(minutes: float) -> Tables:
    """Return the tables for panes of this width.

    >>> of_minutes = tables(1.0)
    >>> of_minutes.grown[[0, 24577]].round(4).tolist(), of_minutes.shrinks[[24577, 65535]].tolist()
    ([0.0, 0.6931], [2.0, 1.0])
    """
    log_m = decoded(np.arange(_MOST + 1).astype(np.uint16))
    zero = np.zeros(len(log_m))
    return Tables(updated(log_m, zero, minutes), 1.0 / mean_age(zero + 1.0, log_m, minutes), np.exp(log_m))


def ages(since: U16, now: int) -> F64:
    """Return how long ago a time was, in units; what is older than a state can hold is as old as that.

    >>> ages(np.array([10, 65530], np.uint16), 2**16 + 20).tolist()
    [10.0, 26.0]
    """
    passed = (np.uint16(now % 2**16) - since).astype(np.float64)
    return np.minimum(passed, OLDEST)


def times(age: F64, now: int) -> U16:
    """Return the time of an age, rounded, as it is kept."""
    return np.uint16(now % 2**16) - np.rint(np.minimum(age, OLDEST)).astype(np.uint16)
