"""The bounded queue against a list that does the same, slowly."""

from __future__ import annotations

import threading
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector_processor.exporters.delivery.bounded_queue import Batching, BoundedQueue
from collector_processor.own.telemetry import Telemetry

TEXTS = st.text("abc", min_size=1, max_size=4)


def gauge(telemetry: Telemetry) -> float | None:
    labels = {"exporter": "x", "data_type": "alerts"}
    return telemetry.registry.get_sample_value("otelcol_exporter_queue_size", labels)


@given(st.lists(st.none() | TEXTS), st.integers(1, 5), st.integers(1, 12), st.booleans())
def test_it_keeps_the_order_and_both_limits(steps: list[str | None], size: int, max_weight: int, joining: bool) -> None:
    telemetry = Telemetry()
    queue = BoundedQueue[str](
        "x",
        "alerts",
        telemetry,
        size,
        weight=len,
        max_weight=max_weight,
        joins=(lambda first: lambda item: item[0] == first[0]) if joining else None,
    )
    model: list[str] = []
    for step in steps:
        if step is not None:
            fits = len(model) < size and sum(map(len, model)) + len(step) <= max_weight
            assert queue.put(step) == fits
            model += [step] * fits
        elif model:
            first = model.pop(0)
            together = [item for item in model if joining and item[0] == first[0]]
            model = [item for item in model if not (joining and item[0] == first[0])]
            assert list(queue.take()) == [first, *together]
        assert gauge(telemetry) == len(model)
    queue.close()
    assert not queue.put("a")
    assert list(queue.clear()) == model
    assert not queue.take()
    assert gauge(telemetry) == 0


def test_closing_wakes_who_waits() -> None:
    queue = BoundedQueue[str]("x", "alerts", Telemetry(), 1)
    taken: list[int] = []
    waiting = threading.Thread(target=lambda: taken.append(len(queue.take())))
    waiting.start()
    queue.close()
    waiting.join(30)
    assert taken == [0]


class Weight(int):
    """A weight that counts how often one is added to something."""

    added: ClassVar[int] = 0

    def __radd__(self, other: int) -> int:
        Weight.added += 1
        return other + int(self)


def test_a_batch_adds_each_weight_a_few_times_however_many_wait() -> None:
    queue = BoundedQueue[str](
        "x", "alerts", Telemetry(), 500, weight=lambda _: Weight(1), batching=Batching(min_size=1, max_size=400)
    )
    for _ in range(500):
        queue.put("a")
    Weight.added = 0

    assert [len(queue.take()), len(queue.take())] == [400, 100]
    assert Weight.added < 10 * 500


@pytest.mark.parametrize("size", [0, -1])
def test_it_needs_room(size: int) -> None:
    with pytest.raises(ValueError, match=r"exporters\.x\.sending_queue\.queue_size: must be at least 1"):
        BoundedQueue[str]("x", "alerts", Telemetry(), size)
