"""A real Ray Serve under ``opentelemetry-instrument``: predictions have the deployment's name and the request's id."""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("ray.serve", reason="is in the environment of `make frameworks`")

from support.ports import free_port
from support.served import ask, serving, together, wait_for_predictions
from support.sink import Sink, listening
from support.waiting import wait_until

SERVER = """
import os
import signal
import sys

import pandas as pd
import ray
from ray import serve
from sklearn.linear_model import LogisticRegression

TABLE = pd.DataFrame({"age": [20.0, 30.0, 40.0, 50.0], "calls": [1.0, 7.0, 2.0, 9.0]})


def fitted():
    return LogisticRegression().fit(TABLE, ["stays", "stays", "leaves", "leaves"])


def score(model, ages):
    table = pd.DataFrame({"age": [float("inf") if age < 0 else age for age in ages], "calls": [7.0] * len(ages)})
    return model.predict_proba(table)[:, 0].tolist()


@serve.deployment(max_ongoing_requests=100)
class Churn:
    def __init__(self):
        self.model = fitted()

    async def __call__(self, request):
        return score(self.model, [(await request.json())["age"]])[0]


@serve.deployment(max_ongoing_requests=100)
class Batched:
    def __init__(self):
        self.model = fitted()

    @serve.batch(max_batch_size=8, batch_wait_timeout_s=0.5)
    async def many(self, ages):
        return score(self.model, ages)

    async def __call__(self, request):
        return await self.many((await request.json())["age"])


@serve.deployment(max_ongoing_requests=100)
class Inner:
    def __init__(self):
        self.model = fitted()

    def score(self, age):
        return score(self.model, [age])[0]


@serve.deployment(max_ongoing_requests=100)
class Gate:
    def __init__(self, inner):
        self.inner = inner

    async def __call__(self, request):
        age = (await request.json())["age"]
        return [await self.inner.score.remote(age), await self.inner.score.remote(age + 0.5)]


@serve.deployment
class Tenants:
    @serve.multiplexed(max_num_models_per_replica=3)
    async def model_of(self, tenant):
        return fitted()

    async def __call__(self, request):
        model = await self.model_of(serve.get_multiplexed_model_id())
        return score(model, [(await request.json())["age"]])[0]


ray.init(num_cpus=16, include_dashboard=False, _temp_dir=sys.argv[2])
serve.start(http_options={"port": int(sys.argv[1]), "host": "127.0.0.1"})
serve.run(Churn.bind(), name="default", route_prefix="/churn")
serve.run(Batched.bind(), name="shop", route_prefix="/batched")
serve.run(Gate.bind(Inner.bind()), name="gated", route_prefix="/gated")
serve.run(Tenants.bind(), name="tenants", route_prefix="/tenants")
print("every application runs", flush=True)
signal.sigwait([signal.SIGTERM])
serve.shutdown()
ray.shutdown()
"""


@pytest.fixture
def sink() -> Iterator[Sink]:
    with listening() as server:
        yield server


@pytest.fixture
def place() -> Iterator[str]:
    """A folder for Ray's own files, whose sockets need a short path."""
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        yield folder


@pytest.mark.timeout(900)
def test_predictions_have_the_deployment_and_the_id_of_the_request(sink: Sink, tmp_path: Path, place: str) -> None:
    (tmp_path / "server.py").write_text(SERVER)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "server.py", port, place]
    environ = {"RAY_USAGE_STATS_ENABLED": "0", "OTEL_ML_MODEL_NAME": "env"}
    with serving(sink.endpoint, tmp_path, command, f"{url}/-/healthz", timeout_s=170, **environ):
        wait_until(lambda: "every application runs" in (tmp_path / "server.log").read_text(errors="replace"), 170)
        calls = [(path, float(age)) for age in range(1, 11) for path in ("churn", "batched", "gated")]
        answers = together(
            [
                lambda path=path, age=age: ask(f"{url}/{path}", {"age": age}, X_Request_Id=f"{path}-{age}")
                for path, age in calls
            ]
        )
        assert {answer.status for answer in answers} == {200}
        assert ask(f"{url}/churn", {"age": -1.0}, X_Request_Id="fails").status == 500
        for tenant in ("a", "b"):
            ask(f"{url}/tenants", {"age": 7.0}, X_Request_Id=f"of-{tenant}", serve_multiplexed_model_id=tenant)
        seen = wait_for_predictions(sink, 43)
    assert Counter(each.model for each in seen) == {
        "Churn": 11, "shop/Batched": 10, "gated/Inner": 20, "tenants/Tenants/a": 1, "tenants/Tenants/b": 1,
    }  # fmt: skip
    by_id = {each.id: each for each in seen}
    assert len(by_id) == len(seen) == 43
    for path in ("churn", "batched"):
        for age in range(1, 11):
            assert by_id[f"{path}-{float(age)}"].features["age"] == age
    assert by_id["fails"].error_type == "ValueError"
    assert {by_id["of-a"].model, by_id["of-b"].model} == {"tenants/Tenants/a", "tenants/Tenants/b"}
    assert not any(each.id.startswith("gated") for each in seen), "one request made two calls: neither has its id"
