"""What must cost nothing, and that the short ways give what the long ones give."""

from __future__ import annotations

import _thread
import sys
import threading

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import RandomForestClassifier

from otel_ml.frameworks.base import observing

ROWS = np.random.default_rng(3).random((60, 3))
CLASSES = (ROWS[:, 0] > 0.5).astype(int)
AROUND = next(code for code in observing.__code__.co_consts if getattr(code, "co_name", "") == "around")


class Clusters(BaseEstimator):
    """Predicts nothing that is observed, and says that it was called."""

    called: threading.Event

    def predict(self, X):
        self.called.set()


class Given(ClassifierMixin, BaseEstimator):
    """A classifier with the probabilities that it is given."""

    classes_: np.ndarray
    rows: np.ndarray

    def predict_proba(self, X):
        return self.rows[: len(X)] if len(X) > 1 else self.rows[[int(X[0][0])]]


@pytest.mark.parametrize("trees", [3, 20])
@pytest.mark.parametrize("method", ["predict", "predict_proba"])
def test_the_trees_of_a_forest_do_not_reach_the_code_that_observes(instrumented, trees, method):
    forest = RandomForestClassifier(trees, random_state=0).fit(ROWS, CLASSES)
    observed = []

    def look(frame, event, argument):
        if event == "call" and frame.f_code is AROUND:
            observed.append(frame.f_locals["instance"])

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        getattr(forest, method)(ROWS[:1])
    finally:
        sys.setprofile(before)
    assert observed == [forest]
    assert len(instrumented.predictions) == 1


def test_a_call_without_a_caller_in_python_reaches_the_model(instrumented):
    model = Clusters()
    model.called = threading.Event()
    _thread.start_new_thread(model.predict, (ROWS,))  # no frame of Python above it
    assert model.called.wait(30)


@pytest.mark.parametrize("dtype", [float, np.float32])
@pytest.mark.parametrize(
    ("classes", "rows"),
    [
        (["no", "yes"], [[0.5, 0.5], [0.2, 0.8], [0.7, 0.3]]),
        ([0, 1], [[np.nan, 0.5], [0.5, np.nan], [1.0, 0.0]]),
        ([False, True], [[0.1, 0.9], [0.9, 0.1]]),
        ([1.0, 2.5], [[0.1, 0.9], [0.9, 0.1]]),
        (["a", "b", "c"], [[0.2, 0.2, 0.6], [0.4, 0.4, 0.2], [0.3, np.nan, 0.7], [np.nan, np.nan, 1.0]]),
        (list(range(25)), [[0.5] + [0.5 / 24] * 24, [0.5 / 24] * 24 + [0.5]]),
        ([np.datetime64("2026-01-01"), np.datetime64("2026-01-02")], [[0.3, 0.7], [0.6, 0.4]]),
    ],
)
def test_probabilities_of_a_row_are_recorded_as_those_of_many(instrumented, classes, rows, dtype):
    model = Given()
    model.classes_, model.rows = np.array(classes), np.array(rows, dtype)
    model.predict_proba(np.arange(len(rows))[:, np.newaxis])
    many = [(seen.class_, seen.score, seen.scores) for seen in instrumented.predictions]
    for row in range(len(rows)):
        model.predict_proba(np.array([[row]]))
    alone = [(seen.class_, seen.score, seen.scores) for seen in instrumented.predictions[len(rows) :]]
    assert repr(alone) == repr(many)
