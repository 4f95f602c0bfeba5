"""Rules of rows at rest: every batch comes back with all its cells, and nothing needs more than arrays and JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from collector_processor.columns.batch import Column, ModelKey, PredictionBatch
from collector_processor.reference.kept import batch_arrays, batches_from_arrays

KEY = ModelKey("fraud", "1")


def batch(rows: int, features: dict[str, Column], **more: object) -> PredictionBatch:
    ids = np.arange(2 * rows, dtype=np.uint64).reshape(rows, 2)
    return PredictionBatch(
        KEY,
        np.arange(rows),
        ids,
        np.full(rows, 2.0),
        np.full(rows, np.nan),
        features,
        **more,  # type: ignore[arg-type]
    )


def texts(codes: Sequence[int], *names: str) -> Column:
    return Column(codes=np.array(codes, np.int32), categories=names)


def test_every_column_comes_back_as_it_was() -> None:
    mixed = Column(np.array([np.nan, -np.inf]), np.array([0, -1], np.int32), ("€",))
    given = batch(
        2,
        {"x": Column(np.array([1.5, np.nan])), "größe\n": mixed},
        prediction=texts([0, 1], "yes", ""),
        error=texts([-1, 0], "Timeout"),
        score=np.array([0.1, 0.2]),
        value=np.array([np.inf, 3.0]),
        scores={"yes": np.array([0.5, np.nan])},
        segments={"shop": texts([1, 0], "a", "b")},
        attributions={"x": np.array([-1.0, 1.0])},
        task="regression",
        role="shadow",
    )
    arrays = batch_arrays([given])
    assert all(values.dtype.kind in "fiu" for values in arrays.values())
    [found] = batches_from_arrays(KEY, arrays)
    np.testing.assert_equal(columns(found), columns(given))
    assert (found.model, found.task, found.role) == (KEY, "regression", "shadow")


def test_batches_come_back_one_by_one_and_what_a_batch_did_not_have_is_missing() -> None:
    first, second = batch(2, {"x": Column(np.array([1.0, 2.0]))}), batch(1, {"y": texts([0], "a")})
    found = list(batches_from_arrays(KEY, batch_arrays([first, second])))
    assert [len(each) for each in found] == [2, 1]
    assert found[0].features["y"].missing().tolist() == [True, True]
    assert found[1].features["x"].missing().tolist() == [True]
    assert found[1].features["y"].categories == ("a",)


def test_no_batches_are_no_arrays() -> None:
    assert batch_arrays([]) == {}
    assert list(batches_from_arrays(KEY, {})) == []


def test_texts_are_json() -> None:
    head = json.loads(batch_arrays([batch(1, {"c": texts([0], "DE")})])["head"].tobytes())
    assert head["columns"] == [["features", "c", ["DE"]]]


def columns(found: PredictionBatch) -> dict[str, object]:
    """Everything of a batch as lists, for comparison."""

    def cells(column: Column | None) -> object:
        if column is None:
            return None
        return [None if part is None else part.tolist() for part in (column.numbers, column.codes)], column.categories

    single = ("time_ns", "ids", "weights", "duration_s", "score", "value")
    many = (found.scores, found.attributions)
    return {
        **{name: getattr(found, name).tolist() for name in single},
        "features": {name: cells(column) for name, column in found.features.items()},
        "segments": {name: cells(column) for name, column in found.segments.items()},
        "outputs": (cells(found.prediction), cells(found.error)),
        "numbers": [{name: values.tolist() for name, values in part.items()} for part in many],
    }
