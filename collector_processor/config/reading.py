"""One pass over a document: reads sections, lists of ids and settings, and collects every mistake."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ValidationError

from collector_processor.components import Component, Registry
from collector_processor.config.words import did_you_mean, problems, unknown_key
from collector_processor.settings.base import Settings
from collector_processor.settings.values import BASE, FromEnvironment

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a configuration came from: the name of its file, and the line of every key in it by path."""

    name: str = "the configuration"
    lines: Mapping[str, int] = field(default_factory=dict[str, int], repr=False)

    def line(self, problem: str) -> int | None:
        """Return the line of the innermost key that a problem begins with.

        >>> Origin("a.yaml", {"exporters": 1, "exporters.prometheus": 2}).line("exporters.prometheus.tls: required")
        2
        """
        inside = [path for path in self.lines if problem.startswith((f"{path}:", f"{path}."))]
        return self.lines[max(inside, key=len)] if inside else None

    def listed(self, problem: str) -> str:
        """Return a problem as an item of a list, with its line if that is known."""
        line = self.line(problem)
        # A name in it may contain a line break; the rest of the name would look like another problem.
        text = problem.replace("\n", "\\n")
        return f"  - {text}" if line is None else f"  - line {line}: {text}"


class ConfigError(ValueError):
    """A configuration that cannot run; each of ``problems`` reads ``path: what is wrong; what is allowed``."""

    def __init__(self, origin: Origin, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(f"{origin.name} cannot be used:\n" + "\n".join(map(origin.listed, problems)))


@dataclass(slots=True)
class Reading:
    """Collects problems instead of stopping at the first one; relative paths start from ``base``."""

    base: Path | None = None
    problems: list[str] = field(default_factory=list[str])
    invalid: set[str] = field(default_factory=set[str])
    """Paths of settings that are invalid, so that further checks of them would mean nothing."""

    def mapping(self, value: object, path: str, choices: Sequence[str] = ()) -> dict[str, Any]:
        """Return the mapping at ``path`` (no value counts as empty), its keys checked against the choices."""
        if isinstance(value, FromEnvironment):
            value = value.structure()
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.problems.append(f"{path or 'the file'}: expected a mapping, got {_shown(value)}")
            return {}
        items = {str(key): item for key, item in cast("dict[object, Any]", value).items()}
        for key in items:
            if choices and key not in choices:
                where = f"{path}.{key}" if path else key
                self.problems.append(f"{where}: {unknown_key(key, choices)}")
        return items

    def names(self, value: object, path: str) -> tuple[str, ...]:
        """Return the list of component ids at ``path``."""
        if isinstance(value, FromEnvironment):
            value = value.structure()
        if value is None:
            return ()
        if not isinstance(value, list):
            self.problems.append(f"{path}: expected a list of component ids, got {_shown(value)}")
            return ()
        return tuple(str(item) for item in cast("list[object]", value))

    def components(self, value: object, registry: Registry[Any], section: str) -> dict[str, Settings]:
        """Return the settings of all components of a section by id."""
        components: dict[str, Settings] = {}
        for name, settings in self.mapping(value, section).items():
            kind = registry.type_of(name)
            component: Component[Any] | None = registry.components.get(kind)
            if component is None or name.partition("/")[1:] == ("/", ""):
                self.problems.append(f"{section}.{name}: {_unknown(registry, kind)}")
                continue
            components[name] = self.settings(settings, f"{section}.{name}", component.settings)
        return components

    def settings(self, value: object, path: str, kind: type[M]) -> M:
        """Return the checked settings at ``path``; defaults if they are invalid."""
        try:
            return kind.model_validate({} if value is None else value, context={BASE: self.base})
        except ValidationError as error:
            self.problems += problems(path, kind, error.errors())
            self.invalid.add(path)
            # Other keys may name it, and they are not mistakes.
            return kind.model_construct()


def _unknown(registry: Registry[Any], kind: str) -> str:
    if kind in registry.broken:
        return registry.broken[kind]
    return f"unknown type {kind!r}; allowed: {', '.join(registry.components)}{did_you_mean(kind, registry.components)}"


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, str):
        return "a string"  # not shown: it may be an address that contains a token
    return "a list" if isinstance(value, list) else repr(value)
