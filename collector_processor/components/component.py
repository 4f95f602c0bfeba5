"""The description that every component gives of itself."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import ClassVar, Generic, TypeVar

from collector_processor.own.install import install
from collector_processor.settings.base import Settings

S = TypeVar("S", bound=Settings)
"""The settings of one component."""


@dataclass(frozen=True, slots=True)
class Component(Generic[S]):
    """One type of receiver, exporter or extension; the class of each kind adds the functions that build it.

    ``settings`` has all of its keys and defaults. ``aliases`` are former names of the type. ``needs`` are modules that
    the extra ``extra`` of otel-ml installs; a configuration that names the component is invalid without them.
    """

    kind: ClassVar[str] = "component"
    section: ClassVar[str] = "components"
    """The section of the configuration that has components of this kind."""

    type: str
    settings: type[S]
    aliases: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    extra: str = ""

    @property
    def summary(self) -> str:
        """The first line of the settings' docstring."""
        return (inspect.getdoc(self.settings) or "").partition("\n")[0].rstrip(".")

    @property
    def incomplete(self) -> str:
        """Why it cannot do anything; empty if it can."""
        return ""

    def missing(self, key: str) -> Iterator[str]:
        """Return a line if a module that it needs is not installed; ``key`` is its path in the configuration."""
        absent = [name for name in self.needs if not _installed(name)]
        if absent:
            how = f"; install it with: {install(self.extra)}" if self.extra else ""
            yield f"{key}: needs the package {', '.join(absent)}{how}"


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the package around it is missing
        return False
