"""Fairness: how differently the groups of a segment are treated, and how much of that is more than chance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar, Final

import numpy as np

from collector_processor.columns.batch import F64, I64
from collector_processor.fairness.counts import Counts, Favorable, counts, joint_counts
from collector_processor.fairness.expected import expected_counts
from collector_processor.fairness.figures import FIGURES, Figure, conditional_disparity, generalized_entropy
from collector_processor.fairness.names import Group, named
from collector_processor.fairness.verdict import SMALL, Compared, Gap, Limits, beside, compared, judged
from collector_processor.fairness.words import gap_words
from collector_processor.monitors.attributes import MODEL_KEYS, Attributes, model_attributes
from collector_processor.monitors.base import Measurement, Metric
from collector_processor.monitors.drift_words import quoted
from collector_processor.monitors.fairness_settings import FairnessSettings, compared_segments, favorable_outcome
from collector_processor.reference.profile import Reference
from collector_processor.settings.base import Settings
from collector_processor.statistics.parts.selections import joint_ranks
from collector_processor.window.closed import Window
from otel_ml import semconv

SMALL_GROUPS: Final = "small_groups"
"""The name of all groups together that are too small to be compared alone."""
_UNCOUNTED: Final = 0.01
"""Share of the rows with a value that is not counted jointly, from which on conditional figures are left out."""
_OF_REGRESSION: Final = ("mean_error", "mae")
_NOT_ESTIMATED: Final = ("selection_rate", "calibration")
"""What needs no labels, and what an estimate that rests on it cannot know."""
_RATES: Final = ("selection_rate", "true_positive_rate", "false_positive_rate")
"""Rates that are reported by group. Accuracy, precision and the like are among the figures of performance."""

_KEYS: Final = (*MODEL_KEYS, semconv.SEGMENT_NAME, semconv.PERFORMANCE_SOURCE)
_BY_GROUP: Final = (*_KEYS, semconv.SEGMENT_VALUE)
_BESIDE: Final = (*_BY_GROUP, semconv.FAIRNESS_REFERENCE)
_ABOUT: Final = (*_KEYS, semconv.FAIRNESS_METRIC)
_RATIO: Final = semconv.UNIT_RATIO
_ENTROPY, _DISPARITY = "generalized_entropy", "conditional_demographic_disparity"


def _listed() -> Iterator[Metric]:
    for figure in FIGURES.values():
        yield Metric(
            semconv.FAIRNESS + figure.name,
            _RATIO,
            f"{figure.text}; with a segment's value, of that group beside the reference group",
            _BESIDE,
        )
    for rate in _RATES:
        yield Metric(semconv.FAIRNESS + rate, _RATIO, f"{rate.replace('_', ' ')} of a group", _BY_GROUP)
    for name, unit, text, keys in (
        (semconv.FAIRNESS + _ENTROPY, _RATIO, "inequality of benefits between rows, generalized entropy index with "
         "α = 2", (*MODEL_KEYS, semconv.PERFORMANCE_SOURCE)),
        (semconv.FAIRNESS + _DISPARITY, _RATIO, "a group's share of what was not selected less its share of what was, "
         "within the values of another segment", (*_BY_GROUP, semconv.FAIRNESS_GIVEN)),
        (semconv.FAIRNESS_NOISE_LIMIT, _RATIO, "the largest difference, or the smallest ratio, that chance explains "
         "between equal groups of these sizes", _ABOUT),
        (semconv.FAIRNESS_BREACHED, "{breach}", "1 if a gap is beyond its threshold and beyond what chance explains, "
         "else 0", _ABOUT),
        (semconv.FAIRNESS_EXCESS, _RATIO, "the gap in multiples of its threshold, or of what chance explains once in "
         "10,000 windows if that is more: above 1 it is in breach for certain", _ABOUT),
        (semconv.FAIRNESS_SMALL_GROUPS, "{group}", "groups that are too small to be compared alone, and are compared "
         "together", _ABOUT),
        (semconv.FAIRNESS_LOWER, _RATIO, "lower end of the interval of a group beside the reference group",
         (*_BESIDE, semconv.FAIRNESS_METRIC)),
        (semconv.FAIRNESS_UPPER, _RATIO, "upper end of the interval of a group beside the reference group",
         (*_BESIDE, semconv.FAIRNESS_METRIC)),
        (semconv.FAIRNESS_ALIAS, _RATIO, "a figure by the name and with the sign of another tool (fairness.names)",
         (*_BESIDE, semconv.FAIRNESS_METRIC)),
    ):  # fmt: skip
        yield Metric(name, unit, text, keys)


METRICS: Final = {metric.name: metric for metric in _listed()}


@dataclass(frozen=True, slots=True)
class _Segment:
    """One segment of a window: its name, the groups of its values ``[g]`` and their names, and the reference group."""

    name: str
    groups: I64
    values: tuple[str, ...]
    mixed: np.ndarray[tuple[int], np.dtype[np.bool_]]
    reference: str

    def value(self, position: int) -> str:
        """Return the name of a group by its position."""
        return SMALL_GROUPS if position == SMALL else self.values[position]


class FairnessMonitor:
    """How differently a model treats the groups of its protected segments.

    Compares the shares of favorable predictions of all rows, and of labeled rows, how often favorable and unfavorable
    cases were predicted so, how often selected ones were right, accuracy and calibration; of a regression, mean errors
    and their size. Each figure is max − min, or min / max, over the groups, and each group beside a reference group.

    A gap is in breach only if it is beyond its threshold *and* beyond what chance explains between as many equal groups
    of these sizes (Tukey and Kramer): 50 groups of 1,000 rows that are treated equally break the four-fifths rule in
    most windows. Groups with less than ``min_rows`` rows, or with less than ``min_outcomes`` expected cases of either
    outcome, are compared together, and counted. Rows of one call are not independent: how much more shares vary for it
    is measured from the calls (:func:`.overdispersion`).

    Sources: H. Weerts et al., "Fairlearn", JMLR 24, 2023, for names and values; the limits as in :mod:`.noise`.
    """

    name: ClassVar[str] = "fairness"
    metrics: ClassVar[Sequence[Metric]] = tuple(METRICS.values())
    sections: ClassVar[Mapping[str, type[Settings]]] = {"fairness": FairnessSettings}

    def __init__(self, settings: FairnessSettings) -> None:
        self._settings = settings

    def evaluate(self, window: Window, reference: Reference) -> list[Measurement]:
        """Return the figures of every segment that is compared."""
        schema = window.schema
        columns = compared_segments(self._settings, schema)
        if not columns:
            return []
        favorable = favorable_outcome(self._settings, schema)
        spread = _spread(reference)
        points = _Points(window)
        for column in columns:
            segment = _segment(self._settings, window, reference, column)
            table = counts(schema, window.pane, segment.groups, favorable, spread)
            self._compare(points, segment, table, semconv.SOURCE_LABELS)
            if favorable is not None:
                expected = expected_counts(schema, reference, window.pane, segment.groups, favorable, table)
                if expected is not None:
                    self._compare(points, segment, expected, semconv.SOURCE_ESTIMATED)
                self._aliases(points, segment, table)
                self._given(points, segment, column, favorable)
        if favorable is not None:
            everything = counts(schema, window.pane, np.zeros(1, np.int64), favorable)
            _entropy(points, everything)
        return points.found

    def _compare(self, points: _Points, segment: _Segment, table: Counts, source: str) -> None:
        """Add the figures of one segment."""
        settings, regression = self._settings, points.window.schema.task == "regression"
        limits = Limits(settings.difference, settings.ratio, settings.alpha, settings.min_rows, settings.min_outcomes)
        reported: set[str] = set()
        for name in settings.metrics:
            figure = FIGURES[name]
            if (figure.rates[0] in _OF_REGRESSION) != regression or (
                source == semconv.SOURCE_ESTIMATED and figure.rates[0] in _NOT_ESTIMATED
            ):
                continue
            groups = compared(figure, table, segment.mixed, limits)
            _verdict(points, segment, figure, groups, limits, source)
            _beside(points, segment, figure, groups, settings, source)
            for rate in figure.rates:
                if rate in _RATES and rate not in reported:
                    reported.add(rate)
                    _rates(points, segment, rate, groups, source)

    def _aliases(self, points: _Points, segment: _Segment, table: Counts) -> None:
        """Add the figures of another tool for each group with enough rows, beside the reference group."""
        if self._settings.names == "fairlearn" or segment.reference not in segment.values:
            return
        enough = np.flatnonzero(table.predicted / table.weight >= self._settings.min_rows * (1.0 - 1e-9)).tolist()
        place = segment.values.index(segment.reference)
        if place not in enough:
            return
        for position in enough[: self._settings.pairs + 1]:
            if position == place:
                continue
            pairs = (*points.group(segment, position, ""), (semconv.FAIRNESS_REFERENCE, segment.reference))
            for name, value in named(self._settings.names, _group(table, position), _group(table, place)).items():
                points.add(semconv.FAIRNESS_ALIAS, value, (*pairs, (semconv.FAIRNESS_METRIC, name)))

    def _given(self, points: _Points, segment: _Segment, column: int, favorable: Favorable) -> None:
        """Add the conditional demographic disparity of each group within the values of every other segment."""
        schema, pane = points.window.schema, points.window.pane
        names = schema.groups.columns
        ranks = joint_ranks(schema)[segment.groups]
        for pair, both in enumerate(combinations(range(len(names)), 2)):
            if column not in both:
                continue
            selected, total = joint_counts(pane, pair, favorable)
            if column == both[1]:
                selected, total = selected.T, total.T
            rows = total.sum()
            if rows < self._settings.min_rows or total[0].sum() + total[:, 0].sum() > _UNCOUNTED * rows:
                continue
            given = (semconv.FAIRNESS_GIVEN, names[both[0] + both[1] - column])
            shown = [place for place, value in enumerate(segment.values) if value != segment.reference and ranks[place]]
            for place in shown[: self._settings.pairs]:
                row = int(ranks[place])
                if total[row].sum() < self._settings.min_rows:
                    continue
                sides = [np.stack((part[row], part.sum(axis=0) - part[row])) for part in (selected, total)]
                value = conditional_disparity(sides[0], sides[1])
                points.add(semconv.FAIRNESS + _DISPARITY, value, (*points.group(segment, place, ""), given))


class _Points:
    """The measurements of a window as they are made."""

    def __init__(self, window: Window) -> None:
        self.window = window
        self.found: list[Measurement] = []

    def add(self, name: str, value: float, attributes: Attributes, words: str = "") -> None:
        """Add a measurement if its value is a number."""
        if not np.isfinite(value):
            return
        unit = METRICS[name].unit
        self.found.append(Measurement(name, float(value), unit, attributes, self.window.end_ns, words=words))

    def segment(self, segment: _Segment, source: str) -> Attributes:
        """Return the attributes of a segment; without a source, the figure needs no labels."""
        pairs = (*model_attributes(self.window.model), (semconv.SEGMENT_NAME, segment.name))
        return (*pairs, (semconv.PERFORMANCE_SOURCE, source)) if source else pairs

    def group(self, segment: _Segment, position: int, source: str) -> Attributes:
        """Return the attributes of one group."""
        return (*self.segment(segment, source), (semconv.SEGMENT_VALUE, segment.value(position)))


def _segment(settings: FairnessSettings, window: Window, reference: Reference, column: int) -> _Segment:
    table = window.schema.groups
    slots = table.column_slots(column)
    name = table.columns[column]
    values = tuple(table.name(slot) for slot in slots.tolist())
    return _Segment(
        name,
        slots.astype(np.int64) + 1,
        values,
        np.arange(len(slots)) == 0,  # the first is "other"
        settings.privileged.get(name, "") or _largest(window, reference, slots.astype(np.int64) + 1, values),
    )


def _largest(window: Window, reference: Reference, groups: I64, values: Sequence[str]) -> str:
    """Return the largest group of the reference, so that it stays the same; of the window if that has none."""
    for rows in (reference.pane.group_rows[:, 0], window.pane.group_rows[:, 0]):
        sizes = np.where(groups < len(rows), rows[np.minimum(groups, len(rows) - 1)], 0.0)[1:]
        if sizes.any():
            return values[1 + int(sizes.argmax())]
    return ""


def _spread(reference: Reference) -> float:
    """Return the standard deviation of a regression's label, or of its predictions; 1 without either."""
    for role in ("label", "prediction"):
        for place, spec in enumerate(reference.schema.numeric):
            if spec.role == role and np.isfinite(reference.spread[place]) and reference.spread[place] > 0.0:
                return float(reference.spread[place])
    return 1.0


def _verdict(points: _Points, segment: _Segment, figure: Figure, groups: Compared, limits: Limits, source: str) -> None:
    own = points.segment(segment, source if figure.of_labels else "")
    about = (*own, (semconv.FAIRNESS_METRIC, figure.name))
    if len(groups.positions) or groups.small:
        points.add(semconv.FAIRNESS_SMALL_GROUPS, groups.small, about)
    verdict = judged(figure, groups, limits)
    if verdict is None:
        return
    words = "" if verdict.gap is None else _words(segment, groups, verdict.gap)
    if words and source == semconv.SOURCE_ESTIMATED:
        words = f"estimated: {words}"
    points.add(semconv.FAIRNESS + figure.name, verdict.value, own, words)
    points.add(semconv.FAIRNESS_NOISE_LIMIT, verdict.noise_limit, about)
    if verdict.gap is not None:
        points.add(semconv.FAIRNESS_BREACHED, float(verdict.breached), about, words if verdict.breached else "")
        points.add(semconv.FAIRNESS_EXCESS, verdict.excess, about, words if verdict.breached else "")


def _words(segment: _Segment, groups: Compared, gap: Gap) -> str:
    values = groups.rate(gap.rate).value

    def side(position: int) -> tuple[str, float]:
        name = segment.value(position)
        shown = name if position == SMALL else quoted(name)
        return f"{segment.name} {shown}", float(values[groups.positions.index(position)])

    return gap_words(gap, side(gap.low), side(gap.high))


def _beside(
    points: _Points, segment: _Segment, figure: Figure, groups: Compared, settings: FairnessSettings, source: str
) -> None:
    """Add each group beside the reference group, with its interval."""
    names = [segment.value(position) for position in groups.positions]
    rate, *further = figure.rates
    if further or segment.reference not in names or len(names) - 1 > settings.pairs:
        return
    place = names.index(segment.reference)
    pair = beside(groups.rate(rate), place, figure.form, settings.alpha)
    for row, position in enumerate(groups.positions):
        if row == place:
            continue
        own = points.group(segment, position, source if figure.of_labels else "")
        own = (*own, (semconv.FAIRNESS_REFERENCE, segment.reference))
        about = (*own, (semconv.FAIRNESS_METRIC, figure.name))
        points.add(semconv.FAIRNESS + figure.name, pair.value[row], own)
        points.add(semconv.FAIRNESS_LOWER, pair.low[row], about)
        points.add(semconv.FAIRNESS_UPPER, pair.high[row], about)


def _rates(points: _Points, segment: _Segment, rate: str, groups: Compared, source: str) -> None:
    values: F64 = groups.rate(rate).value
    for row, position in enumerate(groups.positions):
        own = points.group(segment, position, "" if rate == "selection_rate" else source)
        points.add(semconv.FAIRNESS + rate, float(values[row]), own)


def _entropy(points: _Points, table: Counts) -> None:
    tp, fp, fn, tn = (float(part.sum()) for part in (table.tp, table.fp, table.fn, table.tn))
    own = (*model_attributes(points.window.model), (semconv.PERFORMANCE_SOURCE, semconv.SOURCE_LABELS))
    points.add(semconv.FAIRNESS + _ENTROPY, generalized_entropy(tp, fp, fn, tn), own)


def _group(table: Counts, place: int) -> Group:
    columns = (table.selected, table.predicted, table.tp, table.fp, table.fn, table.tn)
    return Group(*(float(column[place]) for column in columns))
