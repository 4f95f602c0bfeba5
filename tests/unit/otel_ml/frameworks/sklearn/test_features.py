"""Which features a prediction has: the table as the application gave it, under the names it or the model knows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

X = pd.DataFrame(np.random.default_rng(7).random((48, 3)), columns=["age", "amount", "hour"])
BINARY = np.where(X["age"] + X["amount"] > 1, "good", "bad")
TEXTS = ["cheap pills", "see you at noon"] * 8


class Lax(ClassifierMixin, BaseEstimator):
    """Takes any table."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        self.feature_names_in_ = np.asarray(X.columns, dtype=object)
        return self

    def predict(self, X):
        return self.classes_[np.zeros(len(X), dtype=int)]


@pytest.mark.parametrize(
    ("table", "names"),
    [
        (X[:2], list(X.columns)),
        (pl.DataFrame(X[:2].to_dict("list")), list(X.columns)),
        (X[:1], list(X.columns)),
    ],
    ids=["pandas", "polars", "one row"],
)
def test_frames_bring_their_names(instrumented, table, names):
    Lax().fit(X, BINARY).predict(table)
    assert [list(prediction.features) for prediction in instrumented.predictions] == [names] * len(table)


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("make", [np.asarray, lambda table: np.asarray(table).tolist()], ids=["array", "lists"])
def test_arrays_have_the_names_that_the_model_learned_or_numbers(instrumented, make, rows):
    Lax().fit(X, BINARY).predict(make(X[:rows]))
    LogisticRegression().fit(X.to_numpy(), BINARY).predict(make(X[:rows]))
    names = [tuple(prediction.features) for prediction in instrumented.predictions]
    assert names == [("age", "amount", "hour")] * rows + [("x0", "x1", "x2")] * rows


def test_one_row_of_any_shape_is_one_prediction_not_a_batch(instrumented):
    LogisticRegression().fit(X, BINARY).predict_proba(X[:1])
    [span] = instrumented.spans
    assert "ml.prediction.rows" not in span.attributes
    assert span.attributes["ml.feature.age"] == X["age"].iloc[0]


@pytest.mark.parametrize("rows", [1, 4])
def test_texts_are_predictions_without_features(instrumented, rows, caplog):
    texts = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(TEXTS, ["spam", "ham"] * 8)
    texts.predict(TEXTS[:rows])
    texts.predict(np.array(TEXTS[:rows]))
    texts.predict(pd.Series(TEXTS[:rows]))
    assert len(instrumented.predictions) == 3 * rows
    assert all(prediction.class_ and not prediction.features for prediction in instrumented.predictions)
    assert caplog.text == ""


@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize("of", [sparse.csr_array, sparse.csc_matrix, sparse.coo_array])
def test_a_small_sparse_table_has_features_and_its_absent_cells_are_zeros(instrumented, rows, of, caplog):
    table = np.where(X.to_numpy() > 0.5, X.to_numpy(), 0.0)
    LogisticRegression().fit(table, BINARY).predict(of(table[:rows]))
    seen = [list(prediction.features.values()) for prediction in instrumented.predictions]
    assert seen == table[:rows].tolist()
    assert caplog.text == ""


def test_a_wide_sparse_table_has_no_features_which_is_said_once(instrumented, caplog):
    wide = sparse.random_array((48, 257), density=0.1, rng=np.random.default_rng(1), format="csr")
    model = LogisticRegression().fit(wide, BINARY)
    for _ in range(2):
        model.predict(wide[:2])
    assert [dict(prediction.features) for prediction in instrumented.predictions] == [{}] * 4
    assert caplog.text.count("sparse matrices of more than 256 columns") == 1


class Hidden(ClassifierMixin, BaseEstimator):
    """An application's own, which may take an absent cell for a missing one."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return self.classes_[np.zeros(X.shape[0], int)]


def test_what_an_absent_cell_means_to_other_code_is_not_known(instrumented):
    Hidden().fit(X, BINARY).predict(sparse.csr_array(X[:1].to_numpy()))
    assert [dict(prediction.features) for prediction in instrumented.predictions] == [{}]


def test_features_are_those_before_the_call_even_if_a_step_works_in_place(instrumented):
    model = make_pipeline(StandardScaler(copy=False), LogisticRegression()).fit(X.to_numpy().copy(), BINARY)
    row = X[:1].to_numpy().copy()
    model.predict(row)
    assert list(instrumented.predictions[0].features.values()) == X.iloc[0].tolist()


def test_mixed_columns_through_a_column_transformer_keep_their_raw_form(instrumented):
    frame = X.assign(city=np.where(X["hour"] > 0.5, "Bern", "Basel"))
    model = make_pipeline(
        make_column_transformer((OneHotEncoder(), ["city"]), remainder="passthrough"), LogisticRegression()
    )
    model.fit(frame, BINARY).predict(frame[:1])
    assert instrumented.predictions[0].features == frame.iloc[0].to_dict()
