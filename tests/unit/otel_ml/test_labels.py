"""Labels, one or many."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, Sampler, TraceIdRatioBased

from otel_ml import Config, Model, problems
from otel_ml.testing import Captured, capture


@pytest.fixture
def captured() -> Iterator[Captured]:
    problems.forget()
    with capture() as found:
        yield found


def test_a_label_is_a_span_without_length(captured: Captured) -> None:
    Model("m", version="2").label("order-7", class_=True, time_ns=5)
    [span] = captured.spans
    assert span.name == "label m"
    assert span.start_time == span.end_time == 5
    assert dict(span.attributes) == {
        "ml.model.name": "m",
        "ml.model.version": "2",
        "ml.prediction.id": "order-7",
        "ml.label.class": "true",
    }


@pytest.mark.parametrize("row", ["", ":3"])
def test_a_label_is_a_child_of_the_span_that_its_id_names(captured: Captured, row: str) -> None:
    model = Model("m")
    with model.predict({"a": 1}) as prediction:
        pass
    model.label(prediction.id + row, value=np.float32(0.5))
    predicted = captured.spans[0].get_span_context()
    assert captured.spans[1].parent is not None
    assert captured.spans[1].parent.span_id == predicted.span_id
    assert captured.spans[1].get_span_context().trace_id == predicted.trace_id
    assert captured.labels[0].value == 0.5


@pytest.mark.parametrize("sampler", [TraceIdRatioBased(0.5), ParentBased(TraceIdRatioBased(0.5))])
def test_a_kept_prediction_keeps_its_label_under_a_ratio_sampler(sampler: Sampler) -> None:
    with capture(sampler=sampler) as captured:
        model = Model("m", config=Config(follow_sampler=True))
        for _ in range(50):
            with model.predict({"a": 1}) as prediction:
                pass
            model.label(prediction.id, value=1.0)
        kept = {seen.id for seen in captured.predictions}
        assert 0 < len(kept) < 50
        assert kept <= {label.id for label in captured.labels}


def test_a_label_of_an_own_id_stays_where_it_is_sent(captured: Captured) -> None:
    Model("m").label("order-7", value=1.0)
    assert captured.spans[0].parent is None


@pytest.mark.parametrize("value", [0, 0.0, False])
def test_falsy_labels_are_labels(captured: Captured, value: object) -> None:
    Model("m").label("a", class_=value)
    Model("m").label("b", value=value)
    assert captured.labels[0].class_ in ("0", "false")
    assert captured.labels[1].value == 0.0


@pytest.mark.parametrize(
    ("prediction_id", "label"),
    [(None, {"class_": "a"}), ("", {"class_": "a"}), ("a", {}), ("a", {"value": float("nan")}), ("a", {"value": "x"})],
)
def test_a_label_that_says_nothing_is_dropped_and_reported(
    captured: Captured, caplog: pytest.LogCaptureFixture, prediction_id: object, label: dict[str, object]
) -> None:
    Model("m").label(prediction_id, **label)
    assert captured.spans == ()
    assert "a label needs a prediction id and class_ or value" in caplog.text


@pytest.mark.parametrize(
    ("ids", "classes", "values"),
    [
        (["a", "b"], ["x", "y"], None),
        (np.array(["a", "b"]), np.array(["x", "y"]), None),
        (pd.Series(["a", "b"]), pd.Series(["x", "y"], dtype="category"), None),
        (pl.Series(["a", "b"]), None, pl.Series([1, 2])),
        (pa.array(["a", "b"]), None, pa.array([1.0, 2.0])),
        (("a", "b"), None, np.array([[1.0], [2.0]])),
        (["a", "b"], ["x", "y"], [1.0, 2.0]),
    ],
)
def test_many_labels_are_one_span(captured: Captured, ids: object, classes: object, values: object) -> None:
    Model("m").labels(ids, classes=classes, values=values, time_ns=5)
    [span] = captured.spans
    assert span.name == "label m"
    assert span.start_time == span.end_time == 5
    assert "ml.batch" in span.attributes
    first, second = captured.labels
    assert (first.id, second.id) == ("a", "b")
    assert (first.class_, second.class_) == (("x", "y") if classes is not None else (None, None))
    assert (first.value, second.value) == ((1.0, 2.0) if values is not None else (None, None))


def test_one_label_may_come_as_a_list(captured: Captured) -> None:
    Model("m").labels(["a"], classes=[1])
    assert [(label.id, label.class_) for label in captured.labels] == [("a", "1")]


def test_many_labels_are_cut_into_spans_of_bounded_size(captured: Captured) -> None:
    ids = [f"prediction-{i:05}" for i in range(2000)]
    Model("m", config=Config(max_span_bytes=8192)).labels(ids, values=np.arange(2000.0))
    assert len(captured.spans) > 3
    assert sorted(label.id for label in captured.labels) == ids
    assert max(len(span.attributes["ml.batch"]) for span in captured.spans) <= 8192


@pytest.mark.parametrize(
    "arguments",
    [
        {"ids": ["a", "b"], "classes": ["x"]},
        {"ids": ["a"]},
        {"ids": "a", "classes": "x"},
        {"ids": None, "values": [1]},
        {"ids": ["a"], "values": 1},
    ],
)
def test_labels_that_do_not_fit_are_dropped_and_reported(
    captured: Captured, caplog: pytest.LogCaptureFixture, arguments: dict[str, object]
) -> None:
    Model("m").labels(**arguments)
    assert captured.spans == ()
    assert "labels need ids and classes or values of the same length" in caplog.text


def test_no_labels_are_no_span(captured: Captured, caplog: pytest.LogCaptureFixture) -> None:
    Model("m").labels([], classes=[])
    assert captured.spans == ()
    assert caplog.text == ""


def test_unsampled_labels_cost_no_encoding() -> None:
    with capture(sampler=ALWAYS_OFF) as captured:
        Model("m", config=Config(follow_sampler=True)).labels(["a"], classes=["x"])
        assert captured.spans == ()


TIMES = [1_700_000_000_000_000_000, 1_700_000_001_500_000_000]


@pytest.mark.parametrize("times", [TIMES, np.array(TIMES), pd.Series(TIMES), pl.Series(TIMES), pa.array(TIMES)])
def test_each_of_many_labels_may_have_its_own_time(captured: Captured, times: object) -> None:
    Model("m").labels(["a", "b"], classes=["x", "y"], time_ns=times)
    assert [label.time_ns for label in captured.labels] == TIMES


def test_an_impossible_time_of_one_label_is_that_of_the_span(captured: Captured) -> None:
    Model("m").labels(["a", "b", "c"], values=[1, 2, 3], time_ns=[TIMES[0], -5, None])
    [span] = captured.spans
    assert [label.time_ns for label in captured.labels] == [TIMES[0], span.start_time, span.start_time]


def test_times_of_another_number_of_labels_send_none(captured: Captured) -> None:
    Model("m").labels(["a", "b"], classes=["x", "y"], time_ns=[TIMES[0]])
    assert not captured.labels
