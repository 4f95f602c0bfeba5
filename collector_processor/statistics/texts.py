"""Numbers as texts: integer-coded categories, classes and segments match the text of the integer."""

from __future__ import annotations

import numpy as np

from collector_processor.columns.batch import I32, I64, Column
from collector_processor.statistics import built

_EXACT = 2.0**63


def number_text(number: float) -> str:
    """Return the text of a number: an integer's digits, else its shortest decimal form.

    >>> number_text(3.0), number_text(-0.0), number_text(0.25)
    ('3', '0', '0.25')
    """
    return str(int(number)) if number.is_integer() and abs(number) < _EXACT else repr(number)


def as_texts(column: Column, *, fractions: bool = False) -> Column:
    """Return the column with integers turned into texts; all other numbers stay numbers.

    ``fractions`` turns every number into a text. Missing cells stay missing.

    >>> month = as_texts(Column(np.array([3.0, np.nan, 1.5]), np.array([-1, 0, -1], np.int32), ("3",)))
    >>> month.codes.tolist(), month.categories, month.is_number().tolist()
    ([0, 0, -1], ('3',), [False, False, True])
    """
    numbers = column.numbers
    if numbers is None:
        return column
    turned = ~np.isnan(numbers) if fractions else (numbers == np.floor(numbers)) & (np.abs(numbers) < _EXACT)
    present = numbers[turned]
    codes: I32 = np.full(len(numbers), -1, np.int32) if column.codes is None else column.codes
    if not len(present):
        return Column(numbers, codes, column.categories)
    distinct, inverse = np.unique(present, return_inverse=True)
    names = list(column.categories)
    known = {name: code for code, name in enumerate(names)}
    translated = np.empty(len(distinct), np.int32)
    for place, x in enumerate(distinct.tolist()):
        text = number_text(x)
        if text not in known:
            known[text] = len(names)
            names.append(text)
        translated[place] = known[text]
    codes = codes.copy()
    codes[turned] = translated[inverse]
    rest = None if len(present) == len(numbers) else np.where(turned, np.nan, numbers)
    return Column(rest, codes, tuple(names))


def code_counts(codes: I32, size: int) -> I64:
    """Return how often each code occurs, ``[size + 1]``: first −1, then 0 to ``size`` − 1.

    >>> code_counts(np.array([1, -1, 1], np.int32), 3).tolist()
    [1, 0, 2, 0]
    """
    if built.sums is None:
        return np.bincount(codes + 1, minlength=size + 1)
    return built.sums.count_codes(np.ascontiguousarray(codes), size)
