"""Which features a sender keeps back: what it does not send is not missing."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote

from otel_ml.semconv import WITHHELD_ALL


class Withheld(NamedTuple):
    """The features that a sender keeps back: ``names``, or with ``every`` all that a batch has no cell of."""

    names: frozenset[str]
    every: bool

    def has(self, feature: str, *, sent: bool) -> bool:
        """Return whether cells of a feature are kept back; ``sent`` says whether the batch has any."""
        return feature in self.names or (self.every and not sent)


@lru_cache(maxsize=256)
def withheld_of(text: str) -> Withheld:
    """Read ``ml.features.withheld``; a comma or a percent sign in a name is escaped as in a URL.

    >>> sorted(withheld_of("ssn,last%2C first").names), withheld_of("*").every
    (['last, first', 'ssn'], True)
    """
    names = frozenset(unquote(part.strip()) for part in text.split(",") if part.strip())
    return Withheld(names - {WITHHELD_ALL}, WITHHELD_ALL in names)
