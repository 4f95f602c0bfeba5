"""The compiled parts of this package, or None if they are not built; numpy then gives the same figures, more slowly."""

from __future__ import annotations

try:
    from collector_processor.statistics import sums
except ImportError:  # no compiler available, or built for another Python
    sums = None

try:
    from collector_processor.statistics import terms
except ImportError:
    terms = None

try:
    from collector_processor.statistics import walk
except ImportError:
    walk = None

__all__ = ["sums", "terms", "walk"]
