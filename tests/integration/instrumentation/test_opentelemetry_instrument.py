"""``opentelemetry-instrument python app.py``: predictions of an application that knows nothing of us arrive."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from support.sink import Sink, listening, run

APP = """
import sys
import joblib
import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

class Always(ClassifierMixin, BaseEstimator):
    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self
    def predict(self, X):
        return self.classes_[np.zeros(len(X), dtype=int)]

rng = np.random.default_rng(1)
X = pd.DataFrame({"age": rng.uniform(18, 90, 40), "amount": rng.uniform(0, 100, 40)})
y = np.where(X["age"] > 50, "late", "on_time")
search = GridSearchCV(make_pipeline(StandardScaler(), LogisticRegression()), {"logisticregression__C": [1, 2]}, cv=2)
search.fit(X, y)
joblib.dump(search, sys.argv[1])
served = joblib.load(sys.argv[1])
assert served.score(X, y) > 0.8
print(served.predict_proba(X[:1]).tolist())
print(served.predict(X[:3]).tolist())
print(Always().fit(X, y).predict(X[:1]).tolist())
print(sorted(name for name in sys.modules if name == "otel_ml.frameworks.sklearn.estimators"))
"""


@pytest.fixture
def sink() -> Iterator[Sink]:
    with listening() as server:
        yield server


def attributes(span: Span) -> dict[str, object]:
    values = {}
    for attribute in span.attributes:
        kind = attribute.value.WhichOneof("value")
        values[attribute.key] = getattr(attribute.value, kind) if kind else None
    return values


@pytest.fixture
def app(tmp_path: Path) -> Path:
    path = tmp_path / "app.py"
    path.write_text(APP)
    return path


def test_an_application_with_no_line_of_ours_sends_its_predictions(sink, app, tmp_path):
    plain = run(sink, app, tmp_path / "model.joblib", instrumented=False)
    assert plain.returncode == 0, plain.stderr
    assert sink.bodies == {}
    done = run(sink, app, tmp_path / "model.joblib")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[:3] == plain.stdout.splitlines()[:3]  # the answers are the same, to the bit
    names = [span.name for span in sink.spans()]
    assert names == ["predict LogisticRegression", "predict LogisticRegression", "predict Always"]
    one, many, own = map(attributes, sink.spans())
    assert set(one) == {
        "ml.model.name",
        "ml.model.task",
        "ml.model.positive_class",
        "ml.prediction.id",
        "ml.framework.name",
        "ml.feature.age",
        "ml.feature.amount",
        "ml.prediction.class",
        "ml.prediction.score",
        "ml.prediction.scores",
    }
    assert one["ml.model.task"] == "binary_classification"
    assert 18 <= one["ml.feature.age"] <= 90
    assert many["ml.prediction.rows"] == 3
    assert many["ml.batch"]
    assert own["ml.prediction.class"] == "late"
    assert {"ml.prediction.duration", "ml.prediction.rows", "ml.prediction.score"} <= sink.metrics()


def test_variables_name_the_model_and_choose_its_methods(sink, app, tmp_path):
    done = run(
        sink,
        app,
        tmp_path / "model.joblib",
        OTEL_ML_MODEL_NAME="flight-delay",
        OTEL_ML_MODEL_VERSION="3",
        OTEL_ML_SKLEARN_METHODS="predict_proba",
        OTEL_METRICS_EXPORTER="none",
    )
    assert (done.returncode, done.stderr) == (0, "")
    [span] = sink.spans()
    assert span.name == "predict flight-delay"
    assert attributes(span)["ml.model.version"] == "3"


def test_the_loader_can_be_told_to_leave_it_out(sink, app, tmp_path):
    done = run(sink, app, tmp_path / "model.joblib", OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="otel_ml_sklearn")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "[]"
    assert sink.spans() == []


def test_an_application_without_scikit_learn_pays_no_import(sink):
    code = "import sys; print(sorted({'sklearn', 'numpy', 'pandas', 'pyarrow', 'scipy'} & set(sys.modules)))"
    done = run(sink, "-c", code, OTEL_METRICS_EXPORTER="none")
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_where_scikit_learn_is_missing_the_rest_is_loaded_without_a_word(sink, tmp_path):
    code = "from otel_ml import Model\nwith Model('m').predict({'a': 1}) as p:\n    p.record(score=0.5)\n"
    hide = tmp_path / "hide"
    hide.mkdir()
    (hide / "sklearn.py").write_text("raise ModuleNotFoundError(\"No module named 'sklearn'\", name='sklearn')\n")
    done = run(sink, "-c", code, PYTHONPATH=str(hide), OTEL_METRICS_EXPORTER="none")
    assert (done.returncode, done.stderr) == (0, "")
    assert [span.name for span in sink.spans()] == ["predict m"]
