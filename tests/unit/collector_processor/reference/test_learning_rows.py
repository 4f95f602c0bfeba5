"""Rules of rows at rest: every batch comes back with all its cells, and nothing needs more than arrays and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from collector_processor.columns.batch import Column, ModelKey, PredictionBatch, said_of_rows
from collector_processor.columns.codec import pack, unpack
from collector_processor.reference.learning_rows import batches_from_state, batches_state

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
    [found] = restarted([given])
    np.testing.assert_equal(columns(found), columns(given))
    assert (found.model, found.task, found.role) == (KEY, "regression", "shadow")


def test_batches_come_back_one_by_one_and_what_a_batch_did_not_have_is_missing() -> None:
    first, second = batch(2, {"x": Column(np.array([1.0, 2.0]))}), batch(1, {"y": texts([0], "a")})
    found = restarted([first, second])
    assert [len(each) for each in found] == [2, 1]
    assert found[0].features["y"].missing().tolist() == [True, True]
    assert found[1].features["x"].missing().tolist() == [True]
    assert found[1].features["y"].categories == ("a",)


@pytest.mark.parametrize("said", [{"positive_class": "no"}, {"threshold": 0.3}, {"withheld": "x"}])
def test_what_a_sender_says_of_all_its_rows_stays_with_them(said: dict[str, Any]) -> None:
    given = [batch(2, {}), batch(1, {}, **said), batch(3, {}, **said), batch(1, {})]
    assert len(batches_state(given)) == 3
    found = restarted(given)
    assert [len(each) for each in found] == [2, 1, 3, 1]
    assert [said_of_rows(each) for each in found] == [said_of_rows(each) for each in given]


def test_rows_of_version_0_1_0_were_one_run() -> None:
    given = [batch(2, {}), batch(1, {})]
    [run] = batches_state(given)
    assert [len(each) for each in batches_from_state(run)] == [2, 1]
    assert list(batches_from_state(None)) == []


def test_no_batches_are_nothing() -> None:
    assert restarted([]) == []


@pytest.mark.parametrize("lengths", [[2, 2], [1], [], [3, -1, 1], [4, -1], ["3"], [[]], None, 3])
def test_lengths_that_do_not_fit_are_an_error(lengths: Any) -> None:
    [state] = batches_state([batch(3, {})])
    with pytest.raises((ValueError, TypeError)):
        list(batches_from_state({**state, "lengths": lengths}))


def restarted(batches: Sequence[PredictionBatch]) -> list[PredictionBatch]:
    """What comes out of a snapshot."""
    head, pieces = pack(batches_state(batches))
    return list(batches_from_state(unpack(head, bytearray(b"".join(pieces)))))


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
