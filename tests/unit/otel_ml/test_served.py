"""What a server says of the request that it answers reaches the predictions made in it, and their ids return."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import otel_ml
from otel_ml import Model, serving
from otel_ml.served import current_request, served_name
from otel_ml.testing import capture


def predicted(name: str = "churn", rows: int = 1, **arguments: Any) -> str:
    with Model(name).predict([[1.0]] * rows if rows > 1 else {"age": 3}, **arguments) as prediction:
        prediction.record(score=[0.5] * rows if rows > 1 else 0.5)
    return prediction.id


def test_outside_of_a_request_nothing_changes() -> None:
    assert (current_request(), served_name()) == (None, None)
    with capture() as captured:
        made = predicted()
    [span] = captured.spans
    assert made == f"{span.context.trace_id:032x}:{span.context.span_id:016x}"


def test_the_first_call_of_each_model_has_the_id_of_the_request() -> None:
    with capture() as captured, serving(request_id="order-1") as request:
        predicted()
        predicted("fraud", rows=2)
        predicted()
    ids = [(seen.model, seen.id) for seen in captured.predictions]
    assert ids[:3] == [("churn", "order-1"), ("fraud", "order-1:0"), ("fraud", "order-1:1")]
    assert ids[3][0] == "churn"
    assert not ids[3][1].startswith("order-1")
    assert [(call.model, call.id, call.rows) for call in request.calls] == [
        ("churn", "order-1", 1), ("fraud", "order-1", 2), ("churn", ids[3][1], 1),
    ]  # fmt: skip


def test_an_id_of_the_call_comes_first_and_leaves_that_of_the_request_to_the_next() -> None:
    with capture() as captured, serving(request_id="order-1"):
        predicted(id="mine")
        predicted()
    assert [seen.id for seen in captured.predictions] == ["mine", "order-1"]


def test_segments_of_the_request_are_those_of_its_predictions() -> None:
    with capture() as captured, serving(segments={"tier": "gold", "route": "a"}):
        predicted(segments={"route": "b"})
        predicted(rows=2)
    assert [dict(seen.segments) for seen in captured.predictions] == [
        {"tier": "gold", "route": "b"}, {"tier": "gold", "route": "a"}, {"tier": "gold", "route": "a"},
    ]  # fmt: skip


def test_a_block_inside_takes_what_it_does_not_say_from_the_one_around_it() -> None:
    with capture(), serving("gateway", version="1", request_id="r", segments={"a": 1}) as outer:
        with serving("churn", segments={"b": 2}) as inner:
            assert served_name() == ("churn", "")
            assert (inner.request_id, dict(inner.segments)) == ("r", {"a": 1, "b": 2})
            predicted()
        with serving(version="2"):
            assert served_name() == ("gateway", "2")
        assert served_name() == ("gateway", "1")
        predicted()
    assert [call.id == "r" for call in outer.calls] == [True, False]
    assert served_name() is None


def test_blocks_with_an_id_of_their_own_give_it_to_the_same_model_again() -> None:
    """As in a batch of requests that a server answers with one call of its own after another."""
    with capture() as captured, serving("churn"):
        for number in range(3):
            with serving(request_id=f"r{number}"):
                predicted()
    assert [seen.id for seen in captured.predictions] == ["r0", "r1", "r2"]


def test_a_request_keeps_the_ids_of_its_first_hundred_calls() -> None:
    with capture(), serving() as request:
        for _ in range(120):
            predicted()
    assert len(request.calls) == 100


def test_tasks_and_threads_with_the_context_see_the_request_and_others_do_not() -> None:
    async def answer(number: int) -> str:
        with serving(request_id=f"task-{number}"):
            await asyncio.sleep(0)
            return await asyncio.to_thread(predicted)

    async def together() -> list[str]:
        return await asyncio.gather(*map(answer, range(20)))

    with capture() as captured:
        assert asyncio.run(together()) == [f"task-{number}" for number in range(20)]
        with serving(request_id="r"), ThreadPoolExecutor(1) as pool:
            assert pool.submit(copy_context().run, predicted).result() == "r"
            assert pool.submit(predicted).result() != "r"
    assert len(captured.predictions) == 22


def test_of_threads_that_come_at_once_one_has_the_id() -> None:
    started = threading.Barrier(8)

    def call() -> str:
        started.wait()
        return predicted()

    with capture(), serving(request_id="r"), ThreadPoolExecutor(8) as pool:
        ids = [done.result() for done in [pool.submit(copy_context().run, call) for _ in range(8)]]
    assert ids.count("r") == 1
    assert len(set(ids)) == 8


def test_a_failing_block_ends_its_request() -> None:
    with pytest.raises(ZeroDivisionError), serving("churn"):
        raise ZeroDivisionError
    assert served_name() is None


@given(st.text(max_size=300))
def test_any_text_of_a_client_may_be_the_id(text: str) -> None:
    with capture() as captured, serving(request_id=text):
        predicted()
    [seen] = captured.predictions
    assert seen.id


def test_it_is_public() -> None:
    assert {"serving", "name_model"} <= set(otel_ml.__all__)
