"""The same rows in any batches give the same sums in every part of every pane."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector_processor.columns.batch import Column, Decoded, LabelBatch, ModelKey, PredictionBatch
from collector_processor.own.telemetry import Telemetry
from collector_processor.pipeline.pipeline import Pipeline
from collector_processor.pipeline.settings import MlMonitor
from collector_processor.reference.build import build_reference
from collector_processor.reference.profile import Reference
from collector_processor.statistics.fits.adaptive import AdaptiveTrees
from collector_processor.statistics.fits.losses import LossTrees
from collector_processor.statistics.sample import MINUTE_NS, WHOLE

pytest.importorskip("lightgbm")

KEY = ModelKey("loans", "1")
START_NS = 1_700_000_000 * 10**9
CLASSES, KINDS = ("no", "yes", "perhaps"), ("a", "b")
TASKS = ("binary_classification", "multiclass_classification", "regression")
ROWS = 3 * WHOLE


def stream(task: str, rows: int, seed: int) -> tuple[PredictionBatch, LabelBatch]:
    """Calls of one row, of some, and one of very many, over minutes that overlap; some weigh four, some failed."""
    rng = np.random.default_rng(seed)
    sizes = np.append(rng.choice([1, 1, 1, 2, 40, 300], rows), 1500)
    rng.shuffle(sizes)
    minute = (np.cumsum(sizes) > 2 * WHOLE).astype(np.int64) - (rng.random(len(sizes)) < 0.05)
    call = np.repeat(np.arange(len(sizes)), sizes)[:rows]
    begins = np.append([True], call[1:] != call[:-1])
    x, kind = rng.random((2, rows)), rng.integers(0, 2, rows).astype(np.int32)
    # The score knows one of the two numbers, so trees that look at the other one are of use.
    chance = np.where(x[0] > 0.5, x[1], 1.0 - x[1])
    truth = (rng.random(rows) < chance).astype(np.int32)
    outputs: dict[str, object] = {}
    if task == "regression":
        outputs["value"] = 10.0 + 5.0 * x[0]
    elif task == "binary_classification":
        outputs |= {"score": x[1], "prediction": Column(None, (x[1] > 0.5).astype(np.int32), CLASSES)}
    else:
        scores = np.stack(((1.0 - x[1]) * 0.8, x[1] * 0.8, np.full(rows, 0.2)))
        outputs |= {
            "scores": dict(zip(CLASSES, scores, strict=True)),
            "prediction": Column(None, scores.argmax(axis=0).astype(np.int32), CLASSES),
        }
    failed = rng.random(rows) < 0.02
    if rows == ROWS:
        outputs["error"] = Column(None, np.where(failed, 0, -1).astype(np.int32), ("timeout",))
    batch = PredictionBatch(
        KEY,
        START_NS + minute[call] * MINUTE_NS,
        rng.integers(1, 2**63, (rows, 2)).astype(np.uint64),
        np.where(rng.random(len(sizes)) < 0.1, 4.0, 1.0)[call],
        np.where(begins, 0.01, np.nan),
        {"x": Column(x[0]), "z": Column(x[1]), "kind": Column(None, kind, KINDS)},
        segments={"kind": Column(None, kind, KINDS)},
        task=task,
        **outputs,
    )
    label = 10.0 + 5.0 * x[0] + rng.normal(size=rows) * (0.1 + x[1])
    labels = LabelBatch(
        KEY.name,
        batch.time_ns,
        batch.ids,
        **({"values": label} if task == "regression" else {"classes": Column(None, truth, CLASSES)}),
    )
    return batch, labels


@cache
def reference(task: str) -> Reference:
    batch, labels = stream(task, 4000, 1)
    positive = "yes" if task == "binary_classification" else ""
    return build_reference(
        KEY.name, batch, task=task, positive_class=positive, segments=("kind",), label_classes=labels.classes,
        label_values=labels.values,
    )  # fmt: skip


def sums(task: str, borders: list[int], config: MlMonitor | None = None) -> dict[str, np.ndarray]:
    """The sums of all panes, if the rows came in batches that begin at the calls after these rows."""
    pipeline = Pipeline(config or MlMonitor(), {KEY.name: reference(task)}, Telemetry(), START_NS)
    batch, labels = stream(task, ROWS, 2)
    begins = np.append(np.flatnonzero(np.isfinite(batch.duration_s)), ROWS)
    edges = sorted({0, ROWS, *begins[np.searchsorted(begins, borders)].tolist()})
    now_ns = START_NS + 3 * MINUTE_NS
    for start, stop in pairwise(edges):
        pipeline.process([Decoded(predictions=(batch.take(slice(start, stop)),))], now_ns)
    pipeline.process([Decoded(labels=(labels,))], now_ns)
    watch = pipeline.models[KEY].watch
    assert watch is not None
    return watch.windows.arrays()


@cache
def at_once(task: str) -> dict[str, np.ndarray]:
    return sums(task, [])


@pytest.mark.parametrize("task", TASKS)
@given(st.lists(st.integers(0, ROWS - 1), max_size=30))
@settings(max_examples=6, deadline=None)
def test_no_sum_depends_on_the_batches(task: str, borders: list[int]) -> None:
    whole, divided = at_once(task), sums(task, borders)
    assert whole.keys() == divided.keys()
    for name, values in whole.items():
        np.testing.assert_allclose(divided[name], values, rtol=1e-9, atol=1e-7, err_msg=name)


def test_windows_of_rows_evaluate_all_of_a_small_pane_however_fast_its_rows_come() -> None:
    by_rows = MlMonitor.model_validate({"window": {"size": f"{ROWS} rows", "every": "1024 rows"}})
    batch, _ = stream(TASKS[0], ROWS, 2)
    assert batch.error is not None
    assert evaluated(sums(TASKS[0], [], by_rows)) == np.count_nonzero(batch.error.codes < 0)
    assert evaluated(at_once(TASKS[0])) < 0.8 * ROWS


def evaluated(arrays: dict[str, np.ndarray]) -> float:
    """The number of rows of which harm has an estimate, the first of six sums of each pane."""
    return float(arrays["further.harm.sums.f8"][::6].sum())


def test_every_estimate_is_tried() -> None:
    binary, _, regression = map(reference, TASKS)
    assert binary.schema.fit(AdaptiveTrees) is not None
    assert regression.schema.fit(LossTrees) is not None
