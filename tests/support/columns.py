"""Columns from plain values."""

from __future__ import annotations

import numpy as np

from collector_processor.columns.batch import Column

NAN = np.nan


def numbers(*values):
    return Column(np.array(values, np.float64))


def texts(*values):
    names = tuple(dict.fromkeys(value for value in values if value is not None))
    return Column(None, np.array([-1 if v is None else names.index(v) for v in values], np.int32), names)


def mixed(*values):
    column = texts(*(value if isinstance(value, str) else None for value in values))
    return Column(
        np.array([NAN if v is None or isinstance(v, str) else v for v in values]), column.codes, column.categories
    )
