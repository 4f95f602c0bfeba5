"""The parts of a batch. Each field of a batch names its kind, and everything done part by part follows from that.

A new field is one line in its batch::

    margin: F64 | None = field(default=None, metadata=part(NUMBERS))

It is then selected, concatenated, copied, measured, saved and handed over like the others.
"""

# ruff: noqa: D102  # PartKind documents each method once
from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, Final, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from collector_processor.columns.column import Column, ModelKey, concatenated, concatenated_numbers
from collector_processor.columns.traces import WORDS, Traces, concatenated_traces

Array = NDArray[Any]
B = TypeVar("B", bound="Batch")
_PART: Final = "part"
_NO_NAMES: Final[Set[str]] = frozenset()


class PartKind(ABC):
    """One kind of part. ``value`` is the part of one batch, ``values`` are those of several batches."""

    def mapped(self, value: Any, of: Callable[[Array], Array]) -> Any:
        """Return the part with ``of`` applied to each of its arrays; a part without arrays stays."""
        return value

    @abstractmethod
    def concatenated(self, values: Sequence[Any], lengths: Sequence[int]) -> Any:
        """Concatenate the parts of all batches; ``lengths`` are their numbers of rows."""

    def plain(self, value: Any) -> Any:
        """Return the part as JSON with arrays in it."""
        return value

    @abstractmethod
    def restored(self, plain: Any, rows: int) -> Any:
        """Rebuild the part from :meth:`plain`; raise ``ValueError`` for anything that is not one of ``rows`` rows."""

    def check(self, value: Any) -> None:  # noqa: B027  # most kinds have nothing to check
        """Raise ``ValueError`` for invalid cells, which :meth:`restored` does not check, for speed."""

    def names(self, value: Any) -> Set[str]:
        """Return the names that the sender gave to its columns."""
        return _NO_NAMES

    def width(self, value: Any) -> int:
        """Return the number of columns that it counts as."""
        return 1

    def nbytes(self, value: Any) -> int:
        """Return the approximate size in bytes."""
        return 0


@dataclass(frozen=True)
class RowsPart(PartKind):
    """An array that every batch has: ``[n]``, or ``[n, axis]``."""

    dtype: np.dtype[Any]
    axis: int = 0

    def mapped(self, value: Array, of: Callable[[Array], Array]) -> Array:
        return of(value)

    def concatenated(self, values: Sequence[Array], lengths: Sequence[int]) -> Array:
        return np.concatenate(values)

    def restored(self, plain: Any, rows: int) -> Array:
        return _array(plain, self.dtype, (rows, self.axis) if self.axis else (rows,))

    def nbytes(self, value: Array) -> int:
        return value.nbytes


class NumbersPart(PartKind):
    """float64 ``[n]``; NaN for a row without a number, None if no row has one."""

    def mapped(self, value: Array | None, of: Callable[[Array], Array]) -> Array | None:
        return None if value is None else of(value)

    def concatenated(self, values: Sequence[Array | None], lengths: Sequence[int]) -> Array | None:
        return concatenated_numbers(values, lengths)

    def restored(self, plain: Any, rows: int) -> Array | None:
        return None if plain is None else _array(plain, _F64, (rows,))

    def nbytes(self, value: Array | None) -> int:
        return 0 if value is None else value.nbytes


class ColumnPart(PartKind):
    """A :class:`.Column`, or None if all its cells are missing."""

    def mapped(self, value: Column | None, of: Callable[[Array], Array]) -> Column | None:
        return None if value is None else value.mapped(of)

    def concatenated(self, values: Sequence[Column | None], lengths: Sequence[int]) -> Column | None:
        return concatenated(values, lengths)

    def plain(self, value: Column | None) -> Any:
        return None if value is None else [value.numbers, value.codes, value.categories]

    def restored(self, plain: Any, rows: int) -> Column | None:
        if plain is None:
            return None
        numbers, codes, categories = plain
        shape = (rows,)
        return Column(
            None if numbers is None else _array(numbers, _F64, shape),
            None if codes is None else _array(codes, _I32, shape),
            tuple(categories),
        )

    def check(self, value: Column | None) -> None:
        if value is not None and {*map(type, value.categories)} - {str}:
            raise ValueError("a column has a category that is not a text")
        codes = None if value is None else value.codes
        if value is None or codes is None or not len(codes):
            return
        if codes.min() < -1 or codes.max() >= len(value.categories):
            raise ValueError("a column has codes without a category")

    def nbytes(self, value: Column | None) -> int:
        return 0 if value is None else value.nbytes


class TracesPart(PartKind):
    """The :class:`.Traces` of the rows, or None if no row has one. They do not count as a column."""

    def mapped(self, value: Traces | None, of: Callable[[Array], Array]) -> Traces | None:
        return None if value is None else value.mapped(of)

    def concatenated(self, values: Sequence[Traces | None], lengths: Sequence[int]) -> Traces | None:
        return concatenated_traces(values, lengths)

    def plain(self, value: Traces | None) -> Any:
        return None if value is None else [value.codes, value.ids]

    def restored(self, plain: Any, rows: int) -> Traces | None:
        if plain is None:
            return None
        codes, ids = plain
        return Traces(_array(codes, _I32, (rows,)), _array(ids, _U64, (len(ids), WORDS)))

    def check(self, value: Traces | None) -> None:
        if value is None or not len(value):
            return
        if value.codes.min() < -1 or value.codes.max() >= len(value.ids):
            raise ValueError("a row has a trace that is not there")

    def width(self, value: Traces | None) -> int:
        return 0

    def nbytes(self, value: Traces | None) -> int:
        return 0 if value is None else value.nbytes


@dataclass(frozen=True)
class ByNamePart(PartKind):
    """A mapping from names, which the sender chose, to parts of another kind."""

    kind: PartKind

    def mapped(self, value: Mapping[str, Any], of: Callable[[Array], Array]) -> Mapping[str, Any]:
        return {name: self.kind.mapped(one, of) for name, one in value.items()}

    def concatenated(self, values: Sequence[Mapping[str, Any]], lengths: Sequence[int]) -> Mapping[str, Any]:
        names = dict.fromkeys(name for value in values for name in value)
        every = {name: self.kind.concatenated([value.get(name) for value in values], lengths) for name in names}
        return {name: one for name, one in every.items() if one is not None}

    def plain(self, value: Mapping[str, Any]) -> Any:
        return {name: self.kind.plain(one) for name, one in value.items()}

    def restored(self, plain: Any, rows: int) -> Mapping[str, Any]:
        restored = self.kind.restored
        return {name: restored(one, rows) for name, one in _checked(plain, dict).items()}

    def check(self, value: Mapping[str, Any]) -> None:
        for name, one in value.items():
            if one is None:
                raise ValueError(f"{name!r} has no cells")
            self.kind.check(one)

    def names(self, value: Mapping[str, Any]) -> Set[str]:
        return value.keys()

    def width(self, value: Mapping[str, Any]) -> int:
        return len(value)

    def nbytes(self, value: Mapping[str, Any]) -> int:
        return sum(map(self.kind.nbytes, value.values()))


class TextPart(PartKind):
    """One text for the whole batch, empty if the sender gave none; of several batches, the first one's that has it."""

    def concatenated(self, values: Sequence[str], lengths: Sequence[int]) -> str:
        return next(filter(None, values), "")

    def restored(self, plain: Any, rows: int) -> str:
        return _checked(plain, str)

    def width(self, value: str) -> int:
        return 0


class NumberPart(PartKind):
    """One number for the whole batch, or None; of several batches, the first one's that has it."""

    def concatenated(self, values: Sequence[float | None], lengths: Sequence[int]) -> float | None:
        return next((value for value in values if value is not None), None)

    def restored(self, plain: Any, rows: int) -> float | None:
        return None if plain is None else _checked(plain, float)

    def width(self, value: float | None) -> int:
        return 0


class ModelPart(PartKind):
    """The model version, the same for all batches that are concatenated."""

    def concatenated(self, values: Sequence[ModelKey], lengths: Sequence[int]) -> ModelKey:
        return values[0]

    def plain(self, value: ModelKey) -> Any:
        return [value.name, value.version]

    def restored(self, plain: Any, rows: int) -> ModelKey:
        name, version = _checked(plain, list)
        return ModelKey(_checked(name, str), _checked(version, str))

    def width(self, value: ModelKey) -> int:
        return 0


_F64: Final = np.dtype(np.float64)
_I32: Final = np.dtype(np.int32)
_U64: Final = np.dtype(np.uint64)
TIMES: Final = RowsPart(np.dtype(np.int64))
IDS: Final = RowsPart(_U64, 2)
WEIGHTS: Final = RowsPart(_F64)
NUMBERS: Final = NumbersPart()
COLUMN: Final = ColumnPart()
NUMBERS_BY_NAME: Final = ByNamePart(NUMBERS)
COLUMNS_BY_NAME: Final = ByNamePart(COLUMN)
TEXT: Final = TextPart()
NUMBER: Final = NumberPart()
MODEL: Final = ModelPart()
TRACES: Final = TracesPart()


def part(kind: PartKind | None) -> Mapping[str, PartKind | None]:
    """Return the metadata of a batch's field; the kind is None for a field derived from the others, never copied."""
    return {_PART: kind}


class Batch:
    """Base of the batches: frozen dataclasses whose fields :func:`part` describes."""

    __slots__ = ()

    def __len__(self) -> int:
        raise NotImplementedError


@cache
def parts_of(batch_type: type[Batch]) -> tuple[tuple[str, PartKind], ...]:
    """Return the name and kind of each part, in the order of the fields; ``TypeError`` for a field without a kind."""
    parts: list[tuple[str, PartKind]] = []
    for each in fields(cast("Any", batch_type)):
        if _PART not in each.metadata:
            raise TypeError(f"{batch_type.__name__}.{each.name} has no kind; describe it by field(metadata=part(...))")
        kind = each.metadata[_PART]
        if kind is not None:
            parts.append((each.name, kind))
    return tuple(parts)


def mapped(batch: B, of: Callable[[Array], Array]) -> B:
    """Return the batch with ``of`` applied to each of its arrays."""
    return type(batch)(**{name: kind.mapped(getattr(batch, name), of) for name, kind in parts_of(type(batch))})


def names_of(batch: Batch) -> Iterator[tuple[str, Set[str]]]:
    """Yield the names that the sender gave to columns, by part."""
    return ((name, kind.names(getattr(batch, name))) for name, kind in parts_of(type(batch)))


def width_of(batch: Batch) -> int:
    """Return the number of columns of a batch. A part without a name counts even if it is empty."""
    return sum(kind.width(getattr(batch, name)) for name, kind in parts_of(type(batch)))


def bytes_of(batch: Batch) -> int:
    """Return the approximate size of a batch in bytes."""
    return sum(kind.nbytes(getattr(batch, name)) for name, kind in parts_of(type(batch)))


def plain_of(batch: Batch) -> Any:
    """Return the batch as JSON with arrays in it: its rows, and its parts by name."""
    return [len(batch), {name: kind.plain(getattr(batch, name)) for name, kind in parts_of(type(batch))}]


def restored(batch_type: type[B], plain: Any) -> B:
    """Rebuild the batch that :func:`plain_of` was given; raise ``ValueError`` for anything that does not fit together.

    A part that is absent gets the default of its field, so that batches saved before the part existed can be read.
    """
    rows, plain_parts = _checked(plain, list)
    kinds, plain_parts = parts_of(batch_type), _checked(plain_parts, dict)
    try:
        return batch_type(
            **{name: kind.restored(plain_parts[name], rows) for name, kind in kinds if name in plain_parts}
        )
    except TypeError as error:
        raise ValueError(f"a batch is incomplete: {error}") from None


def check(batch: Batch) -> None:
    """Raise ``ValueError`` if a batch restored from a file has invalid cells."""
    for name, kind in parts_of(type(batch)):
        kind.check(getattr(batch, name))


def _checked(plain: Any, kind: type[Any]) -> Any:
    if type(plain) is not kind:
        raise ValueError(f"a part of a batch is not a {kind.__name__}")
    return plain


def _array(plain: Any, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
    if type(plain) is not np.ndarray or plain.dtype != dtype or plain.shape != shape:
        raise ValueError(f"a part of a batch is not an array of {dtype.name} {list(shape)}")
    return plain
