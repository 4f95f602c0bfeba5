"""Nobody can tell: classes, instances, pickles and signatures of scikit-learn stay what they were."""

from __future__ import annotations

import copy
import inspect
import pickle
import subprocess
import sys
from importlib.metadata import entry_points

import numpy as np
import pandas as pd
import pytest
import sklearn
from opentelemetry.instrumentation.dependencies import get_dependency_conflicts
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from otel_ml.frameworks.sklearn import SklearnInstrumentor, name_model

RNG = np.random.default_rng(3)
X = pd.DataFrame(RNG.random((30, 2)), columns=["age", "amount"])
Y = (X["age"] > 0.5).to_numpy().astype(int)
BASES = (BaseEstimator, ClassifierMixin, RegressorMixin)
PYTHON_MAKES = {"__slotnames__", "_abc_impl", "__abstractmethods__"}


def families():
    """Every class below scikit-learn's bases, and their ancestors."""
    pending, seen = list(BASES), set()
    while pending:
        cls = pending.pop()
        for owner in cls.__mro__[:-1]:
            seen.add(owner)
        pending += [each for each in type.__subclasses__(cls) if each not in seen]
    return seen


def contents(cls):
    return {name: value for name, value in vars(cls).items() if name not in PYTHON_MAKES}


def test_uninstrument_puts_back_the_very_objects_in_every_class(instrumentor, captured):
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y)
    before = {cls: contents(cls) for cls in families()}
    order = {cls: list(contents(cls)) for cls in before}
    for _ in range(2):
        instrumentor.instrument()
        model.predict(X[:1])
        instrumentor.uninstrument()
    model.predict(X[:1])
    assert len(captured.spans) == 2
    for cls, content in before.items():
        after = contents(cls)
        assert list(after) == order[cls]
        assert all(after[name] is value for name, value in content.items()), cls


def test_no_class_gains_a_method_while_instrumented(instrumentor):
    before = {cls: set(contents(cls)) for cls in families()}
    instrumentor.instrument()
    gained = {cls: set(contents(cls)) - names for cls, names in before.items()}
    assert {cls: names for cls, names in gained.items() if names} == {cls: {"__init_subclass__"} for cls in BASES}


def test_classes_defined_meanwhile_are_observed_and_then_restored(instrumentor, captured):
    instrumentor.instrument()

    class Own(LogisticRegression):
        def predict(self, X):
            return super().predict(X)

    class Heir(Own):
        pass

    wrapped = vars(Own)["predict"]
    Heir().fit(X, Y).predict(X[:1])
    assert [span.name for span in captured.spans] == ["predict Heir"]
    assert "predict" not in vars(Heir)
    instrumentor.uninstrument()
    assert vars(Own)["predict"] is inspect.unwrap(wrapped) is not wrapped
    Heir().fit(X, Y).predict(X[:1])
    assert len(captured.spans) == 1


def test_a_method_of_a_plain_mixin_counts(instrumentor, captured):
    class Constant:
        def predict(self, X):
            return np.zeros(len(X))

    class Own(Constant, RegressorMixin, BaseEstimator):
        pass

    original = vars(Constant)["predict"]
    instrumentor.instrument()
    Own().predict(X[:1])
    Constant().predict(X[:1])  # no estimator: none of our business
    assert [span.name for span in captured.spans] == ["predict Own"]
    instrumentor.uninstrument()
    assert vars(Constant)["predict"] is original


def test_what_was_bound_before_stays_original_and_what_is_kept_after_passes(instrumentor, captured):
    model = LogisticRegression().fit(X, Y)
    early = model.predict
    instrumentor.instrument()
    late, unbound = model.predict, LogisticRegression.predict
    early(X[:1])
    assert captured.spans == ()
    unbound(model, X[:1])
    LogisticRegression.predict(self=model, X=X[:1])
    assert len(captured.spans) == 1
    instrumentor.uninstrument()
    assert late(X[:1]).tolist() == unbound(model, X[:1]).tolist() == early(X[:1]).tolist()
    assert len(captured.spans) == 1


@pytest.mark.parametrize("owner", [LogisticRegression, RandomForestClassifier, Pipeline, GridSearchCV, Ridge, SVC])
@pytest.mark.parametrize("method", ["predict", "predict_proba", "fit", "score", "__setstate__", "__init_subclass__"])
def test_signatures_names_and_documentation_are_the_originals(instrumentor, owner, method):
    if not hasattr(owner, method):
        return

    def look():
        found = getattr(owner, method)
        return inspect.signature(found), found.__name__, found.__doc__, found.__module__, inspect.isfunction(found)

    before = look()
    instrumentor.instrument()
    after = look()
    assert after[0] == before[0] or method == "__init_subclass__"
    assert after[1] == before[1]
    if method != "__init_subclass__":
        assert after == before


def test_conditional_methods_exist_as_before(instrumentor):
    instrumentor.instrument()
    assert not hasattr(Pipeline([("scale", StandardScaler())]), "predict")
    assert not hasattr(GridSearchCV(LogisticRegression(), {}, refit=False), "predict")
    assert not hasattr(make_pipeline(RidgeClassifier()), "predict_proba")
    assert not hasattr(SVC(), "predict_proba")
    assert hasattr(make_pipeline(LogisticRegression()), "predict_proba")
    assert hasattr(GridSearchCV(LogisticRegression(), {}), "predict_proba")
    assert "predict" in dir(make_pipeline(Ridge()))
    with pytest.raises(AttributeError, match="This 'Pipeline' has no attribute 'predict'") as caught:
        _ = Pipeline([("scale", StandardScaler())]).predict
    assert "'StandardScaler' object has no attribute 'predict'" in str(caught.value.__cause__)


MODELS = [
    LogisticRegression().fit(X, Y),
    make_pipeline(StandardScaler(), RandomForestClassifier(3, random_state=1)).fit(X, Y),
    GridSearchCV(LogisticRegression(), {"C": [1, 2]}, cv=2).fit(X, Y),
]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_pickles_copies_clones_and_parameters_are_the_same_bytes(instrumentor, captured, model):
    before = pickle.dumps(model), repr(model), repr(model.get_params()), sorted(vars(model))
    again = pickle.dumps(pickle.loads(before[0]))
    instrumentor.instrument()
    name_model(model, name="named")
    model.predict(X[:2])
    assert (pickle.dumps(model), repr(model), repr(model.get_params()), sorted(vars(model))) == before
    for twin in (pickle.loads(before[0]), copy.deepcopy(model), copy.copy(model), clone(model).fit(X, Y)):
        assert np.array_equal(twin.predict(X), model.predict(X))
    assert pickle.dumps(pickle.loads(before[0])) == again
    instrumentor.uninstrument()
    assert np.array_equal(pickle.loads(before[0]).predict(X), model.predict(X))


def test_metadata_routing_reads_the_methods_of_new_classes(instrumentor, captured):
    sklearn.set_config(enable_metadata_routing=True)
    try:
        instrumentor.instrument()

        class Weighted(ClassifierMixin, BaseEstimator):
            def fit(self, X, y, sample_weight=None):
                self.classes_ = np.unique(y)
                return self

            def predict(self, X, shift=0):
                return self.classes_[np.full(len(X), shift)]

        model = make_pipeline(StandardScaler(), Weighted().set_predict_request(shift=True)).fit(X, Y)
        assert model.predict(X[:2], shift=1).tolist() == [1, 1]
        with pytest.raises(UnsetMetadataPassedError):
            make_pipeline(Weighted()).fit(X, Y).predict(X[:2], shift=1)
    finally:
        sklearn.set_config(enable_metadata_routing=False)
    assert [seen.class_ for seen in captured.predictions[:2]] == ["1", "1"]


def test_subclass_arguments_of_the_library_still_arrive(instrumentor):
    instrumentor.instrument()

    class Plain(StandardScaler, auto_wrap_output_keys=None):
        pass

    assert not hasattr(Plain(), "set_output")
    with pytest.raises(TypeError):

        class Wrong(BaseEstimator, nonsense=1):
            pass


def test_two_calls_of_instrument_wrap_once(instrumentor, captured):
    instrumentor.instrument()
    instrumentor.instrument()
    LogisticRegression().fit(X, Y).predict(X[:1])
    assert len(captured.spans) == 1


def test_the_loader_finds_it_and_knows_what_it_needs(instrumentor, monkeypatch):
    [entry] = entry_points(group="opentelemetry_instrumentor", name="otel_ml_sklearn")
    assert entry.load() is SklearnInstrumentor
    assert get_dependency_conflicts(instrumentor.instrumentation_dependencies()) is None
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ModuleNotFoundError, match="scikit-learn"):
        instrumentor.instrument(skip_dep_check=True)
    assert not instrumentor.is_instrumented_by_opentelemetry


def run(code: str, *arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *map(str, arguments)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


DEFINE = """
import sys, joblib, cloudpickle, numpy as np
from otel_ml.frameworks.sklearn import SklearnInstrumentor
if sys.argv[2] == "instrumented": SklearnInstrumentor().instrument()
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.metaestimators import available_if

class Own(ClassifierMixin, BaseEstimator):
    def fit(self, X, y):
        super().__init__()
        self.classes_ = np.unique(y)
        return self
    def predict(self, X):
        return self.classes_[np.zeros(len(X), int)]
    @available_if(lambda self: True)
    def predict_proba(self, X):
        return np.tile([0.75, 0.25], (len(X), 1))

model = Own().fit(np.ones((4, 2)), [0, 1, 0, 1])
with open(sys.argv[1], "wb") as file:
    cloudpickle.dump([model, model.predict, model.predict_proba, Own.predict], file)
if sys.argv[2] == "instrumented":
    [first] = joblib.Parallel(n_jobs=2)([joblib.delayed(model.predict)(np.ones((1, 2)))])  # in another process
    assert first.tolist() == [0]
"""

LOAD = """
import sys, pickle, numpy as np
instrumented = sys.argv[2] == "instrumented"
if instrumented:
    from otel_ml.frameworks.sklearn import SklearnInstrumentor
    from otel_ml.testing import capture
    SklearnInstrumentor().instrument()
else:
    sys.modules["otel_ml"] = None  # not installed where the model is read
with open(sys.argv[1], "rb") as file:
    model, predict, predict_proba, unbound = pickle.load(file)
X = np.ones((1, 2))
def calls():
    return [model.predict(X), model.predict_proba(X), predict(X), predict_proba(X), unbound(model, X)]
if instrumented:
    with capture() as captured:
        answers = calls()
    names = [(span.name) for span in captured.spans]
    assert names[:2] == ["predict Own"] * 2, names
else:
    answers = calls()
assert [answer.tolist() for answer in answers] == [[0], [[0.75, 0.25]], [0], [[0.75, 0.25]], [0]]
"""


@pytest.mark.parametrize("writer", ["instrumented", "plain"])
def test_models_of_a_script_travel_by_value_in_both_directions(tmp_path, writer):
    run(DEFINE, tmp_path / "model.pkl", writer)
    for reader in ("instrumented", "plain"):
        run(LOAD, tmp_path / "model.pkl", reader)


LAZY = """
import sys
from otel_ml.frameworks.sklearn import SklearnInstrumentor
instrumentor = SklearnInstrumentor()
instrumentor.instrument()
assert not {"sklearn", "numpy", "pandas", "pyarrow"} & set(sys.modules), "imported for nothing"
instrumentor.uninstrument()
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression
assert "__init_subclass__" not in vars(BaseEstimator)
assert not hasattr(LogisticRegression.predict, "__wrapped__")
instrumentor.instrument()
assert hasattr(LogisticRegression.predict, "__wrapped__")
"""


def test_nothing_is_imported_until_the_application_imports_it():
    run(LAZY)
