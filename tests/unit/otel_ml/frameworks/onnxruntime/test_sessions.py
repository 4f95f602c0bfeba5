"""What is recorded of sessions, by the form of their inputs and outputs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from otel_ml import problems
from otel_ml.testing import Captured, capture

onnxruntime = pytest.importorskip("onnxruntime", exc_type=ImportError)
onnx = pytest.importorskip("onnx", exc_type=ImportError)
skl2onnx = pytest.importorskip("skl2onnx", exc_type=ImportError)

from otel_ml.frameworks.onnxruntime import OnnxRuntimeInstrumentor  # noqa: E402 - after what skips this file

X = np.array([[20, 1], [30, 0], [40, 2], [50, 9]] * 5, np.float32)
FLOAT, INT64, STRING = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64, onnx.TensorProto.STRING


@pytest.fixture
def captured() -> Iterator[Captured]:
    problems.forget()
    instrumentor = OnnxRuntimeInstrumentor()
    instrumentor.instrument()
    with capture() as captured:
        yield captured
    instrumentor.uninstrument()


def opened(model: Any, version: int = 0, **said: str) -> Any:
    onnx.helper.set_model_props(model, said)
    model.model_version = version
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def passing(kind: int, shape: list[Any], output: str = "out", name: str = "X") -> Any:
    """A model that returns its input."""
    node = onnx.helper.make_node("Identity", [name], [output])
    ends = [onnx.helper.make_tensor_value_info(each, kind, shape) for each in (name, output)]
    graph = onnx.helper.make_graph([node], "graph", ends[:1], ends[1:])
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)


def exported(labels: Any, zipmap: bool = True, **said: str) -> Any:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression().fit(X, labels)
    return opened(skl2onnx.to_onnx(model, X[:1], options={id(model): {"zipmap": zipmap}}), **said)


@pytest.mark.parametrize("zipmap", [True, False])
@pytest.mark.parametrize("labels", [["no", "no", "yes", "yes"], [3, 3, 7, 7], ["a", "b", "c", "c"]])
def test_class_and_scores_are_those_of_the_model(labels: list[Any], zipmap: bool, captured: Captured) -> None:
    session = exported(labels * 5, zipmap)
    classes, probabilities = session.run(None, {"X": X[:4]})
    names = sorted(set(labels))
    rows = [list(row.values()) if zipmap else row.tolist() for row in probabilities]
    assert [row.class_ for row in captured.predictions] == [str(label) for label in classes]
    assert [list((row.scores or {}).values()) for row in captured.predictions] == [pytest.approx(row) for row in rows]
    assert {tuple(row.scores or {}) for row in captured.predictions} == {tuple(map(str, names))}


def test_classes_of_a_tensor_are_learned_from_its_labels(captured: Captured) -> None:
    session = exported(["no", "no", "yes", "yes"] * 5, zipmap=False)
    for row in (0, 3, 0):
        session.run(None, {"X": X[row : row + 1]})
    first, second, third = captured.predictions
    assert (first.class_, first.score, first.scores) == ("no", None, {})
    assert (second.class_, set(second.scores or {})) == ("yes", {"no", "yes"})
    assert set(third.scores or {}) == {"no", "yes"}


def test_metadata_gives_names_version_and_classes(captured: Captured) -> None:
    said = {"feature_names": json.dumps(["age", "calls"]), "class_names": "no, yes", "model_name": "churn"}
    session = exported(["no", "no", "yes", "yes"] * 5, zipmap=False, **said)
    _, probabilities = session.run(None, {"X": X[:1]})
    [row] = captured.predictions
    assert (row.model, dict(row.features), row.class_) == ("churn", {"age": 20.0, "calls": 1.0}, "no")
    assert row.score == pytest.approx(probabilities[0, 1])
    assert captured.spans[0].attributes["ml.model.positive_class"] == "yes"
    assert captured.spans[0].attributes["ml.model.task"] == "binary_classification"


@pytest.mark.parametrize(("version", "expected"), [(0, ""), (3, "3")])
def test_the_version_is_the_models(version: int, expected: str, captured: Captured) -> None:
    opened(passing(FLOAT, [None, 1]), version).run(None, {"X": X[:1, :1]})
    assert captured.predictions[0].version == expected


def test_one_float_is_a_value_or_as_metadata_says_a_score(captured: Captured) -> None:
    table = np.array([[0.25], [0.75]], np.float32)
    opened(passing(FLOAT, [None, 1])).run(None, {"X": table})
    opened(passing(FLOAT, [None, 1]), task="binary_classification").run(None, {"X": table})
    seen = [(row.value, row.score, row.class_) for row in captured.predictions]
    assert seen == [(0.25, None, None), (0.75, None, None), (None, 0.25, "0"), (None, 0.75, "1")]


def test_probabilities_by_class_names_alone(captured: Captured) -> None:
    model = passing(FLOAT, [None, 3])
    opened(model, class_names="a,b,c").run(None, {"X": np.array([[0.2, 0.7, 0.1]], np.float32)})
    assert (captured.predictions[0].class_, len(captured.predictions[0].scores or {})) == ("b", 3)


def test_columns_keep_missing_zero_and_texts(captured: Captured) -> None:
    names = {"age": FLOAT, "plan": STRING, "pair": FLOAT}
    inputs = [
        onnx.helper.make_tensor_value_info(name, kind, [None, 2 if name == "pair" else 1])
        for name, kind in names.items()
    ]
    node = onnx.helper.make_node("Identity", ["age"], ["out"])
    output = onnx.helper.make_tensor_value_info("out", FLOAT, [None, 1])
    graph = onnx.helper.make_graph([node], "graph", inputs, [output])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    age, plan = np.array([[0.0], [np.nan]], np.float32), np.array([["basic"], ["plus"]])
    opened(model).run(None, {"age": age, "plan": plan, "pair": X[:2]})
    assert [dict(row.features) for row in captured.predictions] == [
        {"age": 0.0, "plan": "basic", "pair_0": 20.0, "pair_1": 1.0},
        {"plan": "plus", "pair_0": 30.0, "pair_1": 0.0},
    ]


def test_an_image_is_predicted_without_features(captured: Captured) -> None:
    image = onnx.helper.make_tensor_value_info("image", FLOAT, [1, 1, 2, 2])
    output = onnx.helper.make_tensor_value_info("out", FLOAT, [1, 1])
    nodes = [
        onnx.helper.make_node("Flatten", ["image"], ["flat"]),
        onnx.helper.make_node("ReduceSum", ["flat"], ["out"]),
    ]
    graph = onnx.helper.make_graph(nodes, "graph", [image], [output])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    opened(model).run(None, {"image": np.ones((1, 1, 2, 2), np.float32)})
    assert [(dict(row.features), row.value) for row in captured.predictions] == [({}, 4.0)]


@pytest.mark.parametrize(
    "model", [passing(FLOAT, [None, 3]), passing(INT64, [None, "tokens"]), passing(FLOAT, [None, 3, 4])]
)
def test_other_sessions_are_left_out_and_said_once(
    model: Any, captured: Captured, caplog: pytest.LogCaptureFixture
) -> None:
    session = opened(model)
    shape = [2 if not isinstance(size, int) else size for size in session.get_inputs()[0].shape]
    for _ in range(2):
        session.run(None, {"X": np.ones(shape, np.int64 if "int64" in session.get_inputs()[0].type else np.float32)})
    assert captured.spans == ()
    assert caplog.text.count("none of its outputs is known to be") == 1


def test_detectors_of_outliers_are_left_out(captured: Captured) -> None:
    from sklearn.ensemble import IsolationForest

    model = IsolationForest(n_estimators=3, random_state=1).fit(X)
    opened(skl2onnx.to_onnx(model, X[:1], target_opset={"": 17, "ai.onnx.ml": 3})).run(None, {"X": X[:2]})
    assert captured.spans == ()
