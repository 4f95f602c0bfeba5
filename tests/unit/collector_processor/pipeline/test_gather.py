"""Batches counted together leave what they would have left one by one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain

import numpy as np
import pytest

from collector_processor.columns.batch import Column, Decoded, LabelBatch, ModelKey, PredictionBatch
from collector_processor.own.telemetry import Telemetry
from collector_processor.pipeline import gather as gathering
from collector_processor.pipeline.gather import Run, gather
from collector_processor.pipeline.pipeline import Pipeline
from collector_processor.pipeline.settings import MlMonitor, ModelConfig, WindowConfig
from collector_processor.reference.build import build_reference

MINUTE_NS = 60 * 10**9
EPOCH_NS = 1_700_000_040 * 10**9 // MINUTE_NS * MINUTE_NS


def predictions(
    first: int, rows: int = 3, *, model: str = "m", version: str = "", at_ns: int = EPOCH_NS, features: str = "a"
) -> PredictionBatch:
    """Rows with the ids ``first`` and on, whose score and feature are their id."""
    numbers = np.arange(first, first + rows, dtype=np.float64)
    return PredictionBatch(
        model=ModelKey(model, version),
        time_ns=np.full(rows, at_ns),
        ids=np.stack([numbers.astype(np.uint64), np.zeros(rows, np.uint64)], axis=1),
        weights=np.ones(rows),
        duration_s=np.full(rows, 0.01),
        features={name: Column(numbers) for name in features},
        prediction=Column(codes=(np.arange(rows) % 2).astype(np.int32), categories=("no", "yes")),
        score=np.clip(numbers / 100, 0.0, 1.0),
    )


def labels(first: int, rows: int = 1, *, model: str = "m", class_: str = "yes") -> LabelBatch:
    ids = np.stack([np.arange(first, first + rows, dtype=np.uint64), np.zeros(rows, np.uint64)], axis=1)
    return LabelBatch(model, np.full(rows, EPOCH_NS), ids, Column(codes=np.zeros(rows, np.int32), categories=(class_,)))


def one_by_one(*batches: PredictionBatch | LabelBatch) -> list[Decoded]:
    """A request for each batch."""
    return [
        Decoded(predictions=(batch,)) if isinstance(batch, PredictionBatch) else Decoded(labels=(batch,))
        for batch in batches
    ]


def shape(runs: Sequence[Run]) -> list[tuple[list[int], list[int]]]:
    """Rows of the predictions' and of the labels' batches of each run."""

    def rows(batches: Iterable[PredictionBatch | LabelBatch]) -> list[int]:
        return [len(batch) for batch in batches]

    return [(rows(chain.from_iterable(run.predictions.values())), rows(run.labels)) for run in runs]


def gathered(requests: Sequence[Decoded], span_ns: int = 0) -> list[tuple[list[int], list[int]]]:
    return shape(list(gather(requests, lambda name: span_ns)))


def test_neighbours_of_one_model_stand_together() -> None:
    assert gathered(one_by_one(predictions(0), predictions(3, 2), labels(0), labels(1, 2))) == [([3, 2], [1, 2])]


def test_predictions_never_pass_labels_of_their_model() -> None:
    assert gathered(one_by_one(predictions(0), labels(0), predictions(3))) == [([3], [1]), ([3], [])]


def test_models_do_not_part_each_other() -> None:
    other = predictions(0, 5, model="other")
    assert sorted(gathered(one_by_one(predictions(0), other, predictions(3), other))) == [([3, 3], []), ([5, 5], [])]


def test_versions_share_a_run_but_no_batch() -> None:
    [run] = gather(one_by_one(*(predictions(i, 1, version=v) for i, v in enumerate("1212"))), lambda name: 0)
    assert {key.version: [int(batch.ids[0, 0]) for batch in batches] for key, batches in run.predictions.items()} == {
        "1": [0, 2],
        "2": [1, 3],
    }


def test_event_times_farther_apart_than_a_pane_stay_apart() -> None:
    near, far = predictions(3, at_ns=EPOCH_NS + MINUTE_NS), predictions(6, at_ns=EPOCH_NS + MINUTE_NS + 1)
    assert gathered(one_by_one(predictions(0), near), MINUTE_NS) == [([3, 3], [])]
    assert gathered(one_by_one(predictions(0), near, far), MINUTE_NS) == [([3, 3], []), ([3], [])]


def test_a_model_may_have_its_batches_left_alone() -> None:
    assert gathered(one_by_one(predictions(0), predictions(3), labels(0)), -1) == [([3], []), ([3], [1])]


def test_invented_columns_do_not_widen_other_rows() -> None:
    assert gathered(one_by_one(predictions(0, features="ab"), predictions(3, features="a"))) == [([3, 3], [])]
    assert gathered(one_by_one(predictions(0, features="a"), predictions(3, features="ab"))) == [([3], []), ([3], [])]


def test_what_stands_together_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "MAX_CELLS", 60)
    assert gathered(one_by_one(*(predictions(3 * i) for i in range(5)))) == [([3, 3], []), ([3, 3], []), ([3], [])]
    assert gathered(one_by_one(*(labels(i, 10) for i in range(3)))) == [([], [10]), ([], [10]), ([], [10])]


def test_a_batch_over_the_bound_goes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "MAX_CELLS", 1)
    assert gathered(one_by_one(predictions(0), labels(0, 2))) == [([3], [2])]


def test_empty_batches_leave_no_trace() -> None:
    assert gathered(one_by_one(predictions(0, 0), labels(0, 0))) == []


def _pipeline(window: WindowConfig) -> Pipeline:
    reference = build_reference("m", predictions(0, 100), task="binary_classification", positive_class="yes")
    config = MlMonitor(window=window, models={"m": ModelConfig(task="binary_classification", positive_class="yes")})
    return Pipeline(config, {"m": reference}, Telemetry(), EPOCH_NS)


@pytest.mark.parametrize(
    "window",
    [
        WindowConfig.model_validate({"size": "1m", "allowed_lateness": "0s", "min_rows": 1, "min_labels": 1}),
        WindowConfig.model_validate({"size": "7 rows", "min_rows": 1, "min_labels": 1}),
    ],
    ids=["time", "rows"],
)
def test_together_and_one_by_one_measure_the_same(window: WindowConfig) -> None:
    requests = one_by_one(
        labels(2),  # early
        predictions(0, 5),
        predictions(5, 5),
        labels(0, 3),
        labels(1, class_="no"),  # corrected
        labels(2),  # twice
        predictions(1, 2),  # repeated after its label: changes nothing
        labels(6, 4, class_="no"),
        predictions(20, 5, at_ns=EPOCH_NS + 40 * MINUTE_NS),
        predictions(30, 5, at_ns=EPOCH_NS + 80 * MINUTE_NS),
    )
    found: list[dict[object, object]] = []
    for together in (False, True):
        pipeline = _pipeline(window)
        now_ns = EPOCH_NS + 90 * MINUTE_NS
        if together:
            pipeline.process(requests, now_ns)
        else:
            for request in requests:
                pipeline.process([request], now_ns)
        found.append({
            (item.name, item.attributes, item.time_ns): item.value for item in pipeline.tick(now_ns + 20 * MINUTE_NS)
        })  # fmt: skip
        assert pipeline.telemetry.registry.get_sample_value("otel_ml_rows_total", {"model": "m"}) == 22
    assert found[0].keys() == found[1].keys()
    assert len(found[0]) > 50
    for key, value in found[0].items():
        assert found[1][key] == pytest.approx(value, abs=1e-12), key
