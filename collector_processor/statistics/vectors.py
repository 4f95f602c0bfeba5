"""The base of everything that adds up: a record whose every field is a float64 array.

Addition is element by element; if two arrays differ in shape (a category table grew in between), the smaller is
padded with zeros, so that addition is commutative and associative and an empty record is the neutral element.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar, cast

import numpy as np

from collector_processor.columns.batch import F64

V = TypeVar("V", bound="Vectors")


def grown(values: F64, shape: tuple[int, ...]) -> F64:
    """Return ``values`` padded with zeros to at least ``shape`` along every axis; it is never cut.

    >>> grown(np.array([1.0, 2.0]), (3,)).tolist()
    [1.0, 2.0, 0.0]
    """
    extent = tuple(max(sizes) for sizes in zip(values.shape, shape, strict=True))
    if values.shape == extent:
        return values
    padded = np.zeros(extent)
    padded[tuple(slice(0, size) for size in values.shape)] = values
    return padded


def added(left: F64, right: F64) -> F64:
    """Return the sum of two vectors, whose shapes may differ; write into ``left`` if it is large enough."""
    shape = tuple(max(a, b) for a, b in zip(left.shape, right.shape, strict=True))
    total = grown(left, shape)
    total[tuple(slice(0, size) for size in right.shape)] += right
    return total


class Vectors:
    """Mixin for dataclasses whose fields are float64 arrays or other ``Vectors``: add, copy, serialize."""

    @np.errstate(over="ignore", invalid="ignore")  # an absurd sum is infinite; the monitor leaves it out
    def add(self: V, other: V) -> None:
        """Add ``other`` to this record in place; ``other`` stays as it is."""
        for item in fields(cast(Any, self)):
            mine, theirs = getattr(self, item.name), getattr(other, item.name)
            if isinstance(mine, Vectors):
                mine.add(theirs)
            else:
                setattr(self, item.name, added(mine, theirs))

    def copy(self: V) -> V:
        """Return an independent copy."""
        return type(self).from_arrays({name: values.copy() for name, values in self.arrays().items()})

    def arrays(self, prefix: str = "") -> dict[str, F64]:
        """Return all arrays by dotted name, for a snapshot."""
        arrays: dict[str, F64] = {}
        for item in fields(cast(Any, self)):
            value = getattr(self, item.name)
            if isinstance(value, Vectors):
                arrays.update(value.arrays(f"{prefix}{item.name}."))
            else:
                arrays[prefix + item.name] = value
        return arrays

    @classmethod
    def parts(cls) -> Mapping[str, type[Vectors]]:
        """Return the types of the fields that are ``Vectors`` themselves."""
        return {}

    @classmethod
    def from_arrays(cls: type[V], arrays: Mapping[str, F64], prefix: str = "") -> V:
        """Rebuild the record from :meth:`arrays`; a missing name is a ``KeyError``."""
        parts = cls.parts()
        values: dict[str, F64 | Vectors] = {}
        for item in fields(cast(Any, cls)):
            name = prefix + item.name
            part = parts.get(item.name)
            values[item.name] = arrays[name] if part is None else part.from_arrays(arrays, name + ".")
        return cls(**values)
