"""Counts the predictions of a call: what its features and outputs hold, before any of it is read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple, TypeAlias, cast

PLAIN: Final = frozenset({float, int, str, bool, type(None)})
"""Types whose values are cells, never columns."""
_TOLIST_KINDS: Final = frozenset("fiubUO")


def is_column(value: object) -> bool:
    """Return whether a value holds one cell for each row: a list, a 1-D array, a column of a frame.

    >>> is_column([1, 2]), is_column("ab"), is_column({"a": 1}), is_column(1.5)
    (True, False, False, False)
    """
    if type(value) in PLAIN:
        return False
    if isinstance(value, (list, tuple)):
        return True
    if isinstance(value, (str, bytes, bytearray, memoryview, Mapping)) or hasattr(value, "as_py"):
        return False
    return hasattr(value, "__len__") and hasattr(value, "__getitem__") and getattr(value, "ndim", 1) == 1


def length(column: object) -> int:
    """Return the number of cells of a column."""
    value: Any = column
    return len(value)


def items(column: object) -> list[Any]:
    """Return the cells of a column as a list; numpy times stay numpy scalars, since their list form loses the unit."""
    value: Any = column
    if isinstance(value, (list, tuple)):
        return list(cast("Sequence[Any]", value))
    for method in ("to_pylist", "to_list"):
        if hasattr(value, method):
            return getattr(value, method)()
    if hasattr(value, "tolist") and getattr(getattr(value, "dtype", None), "kind", "") in _TOLIST_KINDS:
        return value.tolist()
    return list(value)


def flatten(value: object) -> object:
    """Return an array of shape ``[n, 1]`` as ``[n]``, and everything else unchanged."""
    array: Any = value
    if getattr(array, "ndim", 1) == 2 and array.shape[1] == 1 and hasattr(array, "reshape"):
        return array.reshape(-1)
    return value


class Outputs(NamedTuple):
    """How many rows the outputs of a call speak of: the length of each that is a column, and whether any is one cell.

    >>> Outputs.of([["yes", "no"], 0.5, None])
    Outputs(lengths=(2,), single=True)
    """

    lengths: tuple[int, ...] = ()
    single: bool = False

    @classmethod
    def of(cls, outputs: Iterable[object], ids: object = None) -> Outputs:
        """Return the shape of outputs, and of ids, of which one may stand for all rows."""
        present = [flatten(output) for output in outputs if output is not None]
        columns = [output for output in (*present, flatten(ids)) if _is_batch(output)]
        return cls(tuple(map(length, columns)), any(not _is_batch(output) for output in present))


NO_OUTPUTS: Final = Outputs()


def count(features: object, outputs: Outputs = NO_OUTPUTS) -> int:
    """Return the number of rows of a call without reading the features.

    >>> count({"a": [1, 2]}), count(["a text", "another"], Outputs((2,))), count(None, Outputs((3,)))
    (2, 2, 3)
    """
    return rows_of(*shape_of(features), outputs)


Shape: TypeAlias = Literal["row", "table", "grid", "flat", "nested", "opaque"]
"""What features look like before they are read.

``row``: cells by name. ``table``: rows with names. ``grid``: rows without names, or lists by name; either may be the
content of one row. ``flat``: cells without names, one row or one column. ``nested``: arrays of any dimensions by name.
``opaque``: anything else, such as images, whose first dimension counts the rows at best.
"""


def shape_of(features: object) -> tuple[Shape, int | None]:
    """Return the shape of features and their number of rows; for ``flat`` and ``nested``, that of the cells."""
    value: Any = features
    if isinstance(value, Mapping):
        return _shape_of_mapping(cast("Mapping[object, object]", value))
    if as_record(value) is not None:
        return "row", 1
    if isinstance(value, (list, tuple)):
        return _shape_of_sequence(cast("Sequence[object]", value))
    shape: object = getattr(value, "shape", None)
    if not isinstance(shape, tuple) or not shape:
        return "opaque", getattr(value, "num_rows", None)
    dimensions = cast("tuple[int, ...]", shape)
    if getattr(getattr(value, "dtype", None), "names", None) or hasattr(value, "columns"):
        return "table", dimensions[0]
    if len(dimensions) == 1:
        return "flat", dimensions[0]
    return "grid" if len(dimensions) == 2 else "opaque", dimensions[0]


def _shape_of_mapping(features: Mapping[object, object]) -> tuple[Shape, int | None]:
    first = next(iter(features.values()), None)
    if is_column(first) and all(map(is_column, features.values())):
        return "grid", length(first)
    lengths = {length(value) for value in features.values() if _is_batch(value)}
    nested = len(lengths) == 1 and all(map(_is_batch, features.values()))
    return ("nested", lengths.pop()) if nested else ("row", 1)


def _shape_of_sequence(features: Sequence[object]) -> tuple[Shape, int | None]:
    if not features or isinstance(features[0], Mapping) or as_record(features[0]) is not None:
        return "table", len(features)
    if is_column(features[0]):
        return "grid", len(features)
    return "opaque" if _is_batch(features[0]) else "flat", len(features)


def rows_of(kind: Shape, found: int | None, outputs: Outputs) -> int:
    """Return the number of predictions: that of the outputs, unless the features leave no doubt."""
    lengths, single = outputs
    cells = kind in ("flat", "nested")
    if kind == "row" or (found == 1 and kind != "opaque"):
        return 1
    if found in lengths and not (kind == "flat" and single):
        return found or 0
    if cells and (single or not lengths or 1 in lengths):
        return 1
    if lengths:
        return lengths[0]
    return 1 if found is None or (single and kind != "table") else found


def _is_batch(value: object) -> bool:
    """Return whether a value has one entry for each row, of whatever dimensions."""
    return is_column(value) or (getattr(value, "ndim", 0) >= 2 and hasattr(value, "__len__"))


def as_record(value: object) -> Mapping[Any, object] | None:
    """Return the fields of a named tuple, dataclass, pydantic, attrs or msgspec object; None for anything else.

    >>> from dataclasses import dataclass
    >>> @dataclass
    ... class Order:
    ...     amount: float
    >>> as_record(Order(9.5)), as_record((1, 2))
    ({'amount': 9.5}, None)
    """
    cls: Any = type(value)
    fields = _fields_of(cls)
    if fields is None:
        return None
    return {name: getattr(value, name, None) for name in fields}


@lru_cache(maxsize=256)
def _fields_of(cls: Any) -> tuple[str, ...] | None:
    if cls in PLAIN or issubclass(cls, type):
        return None
    for attribute in ("_fields", "__dataclass_fields__", "model_fields", "__struct_fields__", "__fields__"):
        fields = getattr(cls, attribute, None)
        if isinstance(fields, (dict, tuple)):
            return tuple(cast("Iterable[str]", fields))
    described = getattr(cls, "__attrs_attrs__", None)
    return None if described is None else tuple(field.name for field in described)
