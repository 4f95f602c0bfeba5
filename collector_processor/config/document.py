"""Reads YAML: environment variables inside the values, merge keys, and the line of every key for error texts.

No error text shows a value, because a value may be a secret, and neither may anything that YAML takes for syntax: a
token that begins with ``*`` is an alias to YAML.
"""

from __future__ import annotations

import os
import re
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml

from collector_processor.settings.values import FromEnvironment

MAX_NODES: Final = 100_000
"""Keys and values of a file after its aliases are followed: a few lines of aliases can stand for billions."""
_VARIABLE: Final = re.compile(r"\$\$|\$\{(?:env:)?([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|\$\{")
_OPEN, _CLOSE = "\ue000", "\ue001"
_BRACES: Final = re.compile(r"\$\{([^{}\n]*)\}")
"""The braces of a variable would end a value inside ``{…}``: while YAML is parsed, private characters replace them."""
_MERGE: Final = "tag:yaml.org,2002:merge"
_TEXT: Final = "tag:yaml.org,2002:str"
_NULL: Final = "tag:yaml.org,2002:null"
_QUOTED: Final = re.compile(r" ?(['\"]).{2,}\1", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed document, and the line of every key in it by path, such as ``exporters.otlp_http.endpoint``."""

    value: object
    lines: Mapping[str, int]


class DocumentError(ValueError):
    """A text that is not valid YAML; the message names the line."""


def read_document(text: str, environment: Mapping[str, str] | None = None) -> Document:
    """Parse YAML and replace ``${env:NAME}`` and ``${env:NAME:-default}`` inside keys and values.

    A variable changes one value: what is in it never adds keys, comments or other syntax. A value that is nothing but
    one variable may be a whole list or mapping, where the setting is one. Raises :class:`DocumentError`.

    >>> read_document("endpoint: ${env:HOST:-localhost}:4317  # not ${here}", {}).value
    {'endpoint': 'localhost:4317'}
    >>> read_document("a: ${env:TOKEN}", {"TOKEN": "abc #def: {"}).value
    {'a': 'abc #def: {'}
    """
    try:
        loader = _Loader(_BRACES.sub(rf"${_OPEN}\1{_CLOSE}", text))
    except yaml.YAMLError as error:
        raise DocumentError(_described(error)) from None
    try:
        root = loader.get_single_node()
        if root is None:
            return Document(None, {})
        lines = _prepare(root, os.environ if environment is None else environment)
        return Document(loader.construct_document(root), lines)
    except yaml.YAMLError as error:
        raise DocumentError(_described(error)) from None
    except RecursionError:
        raise DocumentError("nested too deeply") from None
    finally:
        loader.dispose()


class _Loader(yaml.SafeLoader):
    """Safe YAML in which a duplicate key is an error: otherwise the last one would silently win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[object] = set()
        for key_node, _ in node.value:
            if key_node.tag == _MERGE:
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise yaml.constructor.ConstructorError(None, None, "a key must be a text", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"duplicate key {key!r}", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        if isinstance(node, yaml.ScalarNode) and isinstance(node.value, FromEnvironment) and node.tag == _TEXT:
            return node.value  # the loader would make a plain text of it
        try:
            return super().construct_object(node, deep)
        except (ValueError, AttributeError, KeyError, OverflowError) as error:
            if isinstance(error, RecursionError):
                raise
            # Python's own message would show the value.
            what = node.tag.rpartition(":")[2]
            message = f"not a valid {what}; write it in quotes if it is a text"
            raise yaml.constructor.ConstructorError(None, None, message, node.start_mark) from None


def _prepare(root: yaml.Node, environment: Mapping[str, str]) -> dict[str, int]:
    """Expand the variables in all scalars, and return the line of each path."""
    lines: dict[str, int] = {}
    done: set[int] = set()
    pending: list[tuple[yaml.Node, str, frozenset[int]]] = [(root, "", frozenset())]
    nodes = 0
    while pending:
        node, path, above = pending.pop()
        nodes += 1
        if id(node) in above:
            raise yaml.constructor.ConstructorError(None, None, "an alias contains itself", node.start_mark)
        if nodes > MAX_NODES:
            raise yaml.constructor.ConstructorError(
                None, None, f"aliases make more than {MAX_NODES} values of this file", node.start_mark
            )
        if isinstance(node, yaml.ScalarNode):
            if id(node) not in done:
                done.add(id(node))
                _expand_scalar(node, environment)
            continue
        for child, line, name in _children(node, environment, done):
            inner = path if name is None else f"{path}.{name}" if path else name
            if name is not None:
                lines.setdefault(inner, line)
            pending.append((child, inner, above | {id(node)}))
    return lines


def _children(
    node: yaml.Node, environment: Mapping[str, str], done: set[int]
) -> Iterator[tuple[yaml.Node, int, str | None]]:
    """Yield the values inside a node with their lines and names; what a merge key brings has no separate name.

    Merged mappings come first, so that they are visited last and a key of the mapping itself keeps its own line.
    """
    if isinstance(node, yaml.SequenceNode):
        for position, item in enumerate(node.value):
            yield item, item.start_mark.line + 1, str(position)
        return
    for key, value in node.value:
        if key.tag == _MERGE:
            for merged in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                yield merged, merged.start_mark.line + 1, None
    for key, value in node.value:
        if key.tag == _MERGE:
            continue
        if isinstance(key, yaml.ScalarNode) and id(key) not in done:
            done.add(id(key))
            _expand_scalar(key, environment)
        yield value, key.start_mark.line + 1, str(key.value)


def _expand_scalar(node: yaml.ScalarNode, environment: Mapping[str, str]) -> None:
    if "$" not in node.value:
        return
    text: str = node.value.replace(_OPEN, "{").replace(_CLOSE, "}")
    whole = _VARIABLE.fullmatch(text)
    expanded = _VARIABLE.sub(lambda match: _value(match, node, environment), text)
    if whole is None or whole[1] is None:
        node.value = expanded
    elif not expanded and node.style is None:
        node.value, node.tag = "", _NULL  # as if nothing were written
    else:
        node.value = FromEnvironment(expanded)


def _value(match: re.Match[str], node: yaml.ScalarNode, environment: Mapping[str, str]) -> str:
    if match[0] == "$$":
        return "$"
    name: str | None = match[1]
    if name is None:
        # What follows is not shown: it may be the rest of a secret.
        message = "${ begins no valid variable; write ${env:NAME} or ${env:NAME:-default}, and $${ for the text ${"
        raise yaml.constructor.ConstructorError(None, None, message, node.start_mark)
    default: str | None = match[2]
    # A service must not start with an empty endpoint or token.
    setting = environment.get(name) or default
    if setting is None:
        message = f"environment variable {name} is not set; set it or write ${{env:{name}:-default}}"
        raise yaml.constructor.ConstructorError(None, None, message, node.start_mark)
    return setting


_HINTS: Final[Mapping[str, str]] = {
    "found undefined alias": "an alias (*name) without its anchor; write a text that begins with * in quotes",
    "could not determine a constructor for the tag": "unknown tag (!name); write a text that begins with ! in quotes",
    "found undefined tag handle": "unknown tag (!name); write a text that begins with ! in quotes",
    "found character '\\t'": "a tab; indent with spaces",
    "second occurrence": "two anchors (&name) have the same name; write a text that begins with & in quotes",
}
"""Our words for the errors of YAML that would show what may be a secret."""


def _described(error: yaml.YAMLError) -> str:
    """Return the line and what is wrong there, without any part of a value."""
    mark = getattr(error, "problem_mark", None)
    where = f"line {mark.line + 1}: " if mark is not None else ""
    problem: str = getattr(error, "problem", None) or "not valid YAML"
    for beginning, words in _HINTS.items():
        if problem.startswith(beginning):
            return where + words
    ours = isinstance(error, yaml.constructor.ConstructorError) and getattr(error, "context", None) is None
    return where + (problem if ours else _QUOTED.sub("", problem))
