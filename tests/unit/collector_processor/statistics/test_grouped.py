"""Sums of rows by segment and cell: what a loop over the rows gives, compiled or not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector_processor.statistics import built
from collector_processor.statistics.fits.calibration import Curve
from collector_processor.statistics.grouped import add_segments, add_terms, add_with_numpy
from collector_processor.statistics.parts import combined, estimated

GROUPS, CELLS = 4, 3
compiled = pytest.mark.skipif(built.terms is None, reason="built without a C compiler")


@pytest.fixture(params=[pytest.param(True, marks=compiled), False])
def either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled sums, and those of numpy."""
    if not request.param:
        monkeypatch.setattr(built, "sums", None)


def loop(groups: np.ndarray, terms: list[np.ndarray], cells: np.ndarray, *, everything: bool) -> np.ndarray:
    sums = np.zeros((GROUPS, CELLS, len(terms)))
    for row, cell in enumerate(cells.tolist()):
        member = [group for group in groups[row].tolist() if group > 0]
        for group in [0, *member] if everything else member:
            for term, values in enumerate(terms):
                sums[group, cell, term] += values[row]
    return sums


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("rows", [0, 1, 7, 2000])
@pytest.mark.parametrize("segments", [0, 1, 3])
@pytest.mark.parametrize("count", [1, 3, 8])
def test_sums_are_those_of_a_loop(rows: int, segments: int, count: int) -> None:
    rng = np.random.default_rng(rows + segments)
    groups = rng.integers(-1, GROUPS, (rows, segments)).astype(np.int32)
    groups.flags.writeable = False
    cells, terms = rng.integers(0, CELLS, rows), list(rng.normal(size=(count, rows)))
    sums = np.zeros((GROUPS, CELLS, count))
    add_terms(sums, groups, terms, cells)
    np.testing.assert_allclose(sums, loop(groups, terms, cells, everything=True), atol=1e-12)
    other = np.zeros((GROUPS, count, CELLS))  # another order of the axes
    add_segments(other.transpose(0, 2, 1), groups, terms, cells)
    np.testing.assert_allclose(other.transpose(0, 2, 1), loop(groups, terms, cells, everything=False), atol=1e-12)
    without = np.zeros((GROUPS, count))
    add_terms(without[:, None], groups, terms)
    np.testing.assert_allclose(without, loop(groups, terms, cells * 0, everything=True)[:, 0], atol=1e-12)


@compiled
@pytest.mark.parametrize(
    ("group", "cell", "rows", "count"), [(GROUPS, 0, 2, 1), (0, CELLS, 2, 1), (0, -1, 2, 1), (0, 0, 3, 1), (0, 0, 2, 2)]
)
def test_what_is_not_in_the_sums_is_refused(group: int, cell: int, rows: int, count: int) -> None:
    groups, cells = np.array([[1], [group]], np.int32), np.array([0, cell])
    assert built.terms is not None
    with pytest.raises(ValueError, match=r"not in the sums|not those of|is not of"):
        built.terms.add_terms(np.zeros((GROUPS, CELLS, 1)), groups, [np.ones(rows)] * count, cells, True)


def test_numpy_alone_gives_the_same_bits_of_exact_terms() -> None:
    rng = np.random.default_rng(3)
    groups, cells = rng.integers(-1, GROUPS, (500, 2)).astype(np.int32), rng.integers(0, CELLS, 500)
    terms = [rng.integers(0, 2**22, 500) * 2.0**-22]
    one, other = np.zeros((2, GROUPS, CELLS, 1))
    add_terms(one, groups, terms, cells)
    add_with_numpy(other, groups, terms, cells, True)
    np.testing.assert_array_equal(one, other)


NUMBERS = st.floats(-1e300, 1e300)


@given(
    st.lists(st.tuples(NUMBERS, NUMBERS), min_size=2, max_size=12, unique_by=lambda knot: knot[0]),
    st.lists(st.floats(), max_size=20),
)
def test_curves_are_read_as_numpy_reads_them(points: list[tuple[float, float]], scores: list[float]) -> None:
    knots, values = map(np.array, zip(*sorted(points), strict=True))
    asked = np.concatenate((scores, knots, np.nextafter(knots, np.inf), (knots[1:] + knots[:-1]) / 2.0))
    with np.errstate(all="ignore"):
        expected = np.interp(asked, knots, values)
    np.testing.assert_array_equal(Curve(knots, values, -np.inf, np.inf).read(asked), expected)


@compiled
@pytest.mark.parametrize("segments", [0, 2])
@pytest.mark.parametrize("weighted", [False, True])
def test_compiled_expectations_are_those_of_numpy(segments: int, *, weighted: bool) -> None:
    assert built.terms is not None
    rng, rows = np.random.default_rng(9), 3000
    p, predicted = rng.random(rows), rng.integers(-2, 3, rows).astype(np.int32)
    p[:9], p[9:40] = [0.0, 1.0, 0.5, 2.0**-23, 3 * 2.0**-23, 2.0**-45, 1.0 - 2.0**-24, 1e-300, 1 / 3], np.nan
    groups = rng.integers(-1, GROUPS, (rows, segments)).astype(np.int32)
    weights = rng.choice([0.0, 1.0, 2.5], rows) if weighted else np.ones(rows)
    expected, right = np.zeros((2, GROUPS, 2, 3)), np.zeros((2, GROUPS, 4))
    missing = [
        add(p, predicted, weights, 1, groups, sums, estimated.COARSE, estimated.FINE)
        for add, sums in zip((built.terms.add_estimated, estimated.add_with_numpy), expected, strict=True)
    ]
    for add, sums in zip((built.terms.add_right, combined.add_with_numpy), right, strict=True):
        add(p, predicted, weights, 1, groups, sums)
    assert missing == [np.count_nonzero(np.isnan(p) | (predicted == -1))] * 2
    assert expected[0].all(axis=(1, 2)).tolist() == [True, *[segments > 0] * (GROUPS - 1)]
    if not weighted:
        np.testing.assert_array_equal(*expected)
    np.testing.assert_allclose(*expected, rtol=1e-12)
    np.testing.assert_allclose(*right, rtol=1e-12)
