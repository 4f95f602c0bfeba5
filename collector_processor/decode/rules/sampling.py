"""How many spans a sampled span stands for, according to its trace state."""

from __future__ import annotations

import re
from typing import Final

_RANGE: Final = 1 << 56
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
