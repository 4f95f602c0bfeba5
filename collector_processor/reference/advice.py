"""What a table seems to be missing, said once when a reference is built from it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from collector_processor.columns.batch import PredictionBatch

_LIKELY: Final = (
    ("label", re.compile(r"(true_?)?(label|target|y|y_true|truth|ground_truth|actual|outcome)s?")),
    ("score", re.compile(r"(y_)?(score|proba?|probability|predict_proba)s?")),
    ("prediction", re.compile(r"(y_?)?(pred|hat|prediction|predicted|predicted_(class|label|value))s?")),
)
"""Usual names of columns that are not features, by the option that such a column belongs to."""


def advice(batch: PredictionBatch, *, labels: bool) -> Iterator[str]:
    """Yield a sentence for each thing that a user of the profile would miss, or would not expect.

    ``labels``: whether the table has labels.
    """
    likely = dict(_likely_options(batch))
    for option, column in likely.items():
        yield f"column {column!r} became a feature, but looks like the {option}: if it is, pass --{option} {column}"
    if batch.prediction is None and batch.score is None and batch.value is None and not batch.scores:
        yield "no predictions: drift of the outputs cannot be measured; pass --prediction, --score or both"
    if not labels:
        yield "no labels: performance in production will have no performance to be compared with; pass --label"
    ids = [name for name in batch.features if name not in likely.values() and _is_an_id(batch, name)]
    if ids:
        listed = ", ".join(map(repr, ids[:5]))
        yield f"a different text in every row, as ids have: {listed}; choose the features with --features"


def _likely_options(batch: PredictionBatch) -> Iterator[tuple[str, str]]:
    """Yield the options that a feature's name suggests, with that feature."""
    for name in batch.features:
        for option, pattern in _LIKELY:
            if pattern.fullmatch(name.strip().lower().replace(" ", "_").replace("-", "_")):
                yield option, name


def _is_an_id(batch: PredictionBatch, name: str) -> bool:
    column = batch.features[name]
    return column.codes is not None and len(batch) >= 100 and len(column.categories) == len(batch)
