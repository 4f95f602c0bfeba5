"""The compiled parts of this package except the decoder, each None if it is not built; Python then does the same."""

from __future__ import annotations

try:
    from collector_processor.decode.compiled import packing
except ImportError:  # no compiler available, or built for another Python
    packing = None
try:
    from collector_processor.decode.compiled import texts
except ImportError:
    texts = None

__all__ = ["packing", "texts"]
