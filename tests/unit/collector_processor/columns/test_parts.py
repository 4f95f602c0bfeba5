"""One line describes a field of a batch, and everything that is done to a batch follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import pytest

from collector_processor.columns import codec
from collector_processor.columns.batch import F64, Column, LabelBatch, ModelKey, PredictionBatch
from collector_processor.columns.concatenate import concatenate, owned
from collector_processor.columns.parts import (
    COLUMN,
    COLUMNS_BY_NAME,
    NUMBERS,
    NUMBERS_BY_NAME,
    TEXT,
    WEIGHTS,
    bytes_of,
    check,
    names_of,
    part,
    parts_of,
    plain_of,
    restored,
    width_of,
)


@dataclass(frozen=True, slots=True)
class Wider(PredictionBatch):
    """Predictions with a made-up field of every kind that a field may have."""

    margin: F64 | None = field(default=None, metadata=part(NUMBERS))
    rank: F64 = field(default_factory=lambda: np.zeros(0), metadata=part(WEIGHTS))
    reason: Column | None = field(default=None, metadata=part(COLUMN))
    embeddings: Mapping[str, F64] = field(default_factory=dict[str, F64], metadata=part(NUMBERS_BY_NAME))
    tags: Mapping[str, Column] = field(default_factory=dict[str, Column], metadata=part(COLUMNS_BY_NAME))
    region: str = field(default="", metadata=part(TEXT))


def texts(codes: list[int], *names: str) -> Column:
    return Column(codes=np.array(codes, np.int32), categories=names)


def wider(first: int, **more: Any) -> Wider:
    """Two rows."""
    numbers = np.arange(first, first + 2)
    return Wider(
        ModelKey("fraud", "7"),
        numbers,
        np.stack([numbers, numbers], axis=1).astype(np.uint64),
        np.ones(2),
        np.full(2, np.nan),
        rank=numbers * 1.0,
        **more,
    )


def everything(first: int = 0) -> Wider:
    return wider(
        first,
        features={
            "mixed": Column(np.array([np.nan, 1.0]), np.array([0, -1], np.int32), ("é\ud800",)),
            "": texts([0, -1], "a"),
        },
        margin=np.array([0.5, -0.5]),
        reason=texts([-1, 0], "x"),
        embeddings={"0": np.array([1.0, 2.0]), "$array": np.array([3.0, 4.0])},
        tags={"$array": texts([1, 0], "<f8", "b")},
        region="eu",
    )


def lists(part_: Any) -> Any:
    if isinstance(part_, np.ndarray):
        return [part_.dtype.str, *part_.tolist()]
    if isinstance(part_, Column):
        return [lists(part_.numbers), lists(part_.codes), part_.categories]
    if isinstance(part_, dict):
        return {name: lists(one) for name, one in part_.items()}
    return part_


def assert_equal(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    for each in fields(one):
        np.testing.assert_equal(lists(getattr(one, each.name)), lists(getattr(other, each.name)), each.name)


@pytest.mark.parametrize("batch_type", [PredictionBatch, LabelBatch])
def test_every_field_is_described(batch_type: type[Any]) -> None:
    described = [name for name, _ in parts_of(batch_type)]
    derived = [each.name for each in fields(batch_type) if not each.init]
    assert [*described, *derived] == [each.name for each in fields(batch_type)]


def test_a_field_without_a_kind_is_an_error_that_names_it() -> None:
    @dataclass(frozen=True, slots=True)
    class Forgetful(LabelBatch):
        comment: str = ""

    labels = Forgetful("m", np.zeros(1, np.int64), np.zeros((1, 2), np.uint64))
    for work in (lambda: concatenate([labels, labels]), lambda: labels.take(slice(0, 1)), lambda: owned(labels)):
        with pytest.raises(TypeError, match=r"Forgetful\.comment has no kind"):
            work()


def test_a_new_field_is_concatenated() -> None:
    both = concatenate([wider(0), everything(2)])
    assert type(both) is Wider
    np.testing.assert_equal(lists(both.margin), ["<f8", np.nan, np.nan, 0.5, -0.5])
    assert both.rank.tolist() == [0.0, 1.0, 2.0, 3.0]
    assert lists(both.reason) == [None, ["<i4", -1, -1, -1, 0], ("x",)]
    np.testing.assert_equal(lists(both.embeddings["0"]), ["<f8", np.nan, np.nan, 1.0, 2.0])
    assert lists(both.tags["$array"]) == [None, ["<i4", -1, -1, 1, 0], ("<f8", "b")]
    assert both.region == "eu"


def test_rows_of_a_new_field_are_taken() -> None:
    [row] = everything().take(np.array([1])).rank
    assert row == 1.0
    assert_equal(concatenate([everything().take(slice(0, 1)), everything().take(slice(1, 2))]), everything())
    assert_equal(everything().take(np.array([True, True])), everything())


def test_views_of_a_request_in_a_new_field_are_copied() -> None:
    octets = np.array([0.5, -0.5]).tobytes()
    view = np.frombuffer(octets)
    batch = wider(
        0, margin=view, embeddings={"0": view}, tags={"t": Column(view)}, features={"own": Column(np.ones(2))}
    )
    kept = owned(batch)
    assert kept.margin is not None
    assert kept.tags["t"].numbers is not None
    for values in (kept.margin, kept.embeddings["0"], kept.tags["t"].numbers):
        assert values.flags.writeable
        assert values.tolist() == [0.5, -0.5]
    assert kept.features["own"].numbers is batch.features["own"].numbers, "what is writable is ours already"


def test_a_new_field_is_packed_and_unpacked() -> None:
    head, pieces = codec.pack(plain_of(everything()))
    again = restored(Wider, codec.unpack(head, bytearray(b"".join(pieces))))
    assert_equal(again, everything())
    check(again)


def test_what_was_packed_before_there_was_a_field_has_its_default() -> None:
    before = PredictionBatch(ModelKey("m"), np.zeros(1, np.int64), np.zeros((1, 2), np.uint64), np.ones(1), np.ones(1))
    again = restored(Wider, plain_of(before))
    assert (again.margin, again.tags, again.region) == (None, {}, "")


def test_a_new_field_counts_in_widths_bytes_and_names() -> None:
    # The nine that every batch of predictions has, and two new ones that have no names.
    assert width_of(wider(0)) == 9 + 3
    assert width_of(everything()) == 9 + 3 + 2 + 2 + 1
    assert bytes_of(everything()) - bytes_of(wider(0)) > 16 * 8
    names = dict(names_of(everything()))
    assert (set(names["features"]), set(names["embeddings"]), set(names["tags"]), set(names["margin"])) == (
        {"mixed", ""},
        {"0", "$array"},
        {"$array"},
        set(),
    )


def broken(name: str, plain: Any) -> Any:
    rows, parts = plain_of(everything())
    return [rows, {**parts, name: plain}]


@pytest.mark.parametrize(
    "plain",
    [
        broken("time_ns", None),
        broken("time_ns", np.zeros(2)),
        broken("time_ns", np.zeros(3, np.int64)),
        broken("ids", np.zeros(2, np.uint64)),
        broken("margin", [1.0, 2.0]),
        broken("margin", np.zeros(1)),
        broken("reason", [None, np.zeros(2)]),
        broken("reason", [None, np.zeros(2, np.int64), ("x",)]),
        broken("reason", [None, np.zeros(2, np.int32), ("x",), 3]),
        broken("reason", [None, np.zeros(2, np.int32), 7]),
        broken("reason", 7),
        broken("embeddings", [1]),
        broken("tags", {"t": {}}),
        broken("region", 1),
        broken("model", ["fraud"]),
        broken("model", "fr"),
        [1, plain_of(everything())[1]],
        [2, {}],
        [2],
        {},
        None,
    ],
)
def test_what_is_not_such_a_batch_is_a_value_error(plain: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        restored(Wider, plain)


@pytest.mark.parametrize(
    "plain",
    [
        broken("reason", [None, np.array([0, 1], np.int32), ("x",)]),
        broken("reason", [None, np.array([-2, 0], np.int32), ("x",)]),
        broken("reason", [None, np.array([-1, 0], np.int32), (3,)]),
        broken("tags", {"t": None}),
        broken("embeddings", {"t": None}),
    ],
)
def test_cells_that_cannot_be_are_found_by_the_check(plain: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        check(restored(Wider, plain))
