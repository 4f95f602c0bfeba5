"""Evidence that the truth about rows no longer has the probability that was expected of each of them.

The null hypothesis is about P(y | x) alone: of each row, the probability of y = 1 is within ``tolerance`` of the
expected probability p. Which rows come does not matter, so a change of the population is none. For 0/1 values by bins
of p, with rows n, ones k and Σ p, and for each alternative the constants r₁ = q/c and r₀ = (1 − q)/(1 − c) of a bin,
where c is the usual probability in the bin and q the alternative's:

    log e = Σ k·ln r₁ + (n − k)·ln r₀ − n·ln(r₀ + p̄·(r₁ − r₀))

with p̄ = Σ p / n moved by the tolerance towards the alternative. A row's mean ratio is linear in its probability, so
the last term is what it can be at most; and the logarithm is concave, so the rows of a bin have at most n times that of
their mean. So e is an e-value for any rows and any p, whatever the width of bins, which only costs some power.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from collector_processor.columns.batch import F64

SHIFTS: Final = (0.1, 0.2, 0.4, 0.8, 1.5, -0.1, -0.2, -0.4, -0.8, -1.5)
"""Alternatives that add to the logit of every row: the truth is positive more often, or less often."""
SLOPES: Final = (0.25, 0.5, 0.7, 0.85, 1.2, 1.6)
"""Alternatives that multiply it: probabilities are nearer to one half than expected, or farther from it."""
ALTERNATIVES: Final = len(SHIFTS) + len(SLOPES)


def alternatives(usual: F64) -> F64:
    """Return the probabilities of every alternative in bins whose usual probability is given, ``[A, B]``."""
    logit = np.log(usual / (1.0 - usual))
    logits = [logit + shift for shift in SHIFTS] + [slope * logit for slope in SLOPES]
    return 1.0 / (1.0 + np.exp(-np.array(logits)))


def calibration_increments(table: F64, usual: F64, low: F64, high: F64) -> F64:
    """Return the log e-value of every alternative, ``[A]``.

    ``table`` ``[3, B]`` holds rows, ones and Σ p by bin; ``usual`` ``[B]`` the probability of each bin within (0, 1)
    from which alternatives are made; ``low`` and ``high`` ``[B]`` how far below and above p the truth may be. Sums
    below 0, which retracted labels leave behind, count as none.

    >>> table = np.array([[1000.0], [300.0], [200.0]])  # 30 % instead of 20 %
    >>> none = np.zeros(1)
    >>> calibration_increments(table, np.array([0.2]), none, none)[:5].round(1).tolist()
    [9.2, 16.7, 26.2, 20.8, -78.5]
    """
    n = np.maximum(table[0], 0.0)
    k = np.clip(table[1], 0.0, n)
    mean = np.divide(table[2], n, out=usual.copy(), where=n > 0.0)
    q = alternatives(usual)
    one, zero = q / usual, (1.0 - q) / (1.0 - usual)
    reached = np.clip(np.where(one > zero, mean + high, mean - low), 0.0, 1.0)
    gain = k * np.log(one) + (n - k) * np.log(zero)
    return (gain - n * np.log(zero + reached * (one - zero))).sum(axis=1)
