"""Labels in other words than those that the predictions have: what they mean, and what cannot be used."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

import numpy as np

from collector_processor.columns.batch import LabelBatch
from collector_processor.columns.classes import spelled_otherwise, spelling_words
from collector_processor.labels.truth import label_cells, truth
from collector_processor.own.telemetry import Telemetry
from collector_processor.pipeline.misfits import Misfit
from collector_processor.pipeline.watched import GUESSED, Model, Watch
from collector_processor.statistics.labeled import LIMIT_WORDS, is_extreme
from collector_processor.statistics.outcomes import CLASS_SUMS, SCORE_SUMS

_MOST: Final = 1000
"""Spellings that are kept for one model."""
_KINDS: Final[Mapping[bool, Misfit]] = {True: "label_spelling", False: "label_ambiguous"}
"""The kinds of labels with another spelling, by whether it is clear what they mean."""


def respell(model: Model, watch: Watch, names: Collection[str], telemetry: Telemetry) -> None:
    """Let labels with these names mean the one class that only another spelling keeps apart; count and report it.

    Where several classes of the predictions or the reference could be meant, the labels are left out.
    """
    meant = watch.windows.schema.meant
    known = class_names(model, watch)
    before = dict(meant)
    found = spelled_otherwise({**dict.fromkeys(meant), **dict.fromkeys(names)}, known)
    meant.clear()
    meant.update(list(found.items())[:_MOST])
    for clear, text in spelling_words(meant):
        if meant != before:
            model.problems.pop(_KINDS[clear], None)
        model.report(_KINDS[clear], "%s", text)
    for clear, _ in spelling_words({name: meant[name] for name in names if name in meant}):
        telemetry.misfits.labels(_KINDS[clear]).inc()


def class_names(model: Model, watch: Watch) -> set[str]:
    """Return the classes of the predictions and the reference, and the configured positive one unless it is theirs."""
    known = {*watch.reference.schema.classes.names(0), *model.predicted}
    positive = model.settings.positive_class
    return known if not positive or spelled_otherwise([positive], known) else {*known, positive}


def respell_positive(model: Model, watch: Watch) -> None:
    """Let a positive class that only labels had be the class that predictions have by another spelling."""
    positive = watch.windows.schema.positive_class
    if not positive or positive in (model.settings.positive_class, watch.reference.schema.positive_class):
        return
    meant = spelled_otherwise([positive], class_names(model, watch)).get(positive, ())
    if len(meant) == 1:
        model.labeled.pop(positive, None)
        model.tentative = False
        model.problems.pop(GUESSED, None)
        watch.decide(meant[0], SCORE_SUMS | CLASS_SUMS)


def renamed(counts: Mapping[str, int], meant: Mapping[str, tuple[str, ...]]) -> dict[str, int]:
    """Return how many labels name each class, by the class that they mean; those that may mean several are left out.

    >>> renamed({"YES": 2, "yes": 1, "no": 4, "Ja": 3}, {"YES": ("yes",), "Ja": ("ja", "JA")})
    {'yes': 3, 'no': 4}
    """
    total: dict[str, int] = {}
    for name, count in counts.items():
        classes = meant.get(name, (name,))
        if len(classes) == 1:
            total[classes[0]] = total.get(classes[0], 0) + count
    return total


def check_cells(model: Model, watch: Watch, labels: LabelBatch, telemetry: Telemetry) -> None:
    """Count and report labels that are of no use for the model's task, or too large."""
    cell = label_cells(labels)
    values = truth(watch.windows.schema, labels).values if watch.windows.schema.task == "regression" else None
    if values is not None:
        unread = np.flatnonzero((cell.codes >= 0) & np.isnan(values))
        if len(unread):
            wrong = cell.categories[cell.codes[unread[0]]][:40]
            text = f"labels such as {wrong!r} are not numbers, and are left out; send numbers with a decimal point"
            model.contradicted([("label_values", text)], telemetry)
        if is_extreme(values):
            model.contradicted([("extreme_labels", f"labels beyond {LIMIT_WORDS} are left out of errors")], telemetry)
        return
    fractions = np.flatnonzero(cell.numbers != np.floor(cell.numbers))
    fractions = fractions[~np.isnan(cell.numbers[fractions])]
    if len(fractions):
        text = f"labels such as {cell.numbers[fractions[0]]:g} are numbers and not classes, and are left out"
        model.contradicted([("label_values", text)], telemetry)
