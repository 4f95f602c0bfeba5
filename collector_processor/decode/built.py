"""The compiled arithmetic on ids and codes, or None where it is not built; numpy then gives the same, more slowly."""

from __future__ import annotations

try:
    from collector_processor.decode import packing
except ImportError:  # no compiler at hand, or built for another Python
    packing = None

__all__ = ["packing"]
