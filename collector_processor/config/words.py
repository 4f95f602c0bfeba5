"""Rewrites pydantic's errors for people who write YAML. Values are not shown, because some are secrets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final, get_args, get_origin

from pydantic import BaseModel

_MESSAGES: Final[Mapping[str, str]] = {
    "tuple_type": "expected a list, such as [a, b]",
    "list_type": "expected a list, such as [a, b]",
    "dict_type": "expected a mapping, such as {key: value}",
    "model_type": "expected a mapping, such as {key: value}",
    "string_type": "expected a string",
    "int_type": "expected a whole number",
    "int_parsing": "expected a whole number",
    "int_from_float": "expected a whole number",
    "float_type": "expected a number",
    "float_parsing": "expected a number",
    "bool_type": "expected true or false",
    "bool_parsing": "expected true or false",
    "datetime_type": "expected a time such as 2026-12-01T00:00:00Z",
    "datetime_parsing": "expected a time such as 2026-12-01T00:00:00Z",
    "datetime_from_date_parsing": "expected a time such as 2026-12-01T00:00:00Z",
    "timezone_aware": "a time needs a time zone: end it with Z, or with an offset such as +02:00",
}
"""By pydantic's type of error; for other types pydantic's own message will do."""


def unknown_key(name: str, choices: Sequence[str]) -> str:
    """Return what to say about a key that does not exist.

    >>> unknown_key("endpont", ["endpoint", "tls"])
    'unknown key; allowed: endpoint, tls; did you mean endpoint?'
    """
    return f"unknown key; allowed: {', '.join(choices)}{did_you_mean(name, choices)}"


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """Return a question with the choice that looks most like ``name``; empty if none does.

    >>> did_you_mean("prometeus", ["otlp_http", "prometheus"]), did_you_mean("kafka", ["otlp"])
    ('; did you mean prometheus?', '')
    """
    close = get_close_matches(name, list(choices), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def problems(path: str, settings: type[BaseModel], errors: Sequence[Any]) -> list[str]:
    """Return pydantic's errors in our words: one for each place, although ``bool | Literal`` has one for each type."""
    choices: dict[tuple[Any, ...], list[str]] = {}
    for item in errors:
        if choice := _choice(item):
            choices.setdefault(item["loc"][:-1], []).append(choice)
    lines: dict[tuple[Any, ...], str] = {}
    for item in errors:
        several = choices.get(item["loc"][:-1], ()) if _choice(item) else ()
        if len(several) > 1:
            lines[item["loc"][:-1]] = f"{_where(path, item['loc'][:-1])}: must be {' or '.join(several)}"
        else:
            lines[item["loc"]] = problem(path, settings, item)
    return list(lines.values())


def _choice(item: Any) -> str:
    """Return the values of one type of a union, which pydantic adds to the place; empty for any other place."""
    kind = str(item["loc"][-1]) if item["loc"] else ""
    if kind == "bool":
        return "true, false"
    return str(item["ctx"]["expected"]) if kind.startswith("literal[") else ""


def problem(path: str, settings: type[BaseModel], item: Any) -> str:
    """Return one pydantic error in our words."""
    where = _where(path, item["loc"])
    if item["type"] == "extra_forbidden":
        return f"{where}: {unknown_key(str(item['loc'][-1]), _fields(settings, item['loc'][:-1]))}"
    if item["type"] == "missing":
        return f"{where}: required"
    message = _MESSAGES.get(item["type"])
    return f"{where}: {message or item['msg'].removeprefix('Value error, ').replace('Input should be', 'must be', 1)}"


def _where(path: str, location: Sequence[str | int]) -> str:
    return ".".join([path, *(str(part) for part in location if part != "function-before")])


def _fields(settings: type[BaseModel], location: Sequence[str | int]) -> Sequence[str]:
    """Return the keys allowed at a location inside settings."""
    current: type[BaseModel] | None = settings
    for part in location:
        if current is None:
            return ()
        item = current.model_fields.get(str(part))
        if item is not None:
            current = _nested(item.annotation)
    return () if current is None else [item.alias or name for name, item in current.model_fields.items()]


def _nested(annotation: Any) -> type[BaseModel] | None:
    """Return the settings class inside an annotation such as ``X``, ``X | None`` or ``dict[str, X]``."""
    # In Python 3.10, dict[str, X] is an instance of type.
    if get_origin(annotation) is None and isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for part in get_args(annotation):
        nested = _nested(part)
        if nested is not None:
            return nested
    return None
