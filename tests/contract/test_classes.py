"""One class, one text: predictions, labels, scores, profiles and configuration, however each of them spells it.

Spans are made by the instrumentation, decoded from their bytes and counted; the figures are scikit-learn's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sklearn import metrics

from collector_processor.columns.batch import Column
from collector_processor.decode import DECODERS, Decoder
from collector_processor.decode.limits import DEFAULT_LIMITS
from collector_processor.monitors.base import Measurement
from collector_processor.own.telemetry import Telemetry
from collector_processor.pipeline.pipeline import Pipeline
from collector_processor.pipeline.settings import MlMonitor
from collector_processor.reference.build import build_reference
from collector_processor.reference.file import parse_reference, reference_text
from collector_processor.reference.profile import Reference
from collector_processor.reference.read_table import ColumnMapping, read_frame
from otel_ml import Model

ROWS, LEARN = 400, 100
HOUR_NS = 3600 * 10**9
BEGIN_NS = 1_750_000_000 * 10**9
Spelling = Callable[[int], object]
SPELLINGS: dict[str, Spelling] = {
    "bool": bool,
    "int": int,
    "float": float,
    "True": lambda y: str(bool(y)),
    "true": lambda y: str(bool(y)).lower(),
    "1.0": lambda y: f"{y}.0",
    " 1": lambda y: f" {y}",
    "Decimal": Decimal,
    "numpy.bool": np.bool_,
    "numpy.int64": np.int64,
    "numpy.float32": np.float32,
}
RANDOM = np.random.default_rng(9)
TRUTH = (RANDOM.random(ROWS) < 0.2).astype(int)
SCORE = np.clip(0.15 + 0.5 * TRUTH + RANDOM.normal(0, 0.2, ROWS), 0.001, 0.999)
PREDICTED = (SCORE >= 0.5).astype(int)


@pytest.fixture(params=DECODERS, ids=lambda decoder: decoder.name)
def decoder(request: pytest.FixtureRequest) -> Decoder:
    return request.param


class Service:
    """A pipeline that is fed with the spans of a model, as bytes."""

    def __init__(self, decoder: Decoder, reference: Reference | None = None, **model: Any) -> None:
        self._decoder = decoder
        self._spans = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._spans))
        self.telemetry = Telemetry()
        window = {"size": "1h", "every": "1h", "allowed_lateness": "10s", "min_rows": 50, "min_labels": 5}
        settings = {"window": window, "reference": {"learn": LEARN}, "models": {"m": model}}
        references = {} if reference is None else {"m": reference}
        self.pipeline = Pipeline(MlMonitor.model_validate(settings), references, self.telemetry, BEGIN_NS)

    def model(self, **arguments: Any) -> Model:
        return Model("m", tracer_provider=self.provider, **arguments)

    def receive(self) -> None:
        """Decode and count the spans so far."""
        body = encode_spans(self._spans.get_finished_spans()).SerializeToString()
        self._spans.clear()
        self.pipeline.process([self._decoder.decode_traces(body, BEGIN_NS, DEFAULT_LIMITS)], BEGIN_NS)

    def figures(self) -> dict[str, float]:
        """The performance of the window, without averages."""
        return {name.removeprefix("ml.performance."): value for name, value in self._performance()}

    def _performance(self) -> Iterator[tuple[str, float]]:
        found: list[Measurement] = self.pipeline.tick(BEGIN_NS + 2 * HOUR_NS)
        for item in found:
            if item.name.startswith("ml.performance.") and item.name != "ml.performance.drop":
                yield item.name, item.value

    @property
    def problems(self) -> dict[str, str]:
        [model] = self.pipeline.models.values()
        return model.problems

    def counted(self, name: str, **by: str) -> float:
        return self.telemetry.registry.get_sample_value(name, by) or 0.0


def predict_rows(model: Model, outputs: Sequence[dict[str, object]], form: str = "rows") -> None:
    """Make predictions row by row, or in one call; their ids are their numbers."""
    if form == "rows":
        for row, output in enumerate(outputs):
            with model.predict({"x": float(row % 50)}, id=str(row), time_ns=BEGIN_NS) as prediction:
                prediction.record(**output)  # type: ignore[arg-type]
        return
    columns: dict[str, Any] = {name: [output[name] for output in outputs] for name in outputs[0]}
    if "scores" in columns:
        scores: list[dict[object, float]] = columns["scores"]
        columns["scores"] = {name: [row[name] for row in scores] for name in scores[0]}
    ids = [str(row) for row in range(len(outputs))]
    with model.predict({"x": [float(row % 50) for row in range(len(outputs))]}, id=ids, time_ns=BEGIN_NS) as prediction:
        prediction.record(**columns)


def label_rows(model: Model, truth: Sequence[object], form: str = "rows") -> None:
    """Label the predictions one by one, or in one call."""
    if form == "rows":
        for row, label in enumerate(truth):
            model.label(str(row), class_=label, time_ns=BEGIN_NS)
    else:
        model.labels([str(row) for row in range(len(truth))], classes=[*truth], time_ns=BEGIN_NS)


def table_reference(spelling: Spelling) -> Reference:
    """A profile built from a table, and read from its file."""
    frame = {
        "x": [float(row % 50) for row in range(ROWS)],
        "predicted": [spelling(y) for y in PREDICTED.tolist()],
        "score": SCORE.tolist(),
        "label": [spelling(y) for y in TRUTH.tolist()],
    }
    mapping = ColumnMapping(prediction="predicted", score="score", label="label")
    table = read_frame(frame, mapping, model="m", task="binary_classification")
    built = build_reference("m", table.predictions, label_classes=table.label_classes)
    return parse_reference(reference_text(built), "m.json")


def right() -> dict[str, float]:
    """The figures of scikit-learn, except the ROC AUC, which is as fine as bins."""
    return {
        "accuracy": metrics.accuracy_score(TRUTH, PREDICTED),
        "precision": metrics.precision_score(TRUTH, PREDICTED),
        "recall": metrics.recall_score(TRUTH, PREDICTED),
        "f1": metrics.f1_score(TRUTH, PREDICTED),
        "brier": metrics.brier_score_loss(TRUTH, SCORE),
        "log_loss": metrics.log_loss(TRUTH, SCORE),
    }


def assert_right(figures: dict[str, float]) -> None:
    wanted = right()
    assert {name: figures[name] for name in wanted} == pytest.approx(wanted, rel=1e-12)
    assert figures["roc_auc"] == pytest.approx(metrics.roc_auc_score(TRUTH, SCORE), abs=0.01)


# --- one class, one text ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("form", ["rows", "batch"])
@pytest.mark.parametrize("said", SPELLINGS)
def test_every_spelling_of_predictions_and_labels_gives_the_right_figures(
    decoder: Decoder, said: str, form: str
) -> None:
    """Each spelling for one side, with another spelling for the other side and for the profile."""
    names = list(SPELLINGS)
    other, third = (names[(names.index(said) + step) % len(names)] for step in (1, 4))
    predicted, label = SPELLINGS[said], SPELLINGS[other]
    service = Service(decoder, table_reference(SPELLINGS[third] if third != "Decimal" else int), positive_class="True")
    model = service.model()
    outputs = [{"class_": predicted(int(c)), "score": s} for c, s in zip(PREDICTED, SCORE.tolist(), strict=True)]
    predict_rows(model, outputs, form)
    label_rows(model, [label(y) for y in TRUTH.tolist()], form)
    service.receive()
    assert_right(service.figures())


@pytest.mark.parametrize("form", ["rows", "batch"])
def test_names_of_scores_are_classes_too(decoder: Decoder, form: str) -> None:
    service = Service(decoder)
    model = service.model()
    predict_rows(model, [{"scores": {False: 1.0 - s, True: s}, "class_": int(s >= 0.5)} for s in SCORE.tolist()], form)
    label_rows(model, [f"{y}.0" for y in TRUTH], form)
    service.receive()
    assert_right(service.figures())


@pytest.mark.parametrize("form", ["rows", "batch"])
@pytest.mark.parametrize("none", ["", "nan", "None", "null", " "])
def test_a_label_without_a_class_is_left_out_and_said_once(
    decoder: Decoder, none: str, form: str, caplog: pytest.LogCaptureFixture
) -> None:
    service = Service(decoder, table_reference(int))
    model = service.model()
    outputs = [{"class_": int(c), "score": s} for c, s in zip(PREDICTED, SCORE.tolist(), strict=True)]
    predict_rows(model, outputs, form)
    label_rows(model, [none] * ROWS, form)
    service.receive()
    label_rows(model, TRUTH.tolist()[:200] + [none] * 200, form)
    service.receive()
    figures = service.figures()
    assert figures["accuracy"] == metrics.accuracy_score(TRUTH[:200], PREDICTED[:200])
    assert service.counted("otel_ml_dropped_total", stage="labels", reason="no_class", intentional="false") == 600
    assert service.counted("otel_ml_labels_total", model="m", outcome="joined") == 200
    assert "left out" in service.problems["no_class"]
    assert sum("labels without a class" in message for message in caplog.messages) == 1


def test_a_profile_of_version_0_1_0_is_read_with_its_spellings(decoder: Decoder) -> None:
    """Its classes are renamed; where two of them are one, its performance was wrong and is left out."""
    document = json.loads(reference_text(table_reference(int)))
    document["classes"]["names"], document["positive_class"] = ["False", "True"], "True"
    for name in ("prediction", "label"):
        column = document["outputs"][name]
        column["categories"] = [{"0": "False", "1": "True"}[text] for text in column["categories"]]
    read = parse_reference(json.dumps(document), "old.json")
    assert (read.schema.positive_class, read.schema.classes.names(0), read.notes) == ("1", ["0", "1"], ())
    assert read.pane.outcomes.labels[0] == ROWS

    column = document["outputs"]["label"]
    column["categories"] = [{"False": "0", "True": "1"}[text] for text in column["categories"]]
    document["classes"]["names"] = ["False", "True", "0", "1"]
    document["vectors"]["outcomes.confusion"] = {"shape": [1, 5, 5], "at": [], "values": []}
    merged = parse_reference(json.dumps(document), "old.json")
    assert merged.schema.classes.names(0) == ["0", "1"]
    assert merged.pane.outcomes.labels[0] == 0
    assert "build it again" in merged.notes[0]
    # Version 0.1.0 kept spellings apart within a column, too.
    assert sorted(merged.pane.category_counts[2:]) == sorted(read.pane.category_counts[2:])


def test_a_profile_keeps_the_counts_of_merged_classes() -> None:
    column = Column(None, np.array([0, 1, 2, 2, 3], np.int32), ("True", "1", "False", "nan"))
    document = json.loads(reference_text(table_reference(int)))
    label = document["outputs"]["label"]
    size = document["categories"]["slots"]
    label["categories"], label["slots"] = [*column.categories], [1, 4, 5, size, size + 1]
    label["counts"] = [0, 1, 1, 2, 1]
    document["categories"]["slots"] = size + 2
    schema = (reference := parse_reference(json.dumps(document), "old.json")).schema
    position = [spec.role for spec in schema.categorical].index("label")
    counts = {name: reference.pane.category_counts[schema.categories.find(position, name)] for name in "01"}
    assert counts == {"1": 2.0, "0": 2.0}
