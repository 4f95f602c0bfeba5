"""The compiled sums give what numpy gives, to the last digit, for whatever columns there are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from collector_processor.columns.batch import F64, Column
from collector_processor.statistics import built
from collector_processor.statistics.accumulate import accumulate_column
from collector_processor.statistics.guide import Guide
from collector_processor.statistics.numbers import BLOCK_CELLS, add_numbers, add_with_numpy
from collector_processor.statistics.pane import Pane
from collector_processor.statistics.schema import Categories, ColumnSpec, Schema
from collector_processor.statistics.texts import code_counts

sums = pytest.importorskip("collector_processor.statistics.sums", reason="built without a C compiler")

EDGES = np.full((6, 900), np.inf)
EDGES[0, :900] = np.linspace(-3.0, 3.0, 900)
EDGES[1, :900] = np.sort(np.random.default_rng(0).standard_t(1, 900))  # many edges in one cell of the grid
EDGES[2, :2] = [7.0, np.nextafter(7.0, 8.0)]
EDGES[4, :3] = [-1e300, 0.0, 1e300]
EDGES[5, :1] = [0.0]
ODD = np.array([np.nan, np.inf, -np.inf, -0.0, 0.0, 7.0, 1e300, -1e300, 1.7e308, -1.7e308, 5e-324])


def columns(rows: int, seed: int) -> list[F64 | None]:
    rng = np.random.default_rng(seed)
    found: list[F64 | None] = [rng.normal(0, 2, rows), rng.standard_t(1, rows), np.full(rows, 7.0)]
    found += [rng.choice(ODD, rows), rng.choice(ODD, rows), None]
    for column in found[:2]:
        if column is not None:
            column[rng.random(rows) < 0.1] = np.nan
    return found


def added(
    add: Callable[..., F64], cells: list[F64 | None], weights: F64 | None, height: int, times: int = 2
) -> tuple[F64, F64, F64]:
    guide, rows = Guide(EDGES), next(len(column) for column in cells if column is not None)
    counts, excess = np.zeros((len(EDGES), guide.bins)), np.zeros((len(EDGES), guide.bins))
    absent = np.zeros(len(cells))
    for _ in range(times):
        absent += add(cells, weights, rows, height, len(EDGES) - len(cells), guide, counts, excess)
    return counts, excess, absent


@pytest.mark.parametrize("rows", [1, 2, 255, 256, 257, 5000])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("height", [7, 1000, BLOCK_CELLS])
def test_counts_sums_and_absent_cells_are_those_of_numpy_to_the_last_digit(
    rows: int, weighted: bool, height: int
) -> None:
    weights = np.random.default_rng(5).random(rows) * 3 - 0.5 if weighted else None
    for seed in range(3):
        cells = columns(rows, seed)
        for mine, theirs in zip(
            added(sums.add_numbers, cells, weights, height), added(add_with_numpy, cells, weights, height), strict=True
        ):
            np.testing.assert_array_equal(mine, theirs)


def test_every_value_falls_into_the_bin_that_a_search_finds() -> None:
    guide, rng = Guide(EDGES), np.random.default_rng(9)
    for column, edges in enumerate(EDGES):
        finite = edges[np.isfinite(edges)]
        near = np.concatenate(
            [np.nextafter(finite, -np.inf), finite, np.nextafter(finite, np.inf), rng.normal(0, 9, 99)]
        )
        counts, excess = np.zeros((len(EDGES), guide.bins)), np.zeros((len(EDGES), guide.bins))
        sums.add_numbers([near], None, len(near), len(near), column, guide, counts, excess)
        wanted = np.bincount(np.searchsorted(finite, near, side="right"), minlength=guide.bins)
        np.testing.assert_array_equal(counts[column], wanted)
        assert not np.delete(counts, column, axis=0).any()


def test_a_view_that_lies_askew_counts_as_its_copy() -> None:
    values = np.random.default_rng(3).normal(0, 1, 1000)
    askew = np.frombuffer(b"!!!" + values.tobytes(), np.float64, offset=3)
    assert not askew.flags.aligned
    for mine, theirs in zip(
        added(sums.add_numbers, [askew], None, 300), added(sums.add_numbers, [values], None, 300), strict=True
    ):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize(
    ("cells", "weights", "rows", "first"),
    [
        ([np.zeros(3)], None, 4, 0),
        ([np.zeros(3)], np.zeros(2), 3, 0),
        ([np.zeros(6, np.float32)], None, 3, 0),
        ([np.zeros(3)], None, 3, 6),
        ([np.zeros(3)], None, 3, -1),
        ([np.zeros((3, 2))[:, 0]], None, 3, 0),
    ],
)
def test_what_does_not_fit_is_refused(cells: list[F64], weights: F64 | None, rows: int, first: int) -> None:
    guide = Guide(EDGES)
    counts = np.zeros((len(EDGES), guide.bins))
    with pytest.raises((ValueError, BufferError)):
        sums.add_numbers(cells, weights, rows, 10, first, guide, counts, counts.copy())
    with pytest.raises(ValueError, match="the columns are not those of the guide"):
        sums.add_numbers([np.zeros(3)], None, 3, 10, 0, guide, counts[:, 1:].copy(), counts.copy())


@pytest.mark.parametrize("weighted", [False, True])
def test_panes_are_equal_with_and_without_the_compiled_part(weighted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    specs = (*(ColumnSpec("feature", f"x{i}") for i in range(5)), ColumnSpec("score", "score"))
    low = np.zeros(6)
    tables = Categories(["colour"], 10), Categories(["class"], 10), Categories([], 10)
    schema = Schema(
        "regression",
        "",
        specs,
        EDGES,
        np.zeros((6, 1), np.int32),
        low,
        low,
        (ColumnSpec("feature", "colour"),),
        *tables,
    )
    rng, rows = np.random.default_rng(11), 3000
    texts = rng.integers(-1, 3, rows).astype(np.int32)
    cells = [None if column is None else Column(column) for column in columns(rows, 2)]
    cells[0] = Column(np.where(texts < 0, 1.0, np.nan), texts, ("a", "b", "c"))  # of the wrong type
    cells[3] = Column(None, texts, ("a", "b", "c"))
    failed, weights = rng.random(rows) < 0.2, rng.random(rows) if weighted else None
    panes: list[dict[str, F64]] = []
    empty = Pane.empty(schema), Pane.empty(schema)  # before the table of categories grows
    for compiled, pane in zip((True, False), empty, strict=True):
        if not compiled:
            monkeypatch.setattr(built, "sums", None)
        add_numbers(pane, schema, cells, rows, weights, failed)
        accumulate_column(pane, schema, 6, Column(None, texts, ("a", "b", "c")), np.ones(rows))
        panes.append(pane.arrays())
    for name, values in panes[0].items():
        np.testing.assert_array_equal(values, panes[1][name], err_msg=name)


def test_codes_are_counted_and_others_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = np.random.default_rng(1).integers(-1, 5, 1000).astype(np.int32)
    counted = code_counts(codes, 7)
    with pytest.raises(ValueError, match="not between -1 and 3"):
        code_counts(codes, 4)
    monkeypatch.setattr(built, "sums", None)
    assert counted.tolist() == code_counts(codes, 7).tolist()
