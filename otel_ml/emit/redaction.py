"""Decides what may leave the process, once per key; the rules are applied before anything is encoded."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

from otel_ml.config import Settings
from otel_ml.encode.rules import RedactionRule, Route
from otel_ml.encode.scalar import clean_key
from otel_ml.problems import report
from otel_ml.semconv import ATTRIBUTION, FEATURE, SEGMENT, WITHHELD_ALL

_CACHE_LIMIT = 20_000
"""Keys whose route is cached; beyond it routes are decided at each look-up."""

_CALLS_TO_MATCH = 20
"""Calls after which a pattern that has matched nothing is reported."""
_WITHHELD_BYTES = 256
"""Length of a list of withheld features; beyond it they are "all that are not sent". The service has the same limit."""
_NAMES = 20
"""Keys in that report."""


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
        self._redaction.see(name)
        route = self._route(name)
        if route is None and self._prefix == FEATURE:
            self._redaction.withhold(name)
        return route

    def _route(self, name: str) -> Route | None:
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
        self._seen: set[str] = set()
        self._withheld: set[str] = set()
        self.withheld = "" if settings.capture_features and "*" not in settings.deny else WITHHELD_ALL
        """The features kept back so far, as ``ml.features.withheld`` has them."""
        self._calls = 0
        patterns = (*(settings.allow or ()), *settings.deny, *settings.hashed, *settings.widths)
        self.unmatched = set(patterns) if settings.capture_features else set[str]()
        capture = settings.capture_features
        self.features = CachedRoutes(self, FEATURE, allow=True, capture=capture)
        self.attributions = CachedRoutes(self, ATTRIBUTION, allow=True, capture=capture)
        self.taken_segments = CachedRoutes(self, SEGMENT, allow=True, capture=capture)
        self.segments = CachedRoutes(self, SEGMENT, allow=False, capture=True)

    def withhold(self, name: str) -> None:
        """Note a feature that is kept back, so that the service does not take it for missing."""
        if self.withheld != WITHHELD_ALL:
            self._withheld.add(name.replace("%", "%25").replace(",", "%2C"))
            text = ",".join(sorted(self._withheld))
            self.withheld = text if len(text.encode()) <= _WITHHELD_BYTES else WITHHELD_ALL

    def see(self, name: str) -> None:
        """Note a key for the check of patterns."""
        if self.unmatched and len(self._seen) < _CACHE_LIMIT:
            self._seen.add(name)
            for pattern in tuple(self.unmatched):  # a copy: other threads remove from it
                if _matches(name, (pattern,)):
                    self.unmatched.discard(pattern)

    def check_patterns(self, model: str) -> None:
        """Report the patterns that have matched nothing, once the features have had time to show up."""
        self._calls += 1
        if self._calls < _CALLS_TO_MATCH or not self._seen:
            return
        unmatched, self.unmatched = sorted(self.unmatched), set()
        report(
            f"patterns {model}",
            "model %r: %s match no feature, segment or attribution; there are: %s",
            model,
            ", ".join(map(repr, unmatched)),
            ", ".join(sorted(self._seen)[:_NAMES]),
        )

    def denies(self, name: str) -> bool:
        """Return whether the deny list names the key."""
        return _matches(name, self._settings.deny)

    def allows(self, name: str) -> bool:
        """Return whether the allow list names the key, or does not exist."""
        return self._settings.allow is None or _matches(name, self._settings.allow)

    @property
    def captures(self) -> bool:
        """Whether features leave at all; those that :meth:`counts` allows then do."""
        return self._settings.capture_features

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
