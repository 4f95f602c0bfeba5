"""A reference built from a table on disk has the features, and the values, that the same table's rows have live."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from pyarrow import feather

from collector_processor.columns.batch import PredictionBatch
from collector_processor.decode import concatenate, decode
from collector_processor.monitors.quality import QualityMonitor
from collector_processor.reference.build import build_reference
from collector_processor.reference.read_table import ColumnMapping, read_table
from collector_processor.statistics.accumulate import accumulate
from collector_processor.statistics.pane import Pane
from collector_processor.window.closed import Window
from otel_ml import Model
from otel_ml.testing import capture

Write = Callable[[pd.DataFrame, Path], object]
WAYS: dict[str, Write] = {
    "parquet": lambda frame, path: frame.to_parquet(path / "t.parquet"),
    "csv": lambda frame, path: frame.to_csv(path / "t.csv"),
    "csv without index": lambda frame, path: frame.to_csv(path / "t.csv", index=False),
    "arrow": lambda frame, path: feather.write_feather(pa.Table.from_pandas(frame), path / "t.arrow"),
}


def live(frame: Any, rows: bool) -> PredictionBatch:
    with capture() as captured:
        for part in [frame.iloc[[row]] for row in range(len(frame))] if rows else [frame]:
            with Model("m").predict(part):
                pass
    return concatenate(decode("traces", encode_spans(captured.spans).SerializeToString(), 0).predictions)


def faults(frame: pd.DataFrame, path: Path, rows: bool, now: Any = None, **options: Any) -> dict[str, float]:
    """The quality of the frame's own rows against the reference made of its file; nothing may be wrong with them."""
    [file] = path.iterdir()
    reference = build_reference("m", read_table(file, model="m").predictions, **options)
    batch = live(frame if now is None else now, rows)
    assert set(batch.features) == {spec.name for spec in reference.schema.columns}
    schema = reference.schema.fork()
    pane = Pane.empty(schema)
    accumulate(pane, schema, batch)
    found = QualityMonitor().evaluate(Window(batch.model, 0, 1, schema, pane), reference)
    return {f"{each.name} {each.attributes}": each.value for each in found if each.value}


def frame_of() -> pd.DataFrame:
    return pd.DataFrame({
        "age": [41.0, 18.5, 77.0, 30.0],
        "at": [datetime.time(8, 30), datetime.time(0, 0, 1), datetime.time(23, 59), datetime.time(8, 30)],
        "band": pd.cut([1.0, 3.0, 5.5, 1.0], [0.0, 2.0, 4.5, 6.0]),
        "inf": [np.inf, 1.0, -np.inf, 2.0],
    })  # fmt: skip


@pytest.mark.parametrize("rows", [False, True], ids=["batch", "rows"])
@pytest.mark.parametrize("way", WAYS)
def test_index_times_intervals_and_infinities_are_alike(way: str, rows: bool, tmp_path: Path) -> None:
    frame = frame_of()
    if way in ("parquet", "arrow"):
        frame.index = pd.Index(["a", "b", "c", "d"], name="customer")
        frame["band"] = pd.arrays.IntervalArray(frame["band"].to_numpy())  # pandas writes no categories of intervals
    WAYS[way](frame, tmp_path)
    assert faults(frame, tmp_path, rows) == {}


@pytest.mark.parametrize("rows", [False, True], ids=["batch", "rows"])
@settings(max_examples=20, deadline=None)
@given(zips=st.lists(st.integers(0, 99_999), min_size=2, max_size=30))
def test_codes_with_leading_zeros_are_texts(
    rows: bool, zips: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("t")
    frame = pd.DataFrame({"zip": [f"{number:05}" for number in [*zips, 1234]], "n": range(len(zips) + 1)})
    frame.to_csv(path / "t.csv", index=False)
    assert faults(frame, path, rows) == {}


@pytest.mark.parametrize("rows", [False, True], ids=["batch", "rows"])
@pytest.mark.parametrize("kind", ["int64", "uint16", "float64", "float32", "Int64", "str"])
@pytest.mark.parametrize("way", ["csv without index", "parquet"])
def test_whole_numbers_that_are_names_are_alike_in_every_type(way: str, kind: str, rows: bool, tmp_path: Path) -> None:
    stores = np.random.default_rng(0).integers(1, 60, 50)
    frame = pd.DataFrame({"store": stores, "x": stores / 7})
    WAYS[way](frame, tmp_path)
    now = frame.assign(store=frame["store"].astype(kind))
    assert faults(frame, tmp_path, rows, now, categorical=["store"]) == {}


def test_probabilities_by_class_are_read(tmp_path: Path) -> None:
    frame = pd.DataFrame({
        "age": [1.0, 2.0, 3.0, 4.0],
        "ml.prediction.class": ["a", "b", "a", "c"],
        "ml.prediction.scores.a": [0.8, 0.1, 0.6, 0.3],
        "ml.prediction.scores.b": [0.1, 0.7, 0.3, 0.3],
        "ml.prediction.scores.c": [0.1, 0.2, 0.1, 0.4],
    })  # fmt: skip
    frame.to_csv(tmp_path / "t.csv", index=False)
    batch = read_table(tmp_path / "t.csv").predictions
    assert {name: scores.tolist() for name, scores in batch.scores.items()} == {
        name: frame[f"ml.prediction.scores.{name}"].tolist() for name in "abc"
    }
    reference = build_reference("m", batch)
    assert {spec.name for spec in reference.schema.numeric} == {"age", "score"}


def test_categories_of_intervals_are_refused_with_a_reason(tmp_path: Path) -> None:
    WAYS["arrow"](frame_of(), tmp_path)
    with pytest.raises(ValueError, match=r"t\.arrow: not a readable Arrow file"):
        read_table(tmp_path / "t.arrow")


def test_an_index_that_is_asked_for_is_a_feature(tmp_path: Path) -> None:
    frame_of().drop(columns="band").set_index("age").to_parquet(tmp_path / "t.parquet")
    found = read_table(tmp_path / "t.parquet", ColumnMapping(features=["age", "inf"])).predictions.features
    assert list(found) == ["age", "inf"]
