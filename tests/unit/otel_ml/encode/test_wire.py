"""Every form as OTLP really encodes it."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from otel_ml import Model, problems, semconv
from otel_ml.testing import Captured, capture


@pytest.fixture
def captured() -> Iterator[Captured]:
    problems.forget()
    with capture() as found:
        yield found


def encoded(captured: Captured) -> list[Span]:
    """The spans as a receiver sees them: through bytes."""
    request = type(encode_spans(captured.spans)).FromString(encode_spans(captured.spans).SerializeToString())
    [resource] = request.resource_spans
    [scope] = resource.scope_spans
    assert scope.scope.name == semconv.INSTRUMENTATION_SCOPE
    assert scope.schema_url == semconv.SCHEMA_URL
    return list(scope.spans)


def values(span: Span) -> dict[str, AnyValue]:
    return {attribute.key: attribute.value for attribute in span.attributes}


def test_the_flat_form(captured: Captured) -> None:
    with Model("m").predict({"a": 1, "b": 0.5, "c": "größe", "d": True, "e": None, "f": float("inf")}) as prediction:
        prediction.record(class_=True, score=np.float32(0.5), value=3, scores={"x": 0.5})
    [span] = encoded(captured)
    found = values(span)
    kinds = {key: value.WhichOneof("value") for key, value in found.items()}
    assert kinds == {
        "ml.model.name": "string_value",
        "ml.feature.a": "int_value",
        "ml.feature.b": "double_value",
        "ml.feature.c": "string_value",
        "ml.feature.d": "bool_value",
        "ml.feature.f": "double_value",
        "ml.prediction.id": "string_value",
        "ml.prediction.class": "string_value",
        "ml.prediction.score": "double_value",
        "ml.prediction.value": "double_value",
        "ml.prediction.scores": "kvlist_value",
    }
    assert found["ml.prediction.class"].string_value == "true"
    assert found["ml.prediction.scores"].kvlist_value.values[0].value.double_value == 0.5


def test_the_map_form(captured: Captured) -> None:
    with Model("m").predict({f"f{i}": float(i) for i in range(200)}):
        pass
    [span] = encoded(captured)
    assert span.dropped_attributes_count == 0
    entries = values(span)[semconv.FEATURES].kvlist_value.values
    assert [(entry.key, entry.value.double_value) for entry in entries] == [(f"f{i}", float(i)) for i in range(200)]


def test_the_arrow_form(captured: Captured) -> None:
    with Model("m", features=["a", "b"]).predict(np.array([[1.0, 2.0], [3.0, np.nan]])) as prediction:
        prediction.record(class_=np.array([0, 1]), scores={"0": [0.75, 0.25], "1": [0.25, 0.75]})
    [span] = encoded(captured)
    found = values(span)
    people = {semconv.BATCH_ID, semconv.BATCH_COLUMNS, semconv.BATCH_PREVIEW}
    assert set(found) == {semconv.MODEL_NAME, semconv.BATCH, semconv.PREDICTION_ROWS} | people
    assert found[semconv.BATCH_ID].string_value == prediction.id
    assert found[semconv.BATCH_PREVIEW].string_value.splitlines()[0].startswith("a=1.0, b=2.0, ml.prediction.class=0, ")
    assert found[semconv.PREDICTION_ROWS].int_value == 2
    table = pa.ipc.open_stream(io.BytesIO(found[semconv.BATCH].bytes_value)).read_all()
    table.validate(full=True)
    assert table.column_names == [
        "ml.feature.a",
        "ml.feature.b",
        "ml.prediction.class",
        "ml.prediction.score",
        "ml.prediction.scores.0",
        "ml.prediction.scores.1",
    ]
    assert table["ml.prediction.scores.0"].to_pylist() == [0.75, 0.25]
    assert table["ml.prediction.score"].to_pylist() == [0.25, 0.75]


def test_a_failure(captured: Captured) -> None:
    with pytest.raises(ValueError, match="x"), Model("m").predict({"a": 1}):
        raise ValueError("x")
    [span] = encoded(captured)
    assert span.status.code == Status.STATUS_CODE_ERROR
    assert span.status.message == ""
    assert values(span)["error.type"].string_value == "ValueError"
    assert not span.events


def test_hostile_names_and_values_reach_the_wire_or_are_left_out(
    captured: Captured, caplog: pytest.LogCaptureFixture
) -> None:
    row = {
        "größe": "naïve",
        "a b.c{}\n": 1,
        "\ud800key": "\ud800value",
        "x" * 256: 1,
        "huge": 10**400,
        "below": -(2**70),
        "nested": {"a": 1},
        "": 1,
    }
    with Model("модель", version="\ud800").predict(row) as prediction:
        prediction.record(class_="\ud800")
    [span] = encoded(captured)
    assert span.name == "predict модель"
    found = values(span)
    assert found["ml.feature.?key"].string_value == "?value"
    assert found["ml.feature.a b.c{}\n"].int_value == 1
    assert found["ml.feature.huge"].double_value == float("inf")
    assert "ml.feature.nested" not in found
    assert "ml.feature." not in found
    assert "Failed to encode" not in caplog.text


def test_many_labels(captured: Captured) -> None:
    Model("m").labels(["a", "b"], classes=[1, 0])
    [span] = encoded(captured)
    table = pa.ipc.open_stream(values(span)[semconv.BATCH].bytes_value).read_all()
    assert table.to_pylist() == [
        {"ml.prediction.id": "a", "ml.label.class": "1"},
        {"ml.prediction.id": "b", "ml.label.class": "0"},
    ]
