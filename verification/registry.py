"""All topics, by the name of their file."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pkgutil import iter_modules

from verification import topics
from verification.topic import Topic


def names() -> list[str]:
    """Return the names of all topics in order."""
    return sorted(module.name for module in iter_modules(topics.__path__))


def topic(name: str) -> Topic:
    """Return the topic of that file; only it is imported."""
    return import_module(f"{topics.__name__}.{name}").TOPIC


def chosen(wanted: Sequence[str]) -> list[str]:
    """Return the names that are wanted, all of them for none. Raises ``ValueError`` for another name."""
    known = names()
    for name in wanted:
        if name not in known:
            raise ValueError(f"there is no topic '{name}'; there are: {', '.join(known)}")
    return list(dict.fromkeys(wanted)) or known
