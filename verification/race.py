"""Run detectors side by side on the same streams, and count their false alarms and delays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from collector_processor.columns.batch import F64, Mask
from verification.streams import NONE, Columns, Shift, drawn


class Detector(Protocol):
    """Anything that looks at one pane after another."""

    def step(self, counts: F64) -> Mask:
        """Add a pane ``[F, E + 2]`` and return which features raise an alarm on it."""
        ...


@dataclass(frozen=True, slots=True)
class Delays:
    """Panes from a shift to the first alarm of each feature that found it, the pane of the alarm included."""

    panes: F64
    features: int

    @property
    def found(self) -> float:
        """Return the share of the features that raised an alarm."""
        return len(self.panes) / self.features

    @property
    def median(self) -> float:
        """Return the median over all features, those that found nothing last; NaN if that is one of them."""
        missed = np.full(self.features - len(self.panes), np.nan)
        return float(np.sort(np.concatenate((self.panes, missed)))[(self.features - 1) // 2])

    def words(self) -> str:
        """Return the median, and the share that was found if it is not all."""
        if not len(self.panes):
            return "never"
        median = "–" if np.isnan(self.median) else f"{self.median:.0f}"
        return median if self.found > 0.995 else f"{median} ({self.found:.0%} found)"


def false_alarms(
    random: np.random.Generator,
    columns: Columns,
    detectors: Mapping[str, Detector],
    rows: int,
    panes: int,
    *,
    alike: int = 1,
    seasons: Sequence[Shift] = (NONE,),
) -> dict[str, int]:
    """Return the alarms of each detector on panes without a shift; ``seasons`` alternate, pane by pane."""
    counts = dict.fromkeys(detectors, 0)
    chances = [columns.chances(season) for season in seasons]
    for number in range(panes):
        pane = drawn(random, chances[number % len(chances)], rows, alike)
        for name, detector in detectors.items():
            counts[name] += int(np.count_nonzero(detector.step(pane)))
    return counts


def delays(
    random: np.random.Generator,
    columns: Columns,
    detectors: Mapping[str, Detector],
    shift: Shift,
    rows: int,
    *,
    before: int = 60,
    most: int = 1440,
) -> dict[str, Delays]:
    """Return how long each detector takes to find a shift of every feature after ``before`` panes without one."""
    features = len(columns.edges)
    first = {name: np.full(features, np.nan) for name in detectors}
    calm, moved = columns.chances(NONE), columns.chances(shift)
    for number in range(before + most):
        pane = drawn(random, calm if number < before else moved, rows)
        for name, detector in detectors.items():
            alarms = detector.step(pane)
            if number >= before:
                first[name][alarms & np.isnan(first[name])] = number - before + 1
        if not any(np.isnan(panes).any() for panes in first.values()):
            break
    return {name: Delays(panes[~np.isnan(panes)], features) for name, panes in first.items()}
