"""The components of one kind: the built-in ones, and those that installed packages add."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, Generic, TypeVar

from collector_processor.components.component import Component
from collector_processor.settings.base import Settings

ENTRY_POINTS: Final = "otel_ml_component"
"""The group of entry points by which a package adds components; each names a :class:`Component`."""
_TYPE: Final = re.compile(r"[a-z][a-z0-9_]*")
C = TypeVar("C", bound=Component[Any])


class Registry(Generic[C]):
    """The components of the kind ``kind`` by type, the built-in ones first.

    A package adds a component with an entry point in the group ``otel_ml_component``:

    .. code-block:: toml

        [project.entry-points.otel_ml_component]
        nats = "otel_ml_nats.component:COMPONENT"

    A component that cannot be loaded, or whose type is taken, is left out and listed in :attr:`broken`.
    """

    def __init__(self, kind: type[C], built_in: Sequence[C]) -> None:
        self._kind = kind
        self._built_in = tuple(built_in)

    @cached_property
    def _loaded(self) -> tuple[dict[str, C], dict[str, str]]:
        components = {component.type: component for component in self._built_in}
        broken: dict[str, str] = {}
        for point in entry_points(group=ENTRY_POINTS):
            try:
                component: object = point.load()
            except (Exception, SystemExit) as error:  # noqa: BLE001 -- another package's code: the service starts anyway
                problem = f" cannot be loaded: {type(error).__name__}: {error}"
            else:
                problem = self._problem(component, components)
                if not problem and isinstance(component, self._kind):
                    components[component.type] = component
            if problem:
                before = f"{broken[point.name]}; " if point.name in broken else ""
                broken[point.name] = f"{before}{_source(point)}{problem}"
        return components, broken

    def _problem(self, component: object, components: Mapping[str, C]) -> str:
        """Return why a component of a package cannot be used; components of other kinds are not judged here."""
        if not isinstance(component, Component):
            return f" is a {type(component).__name__}, not a component"
        if not isinstance(component, self._kind):
            return ""
        taken = {*components, *(alias for other in components.values() for alias in other.aliases)}
        names = (component.type, *component.aliases)
        for name in names:
            if not _TYPE.fullmatch(name):
                return f": {name!r} is not a type; use lowercase letters, digits and '_'"
            if name in taken:
                return f": the {self._kind.kind} type '{name}' is taken"
        if not _is_settings(component.settings):
            return f": its settings are not a subclass of Settings: {component.settings!r}"
        return component.incomplete and f": {component.incomplete}"

    @property
    def components(self) -> Mapping[str, C]:
        """Every component of this kind by its type."""
        return self._loaded[0]

    @property
    def broken(self) -> Mapping[str, str]:
        """The problem of each component that an installed package adds and that cannot be used, by its entry point."""
        return self._loaded[1]

    def type_of(self, identifier: str) -> str:
        """Return the type of a component id, with former names replaced."""
        name = identifier.partition("/")[0]
        aliases = {alias: component.type for component in self.components.values() for alias in component.aliases}
        return aliases.get(name, name)

    def component(self, identifier: str) -> C:
        """Return the component that an id such as ``otlp_http/backup`` names; ``KeyError`` for an unknown type."""
        return self.components[self.type_of(identifier)]


def _is_settings(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Settings)


def _source(point: EntryPoint) -> str:
    package = f" of the package {point.dist.name}" if point.dist is not None else ""
    return f"entry point '{point.value}'{package}"
