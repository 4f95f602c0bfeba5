"""Alarms on means of bounded values: promised and measured false alarms, and delays."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from collector_processor.columns.batch import F64, Mask
from collector_processor.detectors.bounded import Bets, mean_limits
from collector_processor.detectors.dependence import Tempering
from collector_processor.detectors.shiryaev_roberts import log_mean, updated
from verification.topic import Check, Findings, Progress, Table, Topic, versions

PROMISES = (1e-2, 1e-3, 1e-4)
MEAN, STRENGTH = 0.1, 2.0
"""Of a Beta(.2, 1.8): most values are near 0, a few near 1."""
DOUBT = 1e-4
"""Probability that a reference's limits are wrong: of a model of 100 columns, 1 % for all."""
YEAR = math.log(100 * 525_600)
"""The evidence that one false alarm a year over 100 columns asks for."""


@dataclass(frozen=True, slots=True)
class Stream:
    """Panes of values with a known mean; ``reference`` rows give its limits, 0: the mean itself is known."""

    name: str
    rows: int
    reference: int = 0
    alike: int = 1


STREAMS = (
    Stream("20 rows, a known mean", 20),
    Stream("200 rows, a known mean", 200),
    Stream("200 rows, a reference of 5,000 rows", 200, 5000),
    Stream("200 rows in calls of 10 equal rows", 200, alike=10),
)
CHANGES = (0.11, 0.12, 0.15, 0.2, 0.08, 0.05)


def run(quick: bool, progress: Progress) -> Findings:
    """Count alarms of 50 columns in 10,000 panes (quick: 40), and the panes until a mean of .1 has changed visibly."""
    random = np.random.default_rng(9)
    columns, panes, most = (50, 40, 40) if quick else (50, 10_000, 1440)
    counted: list[tuple[str, float, int]] = []
    for stream in STREAMS:
        progress(stream.name)
        alarms = _false_alarms(random, stream, columns, panes)
        counted += [(stream.name, promise, number) for promise, number in zip(PROMISES, alarms, strict=True)]
    delays: list[list[object]] = []
    for mean in CHANGES[2:4] if quick else CHANGES:
        progress(f"mean {mean}")
        delays.append([f"{MEAN:g} → {mean:g}", *(_delay(random, rows, mean, most) for rows in (200, 20))])
    total = columns * panes
    return Findings(
        data=f"values of a Beta(.2, 1.8), whose mean is {MEAN:g}; {total * len(STREAMS):,} column-panes without a "
        "change",
        checks=[
            Check.at_most(f"{name}: alarms per column and pane", number / total, promise)
            for name, promise, number in counted
        ],
        tables=[
            Table(
                "Alarms without a change. The limits of the mean are those of the reference, without a tolerance.",
                ["panes", "promised per column and pane", "alarms", "column-panes"],
                [[name, f"{promise:g}", number, f"{total:,}"] for name, promise, number in counted],
            ),
            Table(
                "Panes until an alarm, median of 50 columns, with the mean of a reference of 50,000 rows and the "
                "default tolerance of 0.01, at one false alarm a year over 100 columns.",
                ["mean", "200 rows a pane", "20 rows a pane"],
                delays,
            ),
        ],
        versions=versions("numpy"),
    )


def _values(random: np.random.Generator, shape: tuple[int, int], mean: float = MEAN) -> F64:
    return random.beta(STRENGTH * mean, STRENGTH * (1.0 - mean), shape)


def _bets(random: np.random.Generator, columns: int, reference: int, tolerance: float = 0.0) -> Bets:
    if not reference:
        return Bets.of(np.full(columns, MEAN), np.full(columns, MEAN))
    limits = np.array([
        mean_limits(float(reference), float(x.sum()), float(x @ x), DOUBT)
        for x in (_values(random, (1, reference))[0] for _ in range(columns))
    ])  # fmt: skip
    return Bets.of(limits[:, 0] - tolerance, limits[:, 1] + tolerance)


class _Run:
    """The evidence of several columns, one pane after another."""

    def __init__(self, bets: Bets, needed: float, alike: int = 1) -> None:
        self._bets, self._needed, self._tempering = bets, needed, Tempering(float(alike))
        self._log_m = np.full(bets.valid.shape, -np.inf)

    def step(self, cells: F64) -> Mask:
        """Add a pane ``[C, 3]`` and return which columns raise an alarm; they begin again."""
        self._log_m = updated(self._log_m, self._bets.increments(cells, self._tempering))
        raised = log_mean(self._log_m, self._bets.valid) >= self._needed
        self._log_m[raised] = -np.inf
        return raised


def _cells(values: F64, alike: int = 1) -> F64:
    """Return n, Σ x and Σ x² of each column, each value ``alike`` times."""
    sums = np.stack((np.full(len(values), values.shape[1]), values.sum(axis=1), np.square(values).sum(axis=1)), axis=1)
    return sums * float(alike)


def _false_alarms(random: np.random.Generator, stream: Stream, columns: int, panes: int) -> list[int]:
    bets = _bets(random, columns, stream.reference)
    runs = [_Run(bets, -math.log(promise), stream.alike) for promise in PROMISES]
    counts = [0] * len(runs)
    for _ in range(panes):
        cells = _cells(_values(random, (columns, stream.rows // stream.alike)), stream.alike)
        for place, each in enumerate(runs):
            counts[place] += int(each.step(cells).sum())
    return counts


def _delay(random: np.random.Generator, rows: int, mean: float, most: int) -> str:
    columns, before = 50, 60
    one = _Run(_bets(random, columns, 50_000, 0.01), YEAR)
    for _ in range(before):
        one.step(_cells(_values(random, (columns, rows))))
    found = np.full(columns, np.nan)
    for pane in range(most):
        raised = one.step(_cells(_values(random, (columns, rows), mean)))
        found[raised & np.isnan(found)] = pane + 1
        if np.isfinite(found).all():
            break
    share = float(np.isfinite(found).mean())
    if share < 0.5:
        return f"– ({share:.0%} found)" if share else "never"
    median = float(np.median(np.where(np.isfinite(found), found, np.inf)))
    return f"{median:.0f}" if share == 1.0 else f"{median:.0f} ({share:.0%} found)"


TOPIC = Topic("Alarms on means: false alarms and delays", run, page="methods/e_detectors.md")
