"""What is not a prediction of the application: training, judging, and what runs inside another prediction."""

from __future__ import annotations

import asyncio
import threading
import traceback
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
from opentelemetry.instrumentation.utils import suppress_instrumentation
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor, StackingClassifier, VotingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.inspection import partial_dependence, permutation_importance
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier
from sklearn.metrics import get_scorer
from sklearn.model_selection import (
    GridSearchCV,
    TunedThresholdClassifierCV,
    cross_val_predict,
    cross_val_score,
    learning_curve,
)
from sklearn.multioutput import MultiOutputRegressor
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from otel_ml import Model

RNG = np.random.default_rng(11)
X = pd.DataFrame(RNG.random((40, 2)), columns=["age", "amount"])
Y = np.where(X["age"] + X["amount"] > 1, "good", "bad")
VALUES = X["age"].to_numpy() * 2


def judge(model, X, y):
    """A scorer of the application: scikit-learn calls it, and it calls the model."""
    return float(np.mean(model.predict(X) == y) + model.predict_proba(X)[0, 0] * 0)


class Stopping(ClassifierMixin, BaseEstimator):
    """Judges itself while it is fitted."""

    def fit(self, X, y):
        self.model_ = LogisticRegression()
        for _ in range(2):
            self.model_.fit(X, y)
            self.loss_ = 1 - self.model_.score(X, y) + float(np.mean(self.model_.predict(X) != y))
        self.classes_ = self.model_.classes_
        return self

    partial_fit = fit

    def predict(self, X):
        return self.model_.predict(X)

    def score(self, X, y):
        return float(np.mean(self.model_.predict_proba(X).argmax(axis=1) == (y == "good")))


def in_threads(run):
    with joblib.parallel_config("threading", n_jobs=2):
        return run()


SILENT = {
    "fit": lambda: Stopping().fit(X, Y),
    "partial fit": lambda: Stopping().partial_fit(X, Y),
    "score": lambda: Stopping().fit(X, Y).score(X, Y),
    "score of the library's": lambda: LogisticRegression().fit(X, Y).score(X, Y),
    "score of a pipeline": lambda: make_pipeline(StandardScaler(), Ridge()).fit(X, VALUES).score(X, VALUES),
    "early stopping": lambda: SGDClassifier(early_stopping=True, random_state=1).fit(X, Y),
    "search": lambda: GridSearchCV(LogisticRegression(), {"C": [1, 2]}, cv=2, scoring="roc_auc").fit(X, Y),
    "search by the application's scorer": lambda: GridSearchCV(
        LogisticRegression(), {"C": [1, 2]}, cv=2, scoring=judge
    ).fit(X, Y),
    "cross-validation": lambda: cross_val_score(LogisticRegression(), X, Y, cv=2, scoring="neg_log_loss"),
    "cross-validation by the application's scorer": lambda: cross_val_score(GaussianNB(), X, Y, cv=2, scoring=judge),
    "the same in threads": lambda: in_threads(lambda: cross_val_score(GaussianNB(), X, Y, cv=2, scoring=judge)),
    "cross-validated predictions": lambda: cross_val_predict(LogisticRegression(), X, Y, cv=2, method="predict_proba"),
    "cross-validated predictions in threads": lambda: in_threads(
        lambda: cross_val_predict(LogisticRegression(), X, Y, cv=2)
    ),
    "scorer": lambda: get_scorer("accuracy")(LogisticRegression().fit(X, Y), X, Y),
    "calibration": lambda: CalibratedClassifierCV(GaussianNB(), cv=2).fit(X, Y),
    "threshold": lambda: TunedThresholdClassifierCV(LogisticRegression(), cv=2).fit(X, Y),
    "stacking in threads": lambda: in_threads(
        lambda: StackingClassifier([("a", GaussianNB()), ("b", LogisticRegression())], cv=2, n_jobs=2).fit(X, Y)
    ),
    "learning curve": lambda: learning_curve(LogisticRegression(), X, Y, cv=2, train_sizes=[0.5, 1.0]),
    "importance": lambda: permutation_importance(LogisticRegression().fit(X, Y), X, Y, n_repeats=2),
    "dependence": lambda: partial_dependence(
        LogisticRegression().fit(X, Y), X, ["age"], method="brute", grid_resolution=3
    ),
}


@pytest.mark.parametrize("act", SILENT.values(), ids=SILENT)
def test_training_and_judging_emit_nothing(act, instrumented):
    act()
    assert instrumented.spans == ()


def test_outputs_one_by_one_in_threads_are_one_call(instrumented):
    model = MultiOutputRegressor(Ridge(), n_jobs=2).fit(X, np.c_[VALUES, VALUES])
    in_threads(lambda: model.predict(X[:2]))
    assert [span.name for span in instrumented.spans] == [
        "predict MultiOutputRegressor/1",
        "predict MultiOutputRegressor/0",
    ]


def test_trees_that_predict_in_threads_are_part_of_their_forest(instrumented):
    RandomForestClassifier(8, n_jobs=2).fit(X, Y).predict_proba(X[:2])
    RandomForestRegressor(8, n_jobs=2).fit(X, VALUES).predict(X[:2])
    assert [span.name for span in instrumented.spans] == [
        "predict RandomForestClassifier",
        "predict RandomForestRegressor",
    ]


class Average(MetaEstimatorMixin, ClassifierMixin, BaseEstimator):
    """An ensemble of the application."""

    def __init__(self, members):
        self.members = members

    def fit(self, X, y):
        self.members_ = [clone(member).fit(X, y) for member in self.members]
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X):
        return np.mean([member.predict_proba(X) for member in self.members_], axis=0)

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


def test_members_of_an_own_ensemble_are_part_of_it(instrumented):
    model = Average([GaussianNB(), VotingClassifier([("a", GaussianNB())], voting="soft")]).fit(X, Y)
    model.predict(X[:1])
    model.predict_proba(X[:1])
    assert [span.name for span in instrumented.spans] == ["predict Average", "predict Average"]


def test_predict_and_predict_proba_are_two_predictions(instrumented):
    model = LogisticRegression().fit(X, Y)
    model.predict(X[:1])
    model.predict_proba(X[:1])
    assert [prediction.score is None for prediction in instrumented.predictions] == [True, False]


@pytest.mark.parametrize(
    ("variable", "argument", "emitted"),
    [
        ("predict_proba", None, ["score"]),
        (" predict ", None, ["class"]),
        ("predict,predict_proba", None, ["class", "score"]),
        ("", None, ["class", "score"]),
        ("predict", ["predict_proba"], ["score"]),
        ("predict", "predict_proba", ["score"]),
    ],
)
def test_methods_can_be_chosen(monkeypatch, instrumentor, captured, variable, argument, emitted):
    monkeypatch.setenv("OTEL_ML_SKLEARN_METHODS", variable)
    instrumentor.instrument(methods=argument)
    model = Average([GaussianNB()]).fit(X, Y)  # its predict asks its own predict_proba
    model.predict(X[:1])
    model.predict_proba(X[:1])
    assert ["class" if seen.score is None else "score" for seen in captured.predictions] == emitted


def test_a_bad_variable_is_logged_and_a_bad_argument_raises(monkeypatch, instrumentor, captured, caplog):
    with pytest.raises(ValueError, match="methods: 'transform' cannot be observed; allowed: predict, predict_proba, "):
        instrumentor.instrument(methods=["transform"])
    with pytest.raises(ValueError, match="methods: '' cannot be observed"):
        instrumentor.instrument(methods=[])
    assert not instrumentor.is_instrumented_by_opentelemetry
    monkeypatch.setenv("OTEL_ML_SKLEARN_METHODS", "predict_probs")
    instrumentor.instrument()
    assert "OTEL_ML_SKLEARN_METHODS: 'predict_probs' cannot be observed" in caplog.text
    LogisticRegression().fit(X, Y).predict(X[:1])
    assert len(captured.spans) == 1


def test_suppressed_instrumentation_is_respected(instrumented):
    model = LogisticRegression().fit(X, Y)
    with suppress_instrumentation():
        model.predict(X[:1])
    assert instrumented.spans == ()


def test_a_model_watched_by_hand_is_not_counted_again(instrumented):
    model = LogisticRegression().fit(X, Y)
    with Model("by hand").predict(X[:1]) as prediction:
        prediction.record(score=model.predict_proba(X[:1])[:, 1])
    assert [seen.model for seen in instrumented.predictions] == ["by hand"]


def test_threads_tasks_and_joblib_workers_predict_each_on_their_own(instrumented):
    model = LogisticRegression().fit(X, Y)
    threads = [threading.Thread(target=model.predict, args=(X[row : row + 1],)) for row in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    async def serve():
        await asyncio.gather(*(asyncio.to_thread(model.predict_proba, X[row : row + 1]) for row in range(8)))

    asyncio.run(serve())
    joblib.Parallel(n_jobs=2, backend="threading")(joblib.delayed(model.predict)(X[row : row + 1]) for row in range(8))
    assert len(instrumented.predictions) == 24
    assert sorted(seen.features["age"] for seen in instrumented.predictions) == sorted(3 * X["age"][:8].tolist())


def test_an_unfitted_model_fails_as_before_and_leaves_a_failed_prediction(instrumented):
    with pytest.raises(NotFittedError) as caught:
        LogisticRegression().predict(X[:1])
    assert caught.traceback[-1].name == "check_is_fitted"
    [seen] = instrumented.predictions
    assert seen.error_type == "sklearn.exceptions.NotFittedError"
    [span] = instrumented.spans
    assert span.status.status_code.name == "ERROR"


def outcome(call):
    """What the application sees of a call: the result, or the exception with the end of its traceback."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            seen = call().tolist()
        except Exception as error:  # noqa: BLE001 - whatever it is, it must be the same
            last = traceback.extract_tb(error.__traceback__)[-1]
            seen = (type(error), str(error), last.filename, last.lineno, error.__cause__ is None)
    return seen, [str(warning.message) for warning in warned]


@pytest.mark.parametrize(
    "rows",
    [
        pd.DataFrame({"age": ["x"], "amount": [1]}),
        pd.DataFrame({"amount": [1.0], "age": [2.0]}),
        pd.DataFrame({"age": [np.nan], "amount": [1.0]}),
        np.ones((2, 7)),
        np.ones(2),
        np.ones((2, 2, 2)),
        np.float64(3),
        [],
        [[]],
        [[1, 2], [3]],
        [1, 2],
        None,
        object(),
        X[:0],
        "text",
        {"age": [1.0], "amount": [2.0]},
        iter([[1, 2]]),
    ],
    ids=lambda rows: type(rows).__name__,
)
def test_odd_input_is_answered_or_refused_as_before(instrumentor, captured, rows):
    model = LogisticRegression().fit(X, Y)
    before = outcome(lambda: model.predict(rows))
    instrumentor.instrument()
    assert outcome(lambda: model.predict(rows)) == before


def test_wrong_arguments_fail_as_before(instrumentor):
    model = LogisticRegression().fit(X, Y)
    errors = []
    for turn in (lambda: None, instrumentor.instrument):
        turn()
        for call in (model.predict, lambda: model.predict(X[:1], nonsense=1), lambda: LogisticRegression.predict()):
            with pytest.raises(TypeError) as caught:
                call()
            errors.append(str(caught.value))
    assert errors[:3] == errors[3:]


def test_hooks_see_the_estimator_and_may_name_rows(instrumentor, captured):
    model = LogisticRegression().fit(X, Y)
    seen = []

    def request(prediction, estimator, args, kwargs):
        prediction.record(id=["a", "b"], segments={"half": ["low", "high"]})
        seen.append((estimator, args, kwargs))

    instrumentor.instrument(request_hook=request, response_hook=lambda *given: seen.append(given[1:]))
    result = model.predict(X[:2])
    assert [(row.id, dict(row.segments)) for row in captured.predictions] == [
        ("a", {"half": "low"}),
        ("b", {"half": "high"}),
    ]
    assert seen[0][0] is seen[1][0] is model
    assert seen[1][1] is result
