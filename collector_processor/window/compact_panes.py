"""Compact panes: exact, small if little happened, and cheap to add up and to save.

An array with fewer than a quarter of its cells non-zero is kept as (index, value) pairs; values are kept in the
narrowest of uint16, float32 and float64 that holds every one of them exactly.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from collector_processor.columns.batch import F64
from collector_processor.statistics.exemplars.exemplars import Exemplars
from collector_processor.statistics.exemplars.saved import exemplars_from_arrays, exemplars_to_arrays
from collector_processor.statistics.pane import Pane
from collector_processor.statistics.schema import Schema

Array = NDArray[Any]
_WIDTHS: Final[tuple[str, ...]] = ("u2", "f4", "f8")
_FURTHER: Final = "further."
"""Begin of the names of arrays that earlier versions need not have."""


@dataclass(frozen=True, slots=True)
class Compact:
    """One compact array: its ``shape`` and ``values``; ``index`` has their flat positions, or is None if all are kept.

    >>> compact = compacted(np.array([[0.0, 0, 0, 0, 0], [0, 0, 7, 0, 0]]))
    >>> compact.index.tolist(), compact.values.tolist(), compact.values.dtype.name
    ([7], [7], 'uint16')
    """

    shape: tuple[int, ...]
    index: NDArray[np.uint32] | None
    values: Array

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self.values.nbytes + (0 if self.index is None else self.index.nbytes)

    def add_to(self, total: F64) -> None:
        """Add the array in place to ``total``, which is at least as large along every axis."""
        corner = total[tuple(slice(0, size) for size in self.shape)]
        if self.index is None:
            corner += self.values.reshape(self.shape)
        elif len(self.index):
            corner[np.unravel_index(self.index, self.shape)] += self.values


def compacted(values: F64) -> Compact:
    """Return the compact form of a float64 array of any shape."""
    flat = values.reshape(-1)
    index = np.flatnonzero(flat)
    if 4 * len(index) >= max(len(flat), 1):
        return Compact(values.shape, None, _narrow(flat))
    return Compact(values.shape, index.astype(np.uint32), _narrow(flat[index]))


def _narrow(values: F64) -> Array:
    """Return a copy in the narrowest type that holds every value exactly."""
    if not len(values):
        return np.zeros(0, np.uint16)
    with np.errstate(invalid="ignore", over="ignore"):
        if values.min() >= 0 and values.max() <= np.iinfo(np.uint16).max:
            counts = values.astype(np.uint16)
            if np.array_equal(counts, values):
                return counts
        single = values.astype(np.float32)
        return single if np.array_equal(single, values) else values.copy()


@dataclass(frozen=True, slots=True)
class CompactPane:
    """A whole pane, compacted array by array, by dotted name; the exemplars are compact already."""

    parts: Mapping[str, Compact]
    exemplars: Exemplars = field(default_factory=Exemplars)

    @classmethod
    def of(cls, pane: Pane) -> CompactPane:
        """Return the compact form of a pane, which shares no memory with it."""
        return cls({name: compacted(values) for name, values in pane.arrays().items()}, pane.exemplars.copy())

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(part.nbytes for part in self.parts.values()) + self.exemplars.nbytes

    @np.errstate(over="ignore", invalid="ignore")  # an absurd sum is infinite; the monitor leaves it out
    def add_to(self, pane: Pane) -> None:
        """Add this pane in place to another, which is at least as large along every axis."""
        totals = pane.arrays()
        for name, part in self.parts.items():
            part.add_to(totals[name])
        pane.exemplars.add(self.exemplars)

    def cleared(self, names: Collection[str]) -> CompactPane:
        """Return the pane with arrays, by dotted name, that are zero."""
        empty = {name: compacted(np.zeros(part.shape)) for name, part in self.parts.items() if name in names}
        return CompactPane({**self.parts, **empty}, self.exemplars)

    def expanded(self, schema: Schema) -> Pane:
        """Return the expanded pane, as large as the schema is now."""
        pane = Pane.empty(schema)
        self.add_to(pane)
        return pane


def to_arrays(panes: Sequence[CompactPane]) -> dict[str, Array]:
    """Return many panes of one model as a few arrays for a snapshot.

    For each array of a pane: ``<name>.layout`` int64 ``[panes, 3 + axes]`` with position in the widths ``u2``, ``f4``,
    ``f8``, whether it is sparse, number of values, and shape; ``<name>.index``; and ``<name>.<width>`` values.
    """
    arrays: dict[str, Array] = {}
    for name in panes[0].parts if panes else ():
        arrays |= parts_to_arrays(name, [pane.parts[name] for pane in panes])
    if panes:
        arrays |= exemplars_to_arrays([pane.exemplars for pane in panes])
    return arrays


def parts_to_arrays(name: str, parts: Sequence[Compact]) -> dict[str, Array]:
    """Return one array of many panes in the form of :func:`to_arrays`."""
    layout = [
        (_WIDTHS.index(part.values.dtype.str[1:]), part.index is not None, len(part.values), *part.shape)
        for part in parts
    ]
    arrays: dict[str, Array] = {
        f"{name}.layout": np.array(layout, np.int64),
        f"{name}.index": _joined([part.index for part in parts if part.index is not None], "u4"),
    }
    for width in _WIDTHS:
        same = [part.values for part in parts if part.values.dtype.str[1:] == width]
        arrays[f"{name}.{width}"] = _joined(same, width)
    return arrays


def from_arrays(arrays: Mapping[str, Array], schema: Schema, count: int) -> list[CompactPane]:
    """Rebuild the ``count`` panes that :func:`to_arrays` was given.

    Raises ``ValueError`` if an array is missing, or does not fit the schema: then the snapshot has another reference.
    """
    panes: list[dict[str, Compact]] = [{} for _ in range(count)]
    if not panes:
        return []
    for name, extents in Pane.empty(schema).arrays().items():
        if name.startswith(_FURTHER) and f"{name}.layout" not in arrays:
            # The snapshot is of a version that did not have this part yet.
            saved = [compacted(np.zeros(extents.shape))] * count
        else:
            saved = parts_from_arrays(arrays, name, extents.ndim)
        if len(saved) != count:
            raise ValueError(f"the saved panes do not fit: {name} has {len(saved)} entries, expected {count}")
        for parts, part in zip(panes, saved, strict=True):
            if any(size > allowed for size, allowed in zip(part.shape, extents.shape, strict=True)):
                shapes = f"{[*part.shape]}, not {extents.shape}"
                raise ValueError(f"the saved panes do not fit the reference: {name} is {shapes}")
            parts[name] = part
    exemplars = exemplars_from_arrays(arrays, count)
    return [CompactPane(parts, each) for parts, each in zip(panes, exemplars, strict=True)]


def parts_from_arrays(arrays: Mapping[str, Array], name: str, axes: int) -> list[Compact]:
    """Rebuild one array of many panes from :func:`parts_to_arrays`; raise ``ValueError`` for damaged ones."""
    try:
        layout = arrays[f"{name}.layout"]
        stores = {width: arrays[f"{name}.{width}"] for width in (*_WIDTHS, "index")}
    except KeyError as error:
        raise ValueError(f"the saved panes have no {error.args[0]!r}") from None
    if layout.ndim != 2 or layout.shape[1] != 3 + axes:
        raise ValueError(f"the saved panes do not fit: {name} has the wrong number of axes")
    cursor = dict.fromkeys(stores, 0)
    parts: list[Compact] = []
    for width, sparse, length, *shape in layout.tolist():
        if not (0 <= width < len(_WIDTHS) and length >= 0 and min(shape, default=0) >= 0):
            raise ValueError(f"the saved panes are damaged: {name}")
        index = _taken(stores, cursor, "index", length) if sparse else None
        parts.append(_checked(name, Compact(tuple(shape), index, _taken(stores, cursor, _WIDTHS[width], length))))
    return parts


def _taken(stores: Mapping[str, Array], cursor: dict[str, int], store: str, length: int) -> Array:
    """Copy the next ``length`` values of a store, so that they do not keep the whole snapshot in memory."""
    start = cursor[store]
    cursor[store] = start + length
    return stores[store][start : start + length].copy()


def _checked(name: str, part: Compact) -> Compact:
    """Return the part if its pieces belong together; raise ``ValueError`` otherwise."""
    size = int(np.prod(part.shape, dtype=np.int64))
    if part.index is None:
        whole = len(part.values) == size
    else:
        whole = len(part.index) == len(part.values) and bool((part.index < size).all())
    if not whole:
        raise ValueError(f"the saved panes are damaged: {name}")
    return part


def _joined(pieces: Sequence[Array], width: str) -> Array:
    return np.concatenate(pieces) if pieces else np.zeros(0, np.dtype(width))
