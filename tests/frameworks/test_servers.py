"""What the instrumentation of every model server promises, in the environment of each."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from typing import Any

import pytest

SERVERS = {
    "mlserver": [
        ("mlserver.model", "MLModel", "predict"),
        ("mlserver.batching.requests", "BatchedRequests", "_merge_requests"),
    ],
    "kserve": [("kserve.protocol.dataplane", "DataPlane", "infer")],
    "bentoml": [
        ("_bentoml_impl.server.app", "ServiceAppFactory", "api_endpoint"),
        ("bentoml._internal.marshal.dispatcher", "CorkDispatcher", "outbound_call"),
    ],
    "litserve": [("litserve.api", "LitAPI", "predict")],
    "ray": [
        ("ray.serve._private.replica", "UserCallableWrapper", "_call_func_or_gen"),
        ("ray.serve.batching", "_BatchQueue", "_process_batch_inner"),
    ],
}


@pytest.fixture(params=SERVERS)
def name(request: pytest.FixtureRequest) -> str:
    pytest.importorskip(request.param, reason="is in the environment of `make frameworks`")
    return request.param


def instrumentor_of(name: str) -> Any:
    module = importlib.import_module(f"otel_ml.frameworks.{name}")
    [found] = [getattr(module, each) for each in module.__all__]
    return found()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_nothing_shows_and_everything_is_restored(name: str) -> None:
    methods = [(getattr(importlib.import_module(module), cls), method) for module, cls, method in SERVERS[name]]
    originals = [vars(cls)[method] for cls, method in methods]
    for _ in range(2):
        instrumentor = instrumentor_of(name)
        instrumentor.instrument()
        for (cls, method), original in zip(methods, originals, strict=True):
            replaced = vars(cls)[method]
            assert replaced is not original
            assert inspect.signature(replaced) == inspect.signature(original)
            assert inspect.iscoroutinefunction(replaced) == inspect.iscoroutinefunction(original)
            assert (replaced.__name__, replaced.__qualname__) == (original.__name__, original.__qualname__)
        instrumentor.uninstrument()
        assert [vars(cls)[method] for cls, method in methods] == originals


BEFORE = """
import importlib, sys
from otel_ml.frameworks import {name}

for _ in range(2):
    instrumentor = getattr({name}, {name}.__all__[0])()
    instrumentor.instrument()
    assert {name!r} not in sys.modules or _
    for module, cls, method in {methods!r}:
        assert hasattr(vars(getattr(importlib.import_module(module), cls))[method], "__otel_ml_seam__"), method
    instrumentor.uninstrument()
    for module, cls, method in {methods!r}:
        assert not hasattr(vars(getattr(importlib.import_module(module), cls))[method], "__otel_ml_seam__"), method
"""


def test_it_may_be_instrumented_before_it_is_imported_and_again(name: str) -> None:
    script = BEFORE.format(name=name, methods=SERVERS[name])
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("server", "module", "base"), [("mlserver", "mlserver", "MLModel"), ("litserve", "litserve", "LitAPI")]
)
def test_classes_of_the_application_are_instrumented_whenever_they_are_defined(
    server: str, module: str, base: str
) -> None:
    parent = getattr(pytest.importorskip(module), base)

    def make() -> type:
        class Own(parent):
            async def predict(self, payload: Any) -> str:
                return "answer"

        return Own

    early = make()
    originals = {early: vars(early)["predict"]}
    instrumentor = instrumentor_of(server)
    instrumentor.instrument()
    late = make()
    for cls in (early, late):
        assert vars(cls)["predict"].__code__ is not originals.get(cls, originals[early]).__code__
    instrumentor.uninstrument()
    assert vars(early)["predict"] is originals[early]
    assert vars(late)["predict"].__code__ is originals[early].__code__
