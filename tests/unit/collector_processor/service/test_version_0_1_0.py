"""What version 0.1.0 has written still loads, and gives the figures that version 0.1.0 gave."""

from __future__ import annotations

import json
import runpy
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from collector_processor.alerts.alerting import Alerting
from collector_processor.alerts.engine import Engine
from collector_processor.alerts.rules import AlertRule
from collector_processor.columns import batch as columns
from collector_processor.columns.batch import Decoded, LabelBatch
from collector_processor.decode import hash_ids
from collector_processor.monitors.further_performance import FURTHER_METRICS
from collector_processor.own.telemetry import Telemetry
from collector_processor.pipeline.pipeline import Pipeline
from collector_processor.pipeline.settings import MlMonitor
from collector_processor.reference.file import load_reference
from collector_processor.reference.profile import Reference
from collector_processor.reference.summary import column_summary
from collector_processor.service.state import StateStore
from otel_ml import semconv

FIXTURES = Path(__file__).parents[3] / "fixtures" / "v0_1_0"
FIGURES: Any = json.loads((FIXTURES / "figures.json").read_text())
SINCE = (
    semconv.DRIFT_DRIFTED,
    semconv.DRIFT_WEIGHTED_SHARE,
    semconv.DRIFT_EVIDENCE,
    semconv.DRIFT_ALARM,
    semconv.DRIFT_CHANGED_AT,
    semconv.QUALITY_MISSING_RISE,
    semconv.QUALITY_GONE,
    semconv.QUALITY_ERROR_RATE,
    semconv.PERFORMANCE_CERTAIN_DROP,
    semconv.PERFORMANCE_LOWER,
    semconv.PERFORMANCE_UPPER,
    "cohen_h",
    semconv.FAIRNESS,
    "ml.multivariate.",
    semconv.ATTRIBUTION,
    "ml.slice.",
    "ml.cause.",
    "ml.concept.",
    *(semconv.PERFORMANCE + name for name in FURTHER_METRICS),
)
"""What version 0.1.0 did not measure."""
OF_CLASSES = ("micro", "low", "middle", "high")
"""Last words of further figures of what it did: of single classes, and micro averages."""
DRIFT = {"features_by": ["psi"], "numeric": ["psi", "js", "ks", "wasserstein"]}
"""Its share of features was that of the first method."""
scenario = SimpleNamespace(**runpy.run_path(str(FIXTURES / "scenario.py")))


@pytest.fixture
def references() -> dict[str, Reference]:
    return {model: load_reference(FIXTURES / f"{model}.json") for model in ("loans", "rents")}


class Service:
    """Today's service, on a copy of the state directory that version 0.1.0 has left."""

    def __init__(self, directory: Path, references: dict[str, Reference]) -> None:
        self.telemetry = Telemetry()
        self.pipeline = Pipeline(
            MlMonitor.model_validate({**scenario.SETTINGS, "drift": DRIFT}),
            references,
            self.telemetry,
            scenario.START_NS,
        )
        rules = [
            AlertRule(name, measurement, condition, threshold=threshold, clear=threshold, hold_ns=hold_s * 10**9)
            for name, measurement, condition, threshold, hold_s in scenario.RULES
        ]
        self.alerting = Alerting(Engine(rules, self.telemetry, stale_ns=3600 * 10**9), [], self.telemetry)
        self.store = StateStore(directory, self.telemetry)
        self.store.restore(self.pipeline, scenario.BEFORE_NS, self.alerting)

    def save(self) -> None:
        self.store.save(self.pipeline, self.alerting)

    def figures_after(self) -> dict[str, dict[str, float]]:
        """What all windows say once the rows and labels that come after the restart are there."""
        for batch in scenario.Scenario(columns, hash_ids).after():
            decoded = Decoded(labels=(batch,)) if isinstance(batch, LabelBatch) else Decoded(predictions=(batch,))
            self.pipeline.process([decoded], scenario.BEFORE_NS)
        return scenario.by_series(self.pipeline.tick(scenario.AFTER_NS))


@pytest.fixture(params=[False, True], ids=["as it was written", "saved again"])
def service(tmp_path: Path, references: dict[str, Reference], request: pytest.FixtureRequest) -> Service:
    """The service on the old snapshot, and on the snapshot that it then writes itself."""
    shutil.copytree(FIXTURES / "snapshot", tmp_path / "state")
    service = Service(tmp_path / "state", references)
    if request.param:
        service.save()
        service = Service(tmp_path / "state", references)
    return service


def test_a_snapshot_continues_as_it_would_have(service: Service) -> None:
    found = service.figures_after()
    assert FIGURES["measurements"].keys() <= found.keys()
    added = found.keys() - FIGURES["measurements"].keys()
    assert [series for series in added if not any(name in series for name in SINCE)] == []
    for series, values in FIGURES["measurements"].items():
        then = {key: value for key, value in found[series].items() if not any(name in key for name in SINCE)}
        then = {key: value for key, value in then.items() if key in values or key.split()[-1] not in OF_CLASSES}
        if "ml.quality" in series:
            then = {key: value for key, value in then.items() if key not in ("prediction", "score")}
        # Rows of one call count as fewer: what noise explains is not less than it was.
        if series.endswith(semconv.DRIFT_THRESHOLD):
            assert then.keys() == values.keys(), series
            assert all(0.99 * value <= then[key] <= 2.0 * value for key, value in values.items()), series
            continue
        if series.endswith(semconv.DRIFT_P_VALUE):
            assert all(then[key] >= 0.99 * value - 0.005 for key, value in values.items()), series
            continue
        if series.startswith("clicks"):  # it learns its reference now, whose edges lie between values
            assert then == pytest.approx(values, rel=0.01, abs=0.005), series
            continue
        # Wasserstein's distance was too small where the distributions cross in a bin.
        exact = {key: value for key, value in values.items() if "wasserstein" not in key}
        assert {key: then[key] for key in exact} == pytest.approx(exact, rel=1e-9, abs=1e-12), series
        assert then == pytest.approx(values, rel=0.01, abs=1e-12), series
    counts = {
        f"{sample.labels['model']} {sample.labels['outcome']}": sample.value
        for metric in service.telemetry.registry.collect()
        for sample in metric.samples
        if sample.name == "otel_ml_labels_total"
    }
    assert counts == FIGURES["labels"]


def test_pending_predictions_learning_rows_and_alerts_come_back(service: Service) -> None:
    pipeline, engine = service.pipeline, service.alerting.engine
    assert len(pipeline.join) == FIGURES["pending"]
    learning = {str(key): model.learner.rows for key, model in pipeline.models.items() if model.learner}
    assert learning == FIGURES["learning"]
    series = {name: sorted(item.status for item in book.series.values()) for name, book in engine.books.items()}
    assert series == FIGURES["series"]
    resumed = [
        [
            notice.rule.name,
            str(notice.model),
            notice.started_ns,
            notice.count,
            [[[list(pair) for pair in offender.attributes], offender.value] for offender in notice.offenders],
        ]
        for notice in engine.resumed(scenario.BEFORE_NS)
    ]
    assert resumed == FIGURES["resumed"]
    assert resumed


@pytest.mark.parametrize("model", ["loans", "rents"])
def test_a_reference_file_says_what_it_said(model: str, references: dict[str, Reference]) -> None:
    reference, figures = references[model], FIGURES["references"][model]
    said: dict[str, Any] = {
        "columns": [
            column_summary(reference, position).as_mapping() for position in range(len(reference.schema.columns))
        ],
        "sums": {
            name: [list(values.shape), values.sum()]
            for name, values in reference.pane.arrays().items()
            if not name.startswith("further.")
        },
    }
    # It counted every pair of classes; of these, the rows are what was labeled.
    pairs = figures["sums"].pop("outcomes.confusion")[1]
    assert reference.pane.outcomes.by_class[:, 1].sum() == pairs
    del said["sums"]["outcomes.by_class"]
    assert rounded(said) == rounded(figures)


def rounded(figures: Any) -> Any:
    """The same with ten digits: sums may differ in the last one from machine to machine."""
    return json.loads(json.dumps(figures), parse_float=lambda text: float(f"{float(text):.10g}"))
