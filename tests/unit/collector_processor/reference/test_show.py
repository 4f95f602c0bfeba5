from __future__ import annotations

from io import StringIO

import numpy as np
from rich.console import Console

from collector_processor.columns.batch import Column, ModelKey, PredictionBatch
from collector_processor.reference.build import build_reference
from collector_processor.reference.show import describe


def shown(reference):
    out = StringIO()
    Console(width=140, file=out).print(describe(reference))
    return out.getvalue()


def batch(features, weights=None, **columns):
    rows = len(next(iter(features.values())))
    return PredictionBatch(
        ModelKey("m"), np.zeros(rows, np.int64), np.zeros((rows, 2), np.uint64),
        np.ones(rows) if weights is None else weights, np.full(rows, np.nan), features=features, **columns,
    )  # fmt: skip


def test_every_column_is_described():
    plan = Column(None, np.array([0, 0, 1, -1], np.int32), ("basic", "gold"))
    age = Column(np.array([20.0, 30.0, 40.0, 50.0]))
    text = shown(
        build_reference(
            "churn", batch({"age": age, "plan": plan}, score=np.array([0.1, 0.2, 0.3, 0.4])), source="t.csv"
        )
    )
    age_line, score_line, plan_line = (
        next(x for x in text.splitlines() if x.startswith(n)) for n in ("age", "score", "plan")
    )
    assert "20 … 50" in age_line
    assert "35" in age_line
    assert "11.1803" in age_line
    assert "0.1 … 0.4" in score_line
    assert "basic 66.7%, gold 33.3%" in plan_line
    assert "25.00%" in plan_line
    assert "binary_classification" in text
    assert "t.csv" in text


def test_columns_without_values_say_so():
    nothing = Column(np.full(2, np.nan))
    empty = Column(None, np.full(2, -1, np.int32))
    assert shown(build_reference("m", batch({"a": nothing, "b": empty}))).count("no values") == 2


def test_names_are_never_read_as_markup():
    odd = Column(None, np.zeros(1, np.int32), ("[bold]x[/]",))
    text = shown(build_reference("[red]m", batch({"[link=http://x]f[/link]": odd})))
    assert "[red]m" in text
    assert "[link=http://x]f[/link]" in text
    assert "[bold]x[/]" in text


def test_many_categories_are_cut():
    many = Column(None, np.arange(30, dtype=np.int32), tuple(f"c{i}" for i in range(30)))
    assert "and 25 more" in shown(build_reference("m", batch({"a": many})))


def test_sampled_rows_show_their_weight():
    assert "2 (weight 20)" in shown(build_reference("m", batch({"a": Column(np.ones(2))}, np.full(2, 10.0))))
