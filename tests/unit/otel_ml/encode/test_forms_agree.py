"""Whatever the form, the same cells: Arrow against arrays, and each row of a batch against the row alone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_ml import Model, problems
from otel_ml.encode import arrow
from otel_ml.testing import CapturedPrediction, capture

MODEL = Model("m")
_numbers = st.none() | st.floats() | st.integers()
_texts = st.none() | st.text(max_size=4)
_truths = st.none() | st.booleans()
_mixed = _numbers | _texts | _truths
_kinds = st.sampled_from([_numbers, _texts, _truths, _mixed])


@st.composite
def tables(draw: st.DrawFn) -> dict[str, list[Any]]:
    """Some columns of one length, each of one kind or mixed."""
    rows = draw(st.integers(2, 6))
    kinds = draw(st.lists(_kinds, min_size=1, max_size=3))
    return {f"f{i}": draw(st.lists(kind, min_size=rows, max_size=rows)) for i, kind in enumerate(kinds)}


def emitted(features: Any, classes: Any) -> list[CapturedPrediction]:
    problems.forget()
    with capture() as captured, MODEL.predict(features) as prediction:
        prediction.record(class_=classes)
    return captured.predictions


@settings(max_examples=60, deadline=None)
@given(tables())
def test_arrow_and_arrays_hold_the_same_cells(table: dict[str, list[Any]]) -> None:
    classes = next(iter(table.values()))
    by_arrow = emitted(table, classes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(arrow.sys.modules, "pyarrow.compute", None)
        patch.setattr(arrow, "_missing", False)
        by_arrays = emitted(table, classes)
    assert [seen.features for seen in by_arrow] == [seen.features for seen in by_arrays]
    assert [seen.class_ for seen in by_arrow] == [seen.class_ for seen in by_arrays]


@settings(max_examples=60, deadline=None)
@given(st.lists(_numbers, min_size=2, max_size=5) | st.lists(_texts, min_size=2, max_size=5))
def test_a_row_of_a_batch_is_the_row_alone(cells: list[Any]) -> None:
    together = emitted({"a": cells}, cells)
    alone = [emitted({"a": cell}, cell)[0] for cell in cells]
    assert [seen.features.get("a") for seen in together] == [pytest.approx(seen.features.get("a")) for seen in alone]
    texts = [seen.class_ for seen in alone]
    if not any(isinstance(cell, float) for cell in cells) or not any(isinstance(cell, int) for cell in cells):
        assert [seen.class_ for seen in together] == texts
