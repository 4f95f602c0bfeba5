"""One class, one text: decides which spellings of a class are the same class, and which are none.

The emitter and the processor both use this rule, for predictions, labels, scores, profiles and configuration.
"""

from __future__ import annotations

import re
from decimal import Context, Decimal
from functools import lru_cache
from typing import Final
from unicodedata import normalize

NO_CLASS: Final = frozenset({"", "nan", "NaN", "NAN", "None", "null", "NULL", "<NA>", "NaT"})
"""Texts that programs write for a value that is missing. ``none`` and ``NA`` may be classes."""
_TRUTH: Final = {"true": "1", "false": "0"}
_NUMBER: Final = re.compile(r"[+-]?(?:0|[1-9][0-9]{0,18})(?:\.[0-9]*(?:e[+-][0-9]{2})?)?", re.ASCII | re.IGNORECASE)
"""Whole numbers, perhaps with a fraction. Leading zeros (``007``) are part of a code, and ``2e5`` may be one."""
_ANY_NUMBER: Final = re.compile(
    r"[+-]?(?:[0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40})(?:e[+-]?[0-9]{1,3})?", re.A | re.I
)
_EXACT: Final = Context(prec=100)
_LARGEST: Final = 2**63


@lru_cache(maxsize=8192)
def canonical_class(text: str) -> str:
    """Return the one text of a class, empty if the text stands for a missing one.

    Space around a class does not count. ``true`` and ``false`` in any case are ``1`` and ``0``; a whole number has no
    sign ``+`` and no fraction. Everything else stays as it is, upper and lower case too.

    >>> [canonical_class(text) for text in ("True", "TRUE", "1.0", " 1", "+1", "1.000000e+00")]
    ['1', '1', '1', '1', '1', '1']
    >>> [canonical_class(text) for text in ("false", "-0.0", "-1.0", "Yes", "007", "1.50", "nan")]
    ['0', '0', '-1', 'Yes', '007', '1.50', '']
    """
    text = text.strip()
    if text in NO_CLASS:
        return ""
    truth = _TRUTH.get(text.casefold())
    if truth is not None:
        return truth
    if _NUMBER.fullmatch(text) is None:
        return text
    number = Decimal(text)
    whole = int(number)
    return str(whole) if number == whole and abs(whole) < _LARGEST else text


@lru_cache(maxsize=8192)
def folded_class(text: str) -> str:
    """Return what a class has in common with its other spellings: those in other case, Unicode form or number form.

    They may still be different classes, so this only finds which of the known classes a text may mean.

    >>> folded_class("YES") == folded_class("yes"), folded_class("1e+16") == folded_class("10000000000000000")
    (True, True)
    >>> folded_class("007") == folded_class("7.0"), folded_class("1,5") == folded_class("1.5")
    (True, False)
    """
    if _ANY_NUMBER.fullmatch(text):
        number = Decimal(text)
        return str(number.normalize(_EXACT)) if number else "0"
    return normalize("NFC", normalize("NFC", text).casefold())


def spellings(canonical: str) -> tuple[str, ...]:
    """Return the spellings that version 0.1.0 kept apart, the canonical one first.

    >>> spellings("1"), spellings("fraud")
    (('1', 'true', 'True', '1.0'), ('fraud',))
    """
    words = [word for truth, number in _TRUTH.items() if number == canonical for word in (truth, truth.title())]
    return tuple(text for text in (canonical, *words, f"{canonical}.0") if canonical_class(text) == canonical)
