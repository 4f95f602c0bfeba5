"""Converts one value to what an attribute can hold: number, text, truth value, or missing."""

from __future__ import annotations

import math
import sys
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from numbers import Integral, Rational, Real
from typing import Any, Final
from uuid import UUID

Scalar = bool | int | float | str

INT64_MIN: Final = -(2**63)
INT64_MAX: Final = 2**63 - 1
MAX_KEY_CHARS: Final = 256
MAX_ID_CHARS: Final = 512
SUBSECONDS: Final = {"ms": 10**3, "us": 10**6, "ns": 10**9, "ps": 10**12, "fs": 10**15, "as": 10**18}
"""Numpy's units of time below a second: how many there are in one."""
_UNLIMITED: Final = sys.maxsize
_INEXACT: Final = frozenset({str, float, bool})
"""The most frequent types whose text needs no more than :func:`scalar`."""
_BEYOND_INTEGERS: Final = 2.0**64
_MOST_BITS: Final = 8192
"""Larger integers have no text: Python refuses to write them out."""


class UnsupportedValueError(TypeError):
    """An attribute cannot hold the value: it is nested, an object, or bytes that are not UTF-8."""


def scalar(value: object, limit: int = _UNLIMITED) -> Scalar | None:
    """Convert any value to a number, text or truth value; None if it is missing.

    None, NaN, NaT and ``pandas.NA`` are missing. Infinities stay. Numpy scalars, 0-d arrays, ``Decimal`` and fractions
    become Python numbers; integers beyond 64 bits become floats. Times become seconds: Unix seconds for ``datetime``
    and ``date`` (without a zone: UTC), a duration for ``timedelta``, the time since midnight for ``time``. An
    enumeration becomes its value; UTF-8 bytes, pandas periods and intervals become their text. Texts are truncated
    after ``limit`` characters. Raises :class:`UnsupportedValueError` for anything else.

    >>> scalar(Decimal("1.5")), scalar(2**70), scalar(float("nan")), scalar("abcdef", limit=3)
    (1.5, 1.1805916207174113e+21, None, 'abc')
    >>> scalar(datetime(1970, 1, 2))
    86400.0
    >>> scalar([1, 2])
    Traceback (most recent call last):
    ...
    otel_ml.encode.scalar.UnsupportedValueError: a value of type list cannot be an attribute
    """
    if value is None or isinstance(value, bool):
        return value
    try:
        return _convert(value, limit)
    except UnsupportedValueError:
        raise
    except Exception as error:  # a value's own methods may raise anything
        raise _unsupported(value) from error


def _convert(value: object, limit: int) -> Scalar | None:
    if isinstance(value, str):
        return clean_text(str.__str__(value), limit)
    if isinstance(value, Enum):
        return scalar(value.value, limit)
    if isinstance(value, float):
        return None if value != value else float(value)
    if isinstance(value, int):
        return bounded_int(int(value))
    if isinstance(value, (datetime, date, time, timedelta)):
        return _seconds(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return clean_text(bytes(value).decode("utf-8"), limit)
    if isinstance(value, UUID):
        return str(value)
    return _foreign(value, limit)


def _foreign(value: object, limit: int) -> Scalar | None:
    """Convert scalars of libraries that may not be loaded, and other numbers."""
    pandas = sys.modules.get("pandas")
    if pandas is not None:
        if value is getattr(pandas, "NA", None):
            return None
        if isinstance(value, (pandas.Period, pandas.Interval)):
            return clean_text(str(value), limit)
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        if value is numpy.ma.masked:
            return None
        if isinstance(value, (numpy.datetime64, numpy.timedelta64)):
            return _numpy_seconds(numpy, value)
    if isinstance(value, Integral):
        return bounded_int(int(value))
    if isinstance(value, (Real, Decimal)):
        number = float(value)
        return None if number != number else number
    convert: Any = getattr(value, "item", None) or getattr(value, "as_py", None)
    if convert is None or getattr(value, "ndim", 0) != 0:
        raise _unsupported(value)
    plain = convert()
    if type(plain) is type(value):
        raise _unsupported(value)
    return scalar(plain, limit)


def _seconds(value: datetime | date | time | timedelta) -> float | None:
    if value != value:  # pandas.NaT is a datetime
        return None
    numpy = sys.modules.get("numpy")
    exact: Any = getattr(value, "to_datetime64", None) or getattr(value, "to_timedelta64", None)
    if exact is not None and numpy is not None:  # pandas, whose own methods round to microseconds
        return _numpy_seconds(numpy, exact())
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, time):
        return timedelta(0, value.second, value.microsecond, 0, value.minute, value.hour).total_seconds()
    if isinstance(value, datetime):
        return (value.replace(tzinfo=timezone.utc) if value.tzinfo is None else value).timestamp()
    return datetime(value.year, value.month, value.day, tzinfo=timezone.utc).timestamp()


def _numpy_seconds(numpy: Any, value: Any) -> float | None:
    """Return a numpy time or duration in seconds, as the nearest float."""
    if numpy.isnat(value):
        return None
    unit, step = numpy.datetime_data(value.dtype)
    divisor = SUBSECONDS.get(unit)
    if divisor is None:  # days, months: their length in seconds is exact where numpy knows it
        seconds = value.astype(f"{value.dtype.kind}8[s]")
        return float(int(seconds.astype("int64")))
    return int(value.astype("int64")) * step / divisor


def bounded_int(value: int) -> int | float:
    """Return the integer itself, or the nearest float if 64 bits cannot hold it; infinity beyond the floats.

    >>> bounded_int(7), bounded_int(-(2**63)), bounded_int(2**63), bounded_int(-(10**400))
    (7, -9223372036854775808, 9.223372036854776e+18, -inf)
    """
    if INT64_MIN <= value <= INT64_MAX:
        return value
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def clean_text(text: str, limit: int) -> str:
    """Truncate a text to ``limit`` characters and replace what UTF-8 cannot hold (lone surrogates) with ``?``."""
    text = text[:limit]
    if text.isascii():
        return text
    return text.encode("utf-8", "replace").decode("utf-8")


def clean_key(key: object) -> str | None:
    """Return a key as text, or None if it cannot name an attribute: empty, over 256 characters, or without a text.

    >>> clean_key("age"), clean_key(3), clean_key(""), clean_key("k" * 300)
    ('age', '3', None, None)
    """
    try:
        text = str.__str__(key) if isinstance(key, str) else str(key)
    except Exception:  # noqa: BLE001 - the key's own __str__ may raise anything
        return None
    if not text or len(text) > MAX_KEY_CHARS:
        return None
    return clean_text(text, MAX_KEY_CHARS)


def class_text(value: object, limit: int = _UNLIMITED) -> str | None:
    """Return the text of a class or segment, the same for every type that can hold it; None if it is missing.

    Truth values become ``true`` and ``false``, integral numbers their integer, other numbers their shortest decimal
    form. So ``1``, ``1.0`` and ``numpy.int64(1)`` are all the class ``1``, for predictions and labels alike. Integers
    and decimals of any size are exact.

    >>> class_text(Decimal("9007199254740993")), class_text(2**64 - 1), class_text(Decimal("0.50"))
    ('9007199254740993', '18446744073709551615', '0.5')
    >>> class_text(True), class_text(1), class_text(1.0), class_text(0.5), class_text("delayed"), class_text(None)
    ('true', '1', '1', '0.5', 'delayed', None)
    """
    if value is not None and type(value) not in _INEXACT:
        try:
            exact = _exact_text(value)
        except Exception:  # noqa: BLE001 - a value's own methods may raise anything
            exact = None
        if exact is not None:
            return exact[:limit]
    plain = scalar(value, limit)
    if plain is None or isinstance(plain, str):
        return plain
    if isinstance(plain, bool):
        return "true" if plain else "false"
    if isinstance(plain, float):
        return str(int(plain)) if plain.is_integer() and abs(plain) < _BEYOND_INTEGERS else repr(plain)
    return str(plain)


def _exact_text(value: object) -> str | None:
    """Return the text of a number that a float may not hold: no two numbers have one text, equal ones have the same.

    None for what is not such a number.
    """
    if isinstance(value, Integral):
        whole = int(value)
        return str(whole) if whole.bit_length() <= _MOST_BITS else None
    if isinstance(value, Decimal):
        if not value.is_finite() or abs(value.adjusted()) > MAX_ID_CHARS:
            return None if not value.is_finite() else str(value)
        nearest = repr(float(value))
        if value == value.to_integral_value():
            return str(int(value))
        return nearest if Decimal(nearest) == value else format(value, "f").rstrip("0")
    if isinstance(value, Rational):
        pair = int(value.numerator), int(value.denominator)
        if pair[1] == 1:
            return _exact_text(pair[0])
        return None if float(value).as_integer_ratio() == pair else f"{pair[0]}/{pair[1]}"
    if type(value).__name__ == "longdouble":
        number: Any = value
        if number != number or float(number) == number:
            return None
        return str(int(number)) if number == int(number) else str(number)
    return None


def text(value: object) -> str | None:
    """Return a cell's class text; None if it is missing or has none."""
    try:
        return class_text(value)
    except UnsupportedValueError:
        return None


def identifier(value: object) -> str | None:
    """Return a prediction id as text, truncated after 512 characters; None if it is missing.

    The id of a label is converted the same way, so the two join.
    """
    return class_text(value, MAX_ID_CHARS)


def number(value: object) -> float | None:
    """Return a score, probability or predicted value as a float; None if it is missing.

    Raises :class:`UnsupportedValueError` for texts; a truth value counts as 1 or 0.
    """
    plain = scalar(value)
    if plain is None:
        return None
    if isinstance(plain, str):
        raise UnsupportedValueError("a text in place of a number")
    return float(plain)


def _unsupported(value: object) -> UnsupportedValueError:
    return UnsupportedValueError(f"a value of type {type(value).__name__} cannot be an attribute")
