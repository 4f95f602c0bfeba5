"""The compiled part of this room, or None where it is not built; numpy then finds the same rows, more slowly."""

from __future__ import annotations

try:
    from collector_processor.labels import slots
except ImportError:  # no compiler at hand, or built for another Python
    slots = None

__all__ = ["slots"]
