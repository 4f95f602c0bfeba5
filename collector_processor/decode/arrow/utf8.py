"""Repair texts of Arrow columns that are not UTF-8, as texts of attributes are."""

from __future__ import annotations

import pyarrow as pa
from pyarrow import types

from collector_processor.decode.arrow.arrays import Array, DataType, is_string_view, is_text
from collector_processor.decode.limits import Tally


def valid(array: Array, tally: Tally) -> Array:
    """Return an array that is fully validated, with U+FFFD in place of what is not UTF-8, and count such texts.

    Raises ``pyarrow.ArrowInvalid`` for everything else that is wrong with it.
    """
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        array = _repaired(array, tally)
        array.validate(full=True)
    return array


def _repaired(array: Array, tally: Tally) -> Array:
    kind = array.type
    if types.is_dictionary(kind):
        return pa.DictionaryArray.from_arrays(array.indices, _repaired(array.dictionary, tally), safe=False)
    if types.is_struct(kind):
        fields = [valid(field, tally) for field in array.flatten()]
        return pa.StructArray.from_arrays(fields, names=[field.name for field in kind])
    if types.is_map(kind):
        nulls = array.is_null() if array.null_count else None
        keys, items = valid(array.keys, tally), valid(array.items, tally)
        return pa.MapArray.from_arrays(array.offsets, keys, items, mask=nulls)
    if not is_text(kind):
        return array
    octets = array.view(_octets_of(kind))
    octets.validate(full=True)
    sent: list[bytes | None] = octets.to_pylist()
    texts = [None if each is None else each.decode("utf-8", "replace") for each in sent]
    changed = sum(text is not None and text.encode() != each for text, each in zip(texts, sent, strict=True))
    tally.drop("text_repaired", changed)
    return pa.array(texts, kind)


def _octets_of(kind: DataType) -> DataType:
    if is_string_view(kind):
        return pa.binary_view()
    return pa.large_binary() if types.is_large_string(kind) else pa.binary()
