"""The world or the population: alarms on real flights whose mix changes, and on flights whose labels change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.random import Generator
from sklearn.ensemble import HistGradientBoostingClassifier

from collector_processor.columns.batch import F64, I64, Column, Mask, ModelKey, PredictionBatch
from collector_processor.demo import flights
from collector_processor.monitors.concept import ConceptMonitor, ConceptSettings
from collector_processor.monitors.fold import Fold
from collector_processor.monitors.stream_detectors import DETECTORS
from collector_processor.reference.build import build_reference
from collector_processor.reference.profile import Reference
from collector_processor.statistics.estimates import estimates, evaluate_evenly
from collector_processor.statistics.pane import Pane
from collector_processor.statistics.parts.reliability import Reliability, by_expectation
from collector_processor.window.closed import Window
from otel_ml import semconv
from verification.topic import Check, Findings, Progress, Table, Topic, versions

MODEL = ModelKey("flights", "1")
MINUTE = 60 * 10**9
PANE, BEFORE, ROWS = 100, 5_000, 20_000
NUMERIC, CATEGORICAL = ("hour", "month", "weekday", "distance", "temp"), ("carrier", "origin", "dest")
THRESHOLD: Final = 0.35
"""From this score on, a flight is called late."""
WORLD, ERRORS = "the world", "more errors"
OURS = {WORLD: semconv.CONCEPT_ALARM, ERRORS: semconv.CONCEPT_ERROR_ALARM}
POPULATIONS: Final[dict[str, Callable[[pd.DataFrame], pd.Series]]] = {
    "no change": lambda rows: rows["hour"] >= 0,
    "flights after 16:00": lambda rows: rows["hour"] > 16,
    "flights before 9:00": lambda rows: rows["hour"] < 9,
    "from Newark": lambda rows: rows["origin"] == "EWR",
    "June and July": lambda rows: rows["month"].between(6, 7),
    "September to November": lambda rows: rows["month"].between(9, 11),
    "farther than 1,500 miles": lambda rows: rows["distance"] > 1500,
    "one carrier": lambda rows: rows["carrier"] == "EV",
}
"""Which flights come after the change; every one of them is a matter of the model's features."""
Truth = Callable[[F64, Generator], F64]
WORLDS: Final[dict[str, Truth]] = {
    "10 % of labels flipped": lambda y, random: np.where(random.random(len(y)) < 0.1, 1.0 - y, y),
    "5 % of labels flipped": lambda y, random: np.where(random.random(len(y)) < 0.05, 1.0 - y, y),
    "a tenth more flights late": lambda y, random: np.where(random.random(len(y)) < 0.1, 1.0, y),
    "every second late flight on time": lambda y, random: np.where(random.random(len(y)) < 0.5, 0.0, y),
}


@dataclass(frozen=True, slots=True)
class Rows:
    """Scored flights that no model was fitted on, and the reference. ``expected`` is each flight's estimate."""

    reference: Reference
    features: pd.DataFrame
    truth: F64
    predicted: F64
    expected: F64


def scored(step: int) -> tuple[pd.DataFrame, F64, Mask]:
    """Return every ``step``-th flight, in a random order, its score, and whether it was late; a third trained."""
    table = flights.load_flights()
    known = table.arrival_delay.notna().to_numpy()
    features: pd.DataFrame = table.features[known].assign(
        month=table.departure[known].dt.month.astype(float), weekday=table.departure[known].dt.day_of_week.astype(float)
    )
    order = np.random.default_rng(1).permutation(len(features))[::step]
    features, late = features.iloc[order], (table.arrival_delay[known].to_numpy() > flights.LATE_MINUTES)[order]
    third = len(features) // 3
    matrix = features[list(NUMERIC)].assign(**{name: pd.factorize(features[name])[0] for name in CATEGORICAL})
    model: Any = HistGradientBoostingClassifier(max_iter=60, max_leaf_nodes=15, random_state=0)
    return features, model.fit(matrix[:third], late[:third]).predict_proba(matrix)[:, 1], late


def prepared(step: int) -> Rows:
    """Return every ``step``-th flight, in a random order: a third trains, a third is the reference, a third streams."""
    features, score, late = scored(step)
    third = len(features) // 3
    middle, last = slice(third, 2 * third), slice(2 * third, None)
    labels = Column(None, late[middle].astype(np.int32), (flights.ON_TIME, flights.DELAYED))
    reference = build_reference(
        "flights", batch(features[middle], score[middle]), task="binary_classification", label_classes=labels,
        positive_class=flights.DELAYED, threshold=THRESHOLD, categorical=CATEGORICAL,
    )  # fmt: skip
    rows = batch(features[last], score[last])
    evaluate_evenly(reference.schema, rows, len(rows))
    expected = estimates(reference.schema, rows)
    assert expected is not None
    return Rows(reference, features[last], late[last].astype(float), (score[last] >= THRESHOLD).astype(float), expected)


def batch(features: pd.DataFrame, score: F64) -> PredictionBatch:
    """Return scored flights."""
    count = len(features)
    columns = {name: Column(features[name].to_numpy(np.float64)) for name in NUMERIC}
    for name in CATEGORICAL:
        codes, names = pd.factorize(features[name], sort=True)
        columns[name] = Column(None, codes.astype(np.int32), tuple(names))
    ids = np.arange(2 * count, dtype=np.uint64).reshape(count, 2)
    return PredictionBatch(
        MODEL, np.zeros(count, np.int64), ids, np.ones(count), np.full(count, np.nan), columns, score=score,
        positive_class=flights.DELAYED,
    )  # fmt: skip


def first_alarms(rows: Rows, chosen: I64, truth: F64) -> dict[str, int]:
    """Return after how many labels each detector first raised an alarm; −1 for none."""
    errors = (truth != rows.predicted[chosen]).astype(float)
    found = dict.fromkeys((*OURS, *DETECTORS), -1)
    fold = Fold.begun(ConceptMonitor(ConceptSettings()), rows.reference)
    sums = Pane.empty(rows.reference.schema)
    part = sums.further[Reliability]
    for number, start in enumerate(range(0, len(chosen), PANE)):
        now = slice(start, start + PANE)
        part.table[...] = by_expectation(rows.expected[chosen[now]], truth[now], np.ones(len(truth[now])))
        part.errors[...] = (len(errors[now]), errors[now].sum())
        pane = Window(MODEL, number * MINUTE, (number + 1) * MINUTE, rows.reference.schema, sums)
        raised = {item.name for item in fold.step(pane, rows.reference) if item.value == 1.0}
        for name, metric in OURS.items():
            if found[name] < 0 and metric in raised:
                found[name] = start + PANE
    values = errors.tolist()
    for name, make in DETECTORS.items():
        detector = make()
        found[name] = next((row + 1 for row, value in enumerate(values) if detector.see(value)), -1)
    return found


def streams(rows: Rows, mask: Mask, change: Truth | None, count: int, seed: int) -> list[dict[str, int]]:
    """Return the first alarms of streams that change after 5,000 of 20,000 labels."""
    random = np.random.default_rng(seed)
    every, kind = np.arange(len(rows.truth)), np.flatnonzero(mask)
    found: list[dict[str, int]] = []
    for _ in range(count):
        chosen = np.concatenate((random.choice(every, BEFORE), random.choice(kind, ROWS - BEFORE)))
        truth = rows.truth[chosen].copy()
        if change is not None:
            truth[BEFORE:] = change(truth[BEFORE:], random)
        found.append(first_alarms(rows, chosen, truth))
    return found


def share(found: Sequence[dict[str, int]], name: str) -> str:
    """Return the share of streams with an alarm."""
    return f"{np.mean([each[name] >= 0 for each in found]):.0%}"


def delay(found: Sequence[dict[str, int]], name: str) -> str:
    """Return the median labels from the change to the first alarm, and how many streams had one before it."""
    after = [each[name] - BEFORE if each[name] >= 0 else np.inf for each in found]
    early = sum(0 <= each[name] <= BEFORE for each in found)
    middle = float(np.median([each for each in after if each > 0])) if early < len(found) else np.inf
    text = f"{middle:,.0f}" if np.isfinite(middle) else "not found"
    return f"{text} ({early} too early)" if early else text


def run(quick: bool, progress: Progress) -> Findings:
    """Simulate two streams a kind (quick) or 125 and 50."""
    rows = prepared(6 if quick else 1)
    usual = float((rows.truth == rows.predicted).mean())
    mixes, worlds = (2, 2) if quick else (125, 50)
    every = np.ones(len(rows.truth), np.bool_)
    by_mix: dict[str, list[dict[str, int]]] = {}
    moved: dict[str, float] = {}
    for place, (name, select) in enumerate(POPULATIONS.items()):
        progress(name)
        mask = select(rows.features).to_numpy()
        moved[name] = float((rows.truth == rows.predicted)[mask].mean()) - usual
        by_mix[name] = streams(rows, mask, None, mixes, place)
    by_world: dict[str, list[dict[str, int]]] = {}
    for place, (name, change) in enumerate(WORLDS.items(), 100):
        progress(name)
        by_world[name] = streams(rows, every, change, worlds, place)
    total = sum(map(len, by_mix.values()))
    false = sum(each[WORLD] >= 0 for found in by_mix.values() for each in found)
    flipped = by_world["10 % of labels flipped"]
    delays = sorted(each[WORLD] - BEFORE if each[WORLD] > BEFORE else ROWS for each in flipped)
    return Findings(
        data=f"{len(rows.truth):,} flights that neither the model nor the reference of "
        f"{int(rows.reference.pane.rows[1]):,} has seen; streams draw from all of them 5,000 "
        "times, then 15,000 times from those of a kind, or with changed labels; a pane has 100 labels and "
        "a minute; one false alarm a year",
        checks=[
            Check.equal(f"alarms of a changed world in {total:,} streams whose population changes", false, 0),
            Check.at_most(
                "labels until 10 % of flipped ones are found, in half of the streams", float(np.median(delays)), 3000.0
            ),
            Check.equal("10 % of flipped labels: streams without an alarm", sum(each == ROWS for each in delays), 0),
        ],
        tables=[
            Table(
                "Only the population changes. Streams with an alarm, of all streams:",
                ("population after the change", "accuracy", WORLD, ERRORS, *DETECTORS),
                [
                    (name, f"{moved[name]:+.1%}", *(share(found, detector) for detector in found[0]))
                    for name, found in by_mix.items()
                ],
            ),
            Table(
                "The world changes. Labels from the change to the first alarm, median of all streams:",
                ("change", WORLD, ERRORS, *DETECTORS),
                [(name, *(delay(found, detector) for detector in found[0])) for name, found in by_world.items()],
            ),
        ],
        versions=versions("numpy", "scikit-learn", "lightgbm"),
    )


TOPIC = Topic("The world or the population", run, page="methods/calibration_detector.md")
