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
def test_texts_and_sparse_tables_are_predictions_without_features(instrumented, rows, caplog):
    texts = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(TEXTS, ["spam", "ham"] * 8)
    texts.predict(TEXTS[:rows])
    texts.predict(np.array(TEXTS[:rows]))
    texts.predict(pd.Series(TEXTS[:rows]))
    LogisticRegression().fit(X.to_numpy(), BINARY).predict(sparse.csr_array(X[:rows].to_numpy()))
    assert len(instrumented.predictions) == 4 * rows
    assert all(prediction.class_ and not prediction.features for prediction in instrumented.predictions)
    assert caplog.text == ""


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
