"""A module of PyTorch that the application names emits a prediction for each call that predicts, and no other does."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Iterator
from typing import Any

import pytest

from otel_ml import problems
from otel_ml.frameworks.torch import TorchInstrumentor, observe_module
from otel_ml.testing import Captured, capture

torch: Any = pytest.importorskip("torch")
nn: Any = torch.nn


@pytest.fixture(autouse=True)
def seen() -> Iterator[Captured]:
    problems.forget()
    instrumentor = TorchInstrumentor()
    instrumentor.instrument()
    with capture() as captured:
        yield captured
    if instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.uninstrument()


class Returns(nn.Module):
    """Returns what it is told to."""

    def __init__(self, result: Any) -> None:
        super().__init__()
        self.result = result

    def forward(self, x: Any = None, **more: Any) -> Any:
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


ROWS = torch.tensor([[1.0, 2.0], [3.0, 4.0]])


def call(result: Any, x: Any = ROWS, **arguments: Any) -> Any:
    module = Returns(result).eval()
    observe_module(module, name="churn", version="7", **arguments)
    with torch.no_grad():
        return module(x)


BINARY: dict[str, Any] = {"task": "binary_classification"}
MANY: dict[str, Any] = {"task": "multiclass_classification"}


@pytest.mark.parametrize(
    ("result", "arguments", "expected"),
    [
        (torch.tensor([0.75, 0.5]), {**BINARY, "outputs": "probabilities"}, ("1", 0.75, None)),
        (torch.tensor([[0.0], [1.0]]), {**BINARY, "outputs": "logits"}, ("0", 0.5, None)),
        (torch.tensor([[0.25, 0.75], [0.5, 0.5]]), {**BINARY, "outputs": "probabilities"}, ("1", 0.75, None)),
        (torch.zeros(2, 4), {**MANY, "outputs": "logits"}, ("0", 0.25, None)),
        ((torch.zeros(2, 2), "state"), {**BINARY, "outputs": "logits", "classes": "ab"}, ("a", 0.5, None)),
        ({"logits": torch.zeros(2, 2)}, {**BINARY, "outputs": "logits"}, ("0", 0.5, None)),
        (torch.tensor([[2.5], [3.5]]), {"task": "regression"}, (None, None, 2.5)),
        (torch.tensor([2.5, 3.5], dtype=torch.bfloat16), {"task": "regression"}, (None, None, 2.5)),
        (torch.zeros(2, 2, 2), {"task": "regression"}, (None, None, None)),
        (torch.zeros(2, 2, device="meta"), {**BINARY, "outputs": "logits"}, (None, None, None)),
        ("text", {"task": "regression"}, (None, None, None)),
    ],
    ids=str,
)
def test_tensors_are_recorded_as_the_application_says(
    seen: Captured, result: Any, arguments: Any, expected: Any
) -> None:
    assert call(result, **arguments) is result
    row = seen.predictions[0]
    assert (row.model, row.version, row.class_, row.score, row.value) == ("churn", "7", *expected)
    assert dict(row.features) == {"x0": 1.0, "x1": 2.0}


@pytest.mark.parametrize(
    ("x", "arguments", "expected"),
    [
        (ROWS[:1], {"features": ["age", "calls"]}, {"age": 1.0, "calls": 2.0}),
        ({"age": torch.tensor([3]), "calls": torch.tensor([[4.0]])}, {}, {"age": 3, "calls": 4.0}),
        ({"age": torch.tensor([3]), "words": torch.tensor([[4, 5]])}, {}, {}),
        (torch.zeros(1, 3, 4, 4), {}, {}),
        (torch.tensor([[4, 5, 6]]), {}, {}),
        (torch.tensor([[4, 5]]), {"features": ["age", "calls"]}, {"age": 4, "calls": 5}),
        (ROWS[:1].to_sparse(), {}, {}),
        ("text", {}, {}),
    ],
    ids=["names", "columns", "words beside", "images", "words", "whole numbers", "sparse", "text"],
)
def test_features_are_the_columns_of_the_input(seen: Captured, x: Any, arguments: Any, expected: Any) -> None:
    call(torch.tensor([0.5]), x, task="regression", **arguments)
    [row] = seen.predictions
    assert (dict(row.features), row.value) == (expected, 0.5)


def test_an_input_that_the_module_changes_is_recorded_as_it_came(seen: Captured) -> None:
    class Changes(nn.Module):
        def forward(self, x: Any) -> Any:
            return x.mul_(0).sum(1)

    module = Changes().eval()
    observe_module(module, name="churn", task="regression")
    with torch.inference_mode():
        module(ROWS.clone())
    assert [dict(row.features) for row in seen.predictions] == [{"x0": 1.0, "x1": 2.0}, {"x0": 3.0, "x1": 4.0}]


def test_training_tracing_and_other_modules_emit_nothing(seen: Captured) -> None:
    module = nn.Sequential(nn.Linear(2, 1), nn.Sequential(nn.Sigmoid()))
    observe_module(module, name="churn", task="binary_classification", outputs="probabilities")
    optimizer = torch.optim.SGD(module.parameters(), 0.1)
    module(ROWS).sum().backward()
    optimizer.step()
    module.eval()(ROWS)
    module.train()
    with torch.no_grad():
        module(ROWS)
        module.eval()
        torch.jit.trace(module, ROWS)
        nn.Sequential(nn.Linear(2, 1))(ROWS)
    assert not seen.spans
    with torch.no_grad():
        module(ROWS)
    assert len(seen.spans) == 1


def test_an_exception_is_a_failed_prediction(seen: Captured) -> None:
    with pytest.raises(ZeroDivisionError):
        call(ZeroDivisionError(), task="regression")
    assert [span.attributes["error.type"] for span in seen.spans] == ["ZeroDivisionError"]


def test_keyword_inputs_are_read(seen: Captured) -> None:
    module = Returns(torch.tensor([0.5])).eval()
    observe_module(module, name="churn", task="regression")
    with torch.no_grad():
        module(x=ROWS[:1])
    assert [dict(row.features) for row in seen.predictions] == [{"x0": 1.0, "x1": 2.0}]


def test_copies_are_not_observed_and_carry_nothing(seen: Captured) -> None:
    module = nn.Sequential(nn.Linear(2, 1)).eval()
    before = pickle.dumps(module)
    observe_module(module, name="churn", task="regression")
    assert pickle.dumps(module) == before
    with torch.no_grad():
        copy.deepcopy(module)(ROWS)
        pickle.loads(before)(ROWS)
    assert not seen.spans


def test_a_class_without_forward_is_left_out_and_reported(seen: Captured, caplog: pytest.LogCaptureFixture) -> None:
    module = torch.jit.trace(nn.Sequential(nn.Linear(2, 1)).eval(), ROWS)
    observe_module(module, name="churn", task="regression")
    with torch.no_grad():
        assert module(ROWS).shape == (2, 1)
    assert not seen.spans
    assert any("defines no forward" in message for message in caplog.messages)


def test_a_module_may_be_named_before_the_instrumentation(seen: Captured) -> None:
    TorchInstrumentor().uninstrument()
    module = Returns(torch.tensor([0.5])).eval()
    forward = vars(Returns)["forward"]
    observe_module(module, name="churn", task="regression")
    assert vars(Returns)["forward"] is forward
    with torch.no_grad():
        module(ROWS)
        assert not seen.spans
        TorchInstrumentor().instrument()
        module(ROWS[:1])
        assert inspect.signature(vars(Returns)["forward"]) == inspect.signature(forward)
        TorchInstrumentor().uninstrument()
        module(ROWS[:1])
    assert vars(Returns)["forward"] is forward
    assert len(seen.spans) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"task": "clustering"}, "allowed: binary_classification"),
        ({"task": "binary_classification"}, "outputs is missing"),
        ({"task": "regression", "outputs": "logits"}, "do not go with"),
        ({"task": "binary_classification", "outputs": "values"}, "do not go with"),
    ],
)
def test_a_wrong_argument_is_an_error(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        observe_module(nn.Linear(2, 1), name="churn", **arguments)
