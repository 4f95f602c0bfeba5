"""List the compiled parts, which of them this installation has, and what a service logs when any are missing.

Each is optional. Where one is not built (no C compiler, or another Python), its package does the same in Python or
numpy, with equal results; the code of each package looks in its ``built.py``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from collector_processor.decode import DECODERS, decoder_notice
from collector_processor.decode.compiled import built as decode
from collector_processor.detectors import built as detectors
from collector_processor.labels import built as labels
from collector_processor.own.install import install
from collector_processor.statistics import built as statistics


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
    Part("detectors.compiled_rows", "detectors of single rows", detectors.compiled_rows is not None),
    Part("statistics.sums", "counts and sums of windows", statistics.sums is not None),
    Part("statistics.terms", "estimates, and sums of segments", statistics.terms is not None),
    Part("statistics.walk", "rows through trees", statistics.walk is not None),
)
"""All parts, in the order in which a request reaches them."""


def parts_notice(parts: Iterable[Part] = PARTS) -> str | None:
    """Return what a service logs at its start about parts that are slower than they could be; None if none are.

    >>> print(parts_notice([Part("decode.compiled.wire", "requests to columns", built=False)]))
    not compiled here: decode.compiled.wire (requests to columns); Python and numpy do the same work more slowly; ...
    """
    missing = ", ".join(f"{part.name} ({part.work})" for part in parts if not part.built)
    slower = (
        f"not compiled here: {missing}; Python and numpy do the same work more slowly; "
        f"to build what is missing, install a C compiler and run: {_build()}"
    )
    return "; ".join(notice for notice in (missing and slower, decoder_notice()) if notice) or None


def _build() -> str:
    """Return the command that builds them if a C compiler is installed."""
    return install("", "--force-reinstall", "--no-deps", "--no-binary", "otel-ml")
