"""The compiled part of this package, or None if it is not built; numpy then gives the same figures, more slowly."""

from __future__ import annotations

try:
    from collector_processor.statistics import sums
except ImportError:  # no compiler available, or built for another Python
    sums = None

__all__ = ["sums"]
