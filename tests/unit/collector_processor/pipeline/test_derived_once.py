"""What follows from a batch is derived once, however many panes and rooms ask for it, and never goes stale."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector_processor.columns.batch import Column, Decoded, LabelBatch, ModelKey, PredictionBatch
from collector_processor.decode import hash_ids
from collector_processor.own.telemetry import Telemetry
from collector_processor.pipeline.pipeline import Pipeline
from collector_processor.pipeline.settings import MlMonitor
from collector_processor.reference.build import build_reference
from collector_processor.statistics import cells, groups
from collector_processor.statistics.cells import score_cells
from collector_processor.statistics.groups import segment_groups

NOW_NS = 1_750_000_000 * 10**9
S = 10**9


def texts(values: Sequence[str], missing: str = "") -> Column:
    names = tuple(dict.fromkeys(value for value in values if value != missing))
    codes = [-1 if value == missing else names.index(value) for value in values]
    return Column(codes=np.array(codes, np.int32), categories=names)


def rows(first: int, last: int) -> PredictionBatch:
    """A row a second, with a segment, scores by class, and failures."""
    numbers, count = np.arange(first, last), last - first
    score = (numbers % 7) / 7.0
    return PredictionBatch(
        ModelKey("m"),
        NOW_NS + numbers * S,
        hash_ids([str(number) for number in numbers]),
        np.ones(count),
        np.full(count, 0.01),
        features={"amount": Column(numbers % 50.0)},
        prediction=texts([("no", "yes")[number % 2] for number in numbers]),
        scores={"yes": score, "no": 1.0 - score},
        segments={"shop": texts([f"shop {number % 11}" for number in numbers])},
        error=texts(["Timeout" if number % 13 == 0 else "" for number in numbers]),
    )


def measured(window: dict[str, Any], positive_class: str) -> dict[Any, float]:
    """The figures of batches of which each has late rows, failed ones, and rows of several panes."""
    config = MlMonitor.model_validate({"window": {"allowed_lateness": "5s", "min_rows": 5, "min_labels": 5, **window}})
    task = "binary_classification" if positive_class else "multiclass_classification"
    reference = build_reference("m", rows(0, 60), segments=["shop"], task=task, positive_class=positive_class)
    pipeline = Pipeline(config, {"m": reference}, Telemetry(), NOW_NS)
    figures: dict[Any, float] = {}
    for first in (0, 60, 40, 120):
        batch = rows(first, first + 60)
        labels = LabelBatch("m", batch.time_ns, batch.ids, batch.prediction)
        pipeline.process([Decoded(predictions=(batch,)), Decoded(labels=(labels,))], NOW_NS + 200 * S)
        for item in pipeline.tick(NOW_NS + 120 * S):
            figures[item.name, item.attributes, item.time_ns] = item.value
    return figures


@pytest.mark.parametrize("positive_class", ["yes", ""])
@pytest.mark.parametrize("window", [{"size": "20s", "every": "10s"}, {"size": "25 rows"}])
def test_groups_and_scores_are_derived_once_a_batch(
    monkeypatch: pytest.MonkeyPatch, window: dict[str, Any], positive_class: str
) -> None:
    derived: Counter[str] = Counter()
    for module, name in ((groups, "_segment_groups"), (cells, "_score_cells")):
        derive = getattr(module, name)

        def counted(*arguments: Any, derive: Any = derive, name: str = name) -> Any:
            derived[name] += 1
            return derive(*arguments)

        monkeypatch.setattr(module, name, counted)
    build_reference("m", rows(0, 60), segments=["shop"])
    of_reference = derived.copy()
    derived.clear()
    figures = measured(window, positive_class)
    assert derived - of_reference == {"_segment_groups": 4, "_score_cells": 4}

    monkeypatch.setattr(PredictionBatch, "once", lambda self, name, by, derive: derive())
    assert figures == measured(window, positive_class)
    assert len(figures) > 100


@given(
    st.lists(st.lists(st.sampled_from(["a", "b", "c", "d", ""]), min_size=1, max_size=5), min_size=1, max_size=8),
    st.integers(1, 4),
)
def test_groups_stay_right_while_the_table_grows_up_to_its_limit(shops: list[list[str]], limit: int) -> None:
    reference = build_reference("m", rows(0, 5), segments=["shop"], max_segment_values=limit)
    one, other = reference.schema.fork(), reference.schema.fork()
    batches = [replace(rows(0, len(names)), segments={"shop": texts(names)}) for names in shops]
    for batch in batches:
        segment_groups(one, batch)
    for schema, ordered in ((one, batches), (other, batches[::-1]), (one, batches)):
        for batch in ordered:
            fresh = replace(batch)
            assert fresh.derived == {}
            np.testing.assert_array_equal(segment_groups(schema, batch), segment_groups(schema, fresh))


def test_scores_follow_the_class_that_is_asked_for() -> None:
    batch = rows(0, 10)
    for positive_class in ("yes", "no", "yes", "maybe", ""):
        np.testing.assert_equal(score_cells(batch, positive_class), score_cells(replace(batch), positive_class))


def test_what_is_derived_is_taken_with_the_rows() -> None:
    batch, schema = rows(0, 10), build_reference("m", rows(0, 10), segments=["shop"]).schema
    whole = segment_groups(schema, batch)
    part = batch.take(slice(3, 5))
    assert np.shares_memory(segment_groups(schema, part), whole)
    np.testing.assert_array_equal(segment_groups(schema, part), whole[3:5])
    with pytest.raises(ValueError, match="read-only"):
        whole[0] = 7
