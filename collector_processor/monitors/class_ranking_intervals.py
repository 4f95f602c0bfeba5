"""The intervals of the figures of each class beside all others, and of their means: specificity, ranking."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from collector_processor.columns.batch import F64
from collector_processor.monitors import class_intervals, ranking_intervals
from collector_processor.monitors.attributes import Attributes
from collector_processor.monitors.class_ranking import MACRO, macro_specificity, mean_of_labeled, realized_ranking
from collector_processor.monitors.further_performance import listed_classes
from collector_processor.monitors.intervals import BAND, FEW, Interval, class_squares
from collector_processor.monitors.performance import class_sums, without_rounding
from collector_processor.reference.profile import Reference
from collector_processor.statistics.estimates import class_curves
from collector_processor.statistics.parts.class_ranks import ClassRanks
from collector_processor.window.closed import Window
from otel_ml import semconv

_OF_RANKING: Final = {"roc_auc": ranking_intervals.roc_auc, "average_precision": ranking_intervals.average_precision}


def class_ranking_intervals(
    window: Window, reference: Reference, classes: int
) -> Iterator[tuple[str, Attributes, Interval]]:
    """Yield the name of each figure of :class:`.ClassRankingMonitor`, its attributes and its interval.

    Ranking and single classes of all rows only, ``classes`` of them. Which rows rank high in several classes is not
    known: the margin of a mean over classes is the mean of their margins, as if they were wrong together.
    """
    schema, pane = window.schema, window.pane
    by_class, squares = class_sums(schema, pane.outcomes), class_squares(pane)
    mean = class_intervals.macro_specificity(macro_specificity(by_class), by_class, squares, BAND)
    yield "specificity", (MACRO,), mean
    slots = listed_classes(by_class[0], classes) if len(by_class) else []
    for slot in slots:
        of_class = class_intervals.specificity(by_class[:1], squares[:1], slot, BAND)
        yield "specificity", ((semconv.PERFORMANCE_CLASS, schema.classes.name(slot)),), of_class
    fit, ranked = class_curves(schema), realized_ranking(window, reference)
    if fit is None or not ranked:
        return
    hits = without_rounding(pane.further[ClassRanks].by_score)
    rows = hits.sum(axis=2)
    came, weights = rows[:, 1] > 0.0, _weights(by_class[0, 1], squares[0, 1])[fit.slots]
    for name, interval_of in _OF_RANKING.items():
        each = interval_of(ranked[name][fit.slots], hits, weights, BAND).where((rows >= FEW).all(axis=1))
        if np.isfinite(mean_of_labeled(ranked[name])):
            whole = (np.array([side[came].mean()]) for side in each)
            yield name, (MACRO,), Interval(*whole)
        for place, slot in enumerate(fit.slots.tolist()):
            if slot in slots:
                pairs = ((semconv.PERFORMANCE_CLASS, schema.classes.name(slot)),)
                yield name, pairs, Interval(*(side[place : place + 1] for side in each))


def _weights(labeled: F64, squares: F64) -> F64:
    """Return Σ w² / Σ w of the rows of other classes and of each class, ``[K, 2]``; 1 without rows."""
    total = np.stack((labeled.sum() - labeled, labeled), axis=1)
    return np.divide(
        np.stack((squares.sum() - squares, squares), axis=1), total, out=np.ones_like(total), where=total > 0.0
    )
