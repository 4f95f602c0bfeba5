"""How a redacted value changes before it leaves: rounded down, or hashed."""

from __future__ import annotations

import hashlib
import hmac
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from otel_ml.encode.scalar import Scalar, UnsupportedValueError, class_text, scalar
from otel_ml.problems import report, report_unsupported

HASH_DIGITS: Final = 16
"""Hex digits kept of a hash: 64 bits, so that among a million categories two collide once in 30 million times."""


@dataclass(frozen=True, slots=True)
class RedactionRule:
    """How a value changes before it leaves: rounded down to a multiple of ``width``, or hashed with ``salt``.

    >>> RedactionRule("bucket", width=10.0).apply(37), RedactionRule("bucket", width=10.0).apply("old")
    (30.0, None)
    >>> RedactionRule("hash", salt=b"pepper").apply("Berlin") == RedactionRule("hash", salt=b"pepper").apply("Berlin")
    True
    """

    kind: Literal["bucket", "hash"]
    width: float = 0.0
    salt: bytes = b""

    def apply(self, value: object) -> Scalar | None:
        """Return the value that may leave; None for a missing value and for a text or truth value with a width."""
        if self.kind == "hash":
            text = class_text(value)
            return None if text is None else self.digest(text)
        plain = scalar(value)
        if plain is None or isinstance(plain, (bool, str)):
            return None
        return self.floor(float(plain))

    def floor(self, number: float) -> float:
        """Return the lower edge of the number's bucket; infinities stay."""
        return math.floor(number / self.width) * self.width if math.isfinite(number / self.width) else number

    def digest(self, text: str) -> str:
        """Return the truncated hexadecimal HMAC-SHA256 of the text's UTF-8."""
        return hmac.digest(self.salt, text.encode("utf-8", "replace"), hashlib.sha256).hex()[:HASH_DIGITS]


Route: TypeAlias = tuple[str, RedactionRule | None]
"""The attribute that a key's value leaves under, and the rule for it (None: unchanged)."""
Routes: TypeAlias = Mapping[object, Route | None]
"""The route of every key; None where the value must not leave."""


def apply(rule: RedactionRule, value: object, attribute: str) -> Scalar | None:
    """Apply a rule to one value; a value of a kind that cannot leave is dropped and reported once per attribute."""
    try:
        redacted = rule.apply(value)
    except UnsupportedValueError as error:
        report_unsupported(attribute, error)
        return None
    if redacted is None and rule.kind == "bucket" and isinstance(value, (str, bool)):
        report(f"bucket {attribute}", "%s has a bucket width, but the value is not a number; dropped", attribute)
    return redacted
