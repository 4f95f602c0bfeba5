"""Decides what may leave the process, once per key; the rules are applied before anything is encoded."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

from otel_ml.config import Settings
from otel_ml.encode.rules import RedactionRule, Route
from otel_ml.encode.scalar import clean_key
from otel_ml.problems import report
from otel_ml.semconv import ATTRIBUTION, FEATURE, SEGMENT

_CACHE_LIMIT = 20_000
"""Keys whose route is cached; beyond it routes are decided at each look-up."""


class CachedRoutes(dict[object, "Route | None"]):
    """Looks up a key's :data:`Route`, None if the value must not leave, and decides it for a new key.

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
        route = self._decide(key)
        if len(self) < _CACHE_LIMIT:
            self[key] = route
        return route

    def _decide(self, key: object) -> Route | None:
        name = clean_key(key)
        if name is None:
            report(f"key {self._prefix}", "%s: a key is empty, too long or without text; dropped", self._prefix + "*")
            return None
        if not self._capture or self._redaction.denies(name) or (self._allow and not self._redaction.allows(name)):
            return None
        return self._prefix + name, self._redaction.rule(name)


class Redaction:
    """The redaction of one model; ``features``, ``attributions``, ``taken_segments`` and ``segments`` are its routes.

    ``taken_segments`` get their value from a feature; ``segments`` get it from the application, so the allow list and
    ``capture_features`` do not apply.
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
        """Return whether the deny list names the key."""
        return _matches(name, self._settings.deny)

    def allows(self, name: str) -> bool:
        """Return whether the allow list names the key, or does not exist."""
        return self._settings.allow is None or _matches(name, self._settings.allow)

    def counts(self, name: str) -> bool:
        """Return whether the feature may be counted by bucket: not if denied, nor if hashed (buckets are readable)."""
        return not self.denies(name) and self.allows(name) and not _matches(name, self._settings.hashed)

    def rule(self, name: str) -> RedactionRule | None:
        """Return the rule for a key that may leave; hashing takes precedence over rounding."""
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
