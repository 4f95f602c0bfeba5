"""The estimator part of a profile: plain numbers from which to estimate performance without labels.

A mapping of names to numbers, lists of numbers, short texts and further mappings, with its ``version``. Limited in
depth, count and bytes, and never executed. The estimators define what the names mean.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Final

from collector_processor.reference.document import Json, Node, written

VERSION: Final = 1
MAX_DEPTH: Final = 8
MAX_VALUES: Final = 1_000_000
MAX_BYTES: Final = 16 * 2**20
"""Most bytes of the whole part as text."""
MAX_TEXT_BYTES: Final = 256
"""Most bytes of one text or name."""


def checked_estimator(node: Node) -> Mapping[str, Json]:
    """Return the estimator part unchanged; raise ``ValueError`` with the path of anything that it must not contain.

    >>> checked_estimator(Node({"version": 1, "knots": [0.1, 0.9]}, "x.json", "estimator"))["knots"]
    [0.1, 0.9]
    >>> checked_estimator(Node({"version": 1, "knots": {"x": [True]}}, "x.json", "estimator"))
    Traceback (most recent call last):
    ValueError: x.json: estimator.knots.x: must contain only finite numbers
    """
    node["version"].integer(VERSION, VERSION)
    count = 0
    for _, values in _values(node, 1):
        count += values
        if count > MAX_VALUES:
            node.fail(f"has more than {MAX_VALUES} values")
    size = _size(node, written(node.value))
    if size > MAX_BYTES:
        node.fail(f"has {size} bytes; allowed: {MAX_BYTES}")
    return node.value


def _values(node: Node, depth: int) -> Iterator[tuple[Node, int]]:
    """Yield every value of a mapping, checked, with the count of its numbers or texts."""
    if depth > MAX_DEPTH:
        node.fail(f"is nested more than {MAX_DEPTH} levels deep")
    for name, item in node.items():
        if not 0 < (size := _size(node, name)) <= MAX_TEXT_BYTES:
            node.fail(f"has a name of {size} bytes; allowed: 1 to {MAX_TEXT_BYTES}")
        if isinstance(item.value, dict):
            yield item, 1
            yield from _values(item, depth + 1)
        elif isinstance(item.value, list):
            if not all(map(_is_number, item.array())):
                item.fail("must contain only finite numbers")
            yield item, len(item.array())
        elif isinstance(item.value, str):
            if (size := _size(item, item.value)) > MAX_TEXT_BYTES:
                item.fail(f"has {size} bytes; allowed: {MAX_TEXT_BYTES}")
            yield item, 1
        elif _is_number(item.value):
            yield item, 1
        else:
            item.fail("must be a finite number, a list of finite numbers, a string or an object")


def _size(node: Node, text: str) -> int:
    """Return the size of a text in bytes; it must consist of whole characters."""
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        node.fail("has an incomplete character")


def _is_number(value: object) -> bool:
    """Return whether a value is a finite number that a float can hold; booleans are not numbers."""
    if type(value) is int:
        return value.bit_length() <= 1023
    return type(value) is float and math.isfinite(value)
