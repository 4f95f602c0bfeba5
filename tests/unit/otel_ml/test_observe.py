"""The decorator."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from otel_ml import Model, problems
from otel_ml.observe import by_kind
from otel_ml.testing import Captured, capture


@pytest.fixture
def captured() -> Iterator[Captured]:
    problems.forget()
    with capture() as found:
        yield found


def test_a_plain_function_keeps_its_face_and_its_answer(captured: Captured) -> None:
    @Model("m").observe
    def predict(row: dict[str, float], threshold: float = 0.5) -> float:
        """Predicts."""
        return row["a"] * threshold

    assert predict({"a": 1.0}) == 0.5
    assert predict(row={"a": 1.0}, threshold=0.25) == 0.25
    assert (predict.__name__, predict.__doc__) == ("predict", "Predicts.")
    assert list(inspect.signature(predict).parameters) == ["row", "threshold"]
    assert [(seen.features, seen.score) for seen in captured.predictions] == [({"a": 1.0}, 0.5), ({"a": 1.0}, 0.25)]


def test_an_async_function_is_observed_while_it_waits(captured: Captured) -> None:
    @Model("m").observe
    async def predict(row: dict[str, float]) -> str:
        await asyncio.sleep(0)
        captured.tracer_provider.get_tracer("app").start_span("child").end()
        return "yes"

    assert inspect.iscoroutinefunction(predict)
    assert asyncio.run(predict({"a": 1.0})) == "yes"
    child, span = captured.spans
    assert child.parent.span_id == span.context.span_id
    assert captured.predictions[0].class_ == "yes"


def test_concurrent_tasks_do_not_mix(captured: Captured) -> None:
    @Model("m").observe
    async def predict(row: dict[str, int]) -> int:
        await asyncio.sleep(0)
        return row["a"]

    async def main() -> None:
        await asyncio.gather(*(predict({"a": number}) for number in range(20)))

    asyncio.run(main())
    assert all(seen.class_ == str(seen.features["a"]) for seen in captured.predictions)
    assert all(span.parent is None for span in captured.spans)


def test_a_method_leaves_self_aside(captured: Captured) -> None:
    model = Model("m")

    class Service:
        @model.observe
        def predict(self, row: dict[str, int]) -> bool:
            return True

    assert Service().predict({"a": 1})
    assert captured.predictions[0].features == {"a": 1}
    assert captured.predictions[0].class_ == "true"


@pytest.mark.parametrize("features", ["order", 1])
def test_features_and_id_are_found_by_name_or_position(captured: Captured, features: str | int) -> None:
    @Model("m").observe(features=features, id="number", result="class_")
    def decide(customer: str, order: dict[str, int], number: int = 7) -> str:
        return "ok"

    decide("anna", {"a": 1})
    decide("anna", order={"a": 2}, number=8)
    decide("anna", {"a": 3}, 9)
    assert [(seen.id, seen.features) for seen in captured.predictions] == [
        ("7", {"a": 1}),
        ("8", {"a": 2}),
        ("9", {"a": 3}),
    ]


def test_features_may_come_as_free_keywords(captured: Captured) -> None:
    @Model("m").observe(features="row")
    def decide(**named: Any) -> str:
        return "ok"

    decide(row={"a": 1})
    assert captured.predictions[0].features == {"a": 1}


@pytest.mark.parametrize(
    ("task", "answer", "expected"),
    [
        (None, 0.25, (None, 0.25, None)),
        (None, np.float32(0.25), (None, 0.25, None)),
        (None, "spam", ("spam", None, None)),
        (None, True, ("true", None, None)),
        (None, 3, ("3", None, None)),
        (None, {"class_": "a", "score": 0.5, "other": 1}, ("a", 0.5, None)),
        (None, None, (None, None, None)),
        ("regression", 3, (None, None, 3.0)),
        ("regression", np.array([3.0]), (None, None, 3.0)),
        (None, np.array(["x"]), ("x", None, None)),
        (None, [0.5], (None, 0.5, None)),
    ],
)
def test_the_result_is_read_by_its_kind(
    captured: Captured, task: Any, answer: object, expected: tuple[object, ...]
) -> None:
    Model("m", task=task).observe(lambda row: answer)({"a": 1})
    [seen] = captured.predictions
    assert (seen.class_, seen.score, seen.value) == expected


def test_a_reader_that_fails_costs_no_answer(captured: Captured, caplog: pytest.LogCaptureFixture) -> None:
    @Model("m").observe(result=lambda answer: {"class_": answer["missing"]})
    def predict(row: dict[str, int]) -> dict[str, int]:
        return {"here": 1}

    assert predict({"a": 1}) == {"here": 1}
    assert len(captured.predictions) == 1
    assert "the result of an observed function cannot be read" in caplog.text


def test_an_exception_passes(captured: Captured) -> None:
    @Model("m").observe
    def predict(row: dict[str, int]) -> None:
        raise LookupError("x")

    with pytest.raises(LookupError):
        predict({"a": 1})
    assert captured.predictions[0].error_type == "LookupError"


def test_a_wrong_call_fails_as_it_would_without_us(captured: Captured) -> None:
    @Model("m").observe(features="order")
    def predict(customer: str, order: dict[str, int]) -> None: ...

    with pytest.raises(TypeError, match="missing 1 required positional argument: 'order'"):
        predict("anna")


def test_a_function_without_arguments_may_be_observed(captured: Captured) -> None:
    assert Model("m").observe(lambda: "yes")() == "yes"
    assert captured.predictions[0].class_ == "yes"


def test_unknown_names_are_refused() -> None:
    model = Model("m")

    def predict(row: dict[str, int]) -> None: ...

    with pytest.raises(ValueError, match="has no argument 'order'; it has: row"):
        model.observe(features="order")(predict)
    with pytest.raises(ValueError, match="has no argument 3; it has: row"):
        model.observe(features=3)(predict)
    with pytest.raises(ValueError, match="result 'probability' is unknown; allowed: class_, score, value"):
        model.observe(result="probability")(predict)


def test_a_mapping_without_a_known_name_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    assert by_kind({"probability": 0.2}, None) == {}
    assert "returned a mapping with none of" in caplog.text
