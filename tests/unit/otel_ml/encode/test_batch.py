"""Many rows: every library in, Arrow or arrays out, the same cells back."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Iterator
from datetime import datetime

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from otel_ml import Config, Model, problems
from otel_ml.testing import Captured, capture


@pytest.fixture
def captured() -> Iterator[Captured]:
    problems.forget()
    with capture() as found:
        yield found


def stream_of(captured: Captured) -> pa.Table:
    [span] = captured.spans
    return pa.ipc.open_stream(span.attributes["ml.batch"]).read_all()


INPUTS = {
    "numpy": (np.array([[1.5, 10.0], [2.5, math.nan], [3.5, 30.0]]), ("a", "b")),
    "pandas": (pd.DataFrame({"a": [1.5, 2.5, 3.5], "b": [10.0, None, 30.0]}), None),
    "polars": (pl.DataFrame({"a": [1.5, 2.5, 3.5], "b": [10.0, None, 30.0]}), None),
    "arrow": (pa.table({"a": [1.5, 2.5, 3.5], "b": [10.0, None, 30.0]}), None),
    "records": ([{"a": 1.5, "b": 10.0}, {"a": 2.5}, {"a": 3.5, "b": 30.0}], None),
    "columns": ({"a": [1.5, 2.5, 3.5], "b": (10.0, None, 30.0)}, None),
    "lists": ([[1.5, 10.0], [2.5, None], [3.5, 30.0]], ("a", "b")),
}


@pytest.mark.parametrize("library", INPUTS)
def test_the_same_rows_come_back_whatever_held_them(captured: Captured, library: str) -> None:
    features, names = INPUTS[library]
    with Model("m", features=names).predict(features) as prediction:
        prediction.record(class_=np.array([1, 0, 1]), score=pd.Series([0.9, 0.1, 0.8]))
    [span] = captured.spans
    assert span.attributes["ml.prediction.rows"] == 3
    assert "ml.batch" in span.attributes
    first, second, _ = captured.predictions
    assert (first.features, first.class_, first.score) == ({"a": 1.5, "b": 10.0}, "1", 0.9)
    assert (second.features, second.class_, second.score) == ({"a": 2.5}, "0", 0.1)
    assert prediction.ids == [seen.id for seen in captured.predictions] == [f"{prediction.id}:{i}" for i in range(3)]


COLUMNS = {
    "integers": ([1, 2, 3], [1, 2, 3]),
    "huge integers": ([2**70, 1, 2], [float(2**70), 1.0, 2.0]),
    "unsigned": (np.array([1, 2, 3], np.uint64), [1, 2, 3]),
    "booleans": ([True, False, None], [True, False, None]),
    "texts": (["x", "y", "x"], ["x", "y", "x"]),
    "texts with a gap": (["x", None, math.nan], ["x", None, None]),
    "numpy texts": (np.array(["x", "yy", "x"]), ["x", "yy", "x"]),
    "bytes": (np.array([b"x", b"y", b"x"]), ["x", "y", "x"]),
    "infinities": ([math.inf, -math.inf, 1.0], [math.inf, -math.inf, 1.0]),
    "small floats": (np.array([1.5, 2.5, math.nan], np.float16), [1.5, 2.5, None]),
    "decimals": (pa.array([1, 2, 3]).cast(pa.decimal128(24, 2)), [1.0, 2.0, 3.0]),
    "numpy times": (np.array(["1970-01-02", "NaT", "1970-01-03"], "datetime64[ns]"), [86_400.0, None, 172_800.0]),
    "pandas times": (pd.Series(pd.to_datetime(["1970-01-02", None, "1970-01-03"])), [86_400.0, None, 172_800.0]),
    "python times": ([datetime(1970, 1, 2)] * 3, [86_400.0] * 3),
    "dates": (pl.Series(["1970-01-02"] * 3).str.to_date(), [86_400.0] * 3),
    "lengths of time": (np.array([1500] * 3, "timedelta64[ms]"), [1.5] * 3),
    "pandas categories": (pd.Series(pd.Categorical(["x", None, "y"])), ["x", None, "y"]),
    "pandas numeric categories": (pd.Series(pd.Categorical([3, 1, 3])), [3, 1, 3]),
    "pandas nullable": (pd.Series([1, None, 3], dtype="Int64"), [1, None, 3]),
    "polars categories": (pl.Series(["x", "y", None], dtype=pl.Categorical), ["x", "y", None]),
    "polars enumeration": (pl.Series(["x", "y", "x"], dtype=pl.Enum(["x", "y"])), ["x", "y", "x"]),
    "numbers with a stray text": ([1.0, "n/a", 3.0], [1.0, "n/a", 3.0]),
    "texts with a stray number": (["x", 1.0, "y"], ["x", 1.0, "y"]),
    "truths among texts": ([True, "no", "no"], ["true", "no", "no"]),
    "lone surrogates": (["\ud800", "y", "y"], ["?", "y", "y"]),
    "objects": (np.array([1.0, object(), 3.0], dtype=object), [1.0, None, 3.0]),
    "all missing": ([None, None, None], [None, None, None]),
    "nested": ([[1], [2], [3]], [None, None, None]),
    "records": (pa.array([{"x": 1}] * 3), [None, None, None]),
    "numbers, texts and truths": ([1, "n/a", True], [1.0, "n/a", "true"]),
    "bytes that are no text": ([b"\xff"] * 3, [None, None, None]),
}


@pytest.mark.parametrize("kind", COLUMNS)
def test_any_column_becomes_cells(captured: Captured, kind: str) -> None:
    column, expected = COLUMNS[kind]
    with Model("m").predict({"c": column, "n": [1, 2, 3]}):
        pass
    found = [seen.features.get("c") for seen in captured.predictions]
    assert found == expected
    assert [type(cell) for cell in found if not isinstance(cell, (int, float))] == [
        type(cell) for cell in expected if not isinstance(cell, (int, float))
    ]
    assert [seen.features["n"] for seen in captured.predictions] == [1, 2, 3]


@pytest.mark.parametrize(
    ("classes", "texts"),
    [
        (np.array([True, False]), ["true", "false"]),
        ([1, 0], ["1", "0"]),
        (np.array([1.0, 0.5]), ["1", "0.5"]),
        (pd.Series(["a", None]), ["a", None]),
        ([1, "a"], None),
        (np.array([["a"], ["b"]]), ["a", "b"]),
        (pl.Series(["a", "b"], dtype=pl.Categorical), ["a", "b"]),
    ],
)
def test_classes_are_texts(captured: Captured, classes: object, texts: list[str | None] | None) -> None:
    with Model("m").predict({"a": [1, 2]}) as prediction:
        prediction.record(class_=classes)
    found = [seen.class_ for seen in captured.predictions]
    if texts is not None:
        assert found == texts


def test_scores_of_all_classes_segments_and_attributions_travel(captured: Captured) -> None:
    model = Model("m", features=["a", "b"], segments=["b"])
    with model.predict(np.array([[1.0, 2.0], [3.0, 4.0]]), segments={"region": "EU", "tier": [1, 2]}) as prediction:
        prediction.record(scores={0: np.array([0.2, 0.7]), 1: [0.8, 0.3]}, attributions=np.array([[1, 2], [3, 4]]))
    first, second = captured.predictions
    assert first.scores == {"0": 0.2, "1": 0.8}
    assert [first.score, second.score] == [0.8, 0.3]
    assert first.segments == {"b": "2", "region": "EU", "tier": "1"}
    assert second.attributions == {"a": 3.0, "b": 4.0}


@pytest.mark.parametrize("classes", [np.array(["b", "a", "z"]), ["b", "a", "z"], pd.Series(["b", "a", "z"])])
def test_the_score_of_many_classes_is_that_of_the_predicted_one(captured: Captured, classes: object) -> None:
    with Model("m").predict({"x": [1, 2, 3]}) as prediction:
        prediction.record(class_=classes, scores={"a": [0.1, 0.6, 0.3], "b": [0.7, 0.2, 0.3], "c": [0.2, 0.2, 0.4]})
    assert [seen.score for seen in captured.predictions] == [0.7, 0.6, None]


def test_outputs_alone_make_rows(captured: Captured) -> None:
    with Model("m").predict() as prediction:
        prediction.record(value=np.array([1.0, 2.0]))
    assert [seen.value for seen in captured.predictions] == [1.0, 2.0]


def test_rows_without_any_column_are_still_counted(captured: Captured) -> None:
    with Model("m", config=Config(capture_features=False)).predict({"a": [1, 2, 3]}):
        pass
    assert len(captured.predictions) == 3
    assert captured.spans[0].attributes["ml.prediction.rows"] == 3


def test_an_empty_batch_has_no_rows(captured: Captured) -> None:
    with Model("m").predict(pd.DataFrame({"a": []})) as prediction:
        prediction.record(class_=np.array([]))
    assert captured.spans[0].attributes["ml.prediction.rows"] == 0
    assert captured.predictions == []
    assert prediction.ids == []


@pytest.mark.parametrize(("output", "message"), [([0.1], "1 values for 3 rows"), (0.5, "1 values for 3 rows")])
def test_outputs_of_another_length_are_dropped_alone(
    captured: Captured, caplog: pytest.LogCaptureFixture, output: object, message: str
) -> None:
    for _ in range(2):
        with Model("m").predict({"a": [1, 2, 3]}) as prediction:
            prediction.record(score=output, class_=["x", "y", "z"])
    assert [seen.class_ for seen in captured.predictions] == ["x", "y", "z"] * 2
    assert all(seen.score is None for seen in captured.predictions)
    assert caplog.text.count(message) == 1


def test_texts_where_numbers_are_due_are_dropped(captured: Captured) -> None:
    with Model("m").predict({"a": [1, 2]}) as prediction:
        prediction.record(score=["high", "low"], value=np.array([True, False]))
    assert [(seen.score, seen.value) for seen in captured.predictions] == [(None, 1.0), (None, 0.0)]


def test_long_texts_are_cut(captured: Captured) -> None:
    umlauts, letters = "äöüß" * 5, "abcd" * 5
    with Model("m", config=Config(max_string_chars=16)).predict({"a": [umlauts, letters]}) as prediction:
        prediction.record(class_=[letters, "x"])
    found = [(seen.features["a"], seen.class_) for seen in captured.predictions]
    assert found == [(umlauts[:16], letters[:16]), (letters[:16], "x")]


def test_ids_may_be_given_for_each_row(captured: Captured) -> None:
    with Model("m").predict({"a": [1, 2, 3]}, id=["x", 7, None]) as prediction:
        pass
    assert prediction.ids == [seen.id for seen in captured.predictions]
    assert prediction.ids[2] == f"{prediction.id}:2"


def test_one_id_for_many_rows_is_numbered(captured: Captured) -> None:
    with Model("m").predict({"a": [1, 2]}, id="order") as prediction:
        pass
    assert [seen.id for seen in captured.predictions] == prediction.ids == ["order:0", "order:1"]


def test_a_failed_batch_keeps_its_features(captured: Captured) -> None:
    with pytest.raises(KeyError), Model("m").predict({"a": [1, 2]}):
        raise KeyError("x")
    assert [(seen.features, seen.error_type) for seen in captured.predictions] == [
        ({"a": 1}, "KeyError"),
        ({"a": 2}, "KeyError"),
    ]


def test_features_beyond_64_are_columns_or_one_map(captured: Captured) -> None:
    with Model("m").predict({f"f{i}": [i, -i] for i in range(70)}):
        pass
    assert len(captured.spans[0].attributes) < 10
    assert captured.predictions[1].features["f69"] == -69


def test_many_segments_and_attributions_stay_within_the_sdks_limit(captured: Captured) -> None:
    segments = {f"s{i}": ["x", "y"] for i in range(50)}
    with Model("m").predict({f"f{i}": [1, 2] for i in range(60)}, segments=segments) as prediction:
        prediction.record(attributions={f"f{i}": [0.1, 0.2] for i in range(100)})
    assert captured.spans[0].dropped_attributes == 0
    assert captured.predictions[0].model == "m"
    assert len(captured.predictions[0].features) == 60


@pytest.mark.parametrize("failed", [False, True])
def test_a_big_batch_is_cut_into_spans_that_count_its_latency_once(captured: Captured, failed: bool) -> None:
    rows = 4000
    model = Model("m", config=Config(max_span_bytes=40_000))
    features = np.arange(rows * 5, dtype=float).reshape(rows, 5)
    try:
        with model.predict(features) as prediction:
            prediction.record(class_=["a", "b"] * (rows // 2))
            if failed:
                raise ValueError
    except ValueError:
        pass
    spans = captured.spans
    whole = next(span for span in spans if span.end_time > span.start_time)
    parts = [span for span in spans if span is not whole]
    assert len(parts) >= 1
    assert all(part.end_time == part.start_time == whole.start_time for part in parts)
    assert all(part.parent.span_id == whole.context.span_id for part in parts)
    assert all(part.attributes["ml.model.name"] == "m" for part in parts)
    assert all((part.attributes.get("error.type") == "ValueError") == failed for part in parts)
    assert sum(span.attributes["ml.prediction.rows"] for span in spans) == rows
    assert max(len(span.attributes["ml.batch"]) for span in spans) <= 40_000
    found = {seen.id: seen for seen in captured.predictions}
    assert list(found) == prediction.ids
    assert [found[one].features["x0"] for one in prediction.ids] == [row * 5.0 for row in range(rows)]


def test_texts_of_uneven_length_still_fit(captured: Captured) -> None:
    texts = [f"{i}" for i in range(500)] + [f"{i}" * 60 for i in range(100, 600)]
    with Model("m", config=Config(max_span_bytes=8192)).predict({"a": texts}):
        pass
    assert max(len(span.attributes["ml.batch"]) for span in captured.spans) <= 8192
    assert {seen.features["a"] for seen in captured.predictions} == {text[:256] for text in texts}


def test_a_row_larger_than_a_span_goes_alone(captured: Captured) -> None:
    wide = {f"f{i}": ["x" * 200] * 3 for i in range(100)}
    with Model("m", config=Config(max_span_bytes=4096)).predict(wide) as prediction:
        pass
    assert len(captured.spans) == 3
    assert [seen.id for seen in captured.predictions] == prediction.ids


def test_repeated_texts_are_a_dictionary(captured: Captured) -> None:
    with Model("m").predict({"few": ["x", "y"] * 50, "many": [str(i) for i in range(100)]}):
        pass
    schema = stream_of(captured).schema
    assert pa.types.is_dictionary(schema.field("ml.feature.few").type)
    assert schema.field("ml.feature.many").type == pa.string()


def test_the_stream_keeps_narrow_types(captured: Captured) -> None:
    with Model("m").predict(pd.DataFrame({"a": np.ones(3, np.float32), "b": np.ones(3, np.int8), "c": [True] * 3})):
        pass
    found = {field.name: str(field.type) for field in stream_of(captured).schema}
    assert found == {"ml.feature.a": "float", "ml.feature.b": "int8", "ml.feature.c": "bool"}


def test_unreadable_features_cost_neither_outputs_nor_row_count(captured: Captured) -> None:
    with Model("m", features=["a"]).predict(np.ones((3, 2))) as prediction:
        prediction.record(score=[0.1, 0.2, 0.3])
    assert [seen.score for seen in captured.predictions] == [0.1, 0.2, 0.3]
    assert captured.predictions[0].features == {}


def test_columns_that_raise_are_dropped_alone(captured: Captured) -> None:
    class Broken:
        def __len__(self) -> int:
            return 2

        def __getitem__(self, row: int) -> float:
            raise RuntimeError("no")

    with Model("m").predict({"a": Broken(), "b": [1, 2]}):
        pass
    assert [seen.features for seen in captured.predictions] == [{"b": 1}, {"b": 2}]


def test_memory_stays_in_proportion(captured: Captured) -> None:
    features = np.ones((50_000, 10))
    model = Model("m")
    with model.predict(features[:10]):
        pass
    tracemalloc.start()
    with model.predict(features):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * features.nbytes


def test_columns_and_classes_beyond_their_limits_are_dropped(
    captured: Captured, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("otel_ml.encode.scores.MAX_CLASSES", 2)
    with Model("m", config=Config(max_features=3)).predict({f"f{i}": [1, 2] for i in range(5)}) as prediction:
        prediction.record(scores={f"c{i}": [0.25, 0.25] for i in range(4)})
    assert list(captured.predictions[0].features) == ["f0", "f1", "f2"]
    assert list(captured.predictions[0].scores) == ["c0", "c1"]
    assert "the limit is 3" in caplog.text
    assert "4 classes, the limit is 2" in caplog.text


def test_a_text_column_of_arrow_without_any_text_costs_no_other_feature() -> None:
    table = pa.table({"age": [37.0], "city": pa.array([None], pa.string())})
    with capture() as captured, Model("m").predict(table):
        pass
    assert captured.predictions[0].features == {"age": 37.0}
