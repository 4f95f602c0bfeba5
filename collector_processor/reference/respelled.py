"""Read profiles of version 0.1.0, which kept spellings of one class apart: ``True``, ``1`` and ``1.0``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from collector_processor.columns.batch import I64
from collector_processor.reference.profile import Reference
from collector_processor.statistics.pane import Outcomes, Pane
from collector_processor.statistics.schema import Categories, Schema
from otel_ml.classes import canonical_class

_CLASS_ROLES: Final = ("prediction", "label")


def respelled(reference: Reference) -> Reference:
    """Return the reference with each class in its one spelling.

    Where two classes of it are one, or one is none, its performance was wrong: it is left out, and the reference notes
    that.
    """
    schema = reference.schema
    pairs = respelled_pairs(schema, schema.categories.pairs())
    names = [canonical_class(name) for name in schema.classes.names(0)]
    positive = canonical_class(schema.positive_class)
    same = pairs == schema.categories.pairs() and names == schema.classes.names(0)
    if same and positive == schema.positive_class:
        return reference
    kept, at = _distinct(pairs, len(schema.categories.columns))
    classes = [name for name in dict.fromkeys(names) if name]
    renamed = replace(
        schema,
        positive_class=positive,
        categories=schema.categories.with_pairs(kept),
        classes=Categories.from_pairs(schema.classes.columns, schema.classes.limit, [(0, name) for name in classes]),
    )
    if len(kept) == len(pairs) and len(classes) == len(names):
        return replace(reference, schema=renamed)
    note = "its profile has several spellings of one class, so its performance is left out: build it again"
    return replace(reference, schema=renamed, pane=_merged(reference.pane, renamed, at), notes=(note,))


def respelled_pairs(schema: Schema, pairs: Sequence[tuple[int, str]]) -> list[tuple[int, str]]:
    """Return the pairs of a table of categories with classes in their one spelling; features stay as they are."""
    of_classes = [spec.role in _CLASS_ROLES for spec in schema.categorical]
    return [(column, canonical_class(name) if of_classes[column] else name) for column, name in pairs]


def _distinct(pairs: Sequence[tuple[int, str]], columns: int) -> tuple[list[tuple[int, str]], I64]:
    """Return the pairs that stay, and the new slot of each old one: −1 for a missing class."""
    slots: dict[tuple[int, str], int] = {}
    at = [*range(columns)]
    for column, name in pairs:
        at.append(slots.setdefault((column, name), columns + len(slots)) if name else -1)
    return list(slots), np.array(at, np.int64)


def _merged(pane: Pane, schema: Schema, at: I64) -> Pane:
    """Return the pane with the counts of each category at its new slot, and without outcomes."""
    counts = np.zeros(len(schema.categories) + 1)  # the last is for −1
    np.add.at(counts, at[: len(pane.category_counts)], pane.category_counts)
    bins = pane.outcomes.score_hits.shape[2]
    outcomes = Outcomes.empty(len(schema.groups) + 1, len(schema.classes), bins)
    return replace(pane, category_counts=counts[:-1], outcomes=outcomes)
