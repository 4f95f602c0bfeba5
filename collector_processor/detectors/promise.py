"""How much evidence an alarm needs, so that a promised number of false alarms holds."""

from __future__ import annotations

import math
from typing import Final

MINUTE_NS: Final = 60 * 10**9
REFERENCE_DOUBT: Final = 0.01
"""Probability that the limits of any share of the reference do not hold, for all columns and alternatives together.

The promise holds for every reference but this part of them.
"""


def log_threshold(alarms_per_minute: float, columns: int) -> float:
    """Return the log of the evidence at which one of the columns raises an alarm; infinite for a rate of 0.

    Each column has an equal part of the model's false alarms.

    >>> round(log_threshold(1 / 525_600, 1000), 2)  # one a year for 1,000 features
    20.08
    """
    return math.log(max(columns, 1) / alarms_per_minute) if alarms_per_minute > 0.0 else math.inf
