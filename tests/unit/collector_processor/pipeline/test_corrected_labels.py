"""A corrected label replaces the earlier one in the figures, whatever the times of labels and predictions are."""

from __future__ import annotations

import numpy as np
import pytest

from collector_processor.columns.batch import Decoded, LabelBatch, ModelKey, PredictionBatch
from collector_processor.decode import hash_ids
from collector_processor.own.telemetry import Telemetry
from collector_processor.pipeline.pipeline import Pipeline
from collector_processor.pipeline.settings import MlMonitor
from collector_processor.reference.build import build_reference
from support.columns import texts

NOW_NS = 1_750_000_000 * 10**9
MINUTE_NS = 60 * 10**9
KEY = ModelKey("m", "1")
ROWS = 200
BY_TIME = {"size": "1h", "every": "1m", "min_labels": 5}
BY_ROWS = {"size": f"{3 * ROWS} rows", "min_labels": 5}
IDS = hash_ids([str(number) for number in range(ROWS)])


def predictions(minute: float, ids: np.ndarray = IDS) -> PredictionBatch:
    predicted = texts(*("yes" if number % 4 else "no" for number in range(ROWS)))
    time_ns = np.full(ROWS, NOW_NS + int(minute * MINUTE_NS))
    return PredictionBatch(KEY, time_ns, ids, np.ones(ROWS), np.full(ROWS, np.nan), prediction=predicted)


def labels(minute: float, *, wrong: bool) -> LabelBatch:
    said = texts(*("yes" if (number % 5 == 0) == wrong else "no" for number in range(ROWS)))
    return LabelBatch("m", np.full(ROWS, NOW_NS + int(minute * MINUTE_NS)), IDS, said)


@pytest.mark.parametrize("window", [BY_TIME, BY_ROWS], ids=["time", "rows"])
@pytest.mark.parametrize("between", [False, True], ids=["silence", "traffic"])
@pytest.mark.parametrize("labeled", [-60.0, 0.0, 0.9, 1.5, 3.0, 12.0, 60.0 * 24])
@pytest.mark.parametrize("predicted", [0.0, 60.0 * 24])
def test_a_corrected_label_counts_once(window: dict[str, object], between: bool, labeled: float, predicted: float):
    reference = build_reference("m", predictions(0.0), positive_class="yes")
    telemetry = Telemetry()
    pipeline = Pipeline(MlMonitor.model_validate({"window": window}), {"m": reference}, telemetry, NOW_NS)

    def process(minute: float, decoded: Decoded) -> None:
        pipeline.process([decoded], NOW_NS + int(minute * MINUTE_NS))

    process(0.0, Decoded(predictions=(predictions(predicted),)))
    process(3.0, Decoded(labels=(labels(labeled, wrong=True),)))
    for minute, corrected in ((4.0, not between), (6.0, between)):
        if corrected:
            process(5.0, Decoded(labels=(labels(labeled + 1.0, wrong=False),)))
        others = hash_ids([f"{minute} {number}" for number in range(ROWS)])
        process(minute, Decoded(predictions=(predictions(minute, others),)))
    found = [
        item.value
        for item in pipeline.tick(NOW_NS + 60 * MINUTE_NS)
        if item.name == "ml.performance.accuracy" and ("ml.performance.source", "labels") in item.attributes
    ]
    right = np.mean([(number % 4 > 0) == (number % 5 > 0) for number in range(ROWS)])
    assert found
    assert found[-1] == pytest.approx(right)
    lost = {"stage": "window", "reason": "retraction_expired", "intentional": "true"}
    assert not telemetry.registry.get_sample_value("otel_ml_dropped_total", lost)
