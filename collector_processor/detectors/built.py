"""The compiled part of this package, or None if it is not built; Python then raises the same alarms, more slowly."""

from __future__ import annotations

try:
    from collector_processor.detectors import compiled_rows
except ImportError:  # no compiler available, or built for another Python
    compiled_rows = None

__all__ = ["compiled_rows"]
