"""A model whose reference has no labels: its first labels say how good it was, before and after a restart."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from collector_processor.alerts.rules import DEFAULT_RULES
from collector_processor.columns.batch import Column, Decoded, LabelBatch, ModelKey, PredictionBatch
from collector_processor.decode import hash_ids
from collector_processor.monitors.base import Measurement
from collector_processor.own.telemetry import Telemetry
from collector_processor.pipeline.pipeline import Pipeline
from collector_processor.pipeline.settings import MlMonitor
from collector_processor.reference.build import build_reference
from collector_processor.reference.profile import Reference
from collector_processor.service.state import StateStore

NOW_NS = 1_750_000_000 * 10**9
KEY = ModelKey("fraud", "1")
ROWS, WANTED = 400, 800
RULE = next(rule for rule in DEFAULT_RULES if rule.name == "performance_drop")
CONFIG = MlMonitor.model_validate(
    {
        "window": {"size": f"{ROWS} rows", "min_rows": 50, "min_labels": 50},
        "reference": {"learn": 100, "labels": WANTED},
    }
)
NAMES = ("no", "yes")


def predictions(first: int, rows: int = ROWS) -> PredictionBatch:
    """Every other row is positive and predicted so."""
    numbers = np.arange(first, first + rows)
    said = (numbers % 2).astype(np.int32)
    return PredictionBatch(
        KEY, np.full(rows, NOW_NS, np.int64), hash_ids([str(number) for number in numbers]), np.ones(rows),
        np.full(rows, 0.01), {"amount": Column(numbers % 50.0)}, prediction=Column(None, said, NAMES),
        score=said * 0.8 + 0.1,
    )  # fmt: skip


def labels(first: int, wrong: float, rows: int = ROWS) -> LabelBatch:
    numbers = np.arange(first, first + rows)
    truth = (numbers % 2).astype(np.int32)
    truth = np.where(np.arange(rows) < wrong * rows, 1 - truth, truth).astype(np.int32)
    ids = hash_ids([str(number) for number in numbers])
    return LabelBatch("fraud", np.full(rows, NOW_NS, np.int64), ids, classes=Column(None, truth, NAMES))


class Line:
    def __init__(self, directory: Path | None = None, reference: Reference | None = None) -> None:
        self.telemetry = Telemetry()
        self.pipeline = Pipeline(CONFIG, {} if reference is None else {"fraud": reference}, self.telemetry, NOW_NS)
        self.store = None if directory is None else StateStore(directory, self.telemetry)
        if self.store is not None:
            self.store.restore(self.pipeline, NOW_NS)

    def window(self, first: int, wrong: float) -> list[Measurement]:
        """The measurements of the window that the labels fall into, which closes with the predictions after it."""
        self.pipeline.process([Decoded((predictions(first),), ())], NOW_NS)
        self.pipeline.process([Decoded((), (labels(first, wrong),))], NOW_NS)
        return self.pipeline.tick(NOW_NS)


def fired(found: Sequence[Measurement]) -> bool:
    judged = [item for item in found if item.name == RULE.measurement and RULE.matches(item.attributes)]
    return any(RULE.breached(item.value) for item in judged)


def run(line: Line, windows: range, wrong: float) -> list[bool]:
    return [fired(line.window(number * ROWS, wrong)) for number in windows]


@pytest.mark.parametrize("given", [False, True], ids=["learned", "file"])
def test_a_drop_after_the_first_labels_is_an_alert(given: bool, caplog: pytest.LogCaptureFixture) -> None:
    """A reference without labels, learned or from a file, once kept performance_drop silent for good."""
    line = Line(reference=build_reference("fraud", predictions(10_000), positive_class="yes") if given else None)
    with caplog.at_level(logging.INFO):
        assert run(line, range(4), 0.05) == [False] * 4
    (learned,) = [text for text in caplog.messages if "performance learned" in text]
    assert learned.startswith("model 'fraud@1': performance learned from the first 800 labels: accuracy 0.95")
    assert run(line, range(4, 8), 0.4)[1:] == [True] * 3


def test_a_restart_keeps_what_was_learned_and_what_is_being_learned(tmp_path: Path) -> None:
    for number, wrong in enumerate([0.05, 0.05, 0.05, 0.4, 0.4]):
        line = Line(tmp_path)
        found = run(line, range(number, number + 1), wrong)
        assert line.store is not None
        line.store.save(line.pipeline)
    assert found == [True]
    watch = line.pipeline.models[KEY].watch
    assert watch is not None
    assert watch.first_labels is not None
    assert watch.first_labels.labels == WANTED


def test_a_state_of_another_version_is_learned_again_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = Line(tmp_path)
    run(line, range(3), 0.05)
    assert line.store is not None
    line.store.save(line.pipeline)
    monkeypatch.setattr("collector_processor.pipeline.first_labels.VERSION", 2)
    again = Line(tmp_path)
    watch = again.pipeline.models[KEY].watch
    assert watch is not None
    assert watch.first_labels is not None
    assert watch.first_labels.labels == 0
    dropped = {"stage": "state", "reason": "does_not_fit", "intentional": "false"}
    assert again.telemetry.registry.get_sample_value("otel_ml_dropped_total", dropped) == 1.0


def test_a_reference_with_labels_is_what_counts() -> None:
    truth = (np.arange(ROWS) % 2).astype(np.int32)
    reference = build_reference("fraud", predictions(0), label_classes=Column(None, truth, NAMES), positive_class="yes")
    line = Line(reference=reference)
    assert run(line, range(3), 0.4)[1:] == [True] * 2
    watch = line.pipeline.models[KEY].watch
    assert watch is not None
    assert watch.first_labels is None


def scored(first: int) -> PredictionBatch:
    """Rows without a class: which one is positive is not known before labels of two."""
    return replace(predictions(first), prediction=None)


def named(first: int, *names: str, rows: int = ROWS) -> LabelBatch:
    """Labels of the rows, in turn."""
    ids = hash_ids([str(number) for number in range(first, first + rows)])
    codes = (np.arange(rows) % len(names)).astype(np.int32)
    return LabelBatch("fraud", np.full(rows, NOW_NS, np.int64), ids, classes=Column(None, codes, names))


@pytest.mark.parametrize(("only", "other"), [("legit", "fraud"), ("no", "fraud"), ("no", "yes")])
def test_labels_from_before_the_positive_class_was_known_are_not_the_first(only: str, other: str) -> None:
    """Figures of one class, or of scores about the other one, once stood for the model's performance for good."""
    line = Line(reference=build_reference("fraud", scored(10_000), task="binary_classification"))
    for number in range(3):
        line.pipeline.process([Decoded((scored(number * ROWS),)), Decoded((), (named(number * ROWS, only),))], NOW_NS)
    watch = line.pipeline.models[KEY].watch
    assert watch is not None
    assert watch.first_labels is not None
    for number in range(3, 6):
        both = named(number * ROWS, only, other)
        line.pipeline.process([Decoded((scored(number * ROWS),)), Decoded((), (both,))], NOW_NS)
    assert watch.windows.schema.positive_class == other
    assert watch.first_labels.labels == WANTED
    assert "recall" in watch.first_labels.figures()
