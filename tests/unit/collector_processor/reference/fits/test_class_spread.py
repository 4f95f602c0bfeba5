"""How much the average precision of many classes varies, from draws that may lack a class."""

from __future__ import annotations

import numpy as np
import pytest

from collector_processor.reference.fits import class_baseline
from collector_processor.reference.fits.class_baseline import JudgedClasses, class_spread

CLASSES, ROWS = 20, 8000


@pytest.fixture(scope="module")
def judged() -> JudgedClasses:
    random = np.random.default_rng(2)
    truth = random.integers(0, CLASSES, ROWS)
    odds = random.normal(size=(ROWS, CLASSES)) + 2.5 * (truth[:, None] == np.arange(CLASSES))
    scores = np.exp(odds) / np.exp(odds).sum(axis=1, keepdims=True)
    return JudgedClasses(truth, scores.argmax(axis=1), scores, np.ones(ROWS))


def test_draws_without_a_class_say_nothing_of_it(judged: JudgedClasses, monkeypatch: pytest.MonkeyPatch) -> None:
    usual, _ = class_spread(judged)["average_precision"]
    monkeypatch.setattr(class_baseline, "DRAWN", 60 * CLASSES)  # three rows of a class in each draw
    assert class_spread(judged)["average_precision"] == (pytest.approx(usual, rel=0.15), 1.0)


def test_a_class_that_no_row_has_leaves_the_others(judged: JudgedClasses) -> None:
    usual, _ = class_spread(judged)["average_precision"]
    absent = np.zeros((ROWS, 1))
    more = JudgedClasses(judged.truth, judged.predicted, np.hstack((judged.scores, absent)), judged.weights)
    assert class_spread(more)["average_precision"] == (pytest.approx(usual, rel=0.05), 1.0)
