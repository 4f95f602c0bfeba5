"""What is emitted as columns means the same as what is emitted row by row: cells, figures, metrics, traces."""

from __future__ import annotations

import datetime
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from collector_processor.columns.batch import Column, PredictionBatch
from collector_processor.decode import DECODERS, DEFAULT_LIMITS, Decoded, concatenate
from collector_processor.own.telemetry import Telemetry
from collector_processor.pipeline.pipeline import Pipeline
from collector_processor.pipeline.settings import MlMonitor
from collector_processor.reference.build import build_reference
from collector_processor.reference.file import reference_text
from collector_processor.reference.read_table import ColumnMapping, read_frame
from otel_ml import Config, Model, columnar, prediction
from otel_ml.config import EMITS, Emit
from otel_ml.testing import Captured, capture

BEGIN = 1_750_000_000 * 10**9
SECOND = 10**9
RULES: dict[str, Any] = {
    "features_deny": ["secret"],
    "features_hash": ["name"],
    "hash_salt": "salt",
    "features_bucket": {"income": 10.0},
}
CONFIGS: tuple[dict[str, Any], ...] = ({}, RULES, {"max_features": 2}, {"capture_features": False})


class Nasty:
    def __repr__(self) -> str:
        raise RuntimeError("no text")

    __str__ = __float__ = __repr__


@dataclass
class Row:
    """One call, as an application makes it."""

    features: Any
    outputs: dict[str, Any]
    id: object = None
    segments: dict[str, Any] | None = None
    error: type[Exception] | None = None
    traced: bool = True


CELLS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(["a" * 300, "\udc80", "1", "true"]),
    st.sampled_from([np.float32(0.1), np.int64(7), np.bool_(True), np.array(2.5), Decimal("0.1"), Decimal(2**60)]),
    st.sampled_from([datetime.datetime(2026, 1, 2), datetime.timedelta(seconds=3), b"bytes", b"\xff", [1], {"a": 1}]),
    st.builds(Nasty),
)
NAMES = st.sampled_from(["age", "income", "name", "secret", "city", "ä", 3])
SCORES = st.floats(0, 1)
CLASSES = st.one_of(
    st.none(), st.booleans(), st.integers(0, 3), st.sampled_from(["yes", "no", np.int64(1), np.str_("x")])
)
FEATURES = st.one_of(
    st.dictionaries(NAMES, CELLS, max_size=5),
    st.dictionaries(NAMES, st.one_of(st.floats(allow_nan=False), st.sampled_from("ab")), max_size=5),
    st.lists(st.floats(), min_size=1, max_size=3).map(lambda row: [row]),
    st.lists(st.floats(), min_size=1, max_size=3).map(lambda row: np.array([row])),
    st.none(),
)
OUTPUTS = st.fixed_dictionaries(
    {},
    optional={
        "class_": CLASSES,
        "score": st.one_of(SCORES, SCORES.map(np.float64), SCORES.map(lambda score: np.array([score]))),
        "value": st.one_of(st.floats(), st.integers(), st.just("no number")),
        "scores": st.dictionaries(st.sampled_from(["yes", "no", "x", 1, True]), SCORES, max_size=3),
        "attributions": st.dictionaries(st.sampled_from(["age", "income", "secret"]), st.floats(-1, 1), max_size=2),
    },
)
ROWS = st.builds(
    Row,
    FEATURES,
    OUTPUTS,
    st.one_of(st.none(), st.text(max_size=4), st.integers(), st.just(Decimal("1.50"))),
    st.one_of(st.none(), st.dictionaries(st.sampled_from(["region", "name", "secret"]), CELLS, max_size=2)),
    st.sampled_from([None, None, None, ValueError, KeyError]),
    st.booleans(),
)


def tick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every call take as long in both forms."""
    ticks = itertools.accumulate(itertools.cycle((0.25, 0.001, 0.0, 0.5)))
    for module in (prediction, columnar):
        monkeypatch.setattr(module, "perf_counter", ticks.__next__)


def emitted(rows: list[Row], emit: Emit, config: dict[str, Any], **model: Any) -> Captured:
    """Make the calls; each second one inside of a span of the application."""
    with pytest.MonkeyPatch.context() as patch, capture() as captured:
        tick(patch)
        observed = Model("m", version="1", segments=["city"], config=Config(emit=emit, **config), **model)
        tracer = captured.tracer_provider.get_tracer("app")
        for number, row in enumerate(rows):
            span = tracer.start_as_current_span("request") if row.traced else None
            try:
                with span if span is not None else Nothing():
                    call(observed, row, BEGIN + number * SECOND + number)
            except (ValueError, KeyError):
                pass
        _ = captured.spans
    return captured


class Nothing:
    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


def call(model: Model, row: Row, time_ns: int) -> str:
    with model.predict(row.features, id=row.id, segments=row.segments, time_ns=time_ns) as current:
        current.record(**row.outputs)
        if row.error is not None:
            raise row.error("message")
    return current.id


def decoded(captured: Captured, decoder: Any = DECODERS[0]) -> Decoded:
    return decoder.decode_traces(encode_spans(captured.spans).SerializeToString(), 0, DEFAULT_LIMITS)


def cells(column: Column | None, rows: int) -> list[object]:
    if column is None:
        return [None] * rows
    numbers = [math.nan] * rows if column.numbers is None else column.numbers.tolist()
    codes = [-1] * rows if column.codes is None else column.codes.tolist()
    return [
        column.categories[code] if code >= 0 else None if math.isnan(number) else number
        for number, code in zip(numbers, codes, strict=True)
    ]


def by_row(batch: PredictionBatch, own_ids: list[bool]) -> list[dict[str, object]]:
    rows = len(batch)
    named = {
        "time": batch.time_ns.tolist(),
        "id": [tuple(pair) if own else None for pair, own in zip(batch.ids.tolist(), own_ids, strict=True)],
        "weight": batch.weights.tolist(),
        "duration": cells(Column(batch.duration_s), rows),
        "class": cells(batch.prediction, rows),
        "score": cells(None if batch.score is None else Column(batch.score), rows),
        "value": cells(None if batch.value is None else Column(batch.value), rows),
        "error": cells(batch.error, rows),
        "traced": [False] * rows if batch.traces is None else batch.traces.present().tolist(),
    }
    named |= {f"feature {key}": cells(column, rows) for key, column in batch.features.items()}
    named |= {f"segment {key}": cells(column, rows) for key, column in batch.segments.items()}
    named |= {f"scores {key}": cells(Column(part), rows) for key, part in batch.scores.items()}
    named |= {f"attribution {key}": cells(Column(part), rows) for key, part in batch.attributions.items()}
    return sorted(
        ({name: column[row] for name, column in named.items() if column[row] is not None} for row in range(rows)),
        key=lambda row: row["time"],  # type: ignore[arg-type, return-value]
    )


@settings(max_examples=150, deadline=None)
@given(rows=st.lists(ROWS, min_size=1, max_size=8), config=st.sampled_from(CONFIGS), decoder=st.sampled_from(DECODERS))
def test_rows_of_any_shape_have_the_same_cells(rows: list[Row], config: dict[str, Any], decoder: Any) -> None:
    own = [row.id is not None and row.id != "" for row in rows]
    found = {emit: decoded(emitted(rows, emit, config), decoder) for emit in EMITS}
    assert [found[emit].rejected for emit in EMITS] == [0, 0]
    one, other = (concatenate(found[emit].predictions) for emit in EMITS)
    spans, columns = by_row(one, own), by_row(other, own)
    for span, column, row in zip(spans, columns, rows, strict=True):
        # A call outside of any span has no trace that could be looked up.
        assert column.pop("traced") == row.traced
        assert span.pop("traced")
        assert column == span
    assert one.withheld == other.withheld


def test_every_row_of_a_batch_keeps_what_is_its_own() -> None:
    rows = [Row({"age": float(i), f"only_{i}": i}, {"score": i / 3000}, id=f"order-{i}") for i in range(3_000)]
    captured = emitted(rows, "columnar", {})
    found = captured.predictions
    assert {row.id for row in found} == {f"order-{i}" for i in range(3_000)}
    for row in found:
        number = int(row.id.removeprefix("order-"))
        assert row.features == {"age": float(number), f"only_{number}": number}
        assert row.time_ns == BEGIN + number * (SECOND + 1)


RANDOM = np.random.default_rng(11)
TRAFFIC = 2_000


def traffic() -> Iterator[tuple[Row, int]]:
    """Calls and their truth: the numbers move after the first half, some cells are missing, some calls fail."""
    for number in range(TRAFFIC):
        moved = number > TRAFFIC // 2
        truth = int(RANDOM.random() < 0.3)
        score = float(np.clip(0.2 + 0.5 * truth + RANDOM.normal(0, 0.2), 0.01, 0.99))
        features: dict[str, Any] = {
            "amount": float(RANDOM.normal(2.0 if moved else 0.0)),
            "city": str(RANDOM.choice(["Bern", "Rome", "Oslo"])),
            "age": None if number % 17 == 0 else int(RANDOM.integers(18, 90)),
        }
        error = ValueError if number % 101 == 0 else None
        yield Row(features, {"score": score, "class_": "yes" if score > 0.5 else "no"}, None, None, error), truth


@pytest.fixture(scope="module")
def calls() -> list[tuple[Row, int]]:
    return list(traffic())


@pytest.fixture
def served(calls: list[tuple[Row, int]]) -> Callable[[Emit], tuple[Captured, Pipeline]]:
    def serve(emit: Emit) -> tuple[Captured, Pipeline]:
        rows = [row for row, _ in calls]
        captured = emitted(rows, emit, {}, task="binary_classification", positive_class="yes")
        windows = {"size": "10m", "every": "10m", "allowed_lateness": "1s", "min_rows": 100, "min_labels": 20}
        config = {"window": windows, "reference": {"learn": 500}}
        pipeline = Pipeline(MlMonitor.model_validate(config), {}, Telemetry(), BEGIN)
        body = encode_spans(captured.spans).SerializeToString()
        pipeline.process([DECODERS[0].decode_traces(body, BEGIN, DEFAULT_LIMITS)], BEGIN + TRAFFIC * SECOND)
        with capture() as labels:
            model = Model("m", version="1")
            ids = [seen.id for seen in sorted(captured.predictions, key=lambda seen: seen.time_ns)]
            truths = ["yes" if truth else "no" for _, truth in calls]
            model.labels(ids, classes=truths, time_ns=BEGIN + TRAFFIC * SECOND)
        body = encode_spans(labels.spans).SerializeToString()
        pipeline.process([DECODERS[0].decode_traces(body, BEGIN, DEFAULT_LIMITS)], BEGIN + TRAFFIC * SECOND)
        return captured, pipeline

    return serve


def test_the_figures_are_the_same(served: Callable[[Emit], tuple[Captured, Pipeline]]) -> None:
    figures = {
        emit: {
            (item.name, item.attributes, item.time_ns): item.value
            for item in served(emit)[1].tick(BEGIN + 2 * TRAFFIC * SECOND)
        }
        for emit in EMITS
    }
    spans, columns = (figures[emit] for emit in EMITS)
    assert columns == pytest.approx(spans, nan_ok=True, rel=1e-12)
    names = {name for name, *_ in columns}
    assert {"ml.drift.score", "ml.quality.missing", "ml.performance.roc_auc", "ml.latency.p95"} <= names
    assert {"ml.quality.error_rate", "ml.labels.coverage", "ml.predictions"} <= names


def test_exemplars_lead_to_the_callers_trace(served: Callable[[Emit], tuple[Captured, Pipeline]]) -> None:
    captured, pipeline = served("columnar")
    requests = {
        (f"{context.trace_id:032x}", f"{context.span_id:016x}")
        for span in captured.spans
        if span.name == "request" and (context := span.get_span_context()) is not None
    }
    found = [
        (exemplar.trace_id, exemplar.span_id)
        for item in pipeline.tick(BEGIN + 2 * TRAFFIC * SECOND)
        for exemplar in item.exemplars
    ]
    assert found
    assert set(found) <= requests


METRICS = ("ml.prediction.duration", "ml.prediction.rows", "ml.prediction.score")


def test_the_metrics_of_the_calls_are_the_same(calls: list[tuple[Row, int]]) -> None:
    rows = [row for row, _ in calls[:300]]
    spans, columns = (emitted(rows, emit, {}) for emit in EMITS)
    for name in METRICS:
        assert columns.metric(name) == spans.metric(name)
        assert sum(point.count for point in columns.metric(name)) == 300


@pytest.mark.parametrize("config", CONFIGS)
def test_features_and_outputs_are_counted_by_bucket_alike(
    calls: list[tuple[Row, int]], config: dict[str, Any], tmp_path: Path
) -> None:
    rows = [row for row, _ in calls[:100]]
    rows += [
        Row({"amount": np.float64(0.5), "city": "Bern"}, {"score": 0.5}),
        Row(None, {"score": 0.5}),
        Row({"amount": Decimal("0.5")}, {"class_": np.str_("yes")}),
    ]
    frame = {name: [row.features[name] for row in rows[:100]] for name in ("amount", "city", "age")}
    for name, output in (("score", "score"), ("class", "class_")):
        frame[name] = [row.outputs[output] for row in rows[:100]]
    mapping = ColumnMapping(["amount", "city", "age"], prediction="class", score="score")
    table = read_frame(pd.DataFrame(frame), mapping, model="m", task="binary_classification")
    path = tmp_path / "m.json"
    path.write_text(reference_text(build_reference("m", table.predictions)))
    spans, columns = (emitted(rows, emit, config, reference=str(path)) for emit in EMITS)
    for name in ("ml.feature.observations", "ml.prediction.observations"):
        found = [
            sorted((sorted(point.attributes.items()), point.value) for point in each.metric(name))
            for each in (spans, columns)
        ]
        assert found[0] == found[1]
        assert found[0]


@pytest.mark.parametrize("emit", EMITS)
def test_what_the_sampler_drops_arrives_and_makes_no_exemplar(emit: Emit) -> None:
    with capture(sampler=ALWAYS_OFF) as captured:
        model = Model("m", config=Config(emit=emit))
        with captured.tracer_provider.get_tracer("app").start_as_current_span("request"):
            call(model, Row({"a": 1.0}, {"score": 0.5}), BEGIN)
        [batch] = decoded(captured).predictions
    assert len(batch) == 1
    assert batch.traces is None
    assert batch.weights.tolist() == [1.0]
