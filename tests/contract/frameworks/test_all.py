"""What every instrumented framework promises, tested on each one that is installed.

A framework joins by its ``case.py``, see ``tests/support/framework_case.py``. This file needs only otel_ml, the SDK of
OpenTelemetry and the framework: it also runs in the environments of `make frameworks`.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from otel_ml import frameworks, problems, serving
from otel_ml.frameworks.framework import FrameworkInstrumentor
from otel_ml.prediction import error_type
from otel_ml.testing import Captured, capture
from tests.support.framework_case import (
    NAMES,
    Case,
    load,
    namespaces,
    plain,
    snapshot,
    spans_of,
    write_snapshot,
)

ROOT = Path(__file__).parents[3]
FOLDERS = sorted(path.parent.name for path in Path(frameworks.__file__).parent.glob("*/__init__.py"))
THREADS, CALLS = 8, 1_000


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def case(name: str, request: pytest.FixtureRequest) -> Case:
    case = load(name)
    pytest.importorskip(case.package, exc_type=ImportError)
    reason = case.skip.get(request.function.__name__)
    if reason is not None:
        pytest.skip(reason)
    return case


@pytest.fixture
def instrumented(case: Case) -> Iterator[FrameworkInstrumentor[Any]]:
    problems.forget()
    instrumentor = case.instrument()
    yield instrumentor
    if instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.uninstrument()


@pytest.fixture
def captured() -> Iterator[Captured]:
    with capture() as captured:
        yield captured


def emitted(case: Case, captured: Captured, model: Any) -> dict[str, Any]:
    """Return the spans of every prediction call."""
    spans: dict[str, Any] = {}
    for name, call in case.predictions.items():
        captured.clear()
        call(model, case.table())
        spans[name] = spans_of(captured.spans)
    captured.clear()
    return spans


def has_models(name: str) -> bool:
    """Return whether a framework makes predictions; a server only says for whom, and has its own tests."""
    classes = vars(importlib.import_module(f"otel_ml.frameworks.{name}")).values()
    return any(
        inspect.isclass(each) and issubclass(each, FrameworkInstrumentor) and each.has_models for each in classes
    )


def test_every_framework_has_a_case() -> None:
    assert list(filter(has_models, FOLDERS)) == NAMES


def test_a_case_skips_tests_that_exist(name: str) -> None:
    known = {test for test in globals() if test.startswith("test_")}
    assert load(name).skip.keys() <= known


def test_its_spans_are_those_of_the_snapshot(
    name: str, case: Case, instrumented: object, captured: Captured, caplog: pytest.LogCaptureFixture
) -> None:
    model = case.make()
    assert captured.spans == ()
    spans = emitted(case, captured, model)
    assert "failed; the call continues" not in caplog.text
    if os.environ.get("OTEL_ML_UPDATE_SPANS") == "1":
        write_snapshot(name, spans)
    assert json.loads(json.dumps(spans)) == snapshot(name)


def test_results_exceptions_types_and_warnings_are_the_same(case: Case, captured: Captured) -> None:
    model = case.make()
    case.outcomes(model)  # what a library does only once, such as compiling
    before = case.outcomes(model)
    instrumentor = case.instrument()
    try:
        assert case.outcomes(model) == before
        assert captured.spans != ()
    finally:
        instrumentor.uninstrument()
    captured.clear()
    assert case.outcomes(model) == before
    assert captured.spans == ()


def test_an_exception_passes_and_is_recorded_as_the_type_of_the_error(
    case: Case, instrumented: object, captured: Captured
) -> None:
    model = case.make()
    for call in case.errors.values():
        captured.clear()
        with pytest.raises(Exception) as caught:  # noqa: PT011 - another test compares it with that of the bare library
            call(model, case.table())
        assert [span.attributes["error.type"] for span in captured.spans] == [error_type(caught.type)]


def test_uninstrument_restores_every_object_and_signatures_never_change(case: Case, captured: Captured) -> None:
    model = case.make()
    case.outcomes(model)  # imports what is imported late
    packages = case.packages or (case.package,)
    before = namespaces(packages)
    instrumentor = case.instrument()
    try:
        changed = 0
        for owner, namespace in namespaces(packages).items():
            was = before.get(owner)
            if was is None:
                continue
            assert namespace.keys() - was.keys() <= {"__init_subclass__"}, owner
            for key in was.keys() & namespace.keys():
                if namespace[key] is was[key]:
                    continue
                changed += 1
                if key != "__init_subclass__":
                    assert facts(namespace[key]) == facts(was[key]), (owner, key)
        assert changed
        case.outcomes(model)
    finally:
        instrumentor.uninstrument()
    after = namespaces(packages)
    for owner, namespace in before.items():
        different = [key for key in namespace if after[owner].get(key, before) is not namespace[key]]
        assert not different, (owner, different)
        if isinstance(owner, type):  # a module may have imported others meanwhile
            assert list(after[owner]) == list(namespace), owner


def facts(member: Any) -> tuple[Any, ...]:
    """Return what ``inspect`` shows of a method or function."""
    try:
        signature = str(inspect.signature(member))
    except (TypeError, ValueError):
        signature = ""
    names = (getattr(member, name, None) for name in ("__name__", "__qualname__", "__module__", "__doc__"))
    return (signature, *names, inspect.isfunction(member), inspect.iscoroutinefunction(member))


def test_training_and_evaluation_emit_nothing(case: Case, instrumented: object, captured: Captured) -> None:
    for name, call in case.silent.items():
        call(case.make(), case.table())
        assert captured.spans == (), name


def test_eight_threads_lose_nothing(case: Case, instrumented: object, captured: Captured) -> None:
    model = case.make()
    call = case.cheap or next(iter(case.predictions.values()))
    expected = plain(call(model, case.table()))
    each = len(captured.predictions)
    captured.clear()
    wrong: list[Any] = []

    def work() -> None:
        table = case.table()
        try:
            results = [call(model, table) for _ in range(CALLS)]
            wrong.extend(result for result in (plain(results[0]), plain(results[-1])) if result != expected)
        except Exception as error:  # noqa: BLE001 - the test shows it
            wrong.append(error)

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    seen = captured.predictions
    assert len(seen) == THREADS * CALLS * each
    assert len({row.id for row in seen}) == len(seen)


def test_copies_predict_and_are_observed(case: Case, captured: Captured) -> None:
    ways = dict(case.copies)
    dumps, loads = case.dumps, case.loads
    if dumps is not None:
        ways["pickle"] = lambda model: loads(dumps(model))
    model = case.make()
    expected = case.outcomes(model)
    early = {way: copied(model) for way, copied in ways.items()}
    instrumentor = case.instrument()
    try:
        spans = rows_of(emitted(case, captured, model))
        for way, copied in ways.items():
            for twin in (early[way], copied(model)):
                captured.clear()
                assert case.outcomes(twin) == expected, way
                assert rows_of(emitted(case, captured, twin)) == spans, way
        if dumps is not None:
            assert b"otel_ml" not in dumps(model)
    finally:
        instrumentor.uninstrument()


def rows_of(spans: dict[str, Any]) -> Any:
    """Return spans without the names of models, which several objects of one process do not share."""
    return json.loads(
        json.dumps(
            {
                call: [
                    {**span, "name": "", "attributes": {**span["attributes"], "ml.model.name": ""}} for span in emitted
                ]
                for call, emitted in spans.items()
            }
        )
    )


def test_the_server_gives_name_version_ids_and_segments(case: Case, instrumented: object, captured: Captured) -> None:
    model = case.make()
    for name, call in case.predictions.items():
        captured.clear()
        with serving("served", version="v9", request_id="order-1", segments={"tier": "gold"}) as request:
            call(model, case.table())
        rows = captured.predictions
        assert {(row.model.partition("/")[0], row.version, row.segments["tier"]) for row in rows} == {
            ("served", "v9", "gold")
        }, name
        of_first = [row.id for row in rows if row.model == request.calls[0].model]
        ids = ["order-1"] if len(of_first) == 1 else [f"order-1:{row}" for row in range(len(of_first))]
        assert of_first == ids, name
        assert len(request.calls) == len({row.model for row in rows})


def test_a_call_counts_once_with_every_instrumentor_loaded(case: Case, captured: Captured) -> None:
    loaded = [case.instrument()]
    try:
        for other in NAMES:
            instrumentor = load(other).instrumentor()
            if not instrumentor.is_instrumented_by_opentelemetry:
                with contextlib.suppress(ModuleNotFoundError):
                    instrumentor.instrument(**load(other).arguments, skip_dep_check=True)
                    loaded.append(instrumentor)
        model = case.make()
        case.outcomes(model)
        alone = {name: len(spans) for name, spans in snapshot(case_name(case)).items()}
        assert {name: len(spans) for name, spans in emitted(case, captured, model).items()} == alone
        for name, call in case.silent.items():
            call(case.make(), case.table())
            assert captured.spans == (), name
    finally:
        for instrumentor in reversed(loaded):
            if instrumentor.is_instrumented_by_opentelemetry:
                instrumentor.uninstrument()


def case_name(case: Case) -> str:
    return next(name for name in NAMES if load(name) is case)


CHILD = """
import importlib, sys
from tests.support.framework_case import load
case = load(sys.argv[1])
"""

BEFORE = """
from otel_ml.testing import capture
assert case.package not in sys.modules, "the case imports the framework"
instrumentor = case.instrument()
assert case.package not in sys.modules, "the instrumentor imports the framework"
model = case.make()
with capture() as captured:
    for call in case.predictions.values():
        call(model, case.table())
print(len(captured.spans))
"""

AFTER = """
from otel_ml.testing import capture
importlib.import_module(case.instrumentor.module)
model = case.make()
before = case.outcomes(model)
case.instrument()
with capture() as captured:
    for call in case.predictions.values():
        call(model, case.table())
assert case.outcomes(model) == before
print(len(captured.spans))
"""

RELOAD = """
from otel_ml.testing import capture
instrumentor = case.instrument()
model = case.make()
before = case.outcomes(model)
module = importlib.reload(sys.modules[case.instrumentor.module])
fresh = case.make()
with capture() as captured:
    for call in case.predictions.values():
        call(model, case.table())
    seen = len(captured.spans)
    captured.clear()
    for name, call in case.predictions.items():
        call(fresh, case.table())
    assert len(captured.spans) <= seen, "a model of the module that was loaded again counts twice"
    instrumentor.uninstrument()
    captured.clear()
    assert case.outcomes(model) == before
    assert case.outcomes(fresh) == before
    assert captured.spans == ()
print(seen)
"""

WITHOUT_SDK = """
if not case.imports_sdk:
    assert "opentelemetry.sdk" not in sys.modules
    sys.modules["opentelemetry.sdk"] = None
model = case.make()
before = case.outcomes(model)
case.instrument()
assert case.outcomes(model) == before
print("same")
"""


def run(code: str, name: str) -> str:
    environ = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}
    environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-c", CHILD + code, name],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
        cwd=ROOT,
        env=environ,
    )
    assert done.returncode == 0, done.stderr
    assert "failed; the call continues" not in done.stderr
    return done.stdout.strip().rpartition("\n")[2]


def spans_in_snapshot(name: str) -> int:
    return sum(map(len, snapshot(name).values()))


def test_it_may_be_instrumented_before_the_library_is_imported(name: str, case: Case) -> None:
    assert run(BEFORE, name) == str(spans_in_snapshot(name))


def test_it_may_be_instrumented_after_the_library_is_imported(name: str, case: Case) -> None:
    assert run(AFTER, name) == str(spans_in_snapshot(name))


def test_reloading_the_module_of_the_library_does_no_harm(name: str, case: Case) -> None:
    assert run(RELOAD, name) == str(spans_in_snapshot(name))


def test_it_predicts_without_the_sdk(name: str, case: Case) -> None:
    assert run(WITHOUT_SDK, name) == "same"
