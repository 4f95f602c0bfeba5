"""What monitors make of a reference is made once, for all of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from collector_processor.columns.batch import Column, ModelKey, PredictionBatch
from collector_processor.reference.build import build_reference
from collector_processor.reference.profile import Reference

ROWS = PredictionBatch(
    ModelKey("fraud"), np.zeros(10, np.int64), np.zeros((10, 2), np.uint64), np.ones(10), np.ones(10),
    features={"age": Column(np.arange(10.0))},
)  # fmt: skip


def test_each_function_is_called_once_a_reference() -> None:
    calls: list[str] = []

    def source(reference: Reference) -> str:
        calls.append(reference.source)
        return f"from {reference.source}"

    def rows(reference: Reference) -> float:
        return float(reference.pane.rows[1])

    reference = build_reference("fraud", ROWS, source="a")
    assert [reference.prepared(source), reference.prepared(source), reference.prepared(rows)] == ["from a"] * 2 + [10.0]
    assert replace(reference, source="b").prepared(source) == "from b"
    assert reference.prepared(source) == "from a"
    assert calls == ["a", "b"]
