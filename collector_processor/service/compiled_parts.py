"""The compiled parts: which there are, which this installation has, and what a service says where some are missing.

Each is optional. Where one is not built (no C compiler, or another Python) its room does the same in Python or numpy,
with equal results; ``built.py`` of each room is where its code asks.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from collector_processor.decode import DECODERS, decoder_notice
from collector_processor.decode.compiled import built as decode
from collector_processor.labels import built as labels
from collector_processor.statistics import built as statistics

BUILD: Final = "pip install --force-reinstall --no-binary otel-ml otel-ml"
"""What builds them, with a C compiler at hand."""


@dataclass(frozen=True, slots=True)
class Part:
    """One compiled part: its module under ``collector_processor``, what it is for, and whether it is built."""

    name: str
    work: str
    built: bool


PARTS: Final = (
    Part("decode.compiled.wire", "requests to columns", any(decoder.name == "compiled" for decoder in DECODERS)),
    Part("decode.compiled.packing", "hashes of ids, numbers of texts", decode.packing is not None),
    Part("decode.compiled.texts", "texts of frames", decode.texts is not None),
    Part("labels.slots", "labels to their predictions", labels.slots is not None),
    Part("statistics.sums", "counts and sums of windows", statistics.sums is not None),
)
"""All, in the order in which a request meets them."""


def parts_notice(parts: Iterable[Part] = PARTS) -> str | None:
    """What a service says once, at its start, about what is slower than it could be; None where nothing is.

    >>> print(parts_notice([Part("decode.compiled.wire", "requests to columns", built=False)]))
    not compiled here: decode.compiled.wire (requests to columns); Python and numpy do the same, more slowly; ...
    """
    missing = ", ".join(f"{part.name} ({part.work})" for part in parts if not part.built)
    told = (
        f"not compiled here: {missing}; Python and numpy do the same, more slowly; "
        f"with a C compiler at hand, {BUILD} builds what is missing"
    )
    return "; ".join(notice for notice in (missing and told, decoder_notice()) if notice) or None
