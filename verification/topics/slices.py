"""A planted slice of two predicates with twice the errors, and windows in which all slices are alike."""

from __future__ import annotations

from dataclasses import replace
from time import process_time

import numpy as np
from numpy.random import Generator

from collector_processor.columns.batch import I32, Column, ModelKey, PredictionBatch
from collector_processor.monitors.slices import SliceMonitor, SliceSettings
from collector_processor.reference.build import build_reference
from collector_processor.reference.columns import Labels
from collector_processor.reference.outcomes import reference_outcomes, reference_slices
from collector_processor.reference.profile import Reference
from collector_processor.statistics.fits.slice_cells import SliceCells
from collector_processor.statistics.outcomes import accumulate_outcomes
from collector_processor.statistics.pane import Pane
from collector_processor.window.closed import Window
from otel_ml import semconv
from verification.topic import Check, Findings, Progress, Table, Topic, versions

MODEL = ModelKey("slices", "1")
CLASSES, FEATURES, BASE = ("no", "yes"), 25, 0.1


def labeled(random: Generator, rows: int, planted: float) -> tuple[PredictionBatch, Column]:
    """Return 20 numbers and 5 texts with about one error in ten, more where one number is high or one text is "c".

    And the labels. In the planted slice another share is wrong.
    """
    numbers = random.standard_normal((20, rows))
    texts = random.choice(6, (5, rows), p=[0.3, 0.25, 0.2, 0.1, 0.1, 0.05]).astype(np.int32)
    features = {f"f{j:02}": Column(row) for j, row in enumerate(numbers)}
    features |= {f"t{j}": Column(None, row, tuple("abcdef")) for j, row in enumerate(texts)}
    inside = (numbers[0] > 0.8416) & (texts[0] == 3)
    usual = BASE * (1.0 + 0.5 * np.tanh(numbers[1]) + 0.5 * (texts[1] == 2) - 0.1)
    wrong = random.random(rows) < np.where(inside, planted, usual)
    labels: I32 = random.integers(0, 2, rows).astype(np.int32)
    batch = PredictionBatch(
        MODEL, np.zeros(rows, np.int64), np.zeros((rows, 2), np.uint64), np.ones(rows), np.full(rows, np.nan), features,
        prediction=Column(None, np.where(wrong, 1 - labels, labels).astype(np.int32), CLASSES),
        task="binary_classification",
    )  # fmt: skip
    return batch, Column(None, labels, CLASSES)


def window(reference: Reference, batch: PredictionBatch, labels: Column) -> Window:
    """Return a window of these labeled rows."""
    schema = reference.schema
    pane = Pane.empty(schema)
    outcomes = reference_outcomes(schema, batch, Labels(labels, None))
    assert outcomes is not None
    accumulate_outcomes(pane, schema, replace(outcomes, slices=reference_slices(schema, batch)))
    return Window(MODEL, 0, 60 * 10**9, schema, pane)


def run(quick: bool, progress: Progress) -> Findings:
    """Simulate windows with and without a planted slice."""
    random = np.random.default_rng(14)
    batch, labels = labeled(random, 50_000, BASE)
    reference = build_reference("slices", batch, positive_class="yes", label_classes=labels)
    fit = reference.schema.fit(SliceCells)
    assert fit is not None
    monitor = SliceMonitor(SliceSettings())
    windows, false_windows = (10, 10) if quick else (300, 300)
    rows: list[tuple[int, int, float, float]] = []
    spent: list[float] = []
    for size in (20_000, 40_000) if not quick else (40_000,):
        found = named = 0
        for number in range(windows):
            if number % 50 == 0:
                progress(f"planted, {size} rows, window {number}")
            one = window(reference, *labeled(random, size, 2 * BASE))
            begin = process_time()
            measured = monitor.evaluate(one, reference)
            spent.append(process_time() - begin)
            worse = next(each for each in measured if each.name == semconv.SLICE_WORSE)
            found += worse.value > 0.0
            named += "f00" in worse.words and "t0" in worse.words
        rows.append((size, windows, found / windows, named / windows))
    alarms = 0
    for number in range(false_windows):
        if number % 50 == 0:
            progress(f"alike, window {number}")
        measured = monitor.evaluate(window(reference, *labeled(random, 20_000, BASE)), reference)
        alarms += next(each for each in measured if each.name == semconv.SLICE_WORSE).value > 0.0
    return Findings(
        data=f"{FEATURES} features, {int(fit.starts[-1])} cells; errors of 4 to 19 %, on average 10 %, "
        "and 20 % in the planted slice",
        checks=[
            Check.at_least("windows of 40,000 labels in which the planted slice is found", rows[-1][2], 0.95),
            Check.at_most("windows without one in which any slice is worse", alarms / false_windows, 0.05),
            Check.at_most("time of a window, ms", 1e3 * float(np.median(spent)), 50.0),
        ],
        tables=[
            Table(
                "A slice of 2 % of the rows with twice the errors:",
                ("labels in the window", "windows", "found", "named"),
                rows,
            )
        ],
        versions=versions("numpy"),
    )


TOPIC = Topic("Slices that have become worse", run, page="methods/slices.md")
