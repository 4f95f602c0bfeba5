"""What the instrumentation emits, in each of its forms, is what the processor decodes: the contract, end to end."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

from collector_processor.columns.batch import ModelKey
from collector_processor.decode import Column, Decoded, LabelBatch, PredictionBatch, concatenate, decode, hash_ids
from collector_processor.monitors.comparisons import all_cells, text_cells
from collector_processor.reference.build import build_reference
from collector_processor.statistics.accumulate import accumulate, withheld_columns
from collector_processor.statistics.pane import Pane
from otel_ml import Config, Model
from otel_ml.testing import Captured, CapturedPrediction, capture

Cells = list[Any]


def arrived(captured: Captured) -> Decoded:
    decoded = decode("traces", encode_spans(captured.spans).SerializeToString(), 0)
    assert (decoded.rejected, decoded.message, dict(decoded.dropped)) == (0, "", {})
    assert decoded.items == len(captured.spans)
    return decoded


def one_batch(captured: Captured) -> PredictionBatch:
    return concatenate(arrived(captured).predictions)


def cells(column: Column | None, rows: int) -> Cells:
    if column is None:
        return [None] * rows
    numbers = [math.nan] * rows if column.numbers is None else column.numbers.tolist()
    codes = [-1] * rows if column.codes is None else column.codes.tolist()
    return [
        column.categories[code] if code >= 0 else None if math.isnan(number) else number
        for number, code in zip(numbers, codes, strict=True)
    ]


def numbers(part: Any, rows: int) -> Cells:
    return cells(None if part is None else Column(part), rows)


def wire(value: Any) -> Any:
    """What a cell of the emitter's own reading is in the processor's words."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return float(value) if isinstance(value, int) else value


def assert_agree(captured: Captured) -> PredictionBatch:
    """Every row that the emitter's own reader finds is decoded to the same cells, and no other."""
    batch, seen = one_batch(captured), captured.predictions
    by_id = {tuple(pair): row for row, pair in enumerate(batch.ids.tolist())}
    order = [by_id[tuple(pair)] for pair in hash_ids([each.id for each in seen]).tolist()]
    assert sorted(order) == list(range(len(batch)))
    count = len(batch)

    def agree(columns: Mapping[str, Cells], of: Any) -> None:
        for row, each in zip(order, seen, strict=True):
            found = {key: column[row] for key, column in columns.items() if column[row] is not None}
            assert found == {key: wire(value) for key, value in of(each).items() if value is not None}

    agree({key: cells(column, count) for key, column in batch.features.items()}, lambda each: each.features)
    agree({key: cells(column, count) for key, column in batch.segments.items()}, lambda each: each.segments)
    agree({key: numbers(part, count) for key, part in batch.attributions.items()}, lambda each: each.attributions)
    agree({key: numbers(part, count) for key, part in batch.scores.items()}, lambda each: each.scores)
    outputs = {
        "class": cells(batch.prediction, count),
        "score": numbers(batch.score, count),
        "value": numbers(batch.value, count),
        "error": cells(batch.error, count),
    }

    def outputs_of(each: CapturedPrediction) -> dict[str, Any]:
        return {"class": each.class_, "score": each.score, "value": each.value, "error": each.error_type}

    agree(outputs, outputs_of)
    assert [batch.time_ns[row] for row in order] == [each.time_ns for each in seen]
    return batch


def test_one_row_travels_flat() -> None:
    with capture() as captured:
        model = Model("fraud", version="7", task="binary_classification", role="shadow", segments=["country"])
        features = {"age": 41, "amount": 9.5, "new": True, "country": "zürich", "missing": None, "nan": math.nan}
        with model.predict(features, id="order-1", segments={"tier": 1}) as prediction:
            prediction.record(class_=True, score=0.75, scores={"true": 0.75, "false": 0.25}, attributions={"age": -0.5})
    batch = assert_agree(captured)
    assert (str(batch.model), batch.task, batch.role) == ("fraud@7", "binary_classification", "shadow")
    assert cells(batch.features["age"], 1) == [41.0]
    assert (cells(batch.segments["country"], 1), cells(batch.segments["tier"], 1)) == (["zürich"], ["1"])
    assert cells(batch.prediction, 1) == ["true"]
    assert 0 < batch.duration_s[0] < 60
    assert captured.spans[0].attributes is not None
    assert "ml.feature.age" in captured.spans[0].attributes


def test_a_wide_row_travels_as_a_map() -> None:
    with capture() as captured, Model("wide", task="regression").predict({f"f{i}": i / 2 for i in range(500)}) as call:
        call.record(value=3)
    batch = assert_agree(captured)
    assert len(batch.features) == 500
    assert captured.spans[0].attributes is not None
    assert "ml.features" in captured.spans[0].attributes


def table() -> dict[str, Cells]:
    return {
        "age": [41, 18, 77, 30],
        "amount": [9.5, math.nan, -1.0, math.inf],
        "new": [True, False, True, True],
        "country": ["ch", "de", None, "zürich"],
    }


@pytest.mark.parametrize(
    "frame",
    [
        lambda: pd.DataFrame(table()),
        lambda: pl.DataFrame(table(), strict=False),
        lambda: pa.table(table()),
        table,
        lambda: [{name: column[row] for name, column in table().items()} for row in range(4)],
    ],
    ids=["pandas", "polars", "pyarrow", "columns", "rows"],
)
def test_a_batch_of_any_frame_keeps_its_cells(frame: Any) -> None:
    with capture() as captured:
        model = Model("fraud", task="binary_classification", segments=["country"])
        with model.predict(frame()) as prediction:
            prediction.record(class_=[1, 0, 1.0, True], score=[0.9, 0.1, 0.8, None])
    batch = assert_agree(captured)
    assert cells(batch.features["age"], 4) == [41.0, 18.0, 77.0, 30.0]
    assert cells(batch.features["amount"], 4) == [9.5, None, -1.0, math.inf]
    assert cells(batch.features["new"], 4) == ["true", "false", "true", "true"]
    assert cells(batch.features["country"], 4) == ["ch", "de", None, "zürich"]
    assert numbers(batch.score, 4) == [0.9, 0.1, 0.8, None]
    assert captured.spans[0].attributes is not None
    assert "ml.batch" in captured.spans[0].attributes


def test_a_matrix_with_probabilities_and_attributions_keeps_its_columns() -> None:
    rng = np.random.default_rng(3)
    matrix, probabilities = rng.normal(size=(50, 3)), rng.dirichlet([1, 1, 1], 50)
    with capture() as captured:
        model = Model("iris", task="multiclass_classification", features=["a", "b", "c"])
        with model.predict(matrix) as prediction:
            scores = {name: probabilities[:, i] for i, name in enumerate(["x", "y", "z"])}
            classes = np.array(["x", "y", "z"])[probabilities.argmax(axis=1)]
            prediction.record(class_=classes, scores=scores, attributions=matrix * 2)
    batch = assert_agree(captured)
    assert [cells(batch.features[key], 50) for key in "abc"] == matrix.T.tolist()
    assert np.array_equal(np.stack([batch.scores[key] for key in "xyz"], axis=1), probabilities)
    assert np.array_equal(np.stack([batch.attributions[key] for key in "abc"], axis=1), matrix * 2)
    assert batch.score is not None
    assert np.array_equal(batch.score, probabilities.max(axis=1))


def test_a_batch_cut_into_several_spans_is_one_call() -> None:
    rows = 3000
    with capture() as captured:
        model = Model("big", config=Config(max_span_bytes=20_000))
        with model.predict({"x": np.arange(float(rows))}) as prediction:
            prediction.record(value=np.arange(rows) / 2)
    assert len(captured.spans) > 2
    batch = assert_agree(captured)
    assert len(batch) == rows
    assert int(np.isfinite(batch.duration_s).sum()) == 1
    context = captured.spans[-1].get_span_context()
    assert context is not None
    assert {seen.id for seen in captured.predictions} == {
        f"{prediction.id}:{row}" for row in range(rows)
    }  # ids follow the rows of the call, whichever span they travel in


@pytest.mark.parametrize("ids", [None, "call", ["a", "b", "c"], [1, 2, 3]])
def test_labels_find_their_predictions(ids: Any) -> None:
    with capture() as captured:
        model = Model("fraud")
        with model.predict({"x": [1.0, 2.0, 3.0]}, id=ids) as prediction:
            prediction.record(class_=["p", "q", "p"])
        known = [seen.id for seen in captured.predictions]
        model.labels(known, classes=["p", "p", "q"])
        for each in known:
            model.label(each, value=2)
    decoded = arrived(captured)
    [labels] = decoded.labels
    predictions = concatenate(decoded.predictions)
    assert labels.ids.tolist() == predictions.ids.tolist() * 2
    assert_labels(captured, labels)


def assert_labels(captured: Captured, batch: LabelBatch) -> None:
    found = zip(
        cells(batch.classes, len(batch)), numbers(batch.values, len(batch)), batch.time_ns.tolist(), strict=True
    )
    assert list(found) == [(label.class_, label.value, label.time_ns) for label in captured.labels]


@pytest.mark.parametrize("value", [True, 1, 1.0, np.int64(1), np.float32(0.1), "x", 1e17, 2**62])
def test_a_class_has_one_text_however_it_is_spelled(value: Any) -> None:
    with capture() as captured:
        model = Model("fraud")
        for features in ({"x": 1.0}, {"x": [1.0]}):
            with model.predict(features, id="a" if features["x"] == 1.0 else ["b"]) as prediction:
                prediction.record(class_=value if features["x"] == 1.0 else [value])
        model.label("a", class_=value)
        model.labels(["b"], classes=[value])
    decoded = arrived(captured)
    predictions = concatenate(decoded.predictions).prediction
    labels = decoded.labels[0].classes
    assert predictions is not None
    assert labels is not None
    assert predictions.categories == labels.categories
    assert len(labels.categories) == 1


def test_times_are_unix_seconds_in_every_form() -> None:
    moment = datetime.datetime(2026, 1, 2, 3, 4, 5, 500_000, tzinfo=datetime.timezone.utc)
    with capture() as captured:
        model = Model("m")
        with model.predict({"at": moment}):
            pass
        with model.predict({"at": [moment, None]}):
            pass
    batch = assert_agree(captured)
    assert cells(batch.features["at"], 3) == [moment.timestamp(), moment.timestamp(), None]


def test_failed_calls_arrive_with_their_error() -> None:
    with capture() as captured:
        for features in ({"x": 1.0}, {"x": [1.0, 2.0]}):
            with pytest.raises(ZeroDivisionError), Model("m").predict(features):
                raise ZeroDivisionError
    batch = assert_agree(captured)
    assert cells(batch.error, 3) == ["ZeroDivisionError"] * 3


PROFILE = build_reference(
    "m",
    PredictionBatch(
        ModelKey("m"), np.zeros(100, np.int64), np.zeros((100, 2), np.uint64), np.ones(100), np.full(100, math.nan),
        {name: Column(np.arange(100.0)) for name in ("age", "income", "a, b 100%")}
        | {name: Column(None, np.zeros(100, np.int32), ("x",)) for name in ("city", "ssn")},
    ),
)  # fmt: skip


@pytest.mark.parametrize(
    ("config", "withheld"),
    [
        (Config(capture_features=False), {"age", "income", "a, b 100%", "city", "ssn"}),
        (Config(features_deny=["*"]), {"age", "income", "a, b 100%", "city", "ssn"}),
        (Config(features_deny=["ssn", "a, b 100%"]), {"ssn", "a, b 100%"}),
        (Config(features_allow=["age", "city"]), {"income", "a, b 100%", "ssn"}),
        (Config(features_deny=[f"extra{i}" for i in range(100)]), {"ssn"}),
        (Config(), set()),
    ],
    ids=["none", "deny all", "deny", "allow", "too many to name", "all"],
)
@pytest.mark.parametrize("rows", [1, 3])
def test_a_withheld_feature_is_not_a_missing_one(config: Config, withheld: set[str], rows: int) -> None:
    """A feature that is kept back has no figures; one that the application lacks is missing, also beside it."""
    row: dict[str, Any] = {"age": None, "income": 5.0, "a, b 100%": 1.0, "city": "x", "ssn": "x"}
    if "extra1" in (config.features_deny or ()):
        row |= {f"extra{i}": 1.0 for i in range(100)} | {"age": 3.0}
        del row["ssn"]  # cannot be told apart from what is withheld
    with capture() as captured, Model("m", config=config).predict([row] * rows if rows > 1 else row):
        pass
    schema = PROFILE.schema.fork()
    pane = Pane.empty(schema)
    batch = one_batch(captured)
    accumulate(pane, schema, batch)
    assert {name for _, name in withheld_columns(schema, batch)} == withheld
    measured = all_cells(pane, pane.counts.sum(axis=1), text_cells(pane, schema.categories))
    cells_of = dict(zip((spec.name for spec in schema.columns), zip(measured, pane.missing, strict=True), strict=True))
    for name in ("age", "income", "a, b 100%", "city", "ssn"):
        missing = rows if row.get(name) is None and name not in withheld else 0
        assert cells_of[name] == (0 if name in withheld else rows, missing), name


def test_event_time_is_the_time_given() -> None:
    with capture() as captured:
        model = Model("m")
        with model.predict({"x": 1.0}, time_ns=1_700_000_000_000_000_000):
            pass
        model.label("a", value=1.0, time_ns=1_700_000_000_000_000_001)
    decoded = arrived(captured)
    assert decoded.predictions[0].time_ns.tolist() == [1_700_000_000_000_000_000]
    assert decoded.labels[0].time_ns.tolist() == [1_700_000_000_000_000_001]
