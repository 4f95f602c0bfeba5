"""One class, one text: predictions, labels, scores, profiles and configuration, however each of them spells it.

Spans are made by the instrumentation, decoded from their bytes and counted; the figures are scikit-learn's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
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
from collector_processor.service.state import StateStore
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

    def restarted(self, directory: Path) -> Service:
        """Another service with the state that this one saves."""
        after = Service(self._decoder)
        store = StateStore(directory, self.telemetry)
        store.open()
        store.save(self.pipeline)
        store.restore(after.pipeline, BEGIN_NS)
        store.close()
        return after

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
    document["vectors"] = {name: each for name, each in document["vectors"].items() if not name.startswith("further.")}
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
    document["vectors"]["outcomes.by_class"] = {"shape": [1, 3, 5], "at": [], "values": []}
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


# --- the positive class --------------------------------------------------------------------------------------------
def outputs_of(predicted: Sequence[int], scores: Sequence[float], spelling: Spelling = str) -> list[dict[str, object]]:
    return [{"class_": spelling(c), "score": s} for c, s in zip(predicted, scores, strict=True)]


NEGATIVE_FIRST = np.argsort(PREDICTED + 2 * TRUTH, kind="stable")
"""The order of rows in which the first ones are negative, predicted and true: more than a reference is learned from."""


@pytest.mark.parametrize("labeled", ["after", "between", "before"])
@pytest.mark.parametrize("spelling", ["int", "bool", "words", "own words"])
def test_one_class_in_the_rows_learned_from_does_not_become_positive(
    decoder: Decoder, spelling: str, labeled: str
) -> None:
    """The figures are those of all rows, also of those that came before the other class was known."""
    spell: Spelling = {
        "words": lambda y: ("No", "Yes")[y], "own words": lambda y: ("agreed", "disputed")[y], "int": int, "bool": bool,
    }[spelling]  # fmt: skip
    outputs = outputs_of(PREDICTED[NEGATIVE_FIRST], SCORE[NEGATIVE_FIRST].tolist(), spell)
    truth = [spell(y) for y in TRUTH[NEGATIVE_FIRST].tolist()]
    service = Service(decoder)
    model = service.model()
    if labeled == "before":
        label_rows(model, truth)
        service.receive()
    for begin in range(0, ROWS, 40):
        for row in range(begin, begin + 40):
            with model.predict({"x": float(row % 50)}, id=str(row), time_ns=BEGIN_NS) as prediction:
                prediction.record(**outputs[row])  # type: ignore[arg-type]
            if labeled == "between":
                model.label(str(row), class_=truth[row], time_ns=BEGIN_NS)
        service.receive()
    if labeled == "after":
        label_rows(model, truth)
        service.receive()
    assert_right(service.figures())
    assert ("positive_guessed" in service.problems) == (spelling == "own words" and labeled == "before")


@pytest.mark.parametrize("form", ["rows", "batch"])
@pytest.mark.parametrize("words", ["ok bad", "on_time delayed", "nein ja", "a b", "1 2", "否 是"])
def test_the_scores_show_which_class_they_are_about(decoder: Decoder, words: str, form: str) -> None:
    service = Service(decoder)
    model = service.model()
    predict_rows(model, outputs_of(PREDICTED, SCORE.tolist(), lambda y: words.split()[y]), form)
    label_rows(model, [words.split()[y] for y in TRUTH], form)
    service.receive()
    assert_right(service.figures())
    assert not service.problems


@pytest.mark.parametrize("corrected", [False, True])
def test_labels_that_no_score_could_decide_leave_out_figures_of_classes(decoder: Decoder, corrected: bool) -> None:
    """All labels are of one class at first; those that are right were left out of the figures, the others were not."""
    words = ("legit", "scam")
    service = Service(decoder)
    model = service.model()
    predict_rows(model, [{"score": score} for score in SCORE.tolist()], "batch")
    service.receive()
    first = [str(row) for row in range(ROWS) if corrected or not TRUTH[row]]
    model.labels(first, classes=["legit"] * len(first), time_ns=BEGIN_NS)
    service.receive()
    model.labels([str(row) for row in range(ROWS)], classes=[words[y] for y in TRUTH], time_ns=BEGIN_NS)
    service.receive()
    figures = service.figures()
    assert not {"accuracy", "precision", "recall", "f1"} & figures.keys()
    assert figures["roc_auc"] == pytest.approx(metrics.roc_auc_score(TRUTH, SCORE), abs=0.01)
    assert figures["brier"] == pytest.approx(metrics.brier_score_loss(TRUTH, SCORE))
    assert "undecided_labels" in service.problems


def test_scores_of_predicted_classes_give_no_figures_of_scores(decoder: Decoder) -> None:
    """The ROC AUC would be about one half, however good the model is."""
    confident = np.maximum(SCORE, 1.0 - SCORE)
    service = Service(decoder)
    model = service.model()
    predict_rows(model, outputs_of(PREDICTED, confident.tolist()), "batch")
    label_rows(model, TRUTH.tolist(), "batch")
    service.receive()
    figures = service.figures()
    assert not {"roc_auc", "brier", "log_loss", "calibration_error"} & figures.keys()
    assert figures["accuracy"] == pytest.approx(metrics.accuracy_score(TRUTH, PREDICTED))
    assert figures["recall"] == pytest.approx(metrics.recall_score(TRUTH, PREDICTED))
    assert "send the probability of the positive class" in service.problems["score_of_predicted"]
    predict_rows(model, outputs_of(PREDICTED, SCORE.tolist()), "batch")
    service.receive()
    assert "score_of_predicted" not in service.problems


def test_scores_of_predicted_classes_give_no_figures_of_scores_after_a_restart_either(
    decoder: Decoder, tmp_path: Path
) -> None:
    """The rows after it may be too few to show it again."""
    confident = np.maximum(SCORE, 1.0 - SCORE)
    service = Service(decoder)
    model = service.model()
    predict_rows(model, outputs_of(PREDICTED, confident.tolist()), "batch")
    label_rows(model, TRUTH.tolist(), "batch")
    service.receive()
    after = service.restarted(tmp_path)
    assert "score_of_predicted" in after.problems
    predict_rows(after.model(), outputs_of(PREDICTED[:3], confident[:3].tolist()))
    after.receive()
    assert "roc_auc" not in after.figures()
    predict_rows(after.model(), outputs_of(PREDICTED, SCORE.tolist()), "batch")
    after.receive()
    assert "score_of_predicted" not in after.problems


def test_labels_of_a_regression_name_no_classes(decoder: Decoder) -> None:
    service = Service(decoder)
    model = service.model()
    predict_rows(model, [{"value": float(y)} for y in range(ROWS)], "batch")
    service.receive()
    model.labels([str(row) for row in range(ROWS)], values=[float(row) for row in range(ROWS)], time_ns=BEGIN_NS)
    service.receive()
    [watched] = service.pipeline.models.values()
    assert watched.labeled == {}
    assert service.figures()["mae"] == 0.0


def test_the_second_of_classes_that_are_counted_from_1_is_positive(decoder: Decoder) -> None:
    service = Service(decoder)
    model = service.model()
    outputs = [{"scores": {"1": 1.0 - score, "2": score}} for score in SCORE.tolist()]
    predict_rows(model, outputs)
    label_rows(model, [y + 1 for y in TRUTH.tolist()])
    service.receive()
    assert_right(service.figures())
    assert "'2', the last of: 1, 2" in service.problems["positive_guessed"]


@pytest.mark.parametrize("given", ["positive class", "names"])
def test_a_score_that_is_about_the_other_class_is_reported(decoder: Decoder, given: str) -> None:
    """Scores cannot overrule what is said; whoever looks at the figures is warned."""
    words, settings = (("ok", "bad"), {"positive_class": "bad"}) if given == "positive class" else (("0", "1"), {})
    service = Service(decoder, **settings)
    model = service.model()
    predict_rows(model, outputs_of(PREDICTED, (1.0 - SCORE).tolist(), lambda y: words[y]), "batch")
    service.receive()
    assert f"class '{words[0]}' have the higher scores" in service.problems["scored_class"]


def test_a_class_that_is_positive_by_order_only_is_said_to_be_a_guess(
    decoder: Decoder, caplog: pytest.LogCaptureFixture
) -> None:
    service = Service(decoder)
    model = service.model()
    predict_rows(model, [{"scores": {"a": 1.0 - score, "b": score}} for score in SCORE.tolist()])
    label_rows(model, ["ab"[y] for y in TRUTH])
    service.receive()
    assert_right(service.figures())
    assert "'b', the last of: a, b" in service.problems["positive_guessed"]
    assert sum("set positive_class" in message for message in caplog.messages) == 1


def test_one_class_that_turns_out_positive_does_not_count_as_negative(decoder: Decoder) -> None:
    """Sums of scores from the time before are left out, those of classes are right."""
    names = ("usual", "rare")  # the last in order is the one that comes first
    alone = int(((TRUTH == 0) & (PREDICTED == 0)).sum())
    outputs = outputs_of(PREDICTED[NEGATIVE_FIRST], (1.0 - SCORE[NEGATIVE_FIRST]).tolist(), lambda y: names[y])
    truth = [names[y] for y in TRUTH[NEGATIVE_FIRST].tolist()]
    service = Service(decoder)
    model = service.model()
    for first, last in ((0, alone), (alone, ROWS)):
        for row in range(first, last):
            with model.predict({"x": float(row % 50)}, id=str(row), time_ns=BEGIN_NS) as prediction:
                prediction.record(**outputs[row])  # type: ignore[arg-type]
            model.label(str(row), class_=truth[row], time_ns=BEGIN_NS)
        service.receive()
    figures = service.figures()
    assert figures["accuracy"] == metrics.accuracy_score(TRUTH, PREDICTED)
    assert figures["recall"] == metrics.recall_score(TRUTH, PREDICTED, pos_label=0)
    assert figures["precision"] == metrics.precision_score(TRUTH, PREDICTED, pos_label=0)
    late = NEGATIVE_FIRST[alone:]
    assert figures["brier"] == pytest.approx(metrics.brier_score_loss(TRUTH[late] == 0, 1.0 - SCORE[late]))


@pytest.mark.parametrize("restart", [150, 250, 390])
def test_a_restart_keeps_what_is_known_of_the_classes(decoder: Decoder, tmp_path: Path, restart: int) -> None:
    """Before the other class came, and after a sender without a word for it has named the positive one."""
    names = ("usual", "rare")
    service = Service(decoder)
    outputs = outputs_of(PREDICTED[NEGATIVE_FIRST], SCORE[NEGATIVE_FIRST].tolist(), lambda y: names[y])
    predict_rows(service.model(positive_class="rare"), outputs[:restart])
    service.receive()
    after = service.restarted(tmp_path)
    model = after.model()  # and it no longer says which class is positive
    for row in range(restart, ROWS):
        with model.predict({"x": float(row % 50)}, id=str(row), time_ns=BEGIN_NS) as prediction:
            prediction.record(**outputs[row])  # type: ignore[arg-type]
    label_rows(model, [names[y] for y in TRUTH[NEGATIVE_FIRST].tolist()])
    after.receive()
    assert_right(after.figures())
    assert after.problems == {}


# --- what the sender says --------------------------------------------------------------------------------------------
@pytest.mark.parametrize("form", ["rows", "batch"])
def test_the_positive_class_of_the_sender_is_obeyed(decoder: Decoder, form: str) -> None:
    service = Service(decoder)
    model = service.model(positive_class="ham", task="binary_classification")
    predict_rows(model, outputs_of(PREDICTED, SCORE.tolist(), lambda y: ("spam", "ham")[y]), form)
    label_rows(model, [("spam", "ham")[y] for y in TRUTH], form)
    service.receive()
    assert_right(service.figures())
    assert service.problems == {}


@pytest.mark.parametrize("where", ["configuration", "profile"])
@pytest.mark.parametrize("form", ["rows", "batch"])
def test_a_contradiction_of_the_positive_class_is_reported_and_the_score_turned_around(
    decoder: Decoder, form: str, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    service = Service(
        decoder, **({"positive_class": "1"} if where == "configuration" else {"reference": table_reference(int)})
    )
    model = service.model(positive_class="False")
    outputs = [{"class_": bool(c), "score": 1.0 - s} for c, s in zip(PREDICTED, SCORE.tolist(), strict=True)]
    predict_rows(model, outputs, form)
    label_rows(model, TRUTH.tolist(), form)
    service.receive()
    assert_right(service.figures())
    assert "class '0'; figures are about '1'" in service.problems["positive_class"]
    assert sum("figures are about" in message for message in caplog.messages) == 1


@pytest.mark.parametrize("classes", [(0,), (0, 1)], ids=str)
@pytest.mark.parametrize("said", [["False"], ["False", "True"], ["True", "False"], ["", "False"]])
def test_a_reference_is_learned_about_the_class_that_is_configured(
    decoder: Decoder, said: list[str], classes: tuple[int, ...]
) -> None:
    """Scores of senders about the other class are turned around before they are learned from, as they are counted."""
    service, right_one = Service(decoder, positive_class="1"), Service(decoder, positive_class="1")
    first = np.flatnonzero(np.isin(PREDICTED, classes))[:LEARN]
    exact = np.round(SCORE[first] * 64) / 64  # 1 - (1 - s) is s
    for row, (c, s) in enumerate(zip(PREDICTED[first].tolist(), exact.tolist(), strict=True)):
        sender = said[row % len(said)]
        score = 1.0 - s if sender == "False" else s
        predict_rows(service.model(positive_class=sender), [{"class_": bool(c), "score": score}])
        service.receive()
        predict_rows(right_one.model(positive_class="True"), [{"class_": bool(c), "score": s}])
    right_one.receive()
    found, wanted = (next(iter(each.pipeline.models.values())).watch for each in (service, right_one))
    assert found is not None
    assert wanted is not None
    assert found.reference.schema.positive_class == wanted.reference.schema.positive_class == "1"
    np.testing.assert_array_equal(found.reference.schema.edges, wanted.reference.schema.edges)
    np.testing.assert_array_equal(found.reference.pane.counts, wanted.reference.pane.counts)


@pytest.mark.parametrize("form", ["rows", "batch"])
def test_a_threshold_is_turned_around_only_with_its_score(decoder: Decoder, form: str) -> None:
    """The sender's class is a name that no row has."""
    service = Service(decoder, cut_reference(None))
    predict_rows(service.model(threshold=0.3, positive_class="fraud"), [{"score": s} for s in SCORE.tolist()], form)
    label_rows(service.model(), TRUTH.tolist(), form)
    service.receive()
    assert_cut(service.figures(), 0.3)
    assert "class 'fraud'" in service.problems["positive_class"]


def test_a_contradiction_of_the_task_is_reported(decoder: Decoder) -> None:
    service = Service(decoder, table_reference(int))
    predict_rows(service.model(task="multiclass_classification"), outputs_of(PREDICTED, SCORE.tolist()))
    service.receive()
    assert "multiclass_classification" in service.problems["task"]


# --- only a score ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("labeled", ["after", "between", "before"])
@pytest.mark.parametrize("form", ["rows", "batch"])
def test_a_score_and_labels_are_enough(decoder: Decoder, form: str, labeled: str) -> None:
    service = Service(decoder)
    model = service.model()
    outputs = [{"score": s} for s in SCORE.tolist()]
    if labeled == "before":
        label_rows(model, TRUTH.tolist(), form)
        service.receive()
    if labeled == "between":
        for row, (output, label) in enumerate(zip(outputs, TRUTH.tolist(), strict=True)):
            with model.predict({"x": float(row % 50)}, id=str(row), time_ns=BEGIN_NS) as prediction:
                prediction.record(**output)
            model.label(str(row), class_=label, time_ns=BEGIN_NS)
            service.receive()
    else:
        predict_rows(model, outputs, form)
        service.receive()
    if labeled == "after":
        label_rows(model, TRUTH.tolist(), form)
        service.receive()
    assert_right(service.figures())
    assert service.problems == {}


def test_labels_that_give_no_figure_are_reported(decoder: Decoder, caplog: pytest.LogCaptureFixture) -> None:
    service = Service(decoder, task="binary_classification")
    model = service.model()
    for row in range(ROWS):
        with model.predict({"x": float(row % 50)}, id=str(row), time_ns=BEGIN_NS):
            pass
    label_rows(model, TRUTH.tolist())
    service.receive()
    assert service.figures() == {}
    assert "no class and no score" in service.problems["no_performance"]
    assert sum("give no performance" in message for message in caplog.messages) == 1


def test_labels_of_one_class_are_no_reason_to_guess(decoder: Decoder) -> None:
    service = Service(decoder)
    model = service.model()
    predict_rows(model, [{"score": s} for s in SCORE.tolist()])
    label_rows(model, ["legit"] * ROWS)
    service.receive()
    assert service.figures() == {}
    assert "known: legit" in service.problems["no_positive_class"]


def test_labels_of_a_class_that_nothing_else_has_are_counted_and_reported(
    decoder: Decoder, caplog: pytest.LogCaptureFixture
) -> None:
    service = Service(decoder, table_reference(int))
    model = service.model()
    predict_rows(model, outputs_of(PREDICTED, SCORE.tolist()))
    label_rows(model, ["fraud", *TRUTH.tolist()[1:]])
    service.receive()
    assert service.counted("otel_ml_unmatched_labels_total", model="m") == 1
    assert "'fraud'; known are: '0', '1'" in service.problems["unmatched_labels"]
    assert sum("labels name classes" in message for message in caplog.messages) == 1


# --- threshold -----------------------------------------------------------------------------------------------------
def assert_cut(figures: dict[str, float], cut: float) -> None:
    predicted = np.greater_equal(SCORE, cut).astype(int)
    assert figures["recall"] == pytest.approx(metrics.recall_score(TRUTH, predicted), rel=1e-12)
    assert figures["precision"] == pytest.approx(metrics.precision_score(TRUTH, predicted), rel=1e-12)
    assert figures["accuracy"] == pytest.approx(metrics.accuracy_score(TRUTH, predicted), rel=1e-12)


def cut_reference(cut: float | None) -> Reference:
    frame = {"x": [float(row % 50) for row in range(ROWS)], "score": SCORE.tolist(), "label": TRUTH.tolist()}
    table = read_frame(frame, ColumnMapping(score="score", label="label"), model="m")
    built = build_reference("m", table.predictions, label_classes=table.label_classes, threshold=cut)
    return parse_reference(reference_text(built), "m.json")


@pytest.mark.parametrize("form", ["rows", "batch"])
@pytest.mark.parametrize(
    ("sent", "profile", "configured", "right_one"),
    [
        (0.1, None, None, 0.1), (None, 0.1, None, 0.1), (None, None, 0.1, 0.1), (None, None, None, 0.5),
        (0.3, 0.1, None, 0.1), (0.3, 0.2, 0.1, 0.1), (0.3, None, 0.1, 0.1), (0.1, 0.1, 0.1, 0.1),
    ],
)  # fmt: skip
def test_the_threshold_decides_what_the_score_means(
    decoder: Decoder, form: str, sent: float | None, profile: float | None, configured: float | None, right_one: float
) -> None:
    service = Service(decoder, cut_reference(profile), **({} if configured is None else {"threshold": configured}))
    model = service.model(threshold=sent)
    predict_rows(model, [{"score": s} for s in SCORE.tolist()], form)
    label_rows(model, TRUTH.tolist(), form)
    service.receive()
    assert_cut(service.figures(), right_one)
    assert ("threshold" in service.problems) == (len({sent, profile, configured} - {None}) > 1)


def test_the_threshold_of_the_sender_counts_for_a_learned_reference(decoder: Decoder) -> None:
    service = Service(decoder)
    model = service.model(threshold=0.1)
    predict_rows(model, [{"score": s} for s in SCORE.tolist()])
    label_rows(model, TRUTH.tolist())
    service.receive()
    assert_cut(service.figures(), 0.1)


def test_a_class_that_is_sent_counts_more_than_the_threshold(decoder: Decoder) -> None:
    service = Service(decoder, cut_reference(0.1), threshold=0.1)
    predict_rows(model := service.model(threshold=0.1), outputs_of(PREDICTED, SCORE.tolist()))
    label_rows(model, TRUTH.tolist())
    service.receive()
    assert_right(service.figures())


def test_a_score_that_does_not_decide_gives_no_class(decoder: Decoder) -> None:
    service = Service(decoder)
    predict_rows(model := service.model(threshold=float("nan")), [{"score": s} for s in SCORE.tolist()])
    label_rows(model, TRUTH.tolist())
    service.receive()
    figures = service.figures()
    assert "accuracy" not in figures
    assert figures["brier"] == pytest.approx(right()["brier"])


def test_a_profile_with_a_score_has_the_performance_at_its_threshold() -> None:
    reference = cut_reference(0.1)
    wanted = metrics.recall_score(TRUTH, SCORE >= 0.1)
    positive = reference.schema.classes.find(0, "1")
    true_positive, labeled, _ = reference.pane.outcomes.by_class[0, :, positive]
    assert true_positive / labeled == wanted
