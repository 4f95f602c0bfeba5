"""Redaction at source: what may leave the process, decided once per key and applied before anything is encoded."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

from otel_ml.config import Settings
from otel_ml.encode.rules import RedactionRule, Route
from otel_ml.encode.scalar import clean_key
from otel_ml.problems import report
from otel_ml.semconv import ATTRIBUTION, FEATURE, SEGMENT

_CACHE_LIMIT = 20_000
"""Keys whose route is remembered; beyond it routes are worked out anew each time."""


class CachedRoutes(dict[object, "Route | None"]):
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
        self.features = CachedRoutes(self, FEATURE, allow=True, capture=capture)
        self.attributions = CachedRoutes(self, ATTRIBUTION, allow=True, capture=capture)
        self.taken_segments = CachedRoutes(self, SEGMENT, allow=True, capture=capture)
        self.segments = CachedRoutes(self, SEGMENT, allow=False, capture=True)

    def denies(self, name: str) -> bool:
        """Whether the deny list names the key."""
        return _matches(name, self._settings.deny)

    def allows(self, name: str) -> bool:
        """Whether the allow list names the key, or there is none."""
        return self._settings.allow is None or _matches(name, self._settings.allow)

    def counts(self, name: str) -> bool:
        """Whether the feature may be counted by bucket: not if denied, and not if hashed (buckets are readable)."""
        return not self.denies(name) and self.allows(name) and not _matches(name, self._settings.hashed)

    def rule(self, name: str) -> RedactionRule | None:
        """The rule for a key that may leave; hashing wins over rounding."""
        if _matches(name, self._settings.hashed):
            return RedactionRule("hash", salt=self._salt)
        width = _width(name, self._settings.widths)
        return None if width is None else RedactionRule("bucket", width=width)


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    # Equality first: a feature may itself be called "x[1]".
    return any(name == pattern or fnmatchcase(name, pattern) for pattern in patterns)


def _width(name: str, widths: Mapping[str, float]) -> float | None:
    if name in widths:
        return widths[name]
    return next((width for pattern, width in widths.items() if fnmatchcase(name, pattern)), None)
