"""Estimators with several labels or values for each row: one model for each output, one id for the row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.compose import TransformedTargetRegressor
from sklearn.cross_decomposition import PLSRegression
from sklearn.ensemble import ExtraTreesRegressor, RandomForestClassifier
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, RidgeClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier, MultiOutputRegressor, RegressorChain
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from otel_ml import flush, last_prediction_ids, name_model, serving
from otel_ml.frameworks.sklearn import SklearnInstrumentor

RNG = np.random.default_rng(5)
X = pd.DataFrame(RNG.random((60, 3)), columns=["age", "amount", "hour"])
VALUES = np.c_[X["age"] * 3, X["hour"] - X["amount"]]
LABELS = np.c_[X["age"] > 0.5, X["hour"] > 0.4, X["amount"] > 0.6].astype(int)
CLASSES = np.c_[np.array(["a", "b", "c"])[np.digitize(X["age"], [0.3, 0.6])], np.where(X["hour"] > 0.5, "late", "soon")]


def rows_of(table: pd.DataFrame) -> list[dict[str, float]]:
    return [dict(zip(table.columns, row, strict=True)) for row in table.to_numpy().tolist()]


REGRESSORS = [
    MultiOutputRegressor(Ridge()),
    RegressorChain(Ridge()),
    LinearRegression(),
    Ridge(),
    ExtraTreesRegressor(3, random_state=1),
    KNeighborsRegressor(3),
    GaussianProcessRegressor(optimizer=None),
    KernelRidge(),
    PLSRegression(2),
    MLPRegressor(hidden_layer_sizes=(3,), solver="lbfgs", max_iter=5000, random_state=1),
    TransformedTargetRegressor(LinearRegression(), func=np.log1p, inverse_func=np.expm1),
    make_pipeline(StandardScaler(), LinearRegression()),
]


@pytest.mark.parametrize("model", REGRESSORS, ids=lambda model: type(model).__name__)
@pytest.mark.parametrize("rows", [1, 4])
def test_each_value_is_a_prediction_of_its_own_model(instrumentor, captured, model, rows):
    model.fit(X, np.abs(VALUES))
    name_model(model, name="prices")
    expected = model.predict(X[:rows])
    instrumentor.instrument()
    assert np.array_equal(model.predict(X[:rows]), expected)

    for output in range(2):
        seen = [row for row in captured.predictions if row.model == f"prices/{output}"]
        assert [row.value for row in seen] == expected[:, output].tolist()
        assert [dict(row.features) for row in seen] == rows_of(X[:rows])
        assert [row.id for row in seen] == last_prediction_ids()
    assert len(captured.spans) == 2
    starts = {span.start_time for span in captured.spans}
    assert len(starts) == 1
    assert {span.attributes["ml.model.task"] for span in captured.spans} == {"regression"}


MULTILABEL = [
    OneVsRestClassifier(LogisticRegression()),
    MultiOutputClassifier(LogisticRegression()),
    ClassifierChain(LogisticRegression()),
    RandomForestClassifier(3, random_state=1),
    DecisionTreeClassifier(max_depth=3),
    KNeighborsClassifier(3),
    RidgeClassifier(),
    MLPClassifier(hidden_layer_sizes=(2,), solver="lbfgs", max_iter=5000, random_state=1),
    make_pipeline(StandardScaler(), OneVsRestClassifier(LogisticRegression())),
]


@pytest.mark.parametrize("model", MULTILABEL, ids=lambda model: type(model).__name__)
@pytest.mark.parametrize("method", ["predict", "predict_proba"])
def test_each_label_is_a_prediction_of_its_own_model(instrumentor, captured, model, method):
    model.fit(X, LABELS)
    if not hasattr(model, method):
        return
    classes = model.predict(X[:5])
    instrumentor.instrument()
    result = getattr(model, method)(X[:5])
    for output in range(3):
        seen = [row for row in captured.predictions if row.model.endswith(f"/{output}")]
        assert [row.class_ for row in seen] == [str(int(label)) for label in classes[:, output]]
        if method == "predict_proba":
            scores = result[output][:, 1] if isinstance(result, list) else result[:, output]
            assert [row.score for row in seen] == pytest.approx(scores.tolist())
            assert [row.scores["0"] for row in seen] == pytest.approx((1 - scores).tolist())
    assert {span.attributes["ml.model.positive_class"] for span in captured.spans} == {"1"}
    assert len(captured.spans) == 3


def test_outputs_with_different_classes_have_their_own(instrumented):
    model = RandomForestClassifier(3, random_state=1).fit(X, CLASSES)
    labels = model.predict(X[:6])
    model.predict_proba(X[:6])
    tasks = {span.name: span.attributes["ml.model.task"] for span in instrumented.spans}
    assert tasks == {
        "predict RandomForestClassifier/0": "multiclass_classification",
        "predict RandomForestClassifier/1": "binary_classification",
    }

    for output in range(2):
        seen = [row.class_ for row in instrumented.predictions if row.model.endswith(f"/{output}")]
        assert len(seen) == 12
        assert seen[:6] == labels[:, output].tolist()


def test_log_probabilities_of_outputs_are_their_probabilities(instrumented):
    model = RandomForestClassifier(3, random_state=1).fit(X, LABELS)
    with np.errstate(divide="ignore"):
        model.predict_log_proba(X[:1])
    model.predict_proba(X[:1])
    by_call = [[row.score for row in instrumented.predictions[3 * call :][:3]] for call in range(2)]
    assert by_call[0] == pytest.approx(by_call[1])


def test_sparse_labels_are_read(instrumented):
    from scipy.sparse import csr_matrix

    model = OneVsRestClassifier(LogisticRegression()).fit(X, csr_matrix(LABELS))
    labels: Any = model.predict(X[:4])
    expected = labels.toarray()
    for output in range(3):
        seen = [row.class_ for row in instrumented.predictions if row.model.endswith(f"/{output}")]
        assert seen == [str(label) for label in expected[:, output]]


@pytest.mark.parametrize("rows", [1, 3])
def test_outputs_are_complete_where_calls_leave_together(monkeypatch, captured, rows):
    monkeypatch.setenv("OTEL_ML_EMIT", "columnar")
    instrumentor = SklearnInstrumentor()
    instrumentor.instrument()
    try:
        model = LinearRegression().fit(X, VALUES)
        expected = model.predict(X[:rows])
        with pytest.raises(ValueError, match="feature names"):
            model.predict(X[["age"]][:1])
        flush()
    finally:
        instrumentor.uninstrument()

    for output in range(2):
        seen = [row for row in captured.predictions if row.model == f"LinearRegression/{output}"]
        assert [row.value for row in seen if row.error_type is None] == expected[:, output].tolist()
        assert [row.error_type for row in seen if row.value is None] == ["ValueError"]
    ids = {row.id for row in captured.predictions}
    assert len(ids) == rows + 1


def test_a_call_that_fails_fails_for_each_output(instrumented):
    model = MultiOutputRegressor(Ridge()).fit(X, VALUES)
    with pytest.raises(ValueError, match="feature names"):
        model.predict(X[["age"]])
    assert [span.attributes["error.type"] for span in instrumented.spans] == ["ValueError"] * 2


def test_durations_are_those_of_the_call_for_each_output(instrumented):
    LinearRegression().fit(X, VALUES).predict(X[:2])
    points = instrumented.metric("ml.prediction.duration")
    assert len(points) == 2
    assert points[0].value == pytest.approx(points[1].value, rel=0.9)
    ends = [span.end_time - span.start_time for span in instrumented.spans]
    assert min(ends) > 0


def test_ids_and_segments_of_hooks_reach_each_output(instrumentor, captured):
    instrumentor.instrument(
        request_hook=lambda prediction, *_: prediction.record(segments={"shop": "north"}),
        response_hook=lambda prediction, *_: prediction.record(id=["a", "b"]),
    )
    LinearRegression().fit(X, VALUES).predict(X[:2])
    assert [(row.id, row.segments["shop"]) for row in captured.predictions] == [("a", "north"), ("b", "north")] * 2
    assert last_prediction_ids() == ["a", "b"]


def test_the_id_of_a_request_is_that_of_each_output(instrumented):
    model = LinearRegression().fit(X, VALUES)
    with serving("prices", request_id="order-1") as request:
        model.predict(X[:1])
        model.predict(X[:1])
    first, second = instrumented.predictions[:2], instrumented.predictions[2:]
    assert {(row.model, row.id) for row in first} == {("prices/0", "order-1"), ("prices/1", "order-1")}
    assert len({row.id for row in second}) == 1
    assert "order-1" not in {row.id for row in second}
    assert len(request.calls) == 4


def test_many_outputs_are_not_observed_which_is_said_once(instrumented, caplog):
    model = LinearRegression().fit(X, np.tile(VALUES, 9))
    for _ in range(2):
        model.predict(X[:1])
    assert instrumented.spans == ()
    assert caplog.text.count("LinearRegression has 18 outputs; up to 16 are observed") == 1


class Unsaid(RegressorMixin, BaseEstimator):
    """An application's own; ``said`` is what it says of its outputs."""

    n_outputs_: int

    def fit(self, X, y):
        return self

    def predict(self, X):
        return np.tile([1.0, 2.0], (len(X), 1))


def test_outputs_that_no_attribute_shows_are_not_observed_which_is_said_once(instrumented, caplog):
    model = Unsaid().fit(X, VALUES)
    model.predict(X[:2])
    model.predict(X[:2])
    assert instrumented.spans == ()
    assert caplog.text.count("Unsaid has several values for each row, but no attribute n_outputs_") == 1
    model.n_outputs_ = 2
    model.fit(X, VALUES)
    model.predict(X[:1])
    assert sorted((row.model, row.value) for row in instrumented.predictions) == [("Unsaid/0", 1.0), ("Unsaid/1", 2.0)]
