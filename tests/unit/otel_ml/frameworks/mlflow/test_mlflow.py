"""Models that MLflow loads have the registry's names, and its custom models emit predictions, each call once."""

from __future__ import annotations

import importlib
import inspect
import os
import pickle
import subprocess
import sys
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of its own type hints
    mlflow: Any = pytest.importorskip("mlflow")
    infer_signature: Any = mlflow.models.infer_signature
    ChatModel: Any = mlflow.pyfunc.ChatModel
    PythonModel: Any = mlflow.pyfunc.PythonModel

from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from otel_ml import name_model, problems
from otel_ml.frameworks.mlflow import MlflowInstrumentor
from otel_ml.frameworks.sklearn import SklearnInstrumentor
from otel_ml.testing import Captured, capture

pytestmark = pytest.mark.filterwarnings("ignore")

TABLE: Any = pd.DataFrame({"age": [20.0, 30.0, 40.0, 50.0], "calls": [1.0, 7.0, 2.0, 9.0]})
LABELS = ["stays", "stays", "leaves", "leaves"]
BARE: dict[str, Any] = {"pip_requirements": ["scikit-learn"]}


@pytest.fixture(scope="module", autouse=True)
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A registry in a file of SQLite, with two versions of a model, and an alias of the second."""
    folder = tmp_path_factory.mktemp("registry")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        patch.setenv("GIT_PYTHON_REFRESH", "quiet")
        mlflow.set_tracking_uri(f"sqlite:///{folder}/registry.db")
        mlflow.set_experiment("models")
        signature = infer_signature(TABLE, np.array(LABELS))
        for strength in (1.0, 2.0):
            model = LogisticRegression(C=strength).fit(TABLE.to_numpy(), LABELS)
            mlflow.sklearn.log_model(
                model,
                name="model",
                registered_model_name="churn",
                signature=signature,
                serialization_format="cloudpickle",
                **BARE,
            )
        mlflow.MlflowClient().set_registered_model_alias("churn", "champion", "2")
        yield folder


@pytest.fixture
def seen() -> Iterator[Captured]:
    """MLflow and scikit-learn instrumented for one test."""
    problems.forget()
    instrumentors = (MlflowInstrumentor(), SklearnInstrumentor())
    for instrumentor in instrumentors:
        instrumentor.instrument()
    with capture() as captured:
        yield captured
    for instrumentor in instrumentors:
        if instrumentor.is_instrumented_by_opentelemetry:
            instrumentor.uninstrument()


def names(captured: Captured) -> list[tuple[str, str]]:
    return [(row.model, row.version) for row in captured.predictions]


def saved(path: Path, model: Any, **arguments: Any) -> Any:
    mlflow.pyfunc.save_model(path / "model", python_model=model, **BARE, **arguments)
    return mlflow.pyfunc.load_model(str(path / "model"))


class Custom(PythonModel):
    """Returns what it was made with, one row of it for each row of the input."""

    def __init__(self, result: Any) -> None:
        self.result = result

    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
        return self.result[: len(model_input)]


class Raising(PythonModel):
    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
        raise ZeroDivisionError("no rows")


class Wrapping(PythonModel):
    """Scales by hand and asks a model of scikit-learn, as custom models often do."""

    def __init__(self) -> None:
        self.model = LogisticRegression().fit(TABLE.to_numpy() / 100, LABELS)

    def load_context(self, context: Any) -> None:
        self.model.predict(TABLE.to_numpy()[:1])

    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
        scaled = model_input.to_numpy() / 100
        return pd.DataFrame(
            {"label": self.model.predict(scaled), "score": self.model.predict_proba(scaled)[:, 0].round(3)}
        )


@pytest.mark.parametrize(
    ("uri", "version"), [("models:/churn/1", "1"), ("models:/churn@champion", "2"), ("models:/churn/latest", "2")]
)
@pytest.mark.parametrize("flavor", ["pyfunc", "sklearn"])
def test_the_registry_names_what_was_loaded(seen: Captured, flavor: str, uri: str, version: str) -> None:
    model = getattr(mlflow, flavor).load_model(uri)
    assert model.predict(TABLE[:1]).tolist() == ["stays"]
    assert names(seen) == [("churn", version)]


def test_a_folder_that_was_downloaded_before_has_the_names_too(seen: Captured, tmp_path: Path) -> None:
    folder = mlflow.artifacts.download_artifacts("models:/churn@champion", dst_path=str(tmp_path))
    mlflow.pyfunc.load_model(folder).predict(TABLE[:1])
    mlflow.sklearn.load_model(Path(folder).as_uri()).predict(TABLE[:1])
    assert names(seen) == [("churn", "2")] * 2


def test_a_model_without_a_registry_is_named_as_others_are(
    seen: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = LogisticRegression().fit(TABLE, LABELS)
    mlflow.sklearn.save_model(model, tmp_path / "model", serialization_format="cloudpickle", **BARE)
    mlflow.pyfunc.load_model(str(tmp_path / "model")).predict(TABLE[:1])
    monkeypatch.setenv("OTEL_ML_MODEL_NAME", "from-the-environment")
    mlflow.pyfunc.load_model(str(tmp_path / "model")).predict(TABLE[:1])
    assert [name for name, _ in names(seen)] == ["LogisticRegression", "from-the-environment"]


def test_a_name_in_the_code_comes_first_on_the_pyfunc_as_on_the_model_inside(seen: Captured) -> None:
    pyfunc = mlflow.pyfunc.load_model("models:/churn/1")
    pyfunc.predict(TABLE[:1])
    name_model(pyfunc, name="by-hand")
    pyfunc.predict(TABLE[:1])
    name_model(pyfunc, name="by-hand", version="9")
    pyfunc.predict(TABLE[:1])
    assert names(seen) == [("churn", "1"), ("by-hand", "1"), ("by-hand", "9")]


def test_the_signature_names_the_features_of_a_model_that_was_fitted_on_arrays(seen: Captured) -> None:
    mlflow.sklearn.load_model("models:/churn/1").predict_proba(TABLE.to_numpy()[:1])
    [row] = seen.predictions
    assert dict(row.features) == {"age": 20.0, "calls": 1.0}
    assert set(row.scores) == {"stays", "leaves"}


def test_an_observed_library_inside_a_pyfunc_emits_the_one_prediction(seen: Captured) -> None:
    mlflow.pyfunc.load_model("models:/churn/1").predict(TABLE[["calls", "age"]])
    assert [(row.class_, dict(row.features)) for row in seen.predictions] == [
        (label, features) for label, features in zip(LABELS, TABLE.to_dict("records"), strict=True)
    ]
    SklearnInstrumentor().uninstrument()
    seen.clear()
    pyfunc = mlflow.pyfunc.load_model("models:/churn/1")
    pyfunc.predict(TABLE[:1])
    [row] = seen.predictions
    assert (row.model, row.version, row.class_, dict(row.features)) == ("churn", "1", "stays", {"age": 20, "calls": 1})


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (np.array([0.5, 2.5]), {"value": 0.5}),
        ([3.5, 2.5], {"value": 3.5}),
        (pd.Series([1, 0]), {"class_": "1"}),
        (np.array([[7.5], [2.5]]), {"value": 7.5}),
        (["spam", "ham"], {"class_": "spam"}),
        (np.array([True, False]), {"class_": "true"}),
        (pd.DataFrame({"probability": [0.25, 0.5]}), {"score": 0.25}),
        (pd.DataFrame({"prediction": ["a", "b"], "score": [0.75, 0.5]}), {"class_": "a", "score": 0.75}),
        (pd.DataFrame({"Label": ["a", "b"], "Probability": [0.75, 0.5]}), {"class_": "a", "score": 0.75}),
        ([{"prediction": 3.5, "why": "x"}, {"prediction": 4.5, "why": "y"}], {"value": 3.5}),
        (np.array([[0.25, 0.75], [0.5, 0.5]]), {}),
        (np.zeros((2, 3, 4)), {}),
        ([None, None], {}),
    ],
    ids=str,
)
def test_results_are_recorded_by_the_names_and_types_of_their_columns(
    seen: Captured, tmp_path: Path, result: Any, expected: dict[str, Any]
) -> None:
    pyfunc = saved(tmp_path, Custom(result))
    answer = pyfunc.predict(TABLE[:2])
    assert type(answer) is type(result)
    rows = seen.predictions
    assert [dict(row.features) for row in rows] == TABLE[:2].to_dict("records")
    recorded = {"class_": rows[0].class_, "score": rows[0].score, "value": rows[0].value}
    assert {name: value for name, value in recorded.items() if value is not None} == expected
    assert rows[0].model == "Custom"


def test_a_result_that_cannot_be_recorded_is_reported_once(
    seen: Captured, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pyfunc = saved(tmp_path, Custom(np.array([[0.25, 0.75], [0.5, 0.5]])))
    for _ in range(3):
        pyfunc.predict(TABLE[:2])
    [message] = [message for message in caplog.messages if "no outputs" in message]
    assert "otel_ml.classes" in message


def test_metadata_of_the_model_says_what_its_numbers_are(seen: Captured, tmp_path: Path) -> None:
    metadata: dict[str, Any] = {"otel_ml.classes": ["stays", "leaves"]}
    pyfunc = saved(tmp_path / "a", Custom(np.array([[0.25, 0.75], [0.5, 0.5]])), metadata=metadata)
    pyfunc.predict(TABLE[:1])
    metadata = {"ml.model.task": "binary_classification"}
    saved(tmp_path / "b", Custom([0.25, 0.75]), metadata=metadata).predict(TABLE[:1])
    metadata = {"ml.model.task": "regression"}
    saved(tmp_path / "c", Custom([3, 4]), metadata=metadata).predict(TABLE[:1])
    probabilities, score, value = seen.predictions
    assert (probabilities.class_, probabilities.score, dict(probabilities.scores)) == (
        "leaves",
        0.75,
        {"stays": 0.25, "leaves": 0.75},
    )
    assert (score.score, score.class_, value.value) == (0.25, None, 3.0)


def test_a_model_inside_a_custom_model_is_part_of_its_prediction(seen: Captured, tmp_path: Path) -> None:
    pyfunc = saved(tmp_path, Wrapping(), signature=infer_signature(TABLE))
    assert not seen.spans
    pyfunc.predict(TABLE.assign(id=7)[:1])
    [row] = seen.predictions
    assert (row.model, row.class_, dict(row.features)) == ("Wrapping", "stays", {"age": 20.0, "calls": 1.0})
    assert row.score is not None


@pytest.mark.parametrize(
    "data",
    [
        TABLE[:1],
        TABLE[:1].to_dict("list"),
        {"age": np.array([20.0]), "calls": np.array([1.0])},
    ],
    ids=["frame", "dict of lists", "dict of arrays"],
)
def test_features_have_the_names_of_the_signature(seen: Captured, tmp_path: Path, data: Any) -> None:
    saved(tmp_path, Custom([0.5]), signature=infer_signature(TABLE)).predict(data)
    [row] = seen.predictions
    assert dict(row.features) == {"age": 20.0, "calls": 1.0}


def test_a_failure_is_a_failed_prediction_and_reaches_the_application(seen: Captured, tmp_path: Path) -> None:
    pyfunc = saved(tmp_path, Raising())
    with pytest.raises(ZeroDivisionError):
        pyfunc.predict(TABLE[:1])
    assert [row.error_type for row in seen.predictions] == ["ZeroDivisionError"]


def test_chats_and_texts_are_left_alone(seen: Captured, tmp_path: Path) -> None:
    class Chat(ChatModel):
        def predict(self, context: Any, messages: Any, params: Any = None) -> Any:
            return mlflow.types.llm.ChatCompletionResponse.from_dict(
                {"choices": [{"message": {"role": "assistant", "content": "secret"}}]}
            )

    mlflow.pyfunc.save_model(tmp_path / "chat", python_model=Chat(), **BARE)
    chat = mlflow.pyfunc.load_model(str(tmp_path / "chat"))
    chat.predict({"messages": [{"role": "user", "content": "secret"}]})
    question = pd.DataFrame({"question": ["secret"]})
    text = saved(tmp_path, Custom(["secret"]), signature=infer_signature(question, ["secret"]))
    text.predict(question)
    untyped = saved(tmp_path / "untyped", Custom([{"answer": "secret"}]))
    untyped.predict(["secret"])
    untyped.predict(question)
    assert [dict(span.attributes or {}) for span in seen.spans] == []


def test_nothing_is_emitted_while_a_model_is_logged_or_evaluated(seen: Captured, tmp_path: Path) -> None:
    model = LogisticRegression().fit(TABLE, LABELS)
    with mlflow.start_run():
        for log in (mlflow.sklearn.log_model, mlflow.sklearn.log_model):
            log(model, name="model", input_example=TABLE[:2], serialization_format="cloudpickle", **BARE)
        mlflow.pyfunc.log_model(name="custom", python_model=Custom([0.5] * 4), input_example=TABLE[:2], **BARE)
    pyfunc = mlflow.pyfunc.load_model("models:/churn/1")
    mlflow.models.evaluate(
        pyfunc,
        TABLE.assign(label=LABELS),
        targets="label",
        model_type="classifier",
        evaluator_config={"log_model_explainability": False},
    )
    assert not seen.spans
    pyfunc.predict(TABLE[:1])
    assert len(seen.predictions) == 1


def test_nothing_is_emitted_by_autologging_of_a_training_and_predictions_are(seen: Captured) -> None:
    mlflow.sklearn.autolog(log_input_examples=True, serialization_format="cloudpickle")
    try:
        model = make_pipeline(StandardScaler(), LogisticRegression()).fit(TABLE, LABELS)
        model.score(TABLE, LABELS)
        regression = LinearRegression()
        regression.fit(TABLE, [1.0, 2.0, 3.0, 4.0])
        assert not seen.spans
        assert model.predict(TABLE[:1]).tolist() == ["stays"]
        model.predict_proba(TABLE[:1])
        regression.predict(TABLE[:1])
        assert [row.class_ for row in seen.predictions] == ["stays", "stays", None]
    finally:
        mlflow.sklearn.autolog(disable=True)


def test_mlflow_traces_and_ours_do_not_meet(seen: Captured, tmp_path: Path) -> None:
    class Traced(PythonModel):
        @mlflow.trace(name="inside")
        def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
            with mlflow.start_span("deeper"):
                return [0.5] * len(model_input)

    mlflow.set_experiment("traces")
    pyfunc = saved(tmp_path, Traced())
    with mlflow.start_span("outside"):
        pyfunc.predict(TABLE[:1])
    pyfunc.predict(TABLE[:1])
    mlflow.flush_trace_async_logging()
    traces = mlflow.search_traces(return_type="list", include_spans=True)
    assert sorted([span.name for span in trace.data.spans] for trace in traces) == [
        ["inside", "deeper"],
        ["outside", "inside", "deeper"],
    ]
    assert [row.value for row in seen.predictions] == [0.5, 0.5]
    assert [span.name for span in seen.spans] == ["predict Traced"] * 2
    assert all(span.parent is None for span in seen.spans)


def test_functions_look_as_before_and_come_back_with_uninstrument(tmp_path: Path) -> None:
    registry: Any = importlib.import_module("mlflow.store.artifact.models_artifact_repo")
    places: list[tuple[Any, str]] = [
        (mlflow.pyfunc, "load_model"),
        (mlflow.pyfunc, "save_model"),
        (mlflow.pyfunc.PyFuncModel, "predict"),
        (mlflow.sklearn, "load_model"),
        (mlflow.sklearn, "log_model"),
        (mlflow.xgboost, "load_model"),
        (importlib.import_module("mlflow.models.evaluation.base"), "_evaluate"),
        (importlib.import_module("mlflow.utils.autologging_utils.safety"), "with_managed_run"),
        (registry.ModelsArtifactRepository, "download_artifacts"),
    ]
    before = [vars(place)[name] for place, name in places]
    instrumentor = MlflowInstrumentor()
    for _ in range(2):
        instrumentor.instrument()
        for (place, name), original in zip(places, before, strict=True):
            now = vars(place)[name]
            assert now is not original
            assert inspect.signature(now) == inspect.signature(original)
            assert (now.__name__, now.__doc__, now.__module__) == (
                original.__name__,
                original.__doc__,
                original.__module__,
            )
        pickle.loads(pickle.dumps(mlflow.sklearn.load_model))
        instrumentor.uninstrument()
        assert all(vars(place)[name] is original for (place, name), original in zip(places, before, strict=True))
    with capture() as captured:
        saved(tmp_path, Custom([0.5])).predict(TABLE[:1])
    assert not captured.spans


def test_a_model_loaded_before_the_instrumentation_is_observed(tmp_path: Path) -> None:
    pyfunc = saved(tmp_path, Custom([0.5]))
    instrumentor = MlflowInstrumentor()
    instrumentor.instrument()
    try:
        with capture() as captured:
            pyfunc.predict(TABLE[:1])
        assert [row.value for row in captured.predictions] == [0.5]
    finally:
        instrumentor.uninstrument()


def test_threads_lose_nothing(seen: Captured, tmp_path: Path) -> None:
    pyfunc = saved(tmp_path, Custom([0.5]))
    library = mlflow.pyfunc.load_model("models:/churn/1")
    row = TABLE[:1]

    def work(_: int) -> None:
        for _ in range(100):
            pyfunc.predict(row)
            library.predict(row)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert sorted(set(names(seen))) == [("Custom", ""), ("churn", "1")]
    assert len(seen.spans) == 1600


def test_the_instrumentation_comes_before_the_import_and_needs_no_sdk(registry: Path) -> None:
    code = """
        import sys
        from otel_ml.frameworks.mlflow import MlflowInstrumentor
        from otel_ml.frameworks.sklearn import SklearnInstrumentor
        MlflowInstrumentor().instrument()
        SklearnInstrumentor().instrument()
        assert "mlflow" not in sys.modules and "numpy" not in sys.modules
        import mlflow, pandas
        from mlflow.pyfunc import load_model
        from mlflow.pyfunc.scoring_server import load_model as of_the_server
        from otel_ml.testing import capture
        model = load_model("models:/churn@champion")
        table = pandas.DataFrame({"age": [20.0], "calls": [1.0]})
        model.predict(table)
        with capture() as captured:
            model.predict(table)
            of_the_server("models:/churn/1").predict(table)
        print([(row.model, row.version) for row in captured.predictions])
        """
    environ = {**os.environ, "MLFLOW_TRACKING_URI": mlflow.get_tracking_uri()}
    done = subprocess.run(
        [sys.executable, "-c", inspect.cleandoc(code)],
        capture_output=True,
        text=True,
        env=environ,
        cwd=registry,
        check=False,
    )
    assert done.stdout.strip().endswith("[('churn', '2'), ('churn', '1')]"), done.stderr
