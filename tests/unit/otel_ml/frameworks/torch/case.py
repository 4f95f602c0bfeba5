"""PyTorch for the contract tests of every framework."""

from __future__ import annotations

import importlib
from typing import Any

from otel_ml.frameworks.torch import TorchInstrumentor, observe_module
from tests.support.framework_case import Case


def table() -> Any:
    return importlib.import_module("torch").tensor([[20.0, 1.0], [40.0, 7.0], [50.0, 2.0]])


def make() -> dict[str, Any]:
    torch: Any = importlib.import_module("torch")
    nn = torch.nn
    torch.manual_seed(0)
    models = {
        "logits": nn.Sequential(nn.Linear(2, 3)),
        "binary": nn.Sequential(nn.Linear(2, 1), nn.Sequential(nn.Sigmoid())),
        "value": nn.Linear(2, 1),
    }
    return observed({name: module.eval() for name, module in models.items()})


def observed(models: dict[str, Any]) -> dict[str, Any]:
    names = ["age", "calls"]
    observe_module(
        models["logits"], name="plan", task="multiclass_classification", outputs="logits", features=names, classes="abc"
    )
    observe_module(models["binary"], name="churn", version="7", task="binary_classification", outputs="probabilities")
    observe_module(models["value"], name="price", task="regression", features=names)
    return models


def copied(models: dict[str, Any]) -> dict[str, Any]:
    fresh = make()
    for name, module in models.items():
        fresh[name].load_state_dict(module.state_dict())
    return fresh


def predicts(name: str, rows: int | None = None) -> Any:
    def call(models: dict[str, Any], table: Any) -> Any:
        torch: Any = importlib.import_module("torch")
        with torch.inference_mode():
            return models[name](table[:rows])

    return call


def trains(models: dict[str, Any], table: Any) -> None:
    torch: Any = importlib.import_module("torch")
    module = models["value"].train()
    optimizer = torch.optim.SGD(module.parameters(), 1e-5)
    for _ in range(3):
        optimizer.zero_grad()
        module(table).sum().backward()
        optimizer.step()
        with torch.no_grad():
            module(table)


def layers(models: dict[str, Any], table: Any) -> Any:
    torch: Any = importlib.import_module("torch")
    with torch.inference_mode():
        return models["binary"][0](table)


CASE = Case(
    instrumentor=TorchInstrumentor,
    make=make,
    table=table,
    predictions={
        "a row": predicts("logits", 1),
        "rows": predicts("logits"),
        "a score": predicts("binary", 1),
        "scores": predicts("binary"),
        "a value": predicts("value", 1),
        "values": predicts("value"),
    },
    silent={"training": trains, "gradients": lambda models, table: models["value"](table), "layers": layers},
    errors={"a column less": lambda models, table: predicts("value")(models, table[:, :1])},
    cheap=predicts("value", 1),
    dumps=None,  # a copy is another module, which the application observes where it loads it
    copies={"state": copied},
    skip={
        "test_the_server_gives_name_version_ids_and_segments": "a name in the code comes before that of a server",
        "test_uninstrument_restores_every_object_and_signatures_never_change": (
            "PyTorch warns when some of its objects are read; its own test looks at the one that changes"
        ),
    },
)
