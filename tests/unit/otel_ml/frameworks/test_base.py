"""Rules of the safe wrap: one prediction a call, and nothing of ours in the application's way."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from opentelemetry import context
from opentelemetry.instrumentation.utils import suppress_instrumentation

from otel_ml import Model, flush, problems
from otel_ml.frameworks.base import ByInstance, Hooks, Started, is_nested, observing, quiet, quietly, shielded
from otel_ml.testing import capture


@pytest.fixture(autouse=True)
def problems_forgotten():
    problems.forget()


@pytest.fixture
def captured():
    with capture() as captured:
        yield captured


def predict(instance, *args, **kwargs):
    """The user's method."""
    return instance(*args, **kwargs)


def wrapped(begin=None, hooks=None, accept=True):
    model = Model("wrapped")

    def start(instance, args, kwargs):
        prediction = model.predict(args[0])

        def record(result):
            prediction.record(score=result)
            return accept

        return Started(prediction, record)

    around = observing(begin or start, hooks or Hooks())
    return lambda instance, *args, **kwargs: around(predict, instance, args, kwargs)


def test_a_call_is_one_prediction_and_its_result_is_handed_back(captured):
    result = object()
    assert wrapped()(lambda features: result, {"age": 3}) is result
    [seen] = captured.predictions
    assert seen.features == {"age": 3}
    assert not is_nested()


def test_only_the_outermost_call_counts(captured):
    call = wrapped()
    assert call(lambda features: call(lambda inner: 0.25, features), {"age": 3}) == 0.25
    assert len(captured.predictions) == 1


def test_what_the_application_watches_by_hand_counts_once(captured):
    call = wrapped()
    with Model("by hand").predict({"age": 3}) as prediction:
        prediction.record(score=call(lambda features: 0.5, {"age": 3}))
    call(lambda features: 0.5, {"age": 4})
    assert [seen.model for seen in captured.predictions] == ["by hand", "wrapped"]


def test_threads_and_tasks_count_on_their_own(captured):
    call = wrapped()
    results = []

    def elsewhere(features):
        thread = threading.Thread(target=lambda: results.append(call(lambda inner: 0.5, features)))
        thread.start()
        thread.join()
        return 0.25

    call(elsewhere, {"age": 1})
    assert len(captured.predictions) == 2

    async def both():
        await asyncio.gather(*(asyncio.to_thread(call, lambda features: 0.5, {"age": age}) for age in range(4)))

    asyncio.run(both())
    assert len(captured.predictions) == 6


def test_a_copied_context_carries_the_guard(captured):
    call = wrapped()

    def elsewhere(features):
        copied = contextvars.copy_context()
        thread = threading.Thread(target=copied.run, args=(call, lambda inner: 0.5, features))
        thread.start()
        thread.join()
        return 0.25

    call(elsewhere, {"age": 1})
    assert len(captured.predictions) == 1


def test_nothing_counts_inside_quiet_code(captured):
    call = wrapped()
    with quiet():
        call(lambda features: 0.5, {"age": 1})
    quietly(lambda instance: call(lambda features: 0.5, {"age": 1}), None, (), {})
    assert captured.spans == ()
    assert not is_nested()


def test_quiet_code_that_raises_leaves_no_trace():
    def fail(instance):
        raise KeyError("x")

    with pytest.raises(KeyError):
        quietly(fail, None, (), {})
    with pytest.raises(KeyError), quiet():
        raise KeyError("x")
    assert not is_nested()


def test_suppressed_instrumentation_is_respected(captured):
    with suppress_instrumentation():
        assert wrapped()(lambda features: 0.5, {"age": 1}) == 0.5
    assert captured.spans == ()


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_the_applications_exception_passes_untouched(captured, kind):
    error = kind("of the user")

    def fail(features):
        raise error

    with pytest.raises(kind) as caught:
        wrapped()(fail, {"age": 1})
    assert caught.value is error
    assert (error.__cause__, error.__context__) == (None, None)
    assert [frame.name for frame in traceback.extract_tb(error.__traceback__)][-2:] == ["predict", "fail"]
    [seen] = captured.predictions
    assert seen.error_type == kind.__name__
    assert not is_nested()


def fail_always(*args, **kwargs):
    raise RuntimeError("ours")


def test_a_start_that_fails_lets_the_call_pass(captured, caplog):
    call = wrapped(begin=fail_always)
    assert [call(lambda features: 0.5, {}) for _ in range(3)] == [0.5, 0.5, 0.5]
    assert captured.spans == ()
    assert caplog.text.count("fail_always failed; the call continues") == 1


def test_hooks_may_add_and_may_fail(captured, caplog):
    seen = []

    def request(prediction, model, args, kwargs):
        prediction.record(id=f"order-{args[0]['age']}")

    def response(prediction, model, result):
        seen.append(result)
        prediction.record(segments={"region": "north"})

    wrapped(hooks=Hooks(request, response))(lambda features: 0.5, {"age": 3})
    assert wrapped(hooks=Hooks(fail_always, fail_always))(lambda features: 0.75, {"age": 4}) == 0.75
    first, second = captured.predictions
    assert (first.id, dict(first.segments), seen) == ("order-3", {"region": "north"}, [0.5])
    assert second.score == 0.75


def test_a_failing_record_leaves_the_rest_of_the_span(captured, caplog):
    prediction = Model("m").predict({"age": 3})
    around = observing(lambda *_: Started(prediction, fail_always), Hooks())
    assert around(predict, lambda features: 0.5, ({"age": 3},), {}) == 0.5
    [seen] = captured.predictions
    assert (seen.features, seen.score) == ({"age": 3}, None)


def test_a_result_that_is_no_prediction_is_discarded(captured):
    before = context.get_current()
    assert wrapped(accept=False)(lambda features: 0.5, {"age": 3}) == 0.5
    assert context.get_current() == before
    assert captured.spans == ()
    assert captured.metric("ml.prediction.duration") == []


def test_without_an_sdk_calls_pass():
    assert wrapped()(lambda features: 0.5, {"age": 3}) == 0.5


def test_shielded_lets_interrupts_through():
    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shielded(interrupt)


class Plain:
    pass


class Unhashable:
    __hash__ = None

    def __eq__(self, other):
        raise AssertionError("compared")


class Slotted:
    __slots__ = ()


@pytest.mark.parametrize("kind", [Plain, Unhashable, Slotted])
def test_values_are_kept_by_identity(kind):
    kept = ByInstance()
    one, other = kind(), kind()
    kept.put(one, 1)
    assert (kept.get(one), kept.get(other)) == (1, None)
    kept.put(one, 2)
    assert (kept.get(one), len(kept)) == (2, 1)
    kept.drop(other)
    kept.drop(one)
    assert (kept.get(one), len(kept)) == (None, 0)


def test_values_go_with_their_object():
    kept = ByInstance()
    one = Plain()
    kept.put(one, 1)
    del one
    gc.collect()
    assert len(kept) == 0


def test_values_are_bounded():
    kept = ByInstance(limit=3)
    plain = [Plain() for _ in range(5)]
    for position, instance in enumerate(plain):
        kept.put(instance, position)
    assert [kept.get(instance) for instance in plain] == [None, None, 2, 3, 4]
    kept.clear()
    slotted = [Slotted() for _ in range(ByInstance.STRONG_LIMIT + 1)]
    kept.put(slotted[0], 0)
    for position, instance in enumerate(slotted[1:-1]):
        kept.put(instance, position)
    assert kept.get(slotted[0]) == 0  # used again, so not the one to go
    kept.put(slotted[-1], -1)
    assert len(kept) == ByInstance.STRONG_LIMIT
    assert (kept.get(slotted[0]), kept.get(slotted[1])) == (0, None)


def test_threads_may_share_kept_values():
    kept = ByInstance(limit=8)

    def churn(_):
        for _ in range(300):
            one, slotted = Plain(), Slotted()
            kept.put(one, 1)
            kept.put(slotted, 2)
            assert kept.get(slotted) in (2, None)
            kept.drop(one)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(churn, range(4)))
    assert len(kept) <= 8 + ByInstance.STRONG_LIMIT


@pytest.mark.parametrize("emit", ["spans", "columnar"])
def test_a_call_that_fails_ends_and_the_next_one_is_observed(monkeypatch, emit):
    monkeypatch.setenv("OTEL_ML_EMIT", emit)
    handle = Model("price")

    def begin(model, args, kwargs):
        prediction = handle.predict({"area": args[0]})
        return Started(prediction, lambda result: prediction.record(value=result) or True)

    around = observing(begin, Hooks())
    with capture() as captured:
        for area in (0, 4):
            with suppress(ZeroDivisionError):
                around(lambda model, area: 8 / area, None, (area,), {})
        assert not is_nested()
        flush()
    assert [(row.value, row.error_type) for row in captured.predictions] == [(None, "ZeroDivisionError"), (2.0, None)]
