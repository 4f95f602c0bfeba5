"""How many spans a sampled span stands for, according to its trace state; and whether its trace can be looked up."""

from __future__ import annotations

import re
import struct
from typing import Final

_RANGE: Final = 1 << 56
_TRACE_FLAGS: Final = 0xFF
"""The trace flags of W3C Trace Context in the flags of a span; many SDKs leave them 0."""
_SAMPLED: Final = 1
_THRESHOLD: Final = re.compile(r"[0-9a-f]{1,14}", re.ASCII)


def weight(tracestate: str) -> float:
    """Return the adjusted count of a span: 2⁵⁶ / (2⁵⁶ − T), 1 without a readable threshold T.

    T is the rejection threshold ``th`` of the member ``ot``: 1 to 14 lowercase hex digits, without trailing zeros
    (OpenTelemetry, "TraceState: Probability Sampling"). Of a repeated member or key the first counts.

    >>> weight("ot=th:8"), weight("congo=t61,ot=rv:ab;th:c"), weight("ot=th:0"), weight("ot=th:nonsense"), weight("")
    (2.0, 4.0, 1.0, 1.0, 1.0)
    """
    if "ot=" not in tracestate:  # nearly always
        return 1.0
    for member in tracestate.split(","):
        vendor, _, fields = member.strip(" \t").partition("=")
        if vendor == "ot":
            return _adjusted_count(fields)
    return 1.0


def _adjusted_count(fields: str) -> float:
    for field in fields.split(";"):
        key, _, digits = field.partition(":")
        if key == "th":
            threshold = int(digits.ljust(14, "0"), 16) if _THRESHOLD.fullmatch(digits) else 0
            return _RANGE / (_RANGE - threshold)
    return 1.0


def trace_of(trace_id: bytes, span_id: bytes, flags: int, sampled: object) -> tuple[int, int, int] | None:
    """Return an entry of :class:`.Traces`; None for a span whose trace cannot be looked up.

    ``sampled`` is ``ml.trace.sampled``, False on a span that was sent although its trace is not. A span without trace
    flags was exported, so it is taken as sampled; one with flags, but not that of a sampled span, is not.

    >>> trace, span = (1).to_bytes(16, "big"), (2).to_bytes(8, "big")
    >>> trace_of(trace, span, 0x100, None)
    (0, 1, 2)
    >>> trace_of(trace, span, 0x102, None), trace_of(trace, bytes(8), 1, None), trace_of(trace, span, 1, False)
    (None, None, None)
    """
    given = flags & _TRACE_FLAGS
    if sampled is False or (given and not given & _SAMPLED):
        return None
    if len(trace_id) != 16 or len(span_id) != 8 or not any(trace_id) or not any(span_id):
        return None
    high, low, span = struct.unpack(">QQQ", trace_id + span_id)
    return high, low, span
