"""What the attributions of the reference rows look like: bins for each feature, and how large they usually are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from collector_processor.columns.batch import F64

BINS: Final = 32
"""Bins of the attributions of one feature, from quantiles of the reference."""


@dataclass(frozen=True, slots=True)
class AttributionBaseline:
    """The features ``K`` that have attributions in the reference; any sender may name others.

    - ``names``: in a fixed order; they need not be features of the schema (``carrier=UA``).
    - ``edges`` ``[K, BINS − 1]``: ascending, equal ones bound empty bins.
    """

    names: tuple[str, ...]
    edges: F64
