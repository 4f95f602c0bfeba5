"""The compiled parts of this room but the decoder, each None where it is not built; the rest then does the same."""

from __future__ import annotations

try:
    from collector_processor.decode.compiled import packing
except ImportError:  # no compiler at hand, or built for another Python
    packing = None
try:
    from collector_processor.decode.compiled import texts
except ImportError:
    texts = None

__all__ = ["packing", "texts"]
