"""The identity of classes: two classes stay different, even those beyond the limit of classes that have names."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from typing import Final

import numpy as np

from collector_processor.columns.batch import F64, I32, Column, Mask
from collector_processor.statistics.groups import cell_slots
from collector_processor.statistics.schema import Categories, Schema

NO_CLASS: Final = -1
"""The code of a row without a class."""
DECISION_THRESHOLD: Final = 0.5
"""From this score on, a binary prediction that names no class counts as positive, if no other threshold is known."""
_IDENTITIES: Final = 2**31 - 2
_CACHED: Final = 65_536


def class_codes(classes: Categories, column: Column) -> I32:
    """Return the code of each text cell's class, int32 ``[n]``: its slot, or less than 0.

    A missing cell has :data:`NO_CLASS`. A class that has no room in the table gets a separate code of at most −2, a
    hash of its text. So whether a prediction is right does not depend on the limit; the probability that two such
    classes share a code is 5e-10.

    >>> table = Categories(["class"], limit=1)
    >>> codes = class_codes(table, Column(None, np.array([0, 1, 2, -1], np.int32), ("ant", "bee", "cat")))
    >>> codes[0].item(), codes[3].item(), bool(codes[1] < -1), bool(codes[1] != codes[2])
    (1, -1, True, True)
    """
    codes = cell_slots(classes, 0, column)
    beyond = np.flatnonzero(codes == 0)
    if column.codes is not None and len(beyond):
        used, inverse = np.unique(column.codes[beyond], return_inverse=True)
        identities = [_identity(column.categories[code]) for code in used.tolist()]
        codes[beyond] = np.array(identities, np.int32)[inverse]
    return codes


def known_classes(codes: I32) -> Mask:
    """Return which rows have a class, bool ``[n]``."""
    return codes != NO_CLASS


def class_slots(codes: I32) -> I32:
    """Return the slot in which each class counts, int32 ``[n]``: 0 (``other``) for those beyond the limit.

    Rows without a class keep :data:`NO_CLASS`.
    """
    return np.where(codes < NO_CLASS, 0, codes).astype(np.int32)


def decision_threshold(schema: Schema) -> float:
    """Return the score from which on the positive class is predicted: that of the schema, or one half."""
    return DECISION_THRESHOLD if schema.threshold is None else schema.threshold


def decided_classes(schema: Schema, predicted: I32, scores: F64 | None) -> I32:
    """Return the codes of binary classes, decided by score and threshold where ``predicted`` has none."""
    # Slot 0 is what a score below the threshold means while the negative class has no name: now it may have one.
    undecided = ~known_classes(predicted) | (predicted == 0)
    if scores is None or not schema.positive_class or not undecided.any():
        return predicted
    threshold = decision_threshold(schema)
    undecided &= ~np.isnan(scores - threshold)  # a threshold of NaN decides nothing
    positive = schema.classes.slots(0, (schema.positive_class,))[0]
    # While the other class has no name, it is "other": all except the positive one count as negative.
    name = next((name for name in schema.classes.names(0) if name != schema.positive_class), None)
    negative = 0 if name is None else schema.classes.slots(0, (name,))[0]
    return np.where(undecided, np.where(scores >= threshold, positive, negative), predicted).astype(np.int32)


@lru_cache(_CACHED)
def _identity(text: str) -> int:
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return -2 - int.from_bytes(digest, "little") % _IDENTITIES


def by_class_of(confusion: F64) -> tuple[F64, bool]:
    """Return ``Outcomes.by_class`` ``[G, 3, K]`` of a table of pairs ``[G, K, K]``, and whether it is complete.

    Rows of the table are labels, columns predictions, and slot 0 is every class beyond the limit. A group with a row in
    which both are beyond the limit is left out: it is not known whether they were the same class.

    >>> by_class_of(np.array([[[0.0, 0, 0], [0, 5, 1], [0, 2, 7]]]))[0].tolist()
    [[[0.0, 5.0, 7.0], [0.0, 6.0, 9.0], [0.0, 7.0, 8.0]]]
    """
    right = np.diagonal(confusion, axis1=1, axis2=2)
    by_class = np.stack((right, confusion.sum(axis=2), confusion.sum(axis=1)), axis=1)
    unknown = right[:, 0] != 0.0 if confusion.shape[1] else np.zeros(len(confusion), np.bool_)
    by_class[unknown] = 0.0
    return by_class, not bool(unknown.any())
