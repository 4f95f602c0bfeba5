"""The compiled part of this package, or None if it is not built; numpy then finds the same rows, more slowly."""

from __future__ import annotations

try:
    from collector_processor.labels import slots
except ImportError:  # no compiler available, or built for another Python
    slots = None

__all__ = ["slots"]
