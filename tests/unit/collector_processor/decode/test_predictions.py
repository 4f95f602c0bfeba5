"""Rules of prediction spans: whose they are, when, how much they weigh, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from collector_processor.decode import DecodeLimits, ModelKey, decode


def test_a_flat_span_becomes_one_row_of_typed_columns(otlp: Any, read: Any) -> None:
    batch = otlp.one(
        {
            "ml.model.task": "binary_classification",
            "ml.model.role": "shadow",
            "ml.framework.name": "sklearn",
            "ml.prediction.id": "order-1",
            "ml.prediction.class": "yes",
            "ml.prediction.score": 0.75,
            "ml.prediction.value": 3.5,
            "ml.prediction.scores": {"yes": 0.75, "no": 0.25},
            "ml.feature.age": 41,
            "ml.feature.amount": 9.5,
            "ml.feature.new": True,
            "ml.feature.country": "ch",
            "ml.segment.region": "eu",
            "ml.attribution.age": -0.25,
            "http.route": "/pay",
        },
        end=otlp.start + 2_500_000,
    )
    assert batch.model == ModelKey("fraud", "7")
    assert read.rows_of(batch) == [
        {
            "model": "fraud@7",
            "task": "binary_classification",
            "role": "shadow",
            "time": otlp.start,
            "id": tuple(otlp.hash("order-1")[0]),
            "weight": 1.0,
            "duration": 0.0025,
            "class": "yes",
            "score": 0.75,
            "value": 3.5,
            "scores yes": 0.75,
            "scores no": 0.25,
            "feature age": 41.0,
            "feature amount": 9.5,
            "feature new": "true",
            "feature country": "ch",
            "segment region": "eu",
            "attribution age": -0.25,
        }
    ]


# --- which spans are predictions -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "attributes",
    [
        {"ml.feature.age": 1},
        {"ml.features": {"age": 1}},
        {"ml.prediction.class": "yes"},
        {"ml.prediction.score": 0.5},
        {"ml.prediction.scores": {"yes": 0.5}},
        {"ml.prediction.rows": 1},
    ],
)
def test_a_span_of_any_name_with_a_feature_or_an_output_is_a_prediction(otlp: Any, attributes: Any) -> None:
    decoded = otlp.decoded(otlp.prediction(attributes, name="POST /score"))
    assert sum(map(len, decoded.predictions)) == 1
    decoded = otlp.decoded(otlp.span(attributes, name="POST /score"))
    assert (decoded.rejected, decoded.predictions) == (1, ())


def test_a_span_that_is_named_predict_and_names_a_model_is_a_prediction(otlp: Any) -> None:
    assert len(otlp.decoded(otlp.prediction({}, name="predict fraud")).predictions) == 1
    assert len(otlp.decoded(otlp.prediction({}, name="predict_proba")).predictions) == 1


@pytest.mark.parametrize(
    ("name", "attributes"),
    [
        ("GET /", {}),
        ("GET /", {"ml.model.name": "fraud"}),
        ("charge", {"ml.model.name": "fraud", "ml.prediction.id": "order-1"}),
        ("predict", {}),
        ("predict", {"http.route": "/predict"}),
        ("label fraud", {"ml.model.name": "fraud", "ml.prediction.id": "order-1"}),
        ("train", {"ml.model.name": "fraud", "ml.batch_size": 32, "ml.feature_count": 3, "ml.label.class": "x"}),
    ],
)
def test_any_other_span_is_ignored_but_counted(otlp: Any, name: str, attributes: Any) -> None:
    decoded = otlp.decoded(otlp.span(attributes, name=name))
    assert (decoded.items, decoded.rejected, decoded.predictions, decoded.labels) == (1, 0, (), ())


# --- the model -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"ml.model.version": "7"}, "ml.model.name is missing"),
        ({"ml.feature.age": 1}, "ml.model.name is missing"),
        ({"ml.model.name": ""}, "ml.model.name is missing"),
        ({"ml.model.name": None}, "ml.model.name is missing"),
        ({"ml.model.name": 7}, "ml.model.name is an int, not a string"),
        ({"ml.model.name": ["fraud"]}, "ml.model.name is an array, not a string"),
        ({"ml.model.name": "n" * 257}, "ml.model.name is longer than 256 bytes"),
        ({"ml.model.name": "m", "ml.model.version": True}, "ml.model.version is a bool, not a string"),
        ({"ml.model.name": "m", "ml.model.version": 1.5}, "ml.model.version is a double, not a string"),
        ({"ml.model.name": "m", "ml.model.role": {}}, "ml.model.role is a map, not a string"),
        (
            {"ml.model.name": "m", "ml.model.task": "ranking"},
            "ml.model.task is 'ranking'; "
            "it must be one of: binary_classification, multiclass_classification, regression",
        ),
        (
            {"ml.model.name": "m", "ml.model.role": "canary"},
            "ml.model.role is 'canary'; it must be one of: champion, challenger, shadow",
        ),
        ({"ml.model.name": "m", "ml.prediction.id": b"7"}, "ml.prediction.id is bytes, not a string"),
        ({"ml.model.name": "m", "ml.batch": "text"}, "ml.batch is a string, not bytes"),
    ],
)
def test_a_prediction_without_readable_identity_is_rejected_with_the_reason(
    otlp: Any, attributes: Any, reason: str
) -> None:
    decoded = otlp.decoded(otlp.span(attributes))
    assert (decoded.items, decoded.rejected, decoded.predictions) == (1, 1, ())
    assert decoded.message == f"span 'predict fraud' (span_id {otlp.span_id.hex()}): {reason}"


def test_the_message_holds_the_first_reasons_only(otlp: Any) -> None:
    decoded = otlp.decoded(*[otlp.span({"ml.feature.a": 1}, name=f"predict {i}") for i in range(10)])
    assert decoded.rejected == 10
    assert "predict 2" in decoded.message
    assert "predict 3" not in decoded.message
    assert decoded.message.endswith("; and 7 more")


def test_names_in_messages_are_printable_and_short(otlp: Any) -> None:
    stream = otlp.arrow({"a\nb\x1b[31m" * 50: [1]})
    decoded = otlp.decoded(otlp.prediction({"ml.batch": stream}, name="predict\r\n" + "x" * 1000))
    assert decoded.rejected == 1
    assert decoded.message.isprintable()
    assert len(decoded.message) < 400


def test_an_integer_version_is_its_text_and_none_is_empty(otlp: Any) -> None:
    spans = [
        otlp.span({"ml.model.name": "m", "ml.model.version": version, "ml.feature.a": 1})
        for version in (7, "7", "", None)
    ]
    batches = otlp.decoded(*spans).predictions
    assert [(batch.model, len(batch)) for batch in batches] == [(ModelKey("m", "7"), 2), (ModelKey("m"), 2)]


def test_versions_one_and_true_are_not_taken_for_each_other(otlp: Any) -> None:
    decoded = otlp.decoded(*[otlp.span({"ml.model.name": "m", "ml.model.version": v}) for v in ("1", 1, True, 1.0, 1)])
    assert [len(batch) for batch in decoded.predictions] == [3]
    assert decoded.rejected == 2


def test_an_absent_role_is_champion(otlp: Any) -> None:
    decoded = otlp.decoded(otlp.prediction({}), otlp.prediction({"ml.model.role": "champion"}))
    assert [(batch.role, len(batch)) for batch in decoded.predictions] == [("champion", 2)]


def test_the_resource_may_name_the_model(otlp: Any) -> None:
    resource = {"ml.model.name": "fraud", "ml.model.version": "3"}
    named = otlp.decoded(
        otlp.span({"ml.feature.a": 1}),
        otlp.span({"ml.model.version": "4"}),
        otlp.span({"ml.model.name": "churn"}),
        otlp.span({"ml.model.name": "fraud"}),
        otlp.span({}, name="predict"),
        otlp.span({}, name="GET /"),
        resource=resource,
    )
    assert [(str(batch.model), len(batch)) for batch in named.predictions] == [
        ("fraud@3", 3),
        ("fraud@4", 1),
        ("churn", 1),
    ]
    version_only = otlp.decoded(otlp.span({"ml.model.name": "churn"}), resource={"ml.model.version": "3"})
    assert str(version_only.predictions[0].model) == "churn@3"
    unreadable = otlp.decoded(otlp.span({"ml.feature.a": 1}), resource={"ml.model.name": 3})
    assert unreadable.rejected == 1


def test_models_and_their_tasks_and_roles_are_kept_apart_in_order(otlp: Any, read: Any) -> None:
    names = ["b", "a", "b", "c", "a", "b"]
    spans = [otlp.span({"ml.model.name": name, "ml.prediction.value": float(i)}) for i, name in enumerate(names)]
    spans.append(otlp.span({"ml.model.name": "a", "ml.model.task": "regression"}))
    spans.append(otlp.span({"ml.model.name": "a", "ml.model.role": "shadow"}))
    decoded = otlp.decoded(*spans)
    assert [(batch.model.name, batch.task, batch.role) for batch in decoded.predictions] == [
        ("b", "", "champion"),
        ("a", "", "champion"),
        ("c", "", "champion"),
        ("a", "regression", "champion"),
        ("a", "", "shadow"),
    ]
    assert [row.get("value") for row in read.rows(decoded)] == [0.0, 2.0, 5.0, 1.0, 4.0, 3.0, None, None]


def test_resources_and_scopes_of_one_request_add_up(otlp: Any) -> None:
    request = ExportTraceServiceRequest()
    for _ in range(2):
        request.MergeFromString(otlp.traces(otlp.prediction({"ml.feature.a": 1})))
    request.resource_spans[0].scope_spans.add().spans.append(otlp.prediction({"ml.feature.a": 2}))
    decoded = decode("traces", request.SerializeToString(), 0)
    assert (decoded.items, [len(batch) for batch in decoded.predictions]) == (3, [3])


# --- cells ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", [None, math.nan])
def test_absent_empty_and_nan_are_missing(otlp: Any, read: Any, missing: Any) -> None:
    batch = otlp.decoded(
        otlp.prediction({"ml.feature.a": 1.0, "ml.prediction.score": 0.5, "ml.feature.b": missing}),
        otlp.prediction({"ml.feature.a": missing, "ml.prediction.score": missing, "ml.prediction.class": missing}),
        otlp.prediction({}),
    ).predictions[0]
    assert read.cells(batch.features["a"], 3) == [1.0, None, None]
    assert batch.score.tolist()[0] == 0.5
    assert [math.isnan(score) for score in batch.score.tolist()] == [False, True, True]
    assert (set(batch.features), batch.prediction, batch.value) == ({"a"}, None, None)


@pytest.mark.parametrize("value", [{"a": 1}, b"octets", [[1.0]], AnyValue(string_value_strindex=3)])
def test_what_is_no_scalar_is_missing_and_counted(otlp: Any, read: Any, value: Any) -> None:
    decoded = otlp.decoded(otlp.prediction({"ml.feature.a": value, "ml.feature.b": 1, "other": value}))
    assert decoded.dropped == {"unsupported_value": 1}
    assert read.rows(decoded)[0].get("feature a") is None
    assert read.rows(decoded)[0]["feature b"] == 1.0


@pytest.mark.parametrize("value", ["0.5", True])
@pytest.mark.parametrize("name", ["ml.prediction.score", "ml.prediction.value", "ml.attribution.a"])
def test_a_text_or_bool_where_a_number_is_due_is_missing_and_counted(otlp: Any, name: str, value: Any) -> None:
    decoded = otlp.decoded(otlp.prediction({name: value}))
    [batch] = decoded.predictions
    assert decoded.dropped == {"unsupported_value": 1}
    assert (batch.score, batch.value, batch.attributions) == (None, None, {})


@pytest.mark.parametrize("name", ["ml.features", "ml.prediction.scores"])
@pytest.mark.parametrize("value", ["text", 1, [1.0], b"x"])
def test_a_map_that_is_none_is_counted(otlp: Any, name: str, value: Any) -> None:
    assert otlp.decoded(otlp.prediction({name: value})).dropped == {"unsupported_value": 1}
    assert otlp.decoded(otlp.prediction({name: None})).dropped == {}


def test_a_feature_that_changes_its_type_keeps_both(otlp: Any, read: Any) -> None:
    decoded = otlp.decoded(*[otlp.prediction({"ml.feature.a": value}) for value in (1, "n/a", True, 2.5, "1")])
    column = decoded.predictions[0].features["a"]
    assert read.cells(column, 5) == [1.0, "n/a", "true", 2.5, "1"]


def test_zeros_falses_and_empty_texts_are_values(otlp: Any, read: Any) -> None:
    batch = otlp.one({"ml.feature.a": 0, "ml.feature.b": 0.0, "ml.feature.c": False, "ml.feature.d": ""})
    assert [read.cells(batch.features[key], 1) for key in "abcd"] == [[0.0], [0.0], ["false"], [""]]


def test_integers_become_the_nearest_double(otlp: Any) -> None:
    batch = otlp.one({"ml.feature.a": 2**63 - 1, "ml.feature.b": -(2**63), "ml.feature.c": 2**53 + 1})
    assert [batch.features[key].numbers.tolist() for key in "abc"] == [[2.0**63], [-(2.0**63)], [2.0**53]]


@pytest.mark.parametrize(("value", "text"), [(1, "1"), (1.0, "1"), (True, "true"), (0.5, "0.5"), ("x", "x")])
def test_classes_and_segments_are_texts(otlp: Any, value: Any, text: str) -> None:
    batch = otlp.one({"ml.prediction.class": value, "ml.segment.s": value})
    assert batch.prediction.categories == (text,)
    assert batch.segments["s"].categories == (text,)


def test_of_a_repeated_attribute_the_last_counts_whatever_it_is(otlp: Any, read: Any) -> None:
    def decoded(*values: Any) -> Any:
        pairs = [("ml.feature.a", value) for value in values]
        return otlp.decoded(otlp.span([("ml.model.name", "x"), *pairs, ("ml.model.name", "m")]))

    assert read.rows(decoded(1, "b", 2.5))[0]["feature a"] == 2.5
    assert read.rows(decoded(1, None))[0].get("feature a") is None
    assert decoded(b"", 1).dropped == {}
    assert decoded([1.0, 2.0], 1).predictions[0].model.name == "m"
    assert len(decoded([1.0, 2.0], 1).predictions[0]) == 1


# --- ids, time, weight, errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [("order-1", "order-1"), (17, "17"), (17.0, "17"), ("é" * 400, "é" * 400), ("", None), (None, None)],
)
def test_the_id_is_hashed_whole_and_an_empty_one_is_none(otlp: Any, value: Any, text: str | None) -> None:
    batch = otlp.one({"ml.prediction.id": value})
    assert batch.ids.tolist() == otlp.hash(text or otlp.default_id)


def test_the_default_id_takes_trace_and_span_id_as_they_are(otlp: Any) -> None:
    batch = otlp.one({}, trace_id=b"", span_id=b"\xff")
    assert batch.ids.tolist() == otlp.hash(":ff")


@pytest.mark.parametrize(
    ("start", "end", "time", "duration"),
    [
        (5, 8, 5, 3e-9),
        (5, 5, 5, None),
        (5, 4, 5, None),
        (5, 0, 5, None),
        (0, 8, 8, None),
        (0, 0, "received", None),
        (2**63, 8, 8, None),
        (2**63 - 1, 2**63, 2**63 - 1, None),
        (2**64 - 1, 2**64 - 1, "received", None),
    ],
)
def test_time_is_the_start_else_the_end_else_the_receipt(
    otlp: Any, start: int, end: int, time: Any, duration: Any
) -> None:
    batch = otlp.one({}, start=start, end=end)
    assert batch.time_ns.tolist() == [otlp.received if time == "received" else time]
    assert batch.duration_s.tolist() == [pytest.approx(duration or math.nan, nan_ok=True)]


def test_sampled_spans_weigh_more(otlp: Any) -> None:
    decoded = otlp.decoded(otlp.prediction({}, trace_state="ot=th:c"), otlp.prediction({}))
    assert decoded.predictions[0].weights.tolist() == [4.0, 1.0]


def test_rows_without_columns_are_weight(otlp: Any) -> None:
    spans = [otlp.prediction({"ml.prediction.rows": rows, "ml.feature.a": 1}) for rows in (3, 1, 2.0, None)]
    assert otlp.decoded(*spans).predictions[0].weights.tolist() == [3.0, 1.0, 2.0, 1.0]
    assert otlp.one({"ml.prediction.rows": 3}, trace_state="ot=th:8").weights.tolist() == [6.0]


def test_zero_rows_are_no_prediction(otlp: Any) -> None:
    decoded = otlp.decoded(otlp.prediction({"ml.prediction.rows": 0}))
    assert (decoded.items, decoded.rejected, decoded.predictions, decoded.dropped) == (1, 0, (), {})


@pytest.mark.parametrize("rows", [-1, "3", True, 1.5, math.nan, math.inf, [1], {}])
def test_rows_that_make_no_sense_are_counted_and_are_one(otlp: Any, rows: Any) -> None:
    decoded = otlp.decoded(otlp.prediction({"ml.prediction.rows": rows}))
    assert decoded.predictions[0].weights.tolist() == [1.0]
    assert decoded.dropped == {"unsupported_value": 1}


def test_a_weight_of_more_rows_than_allowed_is_dropped(otlp: Any) -> None:
    decoded = otlp.decoded(otlp.prediction({"ml.prediction.rows": 11}), limits=DecodeLimits(rows=10))
    assert (decoded.predictions, decoded.dropped) == ((), {"rows_over_limit": 1})


@pytest.mark.parametrize(
    ("attributes", "text"),
    [
        ({"error.type": "ValueError"}, "ValueError"),
        ({"error.type": 500}, "500"),
        ({}, "error"),
        ({"error.type": ""}, "error"),
        ({"error.type": None}, "error"),
        ({"error.type": ["x"]}, "error"),
    ],
)
def test_a_failed_prediction_has_its_error_type(otlp: Any, read: Any, attributes: Any, text: str) -> None:
    batch = otlp.one(attributes, error=True)
    assert read.cells(batch.error, 1) == [text]
    assert otlp.one(attributes).error is None


def test_errors_are_missing_in_rows_that_did_not_fail(otlp: Any, read: Any) -> None:
    decoded = otlp.decoded(otlp.prediction({}), otlp.prediction({}, error=True), otlp.prediction({}))
    assert read.cells(decoded.predictions[0].error, 3) == [None, "error", None]
