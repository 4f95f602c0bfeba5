"""Labels in other words than those that the predictions have: what they mean, and what cannot be used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np

from collector_processor.columns.batch import LabelBatch
from collector_processor.columns.classes import spelled_otherwise, spelling_words
from collector_processor.labels.truth import label_cells, number_of, truth
from collector_processor.own.telemetry import Telemetry
from collector_processor.pipeline.watched import Model, Watch
from collector_processor.statistics.labeled import LIMIT_WORDS, is_extreme
from collector_processor.statistics.outcomes import CLASS_SUMS, SCORE_SUMS

_MOST: Final = 1000
"""Spellings that are kept for one model."""


def respell(model: Model, watch: Watch, names: Iterable[str], telemetry: Telemetry) -> None:
    """Let labels with these names mean the one class that only another spelling keeps apart; count and report it.

    Where several classes of the predictions or the reference could be meant, the labels are left out.
    """
    meant = watch.windows.schema.meant
    known = known_classes(model, watch)
    before = dict(meant)
    found = spelled_otherwise({**dict.fromkeys(meant), **dict.fromkeys(names)}, known)
    meant.clear()
    meant.update(list(found.items())[:_MOST])
    for clear, text in spelling_words(meant):
        kind = "label_spelling" if clear else "label_ambiguous"
        if meant != before:
            model.problems.pop(kind, None)
        model.contradicted([(kind, text)], telemetry)


def known_classes(model: Model, watch: Watch) -> set[str]:
    """Return the classes of the predictions and the reference, and the configured positive one unless it is theirs."""
    known = {*watch.reference.schema.classes.names(0), *model.predicted}
    positive = model.settings.positive_class
    return known if not positive or spelled_otherwise([positive], known) else {*known, positive}


def respell_positive(model: Model, watch: Watch) -> None:
    """Let a positive class that only labels had be the class that predictions have by another spelling."""
    positive = watch.windows.schema.positive_class
    if not positive or positive in (model.settings.positive_class, watch.reference.schema.positive_class):
        return
    meant = spelled_otherwise([positive], known_classes(model, watch)).get(positive, ())
    if len(meant) == 1:
        model.labeled.pop(positive, None)
        model.tentative = False
        model.problems.pop("positive_guessed", None)
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
    if watch.windows.schema.task == "regression":
        used = np.unique(cell.codes[cell.codes >= 0]).tolist()
        wrong = next((cell.categories[code] for code in used if np.isnan(number_of(cell.categories[code]))), None)
        if wrong is not None:
            text = f"labels such as {wrong[:40]!r} are not numbers, and are left out; send numbers with a decimal point"
            model.contradicted([("label_values", text)], telemetry)
        values = truth(watch.windows.schema, labels).values
        if values is not None and is_extreme(values):
            model.contradicted([("extreme_labels", f"labels beyond {LIMIT_WORDS} are left out of errors")], telemetry)
        return
    fractions = np.flatnonzero(cell.numbers != np.floor(cell.numbers))
    fractions = fractions[~np.isnan(cell.numbers[fractions])]
    if len(fractions):
        text = f"labels such as {cell.numbers[fractions[0]]:g} are numbers and not classes, and are left out"
        model.contradicted([("label_values", text)], telemetry)
