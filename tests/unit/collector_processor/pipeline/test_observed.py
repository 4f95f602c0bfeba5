"""Counts that an application makes itself give the figures that its rows would give."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality

from collector_processor.columns import codec
from collector_processor.drift import BY_FINE_BINS, DRIFT_METHODS
from collector_processor.drift.method import Comparison
from collector_processor.reference.profile import Reference
from collector_processor.service.state import StateReader, state_of
from collector_processor.storage.snapshot import FORMAT, Snapshot
from otel_ml import Config
from otel_ml.emit.profile import read_profile
from support.observed import (
    START,
    Application,
    Row,
    S,
    Service,
    T,
    points,
    reference_rows,
    saved_reference,
    texts,
)

DELTA = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
CUMULATIVE = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
BY_ROWS = ("ks", "wasserstein")
EQUAL = ("ml.drift.", "ml.quality.", "ml.window.", "ml.predictions")
WITHOUT = (
    "ml.drift.evidence",
    "ml.drift.alarm",
    "ml.drift.changed_at",
    "ml.quality.missing_shift",
)
"""What steps from pane to pane takes rows only."""
Measured = Mapping[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Reference]:
    return saved_reference(tmp_path_factory.mktemp("observed"))


def by_rows(reference: Reference, rows: list[Row], outputs: list[Row], **model: Any) -> Measured:
    application = Application(Config(), spans=True, **model)
    application.predict(rows, outputs)
    service = Service(reference)
    service.take("traces", application.traces())
    return service.measured()


def by_counts(
    saved: tuple[str, Reference], rows: list[Row], outputs: list[Row], *, spans: bool, **model: Any
) -> Measured:
    path, reference = saved
    application = Application(Config(capture_features=False, reference=path), spans=spans, **model)
    application.predict(rows, outputs)
    service = Service(reference)
    if spans:
        service.take("traces", application.traces())
    service.take("metrics", application.metrics().SerializeToString())
    assert service.dropped("observations_unknown") == service.dropped("observations_refused") == 0
    return service.measured()


def comparable(measured: Measured) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    found: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for (name, attributes), value in measured.items():
        if name.startswith(EQUAL) and not name.startswith(WITHOUT) and not {*dict(attributes).values()} & {*BY_ROWS}:
            if "error.type" in dict(attributes):  # a prediction that failed is counted without its class
                attributes = tuple(pair for pair in attributes if pair[0] != "ml.prediction.class")
            found[name, attributes] = found.get((name, attributes), 0.0) + value
    return found


def assert_equal(counted: Measured, expected: Measured) -> None:
    left, right = comparable(counted), comparable(expected)
    assert left.keys() == right.keys()
    assert left == {key: pytest.approx(value, rel=1e-9, abs=1e-12, nan_ok=True) for key, value in right.items()}


def drawn(count: int, seed: int) -> tuple[list[Row], list[Row]]:
    rng = np.random.default_rng(seed)
    rows: list[Row] = [
        {
            "amount": None if rng.random() < 0.1 else float(rng.normal(130, 30)),
            "items": int(rng.poisson(4)),
            "city": str(rng.choice(["Bern", "Rome", "missing", "=x", "Oslo"])),
            "plan": [1, 2.0, True, "2", 0.5][int(rng.integers(5))],
        }
        for _ in range(count)
    ]
    outputs: list[Row] = []
    for _ in range(count):
        score = float(rng.beta(3, 4))
        outputs.append({"class_": "yes" if score > 0.4 else "no", "score": score})
    return rows, outputs


def test_counts_give_the_figures_of_rows(saved: tuple[str, Reference]) -> None:
    rows, outputs = drawn(700, seed=1)
    outputs[:20] = [{"class_": "yes", "score": 0.9, "error": ZeroDivisionError()}] * 20
    expected = by_rows(saved[1], rows, outputs)
    counted = by_counts(saved, rows, outputs, spans=False)
    assert_equal(counted, expected)
    scores = {dict(attributes).get("ml.drift.method") for name, attributes in counted if name == "ml.drift.score"}
    assert scores == {"psi", "js", "hellinger", "l_infinity", "tvd", "cohen_h", "chi2"}
    assert {name for name, _ in counted if name.startswith("ml.quality.")} >= {
        "ml.quality.missing", "ml.quality.out_of_range", "ml.quality.unseen", "ml.quality.wrong_type",
        "ml.quality.error_rate",
    }  # fmt: skip


def test_spans_without_features_and_counts_of_features_are_one_traffic(saved: tuple[str, Reference]) -> None:
    rows, outputs = drawn(700, seed=2)
    expected = by_rows(saved[1], rows, outputs)
    counted = by_counts(saved, rows, outputs, spans=True)
    assert_equal(counted, expected)
    assert counted["ml.window.rows", (("ml.model.name", "churn"), ("ml.model.version", ""))] == 700


NUMBERS = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.floats(40, 180),
    st.integers(-(2**70), 2**70),
    st.booleans(),
    st.none(),
    st.sampled_from(["text", b"bytes", b"\xff", np.float32(99.5), np.int64(3)]),
)
CELLS = st.one_of(
    st.sampled_from(["Bern", "Rome", "missing", "=x", "other", "1", "2", "true", "new"]),
    st.sampled_from([1, 2, 1.0, 2.5, math.inf, True, None, math.nan, b"\xff", 2**63, -0.0]),
)
ROWS = st.fixed_dictionaries({}, optional={"amount": NUMBERS, "items": NUMBERS, "city": CELLS, "plan": CELLS})
OUTPUTS = st.fixed_dictionaries(
    {},
    optional={
        "class_": st.sampled_from(["yes", "no", " yes", "nan", None]),
        "score": st.one_of(st.floats(-0.5, 1.5), st.sampled_from([None, math.nan, 1])),
        "error": st.sampled_from([None, ZeroDivisionError()]),
    },
)


def with_several_unseen(path: str, rows: list[Row]) -> set[object]:
    """The categorical features that have several categories that the reference lacks."""
    found: set[object] = set()
    for name in ("city", "plan"):
        buckets = read_profile(path).buckets[name]
        cells = [row[name] for row in rows if name in row and buckets.place(row[name]) == buckets.other]
        if len({cell if isinstance(cell, str) else str(int(cell)) for cell in cells}) > 1:
            found.add(name)
    return found


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=st.lists(st.tuples(ROWS, OUTPUTS), min_size=1, max_size=60))
@pytest.mark.filterwarnings("ignore")
def test_any_cell_counts_as_it_does_in_a_row(saved: tuple[str, Reference], calls: list[tuple[Row, Row]]) -> None:
    rows, outputs = [row for row, _ in calls], [output for _, output in calls]
    expected = comparable(by_rows(saved[1], rows, outputs))
    counted = comparable(by_counts(saved, rows, outputs, spans=False))
    several = with_several_unseen(saved[0], rows)
    for key, value in expected.items():
        if key[0].startswith("ml.drift.") and dict(key[1]).get("ml.feature.name") in several:
            continue  # several unseen categories count as one
        if key[0].startswith("ml.drift.") and several and "ml.feature.name" not in dict(key[1]):
            continue  # shares of the features that drifted
        assert counted[key] == pytest.approx(value, rel=1e-9, abs=1e-12, nan_ok=True), key
    assert counted.keys() == expected.keys()


def one_process(saved: tuple[str, Reference], count: int = 50, **config: Any) -> Application:
    application = Application(Config(capture_features=False, reference=saved[0], **config), spans=False)
    application.predict(*drawn(count, seed=3))
    return application


def rows_of(service: Service) -> float:
    return service.measured().get(("ml.window.rows", (("ml.model.name", "churn"), ("ml.model.version", ""))), 0.0)


BATCHES: list[dict[str, Any]] = [
    {"class_": ["yes", "no", None] * 100, "score": [0.9, 0.2, None] * 100},
    {"class_": np.array(["yes", "no", " yes"] * 100), "score": np.linspace(0, 1, 300, dtype=np.float32)},
    {"score": [True, False, "text"] * 100},
    {"class_": ["yes"] * 300, "scores": {"no": np.linspace(1, 0, 300), " yes": np.linspace(0, 1, 300)}},
    {"class_": ["yes"] * 300, "scores": {"yes": [math.nan, 0.4, 0.5] * 100}, "score": [0.9, 0.8, 0.7] * 100},
    {"class_": ["yes"] * 299, "score": 0.5},
    {},
]


def batch_features() -> dict[str, Any]:
    rng = np.random.default_rng(4)
    return {
        "amount": rng.normal(120, 40, 300),
        "items": rng.poisson(3, 300),
        "city": rng.choice(["Bern", "Oslo"], 300),
        "plan": [1, 2.5, True] * 100,
    }


@pytest.mark.parametrize("outputs", BATCHES, ids=range(len(BATCHES)))
@pytest.mark.parametrize("sent_class", ["yes", "no", None])
@pytest.mark.filterwarnings("ignore")
def test_calls_of_many_rows_count_as_their_rows(
    saved: tuple[str, Reference], outputs: Row, sent_class: str | None
) -> None:
    model = {"positive_class": sent_class}
    expected = by_rows(saved[1], [batch_features()], [outputs], **model)
    counted = by_counts(saved, [batch_features()], [outputs], spans=False, **model)
    # The rows of one call raise thresholds, because they may be alike; counts do not say which rows came together.
    judged = ("ml.drift.threshold", "ml.drift.breached", "ml.drift.drifted", "ml.drift.share", "ml.drift.p_value")
    left, right = (
        {
            key: value
            for key, value in comparable(each).items()
            if key[0] not in judged and "chi2" not in dict(key[1]).values()
        }
        for each in (counted, expected)
    )
    assert left == {key: pytest.approx(value, rel=1e-9, abs=1e-12) for key, value in right.items()}


TASKS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "regression": (
        {"prediction": None, "score": None, "value": np.linspace(20, 90, 3000), "task": "regression"},
        {"positive_class": ""},
        {"value": 61.5},
    ),
    "multiclass": (
        {"prediction": texts(["a", "b", "c"] * 1000), "score": np.linspace(0.3, 1, 3000),
         "task": "multiclass_classification"},
        {"positive_class": ""},
        {"class_": "b", "scores": {"a": 0.2, "b": 0.5, "c": 0.3}},
    ),
}  # fmt: skip


@pytest.mark.parametrize("task", TASKS)
def test_outputs_of_every_task_count(tmp_path: Path, task: str) -> None:
    changes, built, output = TASKS[task]
    kept = saved_reference(tmp_path, replace(reference_rows(), **changes), **built)
    rows, _ = drawn(200, seed=6)
    expected = by_rows(kept[1], rows, [output] * 200)
    counted = by_counts(kept, rows, [output] * 200, spans=False)
    assert_equal(counted, expected)
    assert any(dict(attributes).get("ml.column.role") == "prediction" for _, attributes in comparable(counted))


def test_deltas_and_several_processes_add_up(saved: tuple[str, Reference]) -> None:
    service = Service(saved[1])
    for number in range(3):
        request = one_process(saved).metrics(start_ns=START + S + number)
        for resource in request.resource_metrics:
            resource.resource.attributes.add(key="service.instance.id").value.string_value = f"p{number % 2}"
            for metric in resource.scope_metrics[0].metrics:
                metric.sum.aggregation_temporality = CUMULATIVE if number != 1 else DELTA
        body = request.SerializeToString()
        service.take("metrics", body)
        service.take("metrics", body)  # its answer was lost
    assert rows_of(service) == 150


def test_a_process_that_reports_again_and_again_is_counted_once(saved: tuple[str, Reference]) -> None:
    service, application = Service(saved[1]), one_process(saved)
    for minute in range(5):
        application.predict(*drawn(10, seed=minute))
        service.take("metrics", application.metrics(T + 60 * minute * S).SerializeToString(), T + 60 * minute * S)
    assert rows_of(service) == 100


def test_counts_by_another_reference_are_refused_counted_and_shown(
    saved: tuple[str, Reference], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, other = saved_reference(tmp_path, reference_rows(seed=6))
    service = Service(other)
    service.take("metrics", one_process(saved).metrics().SerializeToString())
    assert service.dropped("observations_refused") > 30
    assert "give both the same file" in service.problems()["observed_reference"]
    assert caplog.text.count("give both the same file") == 1
    assert rows_of(service) == 0


@pytest.mark.parametrize(
    ("configured", "settings", "kind", "text"),
    [
        (True, {"window": {"size": "100 rows", "min_rows": 1}}, "observed_by_rows", "windows of rows"),
        (False, {}, "", "counts need a reference file here and in the application"),
    ],
)
def test_where_counts_cannot_be_used_it_is_said(
    saved: tuple[str, Reference],
    caplog: pytest.LogCaptureFixture,
    configured: bool,
    settings: dict[str, Any],
    kind: str,
    text: str,
) -> None:
    service = Service(saved[1] if configured else None, **settings)
    service.take("metrics", one_process(saved).metrics().SerializeToString())
    assert service.dropped("observations_refused") > 30
    assert text in caplog.text
    if kind:
        assert text in service.problems()[kind]


def test_a_model_that_learns_its_reference_takes_no_counts(saved: tuple[str, Reference]) -> None:
    service = Service(None)
    spans = Application(Config(), spans=True)
    spans.predict(*drawn(5, seed=1))
    service.take("traces", spans.traces())
    service.take("metrics", one_process(saved).metrics().SerializeToString())
    assert "not a file" in service.problems()["observed_learning"]


def test_counts_of_an_older_sender_are_left_out_and_said(saved: tuple[str, Reference]) -> None:
    service, request = Service(saved[1]), one_process(saved).metrics()
    service.take("metrics", request.SerializeToString())
    for point in points(request):
        kept = [each for each in point.attributes if each.key not in ("ml.reference.id", "ml.observation.in_span")]
        del point.attributes[:]
        point.attributes.extend(kept)
    service.take("metrics", request.SerializeToString())
    assert "older" in service.problems()["observed_unidentified"]
    assert rows_of(service) == 50


def test_what_also_left_in_spans_is_not_counted_and_said_if_no_span_comes(
    saved: tuple[str, Reference], caplog: pytest.LogCaptureFixture
) -> None:
    application = Application(Config(reference=saved[0]), spans=True)
    application.predict(*drawn(50, seed=3))
    service = Service(saved[1])
    service.take("metrics", application.metrics().SerializeToString())
    assert not service.pipeline.models
    assert "the same values leave in spans, and no span has come" in caplog.text
    service.take("traces", application.traces())
    assert rows_of(service) == 50


def test_buckets_that_the_reference_lacks_are_left_out_alone(saved: tuple[str, Reference]) -> None:
    request = one_process(saved).metrics()
    changed = [
        point for point in points(request) if any(each.value.string_value == "items" for each in point.attributes)
    ]
    for point in changed[:2]:
        next(each for each in point.attributes if each.key == "ml.feature.bucket").value.string_value = "[odd,bucket)"
    next(each for each in changed[2].attributes if each.key == "ml.feature.name").value.string_value = "nothing"
    service = Service(saved[1])
    service.take("metrics", request.SerializeToString())
    assert service.dropped("observations_unknown") == 3
    assert "nothing" in service.problems()["observed_unknown"]
    assert rows_of(service) == 50


def test_late_counts_are_late_and_counts_from_the_future_are_not_believed(saved: tuple[str, Reference]) -> None:
    service, application = Service(saved[1]), one_process(saved)
    service.take("metrics", application.metrics(T + S).SerializeToString())
    service.closed()
    application.predict(*drawn(30, seed=8))
    service.take("metrics", application.metrics(T + 2 * S).SerializeToString(), T + 3 * 3600 * S)
    [model] = service.pipeline.models.values()
    assert model.late == 30
    assert service.dropped("late") == 30
    ahead = Service(saved[1])
    ahead.take("metrics", one_process(saved).metrics(T + 3000 * S, start_ns=T).SerializeToString(), T + 2 * S)
    assert rows_of(ahead) == 50


def test_scores_of_another_positive_class_are_left_out(saved: tuple[str, Reference]) -> None:
    service, application = Service(saved[1]), one_process(saved)
    spans = Application(Config(capture_features=False), spans=True)
    spans.predict(*drawn(5, seed=1))
    service.take("traces", spans.traces())
    [model] = service.pipeline.models.values()
    assert model.watch is not None
    model.watch.decide("no", {"counts"})
    service.take("metrics", application.metrics().SerializeToString())
    measured = service.measured()
    scores = [name for name, attributes in measured if dict(attributes).get("ml.column.role") == "score"]
    assert not [name for name in scores if name.startswith("ml.drift.")]
    assert "scores of the class 'yes'" in service.problems()["observed_score"]


def test_what_needs_rows_is_left_out_of_counted_columns_only(saved: tuple[str, Reference]) -> None:
    rows, outputs = drawn(300, seed=2)
    application = Application(Config(capture_features=False, reference=saved[0]), spans=True)
    application.predict(rows, outputs)
    service = Service(saved[1])
    service.take("traces", application.traces())
    assert "unless it counts them" in service.problems()["withheld"]
    service.take("metrics", application.metrics().SerializeToString())
    service.take("traces", application.traces())
    measured = service.measured()
    by_fine_bins = {
        (dict(attributes).get("ml.feature.name"), dict(attributes).get("ml.column.role"))
        for _, attributes in measured
        if dict(attributes).get("ml.drift.method") in BY_ROWS
    }
    assert by_fine_bins == {(None, "score")}
    assert service.dropped("counted") > 0
    assert "withheld" not in service.problems()
    assert "alarms at any time" in service.problems()["observed"]
    assert any(name == "ml.latency.p50" for name, _ in measured)


def test_features_that_are_withheld_and_not_counted_stay_said(saved: tuple[str, Reference]) -> None:
    config = Config(capture_features=False, reference=saved[0], features_deny=["city"])
    application = Application(config, spans=True)
    application.predict(*drawn(50, seed=2))
    service = Service(saved[1])
    for _ in range(2):
        service.take("traces", application.traces())
        service.take("metrics", application.metrics().SerializeToString())
    service.take("traces", application.traces())
    assert service.problems()["withheld"].endswith(": city")
    measured = service.measured()
    assert ("ml.quality.missing", "city") not in {(name, dict(at).get("ml.feature.name")) for name, at in measured}


def test_a_restart_neither_loses_nor_repeats_counts(saved: tuple[str, Reference]) -> None:
    application = one_process(saved)
    before = Service(saved[1])
    before.take("metrics", application.metrics(T + S).SerializeToString())
    head, pieces = codec.pack(state_of(before.pipeline))
    state = codec.unpack(head, bytearray(b"".join(pieces)), copy=True)
    after = Service(saved[1])
    after.pipeline.senders.since_ns = T + 30 * S
    StateReader(after.telemetry).restore(Snapshot(state=state, format=FORMAT), after.pipeline, T + 30 * S)
    application.predict(*drawn(20, seed=9))
    after.take("metrics", application.metrics(T + 60 * S).SerializeToString(), T + 61 * S)
    assert rows_of(after) == 70


def test_every_method_that_needs_fine_bins_is_known() -> None:
    reference = np.array([[50.0, 50.0]])
    for method in DRIFT_METHODS:
        comparison = Comparison("numeric", reference, reference * 2)
        if method.name in BY_FINE_BINS:
            with pytest.raises(ValueError, match=method.name):
                method.score(comparison)
        elif "numeric" in method.kinds:
            assert method.score(comparison).tolist() == [0.0]


def test_many_features_are_dealt_out_to_instruments_so_that_the_sdk_keeps_every_series(tmp_path: Path) -> None:
    names = [f"f{number}" for number in range(400)]
    wide = replace(reference_rows(500), features={name: reference_rows(500).features["items"] for name in names})
    path, reference = saved_reference(tmp_path, wide)
    application = Application(Config(capture_features=False, reference=path), spans=False)
    application.predict([dict.fromkeys(names, number % 12) for number in range(60)], [{"score": 0.5}] * 60)
    request = application.metrics()
    assert len(points(request)) > 2000
    assert not [1 for point in points(request) for each in point.attributes if each.key == "otel.metric.overflow"]
    service = Service(reference)
    assert service.take("metrics", request.SerializeToString()).rejected == 0
    missing = [value for (name, _), value in service.measured().items() if name == "ml.quality.missing"]
    assert len([share for share in missing if share == 0.0]) >= 400
