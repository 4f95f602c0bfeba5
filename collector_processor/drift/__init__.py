"""Drift methods, one file each, pure functions over all columns at once.

To add a method, add a file with one class and a line in :data:`DRIFT_METHODS`; the contract tests then cover it.
"""

from __future__ import annotations

from typing import Final

from collector_processor.drift.chi2 import ChiSquare
from collector_processor.drift.cohen_h import CohenH
from collector_processor.drift.hellinger import HellingerDistance
from collector_processor.drift.js import JensenShannonDistance
from collector_processor.drift.ks import KolmogorovSmirnov
from collector_processor.drift.l_infinity import LInfinityDistance
from collector_processor.drift.method import DriftMethod
from collector_processor.drift.psi import PopulationStabilityIndex
from collector_processor.drift.tvd import TotalVariationDistance
from collector_processor.drift.wasserstein import Wasserstein

DRIFT_METHODS: Final[tuple[DriftMethod, ...]] = (
    PopulationStabilityIndex(),
    JensenShannonDistance(),
    HellingerDistance(),
    LInfinityDistance(),
    TotalVariationDistance(),
    CohenH(),
    ChiSquare(),
    KolmogorovSmirnov(),
    Wasserstein(),
)
"""Every method, in the order in which they are listed."""

BY_FINE_BINS: Final = frozenset({"ks", "wasserstein"})
"""The methods that need a column's fine bins; all others take coarse bins or categories."""


def drift_method(name: str) -> DriftMethod:
    """Return the method with that name; for an unknown name, a ``ValueError`` lists the choices.

    >>> drift_method("psi").threshold
    0.2
    >>> drift_method("kl")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    ValueError: unknown drift method 'kl'; choose from: psi, js, hellinger, l_infinity, tvd, cohen_h, chi2, ...
    """
    for method in DRIFT_METHODS:
        if method.name == name:
            return method
    raise ValueError(f"unknown drift method '{name}'; choose from: {', '.join(m.name for m in DRIFT_METHODS)}")
