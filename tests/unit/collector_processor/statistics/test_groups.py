from __future__ import annotations

import numpy as np

from collector_processor.columns.batch import Column, ModelKey, PredictionBatch
from collector_processor.reference.build import build_reference
from collector_processor.statistics.accumulate import accumulate
from collector_processor.statistics.groups import cell_slots, segment_groups
from collector_processor.statistics.latency import latency_bins
from collector_processor.statistics.pane import Pane
from collector_processor.statistics.schema import Categories


def texts(*values):
    names = tuple(dict.fromkeys(value for value in values if value is not None))
    return Column(None, np.array([-1 if v is None else names.index(v) for v in values], np.int32), names)


def batch(region, age=None, **columns):
    rows = len(region)
    return PredictionBatch(
        ModelKey("m"), np.zeros(rows, np.int64), np.zeros((rows, 2), np.uint64),
        columns.pop("weights", np.ones(rows)), columns.pop("duration_s", np.full(rows, np.nan)),
        segments={"region": region}, features={} if age is None else {"age": Column(np.array(age))}, **columns,
    )  # fmt: skip


def schema_of(rows, limit=50):
    return build_reference("m", rows, segments=["region", "age"], max_segment_values=limit, strict=False).schema


def test_rows_of_groups_are_slots_after_everything():
    schema = schema_of(batch(texts("north", "north", "south")))
    groups = segment_groups(schema, batch(texts("south", None, "north")))
    assert groups[:, 0].tolist() == [schema.groups.find(0, "south") + 1, -1, schema.groups.find(0, "north") + 1]
    assert groups.dtype == np.int32
    assert groups[:, 1].tolist() == [-1, -1, -1]


def test_new_values_are_appended_until_the_limit_then_other():
    schema = schema_of(batch(texts("a")), limit=2)
    groups = segment_groups(schema, batch(texts("b", "c", "a", "d")))
    other = 0 + 1
    assert groups[:, 0].tolist() == [
        schema.groups.find(0, "b") + 1, other, schema.groups.find(0, "a") + 1, other,
    ]  # fmt: skip
    assert schema.groups.names(0) == ["a", "b"]


def test_the_most_frequent_values_of_the_reference_come_first():
    schema = schema_of(batch(texts("rare", "often", "often", "mid", "mid", "often")), limit=2)
    assert schema.groups.names(0) == ["often", "mid"]


def test_a_segment_is_read_from_the_feature_of_its_name_and_numbers_are_texts():
    schema = schema_of(batch(texts("a", "a"), age=[30.0, 0.5]))
    assert sorted(schema.groups.names(1)) == ["0.5", "30"]
    groups = segment_groups(schema, batch(texts("a", "a", "a"), age=[0.5, np.nan, 30.0]))
    assert groups[:, 1].tolist() == [schema.groups.find(1, "0.5") + 1, -1, schema.groups.find(1, "30") + 1]


def test_a_segment_sent_as_such_wins_over_the_feature():
    schema = schema_of(batch(texts("a")))
    rows = PredictionBatch(
        ModelKey("m"), np.zeros(1, np.int64), np.zeros((1, 2), np.uint64), np.ones(1), np.ones(1),
        segments={"region": texts("sent")}, features={"region": texts("feature")},
    )  # fmt: skip
    segment_groups(schema, rows)
    assert "sent" in schema.groups.names(0)
    assert "feature" not in schema.groups.names(0)


def test_without_segments_there_are_no_groups():
    rows = batch(texts("a"))
    schema = build_reference("m", rows).schema
    assert segment_groups(schema, rows).shape == (1, 0)


def test_cells_without_texts_have_no_slot():
    table = Categories(["x"], 5)
    assert cell_slots(table, 0, Column(np.array([1.0, 2.0]))).tolist() == [-1, -1]
    assert cell_slots(table, 0, Column(None, np.array([-1], np.int32), ())).tolist() == [-1]


def test_rows_failures_and_latency_are_counted_by_group():
    schema = schema_of(batch(texts("a", "b")))
    pane = Pane.empty(schema)
    rows = batch(
        texts("a", "a", "c", None),
        weights=np.array([1.0, 2.0, 4.0, 8.0]),
        duration_s=np.array([0.1, np.nan, 0.2, 0.3]),
        error=texts(None, "E", None, "E"),
    )
    accumulate(pane, schema, rows)
    a, c = schema.groups.find(0, "a") + 1, schema.groups.find(0, "c") + 1
    assert pane.group_rows[[0, a, c]].tolist() == [[15.0, 10.0], [3.0, 2.0], [4.0, 0.0]]
    bins = latency_bins(np.array([0.1, 0.2, 0.3]))
    assert pane.latency[0, bins].tolist() == [1.0, 4.0, 8.0]
    assert pane.latency[a, bins].tolist() == [1.0, 0.0, 0.0]
    assert pane.latency[c].sum() == 4.0
    assert len(pane.group_rows) == len(pane.latency) == len(schema.groups) + 1
