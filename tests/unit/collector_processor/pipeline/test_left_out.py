"""What monitors leave out of a window is logged once, counted, and in the model's state until the next window."""

from __future__ import annotations

import numpy as np
import pytest

from collector_processor.columns.batch import Column, Decoded, ModelKey, PredictionBatch
from collector_processor.own.telemetry import Telemetry
from collector_processor.pipeline.pipeline import Pipeline
from collector_processor.pipeline.settings import MlMonitor
from collector_processor.reference.build import build_reference
from otel_ml import semconv

NOW_NS = 1_750_000_000 * 10**9
KEY = ModelKey("m", "1")
ROWS = 1000
KIND = "window_estimated_performance_undecided"
CLASSES = ("no", "yes")


def rows(score):
    random = np.random.default_rng(len(score))
    return PredictionBatch(
        KEY, np.full(len(score), NOW_NS), random.integers(0, 2**63, (len(score), 2)).astype(np.uint64),
        np.ones(len(score)), np.full(len(score), np.nan), score=score, positive_class="yes",
        prediction=Column(None, (score >= 0.5).astype(np.int32), CLASSES),
    )  # fmt: skip


@pytest.fixture
def service():
    random = np.random.default_rng(0)
    score = random.beta(1.0, 1.0, 4000)
    truth = Column(None, (random.random(4000) < score).astype(np.int32), CLASSES)
    reference = build_reference("m", rows(score), label_classes=truth, positive_class="yes")
    config = MlMonitor.model_validate({"window": {"size": f"{ROWS} rows", "min_labels": 50}})
    telemetry = Telemetry()
    return Pipeline(config, {"m": reference}, telemetry, NOW_NS), telemetry


def window(pipeline, score):
    pipeline.process([Decoded(predictions=(rows(score),))], NOW_NS)
    return {item.name for item in pipeline.tick(NOW_NS) if (semconv.PERFORMANCE_SOURCE, "estimated") in item.attributes}


def counted(telemetry):
    labels = {"stage": "figures", "reason": "undecided", "intentional": "true"}
    return telemetry.registry.get_sample_value("otel_ml_dropped_total", labels) or 0.0


def test_figures_that_the_bins_do_not_decide(service, caplog):
    pipeline, telemetry = service
    random = np.random.default_rng(1)
    near, wide = random.uniform(0.015, 0.03, ROWS), random.random(ROWS)
    assert "ml.performance.roc_auc" in window(pipeline, wide)
    assert (counted(telemetry), KIND in pipeline.models[KEY].problems) == (0.0, False)
    for times in (1, 2):
        found = window(pipeline, near)
        assert "ml.performance.accuracy" in found
        assert "ml.performance.roc_auc" not in found
        text = pipeline.models[KEY].problems[KIND]
        assert text.startswith("estimated ROC AUC and average precision are left out of all rows: the bins")
        assert counted(telemetry) == 2.0 * times
        assert sum(text in record.getMessage() for record in caplog.records) == 1
    assert "ml.performance.roc_auc" in window(pipeline, wide)
    assert KIND not in pipeline.models[KEY].problems
