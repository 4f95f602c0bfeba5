"""Redaction at source: what may leave the process, decided once per key and applied before anything is encoded."""

from __future__ import annotations

import hashlib
import hmac
import math
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from otel_ml.config import HASH_DIGITS, Settings
from otel_ml.encode.scalar import Scalar, UnsupportedValueError, class_text, clean_key, scalar
from otel_ml.problems import report
from otel_ml.semconv import ATTRIBUTION, FEATURE, SEGMENT

_CACHE_LIMIT = 20_000
"""Keys whose route is remembered; beyond it routes are worked out anew each time."""


@dataclass(frozen=True, slots=True)
class Rule:
    """How a value changes before it leaves: rounded down to a multiple of ``width``, or hashed with ``salt``.

    >>> Rule("bucket", width=10.0).apply(37), Rule("bucket", width=10.0).apply("old")
    (30.0, None)
    >>> Rule("hash", salt=b"pepper").apply("Berlin") == Rule("hash", salt=b"pepper").apply("Berlin")
    True
    """

    kind: Literal["bucket", "hash"]
    width: float = 0.0
    salt: bytes = b""

    def apply(self, value: object) -> Scalar | None:
        """The value that may leave, None where nothing may (a text that cannot be rounded, a missing value)."""
        if self.kind == "hash":
            text = class_text(value)
            return None if text is None else self.digest(text)
        plain = scalar(value)
        if plain is None or isinstance(plain, (bool, str)):
            return None
        return self.floor(float(plain))

    def floor(self, number: float) -> float:
        """The lower edge of the number's bucket; infinities stay."""
        return math.floor(number / self.width) * self.width if math.isfinite(number / self.width) else number

    def digest(self, text: str) -> str:
        """Truncated hexadecimal HMAC-SHA256 of the text's UTF-8."""
        return hmac.digest(self.salt, text.encode("utf-8", "replace"), hashlib.sha256).hex()[:HASH_DIGITS]


Route = tuple[str, Rule | None]
"""The attribute that a key's value leaves under, and the rule for it (None: as it is)."""


class Routes(dict[object, "Route | None"]):
    """Looks up a key's :data:`Route`; None where the value must not leave. Works out what it has not seen.

    >>> routes = Redaction(Settings(deny=("card_*",))).features
    >>> routes["age"], routes["card_number"]
    (('ml.feature.age', None), None)
    """

    def __init__(self, redaction: Redaction, prefix: str, *, allow: bool, capture: bool) -> None:
        super().__init__()
        self._redaction = redaction
        self._prefix = prefix
        self._allow = allow
        self._capture = capture

    def __missing__(self, key: object) -> Route | None:
        route = self._work_out(key)
        if len(self) < _CACHE_LIMIT:
            self[key] = route
        return route

    def _work_out(self, key: object) -> Route | None:
        name = clean_key(key)
        if name is None:
            report(f"key {self._prefix}", "%s: a key that is empty, too long or no text is dropped", self._prefix + "*")
            return None
        if not self._capture or self._redaction.denies(name) or (self._allow and not self._redaction.allows(name)):
            return None
        return self._prefix + name, self._redaction.rule(name)


class Redaction:
    """The rules of one model; ``features``, ``attributions``, ``taken_segments`` and ``segments`` are its routes.

    ``taken_segments`` are those whose value is a feature's; ``segments`` those that the application names, which the
    allow list and ``capture_features`` do not concern.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._salt = settings.salt.encode()
        capture = settings.capture_features
        self.features = Routes(self, FEATURE, allow=True, capture=capture)
        self.attributions = Routes(self, ATTRIBUTION, allow=True, capture=capture)
        self.taken_segments = Routes(self, SEGMENT, allow=True, capture=capture)
        self.segments = Routes(self, SEGMENT, allow=False, capture=True)

    def denies(self, name: str) -> bool:
        """Whether the deny list names the key."""
        return _matches(name, self._settings.deny)

    def allows(self, name: str) -> bool:
        """Whether the allow list names the key, or there is none."""
        return self._settings.allow is None or _matches(name, self._settings.allow)

    def counts(self, name: str) -> bool:
        """Whether the feature may be counted by bucket: not if denied, and not if hashed (buckets are readable)."""
        return not self.denies(name) and self.allows(name) and not _matches(name, self._settings.hashed)

    def rule(self, name: str) -> Rule | None:
        """The rule for a key that may leave; hashing wins over rounding."""
        if _matches(name, self._settings.hashed):
            return Rule("hash", salt=self._salt)
        width = _width(name, self._settings.widths)
        return None if width is None else Rule("bucket", width=width)


def apply(rule: Rule, value: object, attribute: str) -> Scalar | None:
    """Apply a rule to one value, reporting once per attribute what cannot leave because of its kind."""
    try:
        treated = rule.apply(value)
    except UnsupportedValueError as error:
        report(f"unsupported {attribute}", "%s: %s; dropped", attribute, error)
        return None
    if treated is None and rule.kind == "bucket" and isinstance(value, (str, bool)):
        report(f"bucket {attribute}", "%s: a bucket width is set but the value is no number; dropped", attribute)
    return treated


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    # Equality first: a feature may itself be called "x[1]".
    return any(name == pattern or fnmatchcase(name, pattern) for pattern in patterns)


def _width(name: str, widths: Mapping[str, float]) -> float | None:
    if name in widths:
        return widths[name]
    return next((width for pattern, width in widths.items() if fnmatchcase(name, pattern)), None)
