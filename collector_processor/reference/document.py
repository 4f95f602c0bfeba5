"""JSON that people can review and programs must not trust: written with one array a line, checked key by key."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn, cast

import numpy as np

from collector_processor.columns.batch import F64, I32

Json = Mapping[str, "Json"] | Sequence["Json"] | str | int | float | bool | None
_INDENT: Final = "  "
_NAMED: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_EXACT: Final = 2.0**53
MAX_CELLS: Final = 2**27
"""Most cells of one vector that a document may ask for."""


def written(value: Json, indent: str = "") -> str:
    """Return the text of a document: objects over several lines, each array on one.

    >>> print(written({"rows": 3, "edges": [0.5, 1], "none": {}}))
    {
      "rows": 3,
      "edges": [0.5,1],
      "none": {}
    }
    """
    if not isinstance(value, Mapping) or not value:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    deeper = indent + _INDENT
    lines = [f"{deeper}{json.dumps(key, ensure_ascii=False)}: {written(item, deeper)}" for key, item in value.items()]
    return "{\n" + ",\n".join(lines) + f"\n{indent}}}"


def vector(values: F64) -> Json:
    """Return a vector as exact JSON: a plain array, or shape, positions and values of the cells that are not zero.

    >>> vector(np.array([1.0, 0.1])), vector(np.eye(2, 4))
    ([1, 0.1], {'shape': [2, 4], 'at': [0, 5], 'values': [1, 1]})
    """
    flat = values.ravel()
    at = np.flatnonzero(flat)
    if values.ndim == 1 and 2 * len(at) >= len(flat):
        return [number(x) for x in flat.tolist()]
    return {"shape": list(values.shape), "at": at.tolist(), "values": [number(x) for x in flat[at].tolist()]}


def number(x: float) -> Json:
    """Return a number as JSON: integers without a fraction, numbers that are not finite by name.

    >>> number(3.0), number(0.1), number(float("inf"))
    (3, 0.1, 'Infinity')
    """
    if math.isfinite(x):
        return int(x) if x.is_integer() and abs(x) < _EXACT else x
    return "NaN" if math.isnan(x) else "Infinity" if x > 0 else "-Infinity"


@dataclass(frozen=True, slots=True)
class Node:
    """A value of a document with its path, so that every error names file and key (``x.json: columns.age.edges``)."""

    value: Any
    file: str
    path: str = ""

    @classmethod
    def parse(cls, text: str | bytes, file: str) -> Node:
        """Return the root of a document; raise ``ValueError`` if it is not JSON."""
        try:
            return cls(json.loads(text), file)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{file}: not JSON: {error}") from None

    def fail(self, problem: str) -> NoReturn:
        """Raise ``ValueError`` about this value."""
        raise ValueError(f"{self.file}: {self.path}: {problem}" if self.path else f"{self.file}: {problem}")

    def __getitem__(self, key: str) -> Node:
        """Return the value under a key, which must exist."""
        fields = self._mapping()
        if key not in fields:
            self.fail(f"has no '{key}'")
        return self._child(key, fields[key])

    def __contains__(self, key: str) -> bool:
        """Return whether there is a value under a key."""
        return key in self._mapping()

    def items(self) -> list[tuple[str, Node]]:
        """Return all keys with their values."""
        return [(key, self._child(key, value)) for key, value in self._mapping().items()]

    def _child(self, key: str, value: object) -> Node:
        return Node(value, self.file, f"{self.path}.{key}" if self.path else key)

    def _mapping(self) -> dict[str, object]:
        if not isinstance(self.value, dict):
            self.fail("must be an object")
        return cast("dict[str, object]", self.value)

    def text(self) -> str:
        """Return the value, which must be a string."""
        if not isinstance(self.value, str):
            self.fail("must be a string")
        return self.value

    def integer(self, low: int, high: int) -> int:
        """Return the value, which must be an integer from ``low`` to ``high``."""
        if type(self.value) is not int or not low <= self.value <= high:
            self.fail(f"must be an integer from {low} to {high}")
        return self.value

    def real(self) -> float:
        """Return the value, which must be a number, or the name of one that is not finite."""
        return float(self._floats([self.value])[0])

    def array(self) -> list[Any]:
        """Return the value, which must be an array."""
        if not isinstance(self.value, list):
            self.fail("must be an array")
        return cast("list[Any]", self.value)

    def texts(self) -> list[str]:
        """Return the value, which must be an array of distinct strings."""
        values = self.array()
        if not all(isinstance(item, str) for item in values):
            self.fail("must be an array of strings")
        if len(set(values)) != len(values):
            self.fail("has a string twice")
        return values

    def integers(self, low: int, high: int) -> I32:
        """Return the value, which must be an array of integers from ``low`` to ``high``."""
        values = self.array()
        if not all(type(item) is int and low <= item <= high for item in values):
            self.fail(f"must be an array of integers from {low} to {high}")
        return np.array(values, np.int32)

    def numbers(self) -> F64:
        """Return the value, which must be an array of numbers."""
        return self._floats(self.array())

    def _floats(self, values: list[Any]) -> F64:
        if not all(type(item) in (int, float) or item in _NAMED for item in map(_hashable, values)):
            self.fail("must be numbers" if isinstance(self.value, list) else "must be a number")
        try:
            return np.array([_NAMED[item] if isinstance(item, str) else item for item in values], np.float64)
        except OverflowError:
            self.fail("has a number that is too large")

    def vector(self, shape: tuple[int, ...]) -> F64:
        """Return the value, which must be what :func:`vector` writes for a vector of this shape."""
        if math.prod(shape) > MAX_CELLS:
            self.fail(f"would have {math.prod(shape)} cells; allowed: {MAX_CELLS}")
        if isinstance(self.value, list):
            plain = self.numbers()
            if plain.shape != shape:
                self.fail(f"must have shape {list(shape)}, has {list(plain.shape)}")
            return plain
        if self["shape"].array() != list(shape):
            self["shape"].fail(f"must be {list(shape)}")
        at, values = self["at"].integers(0, math.prod(shape) - 1), self["values"].numbers()
        if len(at) != len(values) or len(np.unique(at)) != len(at):
            self["at"].fail("must give each value a different position")
        dense = np.zeros(math.prod(shape))
        dense[at] = values
        return dense.reshape(shape)


def _hashable(item: object) -> object:
    """Return the item, or None for one that cannot be looked up in a dict."""
    return None if isinstance(item, (list, dict)) else item
