"""`learn_one` is the label of the prediction for the same row, and of no other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_ml import Model, problems
from otel_ml.testing import Captured, capture

river = pytest.importorskip("river", exc_type=ImportError)

from otel_ml.frameworks.river import RiverInstrumentor  # noqa: E402 - after what skips this file
from otel_ml.frameworks.river.pending import Pending, Waiting  # noqa: E402

compose, linear_model, preprocessing, tree = (
    pytest.importorskip(f"river.{name}") for name in ("compose", "linear_model", "preprocessing", "tree")
)


@pytest.fixture
def captured() -> Iterator[Captured]:
    problems.forget()
    instrumentor = RiverInstrumentor()
    instrumentor.instrument()
    with capture() as captured:
        yield captured
    if instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.uninstrument()


def labels(captured: Captured) -> list[tuple[str | None, Any]]:
    return [(label.id, label.class_ if label.class_ is not None else label.value) for label in captured.labels]


def test_what_is_learned_is_the_label_of_what_was_predicted(captured: Captured) -> None:
    model = preprocessing.StandardScaler() | linear_model.LogisticRegression()
    for age in (20.0, 30.0):
        row = {"age": age}
        model.predict_proba_one(row)
        model.learn_one(row, age > 25)
    first, second = captured.predictions
    assert labels(captured) == [(first.id, "false"), (second.id, "true")]
    assert {(label.model) for label in captured.labels} == {"LogisticRegression"}


def test_learning_without_a_prediction_emits_nothing(captured: Captured) -> None:
    model = linear_model.LinearRegression()
    model.learn_one({"age": 20.0}, 3.0)
    model.predict_one({"age": 30.0})
    model.learn_one({"age": 20.0}, 3.0)
    model.learn_one({"age": 30.0}, 4.0)
    model.learn_one({"age": 30.0}, 5.0)
    assert labels(captured) == [(captured.predictions[0].id, 4.0)]


def test_another_model_learns_for_itself(captured: Captured) -> None:
    one, other = linear_model.LinearRegression(), linear_model.LinearRegression()
    one.predict_one({"age": 30.0})
    other.learn_one({"age": 30.0}, 4.0)
    assert list(captured.labels) == []


def test_the_class_and_the_probabilities_of_one_row_have_one_truth(captured: Captured) -> None:
    model = tree.HoeffdingTreeClassifier()
    model.learn_one({"age": 1.0}, "a")
    row = {"age": 1.0}
    model.predict_one(row)
    model.predict_proba_one(row)
    model.learn_one({"age": 1.0}, "b")
    assert labels(captured) == [(row.id, "b") for row in captured.predictions]


def test_learning_that_fails_has_no_label(captured: Captured) -> None:
    model = linear_model.LinearRegression()
    row: dict[str, Any] = {"age": 30.0}
    model.predict_one(row)
    with pytest.raises(TypeError):
        model.learn_one(row, "no number")
    assert list(captured.labels) == []


def test_a_pipeline_with_an_own_function_counts_once(captured: Captured) -> None:
    model = compose.FuncTransformer(lambda x: {"twice": x["age"] * 2}) | linear_model.LinearRegression()
    row = {"age": 30.0}
    model.predict_one(row)
    model.learn_one(row, 2)
    assert [dict(row.features) for row in captured.predictions] == [row]
    assert len(captured.labels) == 1


def test_a_class_of_the_application_is_observed(captured: Captured) -> None:
    class Own(river.base.Regressor):
        def learn_one(self, x: Any, y: Any) -> None:
            self.last = y

        def predict_one(self, x: Any) -> float:
            return 1.5

    model = Own()
    model.predict_one({"age": 1})
    model.learn_one({"age": 1}, 2.0)
    assert [(row.model, row.value) for row in captured.predictions] == [("Own", 1.5)]
    assert labels(captured) == [(captured.predictions[0].id, 2.0)]


@settings(deadline=None)
@given(calls=st.lists(st.tuples(st.booleans(), st.integers(0, 3)), max_size=40), limit=st.integers(1, 50))
def test_no_row_is_labeled_twice_and_the_limit_holds(calls: list[tuple[bool, int]], limit: int) -> None:
    pending, model = Pending(limit), Model("m")
    waiting: list[tuple[int, str]] = []
    taken: list[str] = []
    for number, (predicts, cell) in enumerate(calls):
        if predicts:
            pending.put({"cell": cell}, Waiting(model, True, str(number)))
            waiting.append((cell, str(number)))
        else:
            found = [each.prediction_id for each in pending.take({"cell": cell})]
            if limit >= len(calls):  # nothing is forgotten
                assert found == [each for known, each in waiting if known == cell and each not in taken][:1]
            taken += found
        assert len(pending) <= limit
    assert len(set(taken)) == len(taken)


@pytest.mark.parametrize("row", [{"age": [1]}, "text", None])
def test_a_row_that_cannot_be_compared_is_not_kept(row: Any) -> None:
    pending = Pending()
    pending.put(row, Waiting(Model("m"), True, "a"))
    assert (len(pending), pending.take(row)) == (0, [])


def test_missing_cells_are_equal() -> None:
    pending = Pending()
    pending.put({"age": float("nan")}, Waiting(Model("m"), True, "a"))
    assert len(pending.take({"age": float("nan")})) == 1
