"""Labels, as spans and as log records."""

from __future__ import annotations

import math
from typing import Any

import pyarrow as pa
import pytest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from collector_processor.decode import DecodeLimits, decode

IDENTITY = {"ml.model.name": "fraud", "ml.prediction.id": "order-1"}


def label_span(otlp: Any, attributes: Any, name: str = "label fraud", **of_span: Any) -> Any:
    return otlp.span({**IDENTITY, **attributes}, name=name, **of_span)


def record(otlp: Any, attributes: Any, event_name: str = "ml.label", **fields: Any) -> LogRecord:
    return LogRecord(event_name=event_name, attributes=otlp.attributes(attributes), **fields)


def logs(otlp: Any, *records: LogRecord, resource: Any = None) -> Any:
    return decode("logs", otlp.logs(*records, resource=resource), otlp.received)


def test_a_label_span_holds_id_time_and_class_or_value(otlp: Any, read: Any) -> None:
    decoded = otlp.decoded(
        label_span(otlp, {"ml.label.class": "fraud"}),
        label_span(otlp, {"ml.label.value": 3.5, "ml.prediction.id": "order-2"}, start=7, end=7),
        label_span(otlp, {"ml.label.value": 3, "ml.label.class": True, "ml.prediction.id": 17}),
    )
    first, second, third = (tuple(pair) for pair in otlp.hash("order-1", "order-2", "17"))
    assert read.labels(decoded) == [
        ("fraud", otlp.start, first, "fraud", None),
        ("fraud", 7, second, None, 3.5),
        ("fraud", otlp.start, third, "true", 3.0),
    ]
    assert (decoded.predictions, decoded.rejected, decoded.items, len(decoded.labels)) == ((), 0, 3, 1)


@pytest.mark.parametrize(("value", "text"), [(1, "1"), (1.0, "1"), (True, "true"), (0.5, "0.5"), ("x", "x")])
def test_the_class_of_a_label_is_the_same_text_as_that_of_its_prediction(otlp: Any, value: Any, text: str) -> None:
    decoded = otlp.decoded(label_span(otlp, {"ml.label.class": value}), otlp.prediction({"ml.prediction.class": value}))
    assert decoded.labels[0].classes.categories == decoded.predictions[0].prediction.categories == (text,)


@pytest.mark.parametrize("name", ["label", "label fraud", "labels of fraud"])
def test_a_label_span_is_no_prediction(otlp: Any, name: str) -> None:
    decoded = otlp.decoded(label_span(otlp, {"ml.label.class": "x", "ml.feature.a": 1}, name=name))
    assert (decoded.predictions, [len(batch) for batch in decoded.labels]) == ((), [1])


def test_a_prediction_is_no_label(otlp: Any) -> None:
    decoded = otlp.decoded(otlp.prediction({"ml.label.class": "x", "ml.prediction.id": "a"}))
    assert (decoded.labels, [len(batch) for batch in decoded.predictions]) == ((), [1])


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"ml.label.class": "x", "ml.prediction.id": None}, "ml.prediction.id is missing"),
        ({"ml.label.class": "x", "ml.prediction.id": ""}, "ml.prediction.id is missing"),
        ({"ml.label.class": "x", "ml.prediction.id": b"x"}, "ml.prediction.id is bytes, not a string"),
        ({"ml.label.class": "x", "ml.model.name": ""}, "ml.model.name is missing"),
        ({"ml.label.class": None}, "has neither ml.label.class nor ml.label.value"),
        ({"ml.label.value": math.nan}, "has neither ml.label.class nor ml.label.value"),
        ({"ml.label.value": "3"}, "has neither ml.label.class nor ml.label.value"),
        ({"ml.label.class": {"a": 1}}, "has neither ml.label.class nor ml.label.value"),
        (
            {"ml.label.class": ["a"], "ml.prediction.id": ["a", "b"]},
            "ml.prediction.id has 2 values but ml.label.class has 1",
        ),
    ],
)
def test_a_label_that_cannot_be_read_is_rejected_as_span_and_as_record(otlp: Any, attributes: Any, reason: str) -> None:
    for decoded in (otlp.decoded(label_span(otlp, attributes)), logs(otlp, record(otlp, {**IDENTITY, **attributes}))):
        assert (decoded.items, decoded.rejected, decoded.labels, decoded.predictions) == (1, 1, (), ())
        assert reason in decoded.message


def test_a_record_is_a_label_by_its_event_name_or_the_older_attribute(otlp: Any, read: Any) -> None:
    attributes = {**IDENTITY, "ml.label.class": "x"}
    decoded = logs(
        otlp,
        record(otlp, attributes, time_unix_nano=5),
        record(otlp, {**attributes, "event.name": "ml.label"}, event_name="", time_unix_nano=6),
        record(otlp, attributes, event_name="other"),
        record(otlp, attributes, event_name=""),
        record(otlp, {**attributes, "event.name": "other"}, event_name=""),
    )
    assert [label[1] for label in read.labels(decoded)] == [5, 6]
    assert (decoded.items, decoded.rejected) == (5, 0)


def test_a_record_without_a_label_is_rejected(otlp: Any) -> None:
    decoded = logs(otlp, record(otlp, IDENTITY))
    assert (decoded.rejected, decoded.message) == (
        1,
        "log record 'ml.label': has neither ml.label.class nor ml.label.value",
    )


@pytest.mark.parametrize(
    ("time", "observed", "expected"), [(5, 6, 5), (0, 6, 6), (0, 0, None), (2**63, 6, 6), (2**63, 2**64 - 1, None)]
)
def test_time_of_a_record_is_its_own_else_when_observed_else_when_received(
    otlp: Any, read: Any, time: int, observed: int, expected: int | None
) -> None:
    attributes = {**IDENTITY, "ml.label.value": 1.0}
    decoded = logs(otlp, record(otlp, attributes, time_unix_nano=time, observed_time_unix_nano=observed))
    assert read.labels(decoded)[0][1] == (otlp.received if expected is None else expected)


def test_the_resource_may_name_the_model_of_labels(otlp: Any, read: Any) -> None:
    attributes = {"ml.prediction.id": "a", "ml.label.class": "x"}
    decoded = logs(otlp, record(otlp, attributes), resource={"ml.model.name": "churn"})
    assert read.labels(decoded)[0][0] == "churn"


def test_many_labels_travel_as_arrow_or_arrays(otlp: Any, read: Any) -> None:
    columns = {"ml.prediction.id": ["a", "b", "c"], "ml.label.class": ["x", "y", "x"], "ml.label.value": [1, 2, 3]}
    model = {"ml.model.name": "fraud"}
    stream = otlp.arrow(columns)
    expected = [
        ("fraud", otlp.start, tuple(hashed), label, value)
        for hashed, label, value in zip(otlp.hash("a", "b", "c"), "xyx", (1.0, 2.0, 3.0), strict=True)
    ]
    for attributes in ({**model, **columns}, {**model, "ml.batch": stream}):
        assert read.labels(otlp.decoded(otlp.span(attributes, name="label fraud"))) == expected
        assert read.labels(logs(otlp, record(otlp, attributes, time_unix_nano=otlp.start))) == expected


def test_rows_of_labels_without_id_or_label_are_dropped_and_counted(otlp: Any, read: Any) -> None:
    stream = otlp.arrow({
        "ml.prediction.id": ["a", None, "c", "", None],
        "ml.label.class": pa.array(["x", "y", None, "z", None]),
    })  # fmt: skip
    decoded = otlp.decoded(otlp.span({"ml.model.name": "fraud", "ml.batch": stream}, name="label fraud"))
    assert [label[3] for label in read.labels(decoded)] == ["x"]
    assert decoded.dropped == {"label_without_id": 3, "label_without_value": 1}
    assert decoded.rejected == 0


def test_each_label_of_a_batch_may_have_the_time_at_which_it_was_known(otlp: Any, read: Any) -> None:
    stream = otlp.arrow({
        "ml.prediction.id": ["a", "b", "c", "d", "e", "f"],
        "ml.label.class": ["x"] * 6,
        "ml.label.time": [1_700_000_000_500_000_000.0, None, -1.0, 1e300, math.nan, 0.0],
    })  # fmt: skip
    attributes = {"ml.model.name": "fraud", "ml.batch": stream}
    times = [1_700_000_000_500_000_000] + [otlp.start] * 5
    for decoded in (
        otlp.decoded(otlp.span(attributes, name="label fraud")),
        logs(otlp, record(otlp, attributes, time_unix_nano=otlp.start)),
    ):
        assert [label[1] for label in read.labels(decoded)] == times
        assert not decoded.dropped


def test_a_time_of_labels_that_is_a_text_is_counted_and_left_out(otlp: Any, read: Any) -> None:
    stream = otlp.arrow({"ml.prediction.id": ["a"], "ml.label.class": ["x"], "ml.label.time": ["2026-11-29"]})
    decoded = otlp.decoded(otlp.span({"ml.model.name": "fraud", "ml.batch": stream}, name="label fraud"))
    assert [label[1] for label in read.labels(decoded)] == [otlp.start]
    assert decoded.dropped == {"unsupported_value": 1}


def test_a_batch_of_nothing_but_times_is_rejected(otlp: Any) -> None:
    stream = otlp.arrow({"ml.label.time": [1_700_000_000_000_000_000]})
    decoded = otlp.decoded(otlp.span({"ml.model.name": "fraud", "ml.batch": stream}, name="label fraud"))
    assert (decoded.rejected, decoded.labels, decoded.predictions) == (1, (), ())


def test_labels_of_the_rows_of_a_call_may_share_its_id(otlp: Any) -> None:
    attributes = {"ml.model.name": "fraud", "ml.prediction.id": otlp.default_id, "ml.label.class": ["x", "y"]}
    labels = otlp.decoded(otlp.span(attributes, name="label fraud")).labels[0]
    predictions = otlp.one({"ml.prediction.class": ["x", "y"]})
    assert labels.ids.tolist() == predictions.ids.tolist()


def test_labels_without_any_id_are_all_dropped(otlp: Any) -> None:
    decoded = otlp.decoded(otlp.span({"ml.model.name": "m", "ml.label.class": ["x", "y"]}, name="label m"))
    assert (decoded.labels, decoded.dropped) == ((), {"label_without_id": 2})


@pytest.mark.parametrize("labeled", [[], ["a", "b"]])
def test_classes_of_labels_without_id_count_toward_the_categories(otlp: Any, labeled: list[str]) -> None:
    columns = {"ml.prediction.id": [*labeled, "", "", ""], "ml.label.class": [*labeled, "x", "y", "z"]}
    decoded = otlp.decoded(
        otlp.span({"ml.model.name": "m", **columns}, name="label m"), limits=DecodeLimits(categories=2)
    )
    assert decoded.dropped == {"label_without_id": 3, "categories_over_limit": len(labeled) + 1}


def test_a_batch_without_label_columns_in_a_span_named_label_holds_predictions(otlp: Any) -> None:
    stream = otlp.arrow({"ml.feature.a": [1.0]})
    decoded = otlp.decoded(otlp.span({"ml.model.name": "m", "ml.batch": stream}, name="labelled run"))
    assert (decoded.labels, len(decoded.predictions)) == ((), 1)


def test_labels_of_many_models_are_kept_apart_and_bounded(otlp: Any) -> None:
    spans = [label_span(otlp, {"ml.model.name": name, "ml.label.class": "x"}) for name in "abcab"]
    decoded = otlp.decoded(*spans, limits=DecodeLimits(models=2, rows=3))
    assert [(batch.model_name, len(batch)) for batch in decoded.labels] == [("a", 2), ("b", 1)]
    assert decoded.dropped == {"models_over_limit": 1, "rows_over_limit": 1}
