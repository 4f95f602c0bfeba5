"""The base of all settings, with the questions that the configuration's grammar asks about each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, cast, get_args, get_origin

from pydantic import BaseModel, ConfigDict, model_validator

from collector_processor.settings.values import FromEnvironment

A = TypeVar("A")


class Settings(BaseModel):
    """Base of all settings: unknown keys are errors, values are frozen.

    The settings of a component answer the questions below about themselves, so nothing outside the component needs to
    know their type. ``key`` is their path in the configuration, such as ``exporters.otlp_http/backup.tls``. Each answer
    is about these settings alone; :meth:`parts` returns the settings inside them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    @model_validator(mode="before")
    @classmethod
    def _structured(cls, values: Any) -> Any:
        """Parse the values from the environment that have to be lists or mappings; numbers are read from their text."""
        if isinstance(values, FromEnvironment):
            values = values.structure()
        if not isinstance(values, dict):
            return values
        fields = {field.alias or name: field for name, field in cls.model_fields.items()}
        return {
            name: value.structure()
            if isinstance(value, FromEnvironment)
            and isinstance(name, str)
            and name in fields
            and _has_parts(fields[name].annotation)
            else value
            for name, value in cast("dict[object, object]", values).items()
        }

    def parts(self, key: str) -> Iterator[tuple[str, Settings]]:
        """Return these settings and all settings inside them, each with its key.

        >>> class Inner(Settings):
        ...     size: int = 1
        >>> class Outer(Settings):
        ...     one: Inner = Inner()
        ...     many: dict[str, Inner] = {"a": Inner()}
        ...     listed: tuple[Inner, ...] = (Inner(),)
        >>> [key for key, _ in Outer().parts("outer")]
        ['outer', 'outer.one', 'outer.many.a', 'outer.listed.0']
        """
        yield key, self
        for name, field in type(self).model_fields.items():
            yield from _parts(f"{key}.{field.alias or name}", getattr(self, name, None))

    def mistakes(self, key: str) -> Iterator[str]:
        """Return what is wrong with these settings in this place, without reading a file."""
        yield from ()

    def problems(self, key: str) -> Iterator[str]:
        """Return the problems that only show when files, packages and addresses are checked."""
        yield from ()

    def exposures(self, key: str) -> Iterator[str]:
        """Return a line for the log for everything that these settings leave unprotected."""
        yield from ()

    def keeps_ns(self) -> int | None:
        """Return how long a figure is kept without a newer one, if these settings say so."""
        return None

    def authenticators(self, key: str) -> Iterator[tuple[str, str]]:
        """Return the extensions that these settings name as authenticators, each with its key."""
        yield from ()

    def listens(self, key: str) -> Iterator[tuple[str, str]]:
        """Return the addresses to listen on, ``host:port``, each with its key for the log."""
        yield from ()

    def sends(self, key: str) -> Iterator[tuple[str, str]]:
        """Return the addresses to send OTLP to, each with its key; an address of this service would be a loop."""
        yield from ()


def answers(key: str, question: Callable[[str], Iterable[A]]) -> list[A]:
    """Return what settings answer; ``ValueError`` with their key if they fail, as those of another package may.

    >>> answers("exporters.x", Settings().mistakes)
    []
    >>> answers("exporters.x", lambda key: 1 / 0)
    Traceback (most recent call last):
    ValueError: exporters.x: this component's settings failed: ZeroDivisionError: division by zero
    """
    try:
        return list(question(key))
    except Exception as error:
        raise ValueError(f"{key}: this component's settings failed: {type(error).__name__}: {error}") from error


def _has_parts(annotation: Any) -> bool:
    """Return whether an annotation is a list, a mapping or settings, and not a text; ``None`` beside it is ignored.

    >>> _has_parts(dict[str, str] | None), _has_parts(str | None), _has_parts(tuple[str, ...])
    (True, False, True)
    """
    origin = get_origin(annotation)
    if origin is None:
        return isinstance(annotation, type) and issubclass(annotation, BaseModel)
    if isinstance(origin, type) and issubclass(origin, (dict, list, tuple, Mapping, Sequence, set, frozenset)):
        return True
    return str not in (parts := get_args(annotation)) and any(map(_has_parts, parts))


def _parts(key: str, value: object) -> Iterator[tuple[str, Settings]]:
    if isinstance(value, Settings):
        yield from value.parts(key)
    elif isinstance(value, Mapping):
        for name, item in cast("Mapping[object, object]", value).items():
            yield from _parts(f"{key}.{name}", item)
    elif isinstance(value, (list, tuple)):
        for position, item in enumerate(cast("Sequence[object]", value)):
            yield from _parts(f"{key}.{position}", item)
