"""Labels for a model by its name."""

from __future__ import annotations

import threading

import pytest

import otel_ml
from otel_ml import by_name, problems
from otel_ml.testing import capture


def test_labels_by_name_are_those_of_a_handle() -> None:
    with capture() as captured:
        otel_ml.label("fraud", "a", class_=True, time_ns=5)
        otel_ml.Model("fraud").label("a", class_=True, time_ns=5)
        otel_ml.labels("fraud", ["a", "b"], values=[1, 2], time_ns=[7, 8])
        otel_ml.Model("fraud").labels(["a", "b"], values=[1, 2], time_ns=[7, 8])
    one, same, *many = captured.labels
    assert one == same
    assert many[:2] == many[2:]


@pytest.mark.parametrize("name", ["", None, 7, ["a"]])
def test_a_name_that_no_model_can_have_is_logged_and_never_raises(
    name: object, caplog: pytest.LogCaptureFixture
) -> None:
    problems.forget()
    with capture() as captured:
        otel_ml.label(name, "a", class_="x")  # type: ignore[arg-type]
        otel_ml.labels(name, ["a"], classes=["x"])  # type: ignore[arg-type]
    assert not captured.spans
    assert len(caplog.records) == 1


def test_handles_are_kept_and_bounded() -> None:
    with capture() as captured:
        for number in range(1_200):
            otel_ml.label(f"model {number % 1_100}", "a", class_="x")
    assert len(captured.labels) == 1_200
    kept = by_name._made.cache_info()
    assert kept.currsize <= 1_000
    before = kept.misses
    otel_ml.label("model 50", "a", class_="x")
    assert by_name._made.cache_info().misses == before


def test_threads_lose_no_label() -> None:
    with capture() as captured:
        threads = [
            threading.Thread(target=lambda: [otel_ml.label("fraud", str(number), class_="x") for number in range(500)])
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(captured.labels) == 4_000
