"""What each kind of estimator emits: one prediction a call, the same results as without us."""

from __future__ import annotations

import inspect
import math

import numpy as np
import pandas as pd
import pytest
from sklearn import set_config
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans
from sklearn.compose import TransformedTargetRegressor
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.feature_selection import RFE
from sklearn.frozen import FrozenEstimator
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, RidgeClassifier, SGDClassifier
from sklearn.metrics import make_scorer, recall_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    RandomizedSearchCV,
    TunedThresholdClassifierCV,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR
from sklearn.tree import DecisionTreeClassifier

from otel_ml.frameworks.base import quiet
from otel_ml.frameworks.calls import MAX_SCORES

RNG = np.random.default_rng(7)
X = pd.DataFrame(RNG.random((48, 3)), columns=["age", "amount", "hour"])
BINARY = np.where(X["age"] + X["amount"] > 1, "good", "bad")
THREE = np.array(["a", "b", "c"])[np.digitize(X["age"], [0.3, 0.6])]
VALUES = (X["age"] * 3 + X["hour"]).to_numpy()
BOTH = np.c_[BINARY == "good", X["hour"] > 0.5].astype(int)


class Late(ClassifierMixin, BaseEstimator):
    """An application's own classifier, whose fit and proba lean on its own predict."""

    def __init__(self, cut=0.5):
        self.cut = cut

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        self.training_accuracy_ = np.mean(self.predict(X) == y)
        return self

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def predict_proba(self, X):
        high = np.clip(np.asarray(X, dtype=float)[:, 0] / self.cut / 2, 0, 1)
        return np.c_[1 - high, high]


class Halved(RandomForestRegressor):
    """Builds on the library's predict."""

    def predict(self, X):
        return super().predict(X) / 2


def steps(model):
    return make_pipeline(StandardScaler(), model)


CLASSIFIERS = {
    "logistic": (LogisticRegression(), "LogisticRegression"),
    "pipeline": (steps(LogisticRegression()), "LogisticRegression"),
    "nested pipeline": (steps(steps(GaussianNB())), "GaussianNB"),
    "grid search": (GridSearchCV(steps(LogisticRegression()), {"logisticregression__C": [1, 9]}), "LogisticRegression"),
    "random search": (
        RandomizedSearchCV(DecisionTreeClassifier(random_state=1), {"max_depth": [1, 2]}, n_iter=2, random_state=1),
        "DecisionTreeClassifier",
    ),
    "calibrated": (CalibratedClassifierCV(SVC(), ensemble=False), "CalibratedClassifierCV"),
    "voting": (VotingClassifier([("a", GaussianNB()), ("b", LogisticRegression())], voting="soft"), "VotingClassifier"),
    "stacking": (StackingClassifier([("a", GaussianNB()), ("b", SVC())], cv=2), "StackingClassifier"),
    "hist gradient boosting": (HistGradientBoostingClassifier(max_iter=3), "HistGradientBoostingClassifier"),
    "gradient boosting": (GradientBoostingClassifier(n_estimators=3, random_state=1), "GradientBoostingClassifier"),
    "forest in threads": (RandomForestClassifier(2, n_jobs=2, random_state=1), "RandomForestClassifier"),
    "bagging": (BaggingClassifier(n_estimators=3, random_state=1), "BaggingClassifier"),
    "boosting": (AdaBoostClassifier(n_estimators=3, random_state=1), "AdaBoostClassifier"),
    "network": (MLPClassifier(hidden_layer_sizes=(4,), solver="lbfgs", max_iter=2000, random_state=1), "MLPClassifier"),
    "neighbours": (KNeighborsClassifier(), "KNeighborsClassifier"),
    "support vectors": (SVC(), "SVC"),
    "gradient descent": (SGDClassifier(loss="log_loss", random_state=1), "SGDClassifier"),
    "one against the rest": (OneVsRestClassifier(LogisticRegression()), "OneVsRestClassifier"),
    "elimination": (RFE(LogisticRegression()), "RFE"),
    "dummy": (DummyClassifier(strategy="stratified", random_state=1), "DummyClassifier"),
    "own": (Late(), "Late"),
    "own in a pipeline": (steps(Late()), "Late"),
}
# Two trees: their sum is the same whichever thread comes first.
REGRESSORS = {
    "ridge": (Ridge(), "Ridge"),
    "pipeline": (steps(LinearRegression()), "LinearRegression"),
    "search": (GridSearchCV(Ridge(), {"alpha": [1, 2]}), "Ridge"),
    "forest in threads": (RandomForestRegressor(2, n_jobs=2, random_state=1), "RandomForestRegressor"),
    "extra trees": (ExtraTreesRegressor(4, random_state=1), "ExtraTreesRegressor"),
    "hist gradient boosting": (HistGradientBoostingRegressor(max_iter=3), "HistGradientBoostingRegressor"),
    "voting": (VotingRegressor([("a", Ridge()), ("b", LinearRegression())]), "VotingRegressor"),
    "stacking": (StackingRegressor([("a", Ridge()), ("b", SVR())], cv=2), "StackingRegressor"),
    "transformed target": (TransformedTargetRegressor(Ridge()), "TransformedTargetRegressor"),
    "network": (MLPRegressor(hidden_layer_sizes=(3,), solver="lbfgs", max_iter=2000, random_state=1), "MLPRegressor"),
    "support vectors": (SVR(), "SVR"),
    "dummy": (DummyRegressor(), "DummyRegressor"),
    "own subclass": (Halved(3, random_state=1), "Halved"),
}


def features_of(row):
    return {name: pytest.approx(X[name].iloc[row]) for name in X.columns}


@pytest.mark.parametrize(("model", "name"), CLASSIFIERS.values(), ids=CLASSIFIERS)
def test_a_classifier_emits_one_prediction_a_call_and_answers_as_before(model, name, instrumentor, captured):
    model.fit(X, BINARY)
    methods = [method for method in ("predict", "predict_proba") if hasattr(model, method)]
    signatures = [inspect.signature(getattr(model, method)) for method in methods]
    expected = {method: getattr(model, method)(X[:4]) for method in methods}
    instrumentor.instrument()
    assert [method for method in ("predict", "predict_proba") if hasattr(model, method)] == methods
    assert [inspect.signature(getattr(model, method)) for method in methods] == signatures
    for method, before in expected.items():
        captured.clear()
        after = getattr(model, method)(X[:4])
        assert (type(after), after.dtype) == (type(before), before.dtype)
        assert np.array_equal(after, before)
        [span] = captured.spans
        assert span.name == f"predict {name}"
        assert span.attributes["ml.model.task"] == "binary_classification"
        assert span.attributes["ml.framework.name"] == "sklearn"
        assert [row.features for row in captured.predictions] == [features_of(row) for row in range(4)]
        outputs = [(row.class_, row.score, dict(row.scores)) for row in captured.predictions]
        if method == "predict":
            assert outputs == [(label, None, {}) for label in before.tolist()]
        else:
            labels = model.classes_[before.argmax(axis=1)].tolist()
            rows = zip(labels, before.tolist(), strict=True)
            assert outputs == [(label, good, {"bad": bad, "good": good}) for label, (bad, good) in rows]


@pytest.mark.parametrize(("model", "name"), REGRESSORS.values(), ids=REGRESSORS)
def test_a_regressor_emits_one_prediction_a_call_and_answers_as_before(model, name, instrumentor, captured):
    model.fit(X, VALUES)
    expected = model.predict(X[:4])
    instrumentor.instrument()
    assert np.array_equal(model.predict(X[:4]), expected)
    [span] = captured.spans
    assert span.name == f"predict {name}"
    assert span.attributes["ml.model.task"] == "regression"
    assert [prediction.value for prediction in captured.predictions] == expected.tolist()
    assert [prediction.features for prediction in captured.predictions] == [features_of(row) for row in range(4)]


@pytest.mark.parametrize("rows", [1, 3])
def test_three_classes_have_the_score_of_the_predicted_one_and_all_of_them(instrumented, rows):
    expected = LogisticRegression().fit(X, THREE).predict_proba(X[:rows])
    assert len(instrumented.predictions) == rows
    for prediction, probabilities in zip(instrumented.predictions, expected, strict=True):
        assert dict(prediction.scores) == dict(zip("abc", probabilities.tolist(), strict=True))
        assert prediction.score == probabilities.max()
        assert prediction.class_ == "abc"[probabilities.argmax()]
    assert instrumented.spans[0].attributes["ml.model.task"] == "multiclass_classification"


def test_many_classes_have_no_map_of_scores(instrumented):
    labels = np.arange(48) % (MAX_SCORES + 1)
    model = GaussianNB().fit(X, labels)
    model.predict_proba(X[:2])
    assert [dict(prediction.scores) for prediction in instrumented.predictions] == [{}, {}]
    assert all(prediction.score is not None for prediction in instrumented.predictions)


@pytest.mark.parametrize("labels", [[False, True], [0, 1], [0.0, 1.0], [-1, 1]])
def test_class_labels_of_any_kind_are_recorded(instrumented, labels):
    y = np.array(labels)[(BINARY == "good").astype(int)]
    model = LogisticRegression().fit(X, y)
    model.predict(X[:1])
    model.predict_proba(X[:1])
    texts = {str(label).lower().removesuffix(".0") for label in labels}
    assert {prediction.class_ for prediction in instrumented.predictions} < texts


def test_a_single_class_is_recorded(instrumented):
    model = DummyClassifier(strategy="prior").fit(X, np.zeros(48, int))
    model.predict_proba(X[:1])
    [seen] = instrumented.predictions
    assert (seen.class_, seen.score) == ("0", 1.0)


def threshold_models():
    yield FixedThresholdClassifier(LogisticRegression(), threshold=0.3)
    yield FixedThresholdClassifier(LogisticRegression(), threshold=0.2, pos_label="bad")
    yield FixedThresholdClassifier(LogisticRegression())
    yield TunedThresholdClassifierCV(LogisticRegression(), cv=2, random_state=1)
    scorer = make_scorer(recall_score, pos_label="bad")
    yield TunedThresholdClassifierCV(LogisticRegression(), cv=2, random_state=1, scoring=scorer)
    yield make_pipeline(StandardScaler(), FixedThresholdClassifier(LogisticRegression(), threshold=0.7))


@pytest.mark.parametrize("model", [*threshold_models()], ids=repr)
def test_a_threshold_is_sent_and_decides_the_class_as_predict_does(instrumented, model):
    model.fit(X, BINARY)
    with quiet():
        predicted = model.predict(X).tolist()
    probabilities = model.predict_proba(X)
    seen = instrumented.predictions
    assert [row.class_ for row in seen] == predicted
    [span] = instrumented.spans
    positive = span.attributes["ml.model.positive_class"]
    assert [row.score for row in seen] == probabilities[:, model.classes_.tolist().index(positive)].tolist()
    threshold = span.attributes["ml.model.threshold"]
    assert [row.class_ == positive for row in seen] == [row.score >= threshold for row in seen]


@pytest.mark.parametrize("response", ["decision_function", "auto"])
def test_a_threshold_that_is_not_of_a_probability_leaves_the_class_to_predict(instrumented, response):
    inner = LogisticRegression() if response == "decision_function" else RidgeClassifier()
    model = FixedThresholdClassifier(inner, threshold=0.9, response_method=response).fit(X, BINARY)
    model.predict(X[:1])
    [seen] = instrumented.predictions
    [span] = instrumented.spans
    assert seen.class_ in ("good", "bad")
    assert math.isnan(span.attributes["ml.model.threshold"])
    if response == "decision_function":
        model.predict_proba(X[:1])
        assert instrumented.predictions[1].class_ is None
        assert instrumented.predictions[1].score is not None


def test_a_column_of_values_and_a_pair_with_deviations_are_values(instrumented):
    LinearRegression().fit(X, VALUES.reshape(-1, 1)).predict(X[:2])
    GaussianProcessRegressor().fit(X, VALUES).predict(X[:2], return_std=True)
    assert [prediction.value for prediction in instrumented.predictions].count(None) == 0
    assert len(instrumented.predictions) == 4


NO_PREDICTIONS = {
    "clusters": KMeans(2, n_init=1, random_state=1).fit(X),
    "mixture": GaussianMixture(2, random_state=1).fit(X),
    "neither": type("Neither", (BaseEstimator,), {"predict": lambda self, X: X})(),
}


@pytest.mark.parametrize("model", NO_PREDICTIONS.values(), ids=NO_PREDICTIONS)
def test_what_is_neither_class_nor_value_emits_nothing(model, instrumented, caplog):
    for method in ("predict", "predict_proba", "score_samples"):
        if hasattr(model, method):
            getattr(model, method)(X[:3])
    assert instrumented.spans == ()
    assert caplog.text == ""


class Boosted(Late):
    """Takes the arguments of LightGBM and XGBoost that ask for something else than predictions."""

    def predict(self, X, raw_score=False, output_margin=False):
        return np.linspace(-3.5, 3.5, len(X)) if raw_score or output_margin else super().predict(X)

    def predict_proba(self, X, pred_contrib=False):
        return np.zeros((len(X), 2)) if pred_contrib else super().predict_proba(X)


def test_margins_and_contributions_are_no_predictions(instrumented):
    model = Boosted().fit(X, BINARY)
    model.predict(X[:3], raw_score=True)
    model.predict(X[:3], True)
    model.predict(X[:3], output_margin=True)
    model.predict_proba(X[:3], pred_contrib=True)
    assert instrumented.spans == ()
    model.predict(X[:3], raw_score=False)
    assert len(instrumented.spans) == 1


def test_the_output_container_setting_changes_nothing(instrumented):
    set_config(transform_output="pandas")
    try:
        steps(LogisticRegression()).fit(X, BINARY).predict(X[:2])
    finally:
        set_config(transform_output="default")
    assert len(instrumented.predictions) == 2


def test_a_frozen_estimator_is_the_model_inside(instrumented):
    FrozenEstimator(LogisticRegression().fit(X, BINARY)).predict(X[:1])
    assert [prediction.model for prediction in instrumented.predictions] == ["LogisticRegression"]


def test_a_duck_typed_wrapper_lets_the_model_inside_speak(instrumented):
    class Service(BaseEstimator):
        def __init__(self, model):
            self.model = model

        def predict(self, X):
            return self.model.predict_proba(X)[:, 1]

    Service(LogisticRegression().fit(X, BINARY)).predict(X[:1])
    assert [prediction.model for prediction in instrumented.predictions] == ["LogisticRegression"]


def test_classes_without_mixins_or_tags_are_known_by_their_estimator_type(instrumented):
    class Old(BaseEstimator):
        _estimator_type = "regressor"

        def predict(self, X):
            return [1.5] * len(X)

        def __sklearn_tags__(self):
            raise RuntimeError("no tags here")

    class Typed(RegressorMixin, BaseEstimator):
        def predict(self, X):
            return np.ones(len(X))

    assert Old().predict(X[:2]) == [1.5, 1.5]
    Typed().predict(X=X[:1])
    assert [prediction.value for prediction in instrumented.predictions] == [1.5, 1.5, 1.0]


def test_an_estimator_fitted_again_is_described_anew(instrumented):
    model = LogisticRegression().fit(X, BINARY)
    model.predict(X[:1])
    model.fit(X.rename(columns={"age": "years"}), THREE)
    model.predict(X[:1].rename(columns={"age": "years"}))
    first, second = instrumented.spans
    assert first.attributes["ml.model.task"] == "binary_classification"
    assert second.attributes["ml.model.task"] == "multiclass_classification"
    assert "ml.feature.years" in second.attributes


def test_a_step_fitted_behind_its_pipeline_keeps_scores_right(instrumented):
    model = make_pipeline(LogisticRegression()).fit(X, BINARY)
    model.predict_proba(X[:1])
    model[-1].fit(X, THREE)
    expected = model.predict_proba(X[:1])[0]
    assert dict(instrumented.predictions[-1].scores) == dict(zip("abc", expected.tolist(), strict=True))


def test_subclasses_of_other_libraries_are_named_after_them(instrumented):
    booster = type("LGBMClassifier", (Late,), {"__module__": "lightgbm.sklearn"})
    mine = type("Mine", (booster,), {"__module__": "app.models"})
    steps(mine()).fit(X, BINARY).predict(X[:1])
    [span] = instrumented.spans
    assert (span.name, span.attributes["ml.framework.name"]) == ("predict Mine", "lightgbm")
