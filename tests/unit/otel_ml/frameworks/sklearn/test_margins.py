"""Decision functions and anomaly detectors: the class that ``predict`` would give, and no margin for a probability."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.covariance import EllipticEnvelope
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.ensemble import (
    AdaBoostClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
)
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 - it makes the next line work
from sklearn.linear_model import LogisticRegression, Perceptron, RidgeClassifier, SGDClassifier, SGDOneClassSVM
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV, HalvingGridSearchCV
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC, OneClassSVM

from otel_ml import name_model
from otel_ml.frameworks.base import quiet

RNG = np.random.default_rng(9)
X = pd.DataFrame(np.r_[RNG.normal(0, 1, (116, 3)), RNG.normal(0, 6, (4, 3))], columns=["age", "amount", "hour"])
TWO = np.where(X["age"] + X["amount"] > 0, "good", "bad")
THREE = np.array(["a", "b", "c"])[np.digitize(X["age"], [-0.5, 0.5])]

DECIDING = [
    LogisticRegression(),
    RidgeClassifier(),
    SGDClassifier(random_state=1),
    Perceptron(random_state=1),
    LinearSVC(),
    LinearDiscriminantAnalysis(),
    QuadraticDiscriminantAnalysis(),
    GradientBoostingClassifier(n_estimators=5, random_state=1),
    HistGradientBoostingClassifier(max_iter=5, random_state=1),
    AdaBoostClassifier(n_estimators=5, random_state=1),
    make_pipeline(StandardScaler(), LogisticRegression()),
    GridSearchCV(make_pipeline(StandardScaler(), RidgeClassifier()), {"ridgeclassifier__alpha": [1.0, 2.0]}, cv=2),
]


@pytest.mark.parametrize("labels", [TWO, THREE], ids=["two", "three"])
@pytest.mark.parametrize("model", DECIDING, ids=lambda model: type(model).__name__)
def test_a_decision_function_gives_the_class_that_predict_gives_and_no_score(instrumented, model, labels):
    model.fit(X, labels)
    with quiet():
        predicted = model.predict(X).tolist()
    model.decision_function(X)
    seen = instrumented.predictions
    if seen or not isinstance(model, QuadraticDiscriminantAnalysis):  # it has another base in older versions
        assert [row.class_ for row in seen] == predicted
    assert {row.score for row in seen} <= {None}
    assert all(not row.scores for row in seen)


class Careful(LogisticRegression):
    """An application's own threshold."""

    def predict(self, X):
        return self.classes_[(self.predict_proba(X)[:, 1] > 0.9).astype(int)]


NOT_DECIDING = {
    "votes": (SVC(), THREE),
    "votes of pairs": (SVC(decision_function_shape="ovo"), THREE),
    "an own class": (Careful(), TWO),
    "a threshold": (FixedThresholdClassifier(LogisticRegression(), threshold=0.2), TWO),
    "an inner threshold": (make_pipeline(FixedThresholdClassifier(LogisticRegression(), threshold=0.2)), TWO),
}


@pytest.mark.parametrize(("model", "labels"), NOT_DECIDING.values(), ids=NOT_DECIDING)
def test_a_margin_that_does_not_decide_is_not_observed(instrumented, model, labels):
    model.fit(X, labels)
    if hasattr(model, "decision_function"):
        model.decision_function(X[:3])
    assert instrumented.spans == ()


def test_a_support_vector_machine_of_two_classes_decides(instrumented):
    model = SVC().fit(X, TWO)
    with quiet():
        predicted = model.predict(X).tolist()
    model.decision_function(X)
    assert [row.class_ for row in instrumented.predictions] == predicted


@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("labels", [TWO, THREE], ids=["two", "three"])
def test_log_probabilities_are_probabilities(instrumented, labels, rows):
    model = RandomForestClassifier(5, random_state=1).fit(X, labels)
    with np.errstate(divide="ignore"):
        model.predict_log_proba(X[:rows])
    model.predict_proba(X[:rows])
    logs, plain = instrumented.predictions[:rows], instrumented.predictions[rows:]
    assert [row.class_ for row in logs] == [row.class_ for row in plain]
    assert [row.score for row in logs] == pytest.approx([row.score for row in plain])
    for one, other in zip(logs, plain, strict=True):
        assert dict(one.scores) == pytest.approx(dict(other.scores))


DETECTORS = [
    IsolationForest(n_estimators=10, random_state=1),
    IsolationForest(n_estimators=10, random_state=1, contamination=0.1),
    LocalOutlierFactor(novelty=True),
    EllipticEnvelope(random_state=1),
    make_pipeline(StandardScaler(), IsolationForest(n_estimators=10, random_state=1)),
]
WITHOUT_SCORES = [OneClassSVM(nu=0.1), SGDOneClassSVM(random_state=1)]


@pytest.mark.parametrize("model", [*DETECTORS, *WITHOUT_SCORES], ids=lambda model: type(model).__name__)
@pytest.mark.parametrize("method", ["predict", "decision_function", "score_samples"])
@pytest.mark.parametrize("rows", [1, 120])
def test_an_anomaly_detector_gives_the_class_that_it_predicts(instrumented, model, method, rows):
    table = X.to_numpy()[:rows]
    model.fit(X.to_numpy())
    with quiet():
        predicted = model.predict(table)
        scores = model.score_samples(table)
    getattr(model, method)(table)
    [span] = instrumented.spans
    seen = instrumented.predictions
    assert [row.class_ for row in seen] == [str(label) for label in predicted]
    assert span.attributes["ml.model.positive_class"] == "1"
    assert span.attributes["ml.model.task"] == "binary_classification"
    sent = method == "score_samples" and model not in WITHOUT_SCORES
    assert [row.score for row in seen] == (scores.tolist() if sent else [None] * rows)
    if sent:
        assert scores.max() <= 0.0
        threshold = span.attributes["ml.model.threshold"]
        assert [row.score >= threshold for row in seen] == [row.class_ == "1" for row in seen]


class Own(OutlierMixin, BaseEstimator):
    """An application's own detector: what its scores mean is not known."""

    def fit(self, X, y=None):
        self.offset_ = 0.0
        return self

    def predict(self, X):
        return np.where(np.asarray(X)[:, 0] > 2, "odd", "usual")

    def score_samples(self, X):
        return np.asarray(X)[:, 0]

    decision_function = score_samples


def test_an_own_detector_has_the_classes_of_its_predict_only(instrumented):
    model = Own().fit(X)
    model.score_samples(X[:3])
    model.decision_function(X[:3])
    assert instrumented.spans == ()
    model.predict(X[:3])
    assert {row.class_ for row in instrumented.predictions} <= {"odd", "usual"}


def test_a_detector_leaves_the_name_of_the_environment_to_the_model_beside_it(instrumented, monkeypatch, caplog):
    monkeypatch.setenv("OTEL_ML_MODEL_NAME", "fraud")
    detector = IsolationForest(n_estimators=3, random_state=1).fit(X)
    detector.predict(X[:1])
    LogisticRegression().fit(X, TWO).predict(X[:1])
    assert [row.model for row in instrumented.predictions] == ["fraud/IsolationForest", "fraud"]
    assert "name it in the code, with name_model" in caplog.text
    name_model(detector, name="novel")
    detector.predict(X[:1])
    assert instrumented.predictions[-1].model == "novel"


def test_the_same_rows_by_two_methods_are_reported_once(instrumented, caplog):
    model, table = LogisticRegression().fit(X, TWO), X[:2]
    model.predict(X[:2])
    model.predict_proba(X[:2])  # another table
    assert caplog.text == ""
    for _ in range(2):
        model.predict(table)
        model.predict_proba(table)
    assert caplog.text.count("set OTEL_ML_SKLEARN_METHODS=predict_proba to observe one of them") == 1
    assert len(instrumented.predictions) == 12


def test_a_halving_search_is_its_best_estimator(instrumented):
    search = HalvingGridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=2, random_state=1).fit(X, TWO)
    assert instrumented.spans == ()
    expected = search.predict_proba(X[:2])
    [span] = instrumented.spans
    assert span.name == "predict LogisticRegression"
    assert [row.scores["good"] for row in instrumented.predictions] == expected[:, 1].tolist()
