"""What the attributions of the reference rows look like: bins for each feature, and how large they usually are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from collector_processor.columns.batch import F64

BINS: Final = 32
"""Bins of the attributions of one feature, from quantiles of the reference."""

BEYOND: Final = 0.001
"""Share of the attributions of a feature that are larger than its cap."""


@dataclass(frozen=True, slots=True)
class AttributionBaseline:
    """The features ``K`` that have attributions in the reference; any sender may name others.

    - ``names``: in a fixed order; they need not be features of the schema (``carrier=UA``).
    - ``edges`` ``[K, BINS − 1]``: ascending, equal ones bound empty bins.
    - ``caps`` ``[K]``: the size below which all but :data:`BEYOND` of them are; None in profiles that lack it.
    """

    names: tuple[str, ...]
    edges: F64
    caps: F64 | None = None
