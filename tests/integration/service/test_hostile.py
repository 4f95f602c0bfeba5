"""Whatever comes over the network, the service answers, counts it under a reason, and the other models stay right."""

from __future__ import annotations

import contextlib
import gzip
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pytest
import requests
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue, KeyValueList

from collector_processor.own.drops import DROPS

Make = Callable[..., Any]
DAY_NS = 86_400 * 10**9
INVALID_ARGUMENT, RESOURCE_EXHAUSTED = 3, 8
ITEMS = {"traces": "spans", "logs": "log_records", "metrics": "metric_points"}
MAX_BYTES = 8 * 2**20


def changes(models: Mapping[str, Any] | None = None, **monitor: Any) -> dict[str, Any]:
    protocol = {"endpoint": "localhost:0"}
    return {
        "receivers": {
            "otlp": {
                "protocols": {
                    "grpc": {**protocol, "max_recv_msg_size": MAX_BYTES},
                    "http": {**protocol, "max_request_body_size": MAX_BYTES},
                }
            }
        },
        "connectors": {
            "ml_monitor": {
                "window": {"size": "200 rows", "allowed_lateness": "10m", "min_rows": 100},
                "reference": {"learn": 200},
                "models": dict(models or {}),
                **monitor,
            }
        },
    }


class Target:
    """The service under attack through one protocol, and the account of what it makes of it."""

    def __init__(self, running: Any, healthy: Any, protocol: str) -> None:
        self.running = running
        self.healthy = healthy
        self.protocol = protocol

    def send(self, body: bytes, signal: str = "traces", *, compressed: bool = False) -> Any:
        return self.running.send(self.protocol, signal, body, compressed=compressed)

    @contextlib.contextmanager
    def counts(self, amount: float, name: str, **labels: str) -> Iterator[None]:
        """Expects one of the service's own counters to grow by exactly so much within the block."""
        before = self.running.counted(name, **labels)
        yield
        self.running.wait(lambda: self.running.counted(name, **labels) >= before + amount)
        assert self.running.counted(name, **labels) == before + amount, (name, labels)

    def drops(self, amount: float, stage: Any, reason: Any) -> contextlib.AbstractContextManager[None]:
        intentional = str(DROPS[stage, reason].intentional).lower()
        return self.counts(amount, "otel_ml_dropped_total", stage=stage, reason=reason, intentional=intentional)

    def receives(self, verb: str, amount: float, signal: str = "traces") -> contextlib.AbstractContextManager[None]:
        name = f"otelcol_receiver_{verb}_{ITEMS[signal]}_total"
        return self.counts(amount, name, receiver="otlp", transport=self.protocol)

    def rows(self, amount: float, model: str) -> contextlib.AbstractContextManager[None]:
        return self.counts(amount, "otel_ml_rows_total", model=model)

    def labels(self, amount: float, model: str, outcome: str) -> contextlib.AbstractContextManager[None]:
        return self.counts(amount, "otel_ml_labels_total", model=model, outcome=outcome)

    def check(self) -> None:
        """Nobody else has suffered: figures of another model, health, no survived failure, no absurd number."""
        self.healthy.check(self.protocol)
        assert self.running.counted("otel_ml_errors_total") == 0
        assert all(math.isfinite(value) for _, _, value in self.running.samples(self.running.prometheus))


@pytest.fixture(scope="module")
def attacked(
    tmp_path_factory: pytest.TempPathFactory, service_type: Any, healthy_model: Any
) -> Iterator[tuple[Any, Any]]:
    models = {
        "healthy": healthy_model.SETTINGS,
        "price": {"task": "regression"},
        "timed": {"window": {"size": "2s", "allowed_lateness": "2s"}},
    }
    with service_type(tmp_path_factory.mktemp("hostile"), changes(models)) as running:
        yield running, healthy_model(running)


@pytest.fixture(params=["grpc", "http"])
def target(attacked: tuple[Any, Any], request: pytest.FixtureRequest) -> Iterator[Target]:
    found = Target(*attacked, request.param)
    yield found
    found.check()


def predictions(otlp: Any, model: str, count: int, attributes: Mapping[str, object], **fields: Any) -> Sequence[Any]:
    return [otlp.prediction(model, attributes, number, **fields) for number in range(count)]


# --- bytes ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("signal", ["traces", "logs", "metrics"])
def test_garbage_is_an_invalid_argument(target: Target, signal: str) -> None:
    garbage = [b"\xff" * 64, b"nonsense", b"\x0a\x05abc", b"{}", b"\x00"]
    with target.receives("failed", len(garbage), signal):
        assert {target.send(body, signal).code for body in garbage} == {INVALID_ARGUMENT}


def test_a_truncated_request_is_an_invalid_argument(target: Target, otlp: Any) -> None:
    whole = otlp.request(predictions(otlp, "cut", 3, {"ml.feature.x": 1.0}))
    cuts = range(1, len(whole), 23)
    with target.receives("failed", len(cuts)):
        assert {target.send(whole[:cut]).code for cut in cuts} == {INVALID_ARGUMENT}


def test_a_gzip_bomb_is_refused_for_good(target: Target) -> None:
    with target.receives("refused", 1):
        assert target.send(bytes(4 * MAX_BYTES), compressed=True).code == RESOURCE_EXHAUSTED


def test_a_request_over_the_size_limit_is_refused_for_good(target: Target) -> None:
    with target.receives("refused", 1):
        assert target.send(bytes(MAX_BYTES + 1)).code == RESOURCE_EXHAUSTED


def test_bytes_that_are_not_gzip_although_they_say_so_are_a_bad_request(attacked: tuple[Any, Any]) -> None:
    running, healthy = attacked
    url = f"http://localhost:{running.port('http')}/v1/traces"
    headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip"}
    for body in (b"nonsense", gzip.compress(b"x" * 1000)[:-9]):
        assert requests.post(url, body, headers=headers, timeout=10).status_code == 400
    healthy.check("http")


def test_values_nested_deeper_than_protobuf_goes_are_an_invalid_argument(target: Target, otlp: Any) -> None:
    value = b""
    for _ in range(10_000):
        value = b"\x2a" + varint(len(value) + 1 + len(varint(len(value)))) + b"\x0a" + varint(len(value)) + value
    span = otlp.prediction("deep", {"ml.feature.x": 1.0}).SerializeToString()
    attribute = b"\x0a\x0cml.feature.y\x12" + varint(len(value)) + value
    span += b"\x4a" + varint(len(attribute)) + attribute
    for tag in (b"\x12", b"\x12", b"\x0a"):
        span = tag + varint(len(span)) + span
    with target.receives("failed", 1):
        assert target.send(span).code == INVALID_ARGUMENT


def varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def test_json_nested_without_end_is_a_bad_request(attacked: tuple[Any, Any]) -> None:
    running, healthy = attacked
    url = f"http://localhost:{running.port('http')}/v1/traces"
    headers = {"Content-Type": "application/json"}
    for body in ('{"resourceSpans":' + "[" * 100_000, '{"a":' * 100_000, '{"resourceSpans": NaN}', "[]"):
        assert requests.post(url, body, headers=headers, timeout=10).status_code == 400
    healthy.check("http")


# --- values --------------------------------------------------------------------------------------------------
def test_a_nested_value_where_a_number_is_due_is_dropped_and_the_row_counts(target: Target, otlp: Any) -> None:
    nested = AnyValue(string_value="x")
    for _ in range(15):
        nested = AnyValue(kvlist_value=KeyValueList(values=[KeyValue(key="a", value=nested)]))
    span = otlp.prediction("nested", {"ml.feature.x": 1.0, "ml.feature.y": nested})
    with target.drops(1, "decode", "unsupported_value"), target.rows(1, "nested"):
        assert target.send(otlp.request([span])).code == 0


def test_nan_and_infinities_are_missing_or_out_of_range_and_never_in_a_figure(target: Target, otlp: Any) -> None:
    model = f"odd-{target.protocol}"
    running, labels = target.running, {"ml_model_name": model, "ml_feature_name": "x"}
    plain = [otlp.prediction(model, {"ml.feature.x": row / 7, "ml.prediction.score": 0.5}, row) for row in range(200)]
    odd = (math.nan, math.inf, -math.inf, 1e308, -1e308)
    strange = [
        otlp.prediction(model, {"ml.feature.x": odd[row % 5], "ml.prediction.score": odd[row % 5]}, row)
        for row in range(200)
    ]
    with target.rows(400, model):
        target.send(otlp.request(plain))
        target.send(otlp.request(strange))
    running.wait(lambda: running.value("ml_quality_missing_ratio", **labels) == 0.2)
    assert running.value("ml_quality_out_of_range_ratio", **labels) == 1.0
    assert 0.5 < (running.value("ml_drift_score", **labels, ml_drift_method="ks") or 0) <= 1.0


def test_labels_that_are_no_numbers_are_rejected_and_infinite_ones_of_the_wrong_kind(target: Target, otlp: Any) -> None:
    spans = predictions(otlp, "price", 200, {"ml.prediction.value": 5.0, "ml.feature.x": 1.0})
    assert target.send(otlp.request(spans)).code == 0
    ids = [f"{span.trace_id.hex()}:{span.span_id.hex()}" for span in spans]
    nan, infinite = ({"ml.label.value": value} for value in (math.nan, math.inf))
    with target.receives("failed", 1):
        answer = target.send(otlp.request([otlp.label("price", ids[0], nan)]))
        assert (answer.code, answer.rejected) == (0, 1)
        assert "ml.label" in answer.message
    with target.labels(1, "price", "wrong_kind"):
        assert target.send(otlp.request([otlp.label("price", ids[0], infinite)])).code == 0
    with target.labels(1, "price", "wrong_kind"):
        assert target.send(otlp.request([otlp.label("price", ids[1], {"ml.label.class": "cheap"})])).code == 0


def test_a_feature_that_changes_its_type_is_of_the_wrong_type_and_does_not_drift(target: Target, otlp: Any) -> None:
    model, running = f"turncoat-{target.protocol}", target.running
    for value in (1.5, "one and a half"):
        assert target.send(otlp.request(predictions(otlp, model, 200, {"ml.feature.x": value}))).code == 0
    labels = {"ml_model_name": model, "ml_feature_name": "x"}
    running.wait(lambda: running.value("ml_quality_wrong_type_ratio", **labels) == 1.0)
    assert running.value("ml_quality_missing_ratio", **labels) == 0.0
    assert running.value("ml_drift_score", **labels) is None


def test_features_beyond_the_limit_are_dropped_cell_by_cell(target: Target, otlp: Any) -> None:
    wide = otlp.prediction("wide", {f"ml.feature.f{number}": 1.0 for number in range(5000)})
    with target.drops(3000, "decode", "features_over_limit"), target.rows(1, "wide"):
        assert target.send(otlp.request([wide])).code == 0


def test_an_attribute_of_five_megabytes_is_cut_and_the_row_counts(target: Target, otlp: Any) -> None:
    long = otlp.prediction("long", {"ml.feature.x": "x" * 5_000_000, "ml.feature.y": 1.0})
    with target.drops(1, "decode", "text_truncated"), target.rows(1, "long"):
        assert target.send(otlp.request([long])).code == 0
    not_ours = otlp.span("GET /", {"http.body": b"\0" * 5_000_000})
    with target.receives("accepted", 1):
        assert target.send(otlp.request([not_ours])).code == 0


def test_a_name_that_is_missing_empty_too_long_or_no_text_is_rejected_with_the_reason(
    target: Target, otlp: Any
) -> None:
    spans = [
        otlp.prediction("x", {"ml.model.name": name, "ml.feature.x": 1.0}) for name in ("", "n" * 5000, 7, b"fraud")
    ]
    spans.append(otlp.span("predict x", {"ml.feature.x": 1.0}))
    with target.receives("failed", 5):
        answer = target.send(otlp.request(spans))
    assert (answer.code, answer.rejected) == (0, 5)
    assert "ml.model.name is missing" in answer.message


def test_names_that_would_tear_the_text_format_apart_come_out_escaped(target: Target, otlp: Any) -> None:
    name = f'a"b\\c\nd{{x="1"}} 9 # € \u2028 {target.protocol}'
    attributes = {f"ml.feature.{name}": 1.0, "ml.prediction.class": name, "ml.prediction.score": 0.5}
    with target.rows(200, name):
        assert target.send(otlp.request(predictions(otlp, name, 200, attributes))).code == 0
    value = target.running.value
    target.running.wait(lambda: value("ml_quality_missing_ratio", ml_model_name=name, ml_feature_name=name) == 0.0)
    assert value("ml_predictions_total", ml_model_name=name, ml_prediction_class=name) == 200


def test_a_row_count_that_makes_no_sense_does_not_count(target: Target, otlp: Any) -> None:
    spans = [otlp.prediction("many", {"ml.prediction.rows": rows, "ml.feature.x": 1.0}) for rows in (-5, 1.5, "9")]
    with target.drops(3, "decode", "unsupported_value"), target.rows(3, "many"):
        assert target.send(otlp.request(spans)).code == 0
    with target.drops(1, "decode", "rows_over_limit"):
        huge = otlp.prediction("many", {"ml.prediction.rows": 2**62, "ml.feature.x": 1.0})
        assert target.send(otlp.request([huge])).code == 0


# --- batches -------------------------------------------------------------------------------------------------
def arrow_stream() -> bytes:
    table = pa.table({"ml.feature.x": [1.0, 2.0], "ml.feature.c": ["a", "b"], "ml.prediction.id": ["1", "2"]})
    out = pa.BufferOutputStream()
    with pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table)
    return out.getvalue().to_pybytes()


def test_a_corrupt_arrow_batch_is_rejected_and_never_an_internal_error(target: Target, otlp: Any) -> None:
    whole, draw = arrow_stream(), random.Random(7)
    broken = [b"", b"nonsense", whole[:100], whole[: len(whole) // 2]]
    for _ in range(60):
        flipped = bytearray(whole)
        for _ in range(draw.choice((1, 1, 8))):
            flipped[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
        broken.append(bytes(flipped))
    spans = [otlp.prediction("arrow", {"ml.batch": stream}, number) for number, stream in enumerate(broken)]
    answers = [target.send(otlp.request([span])) for span in spans]
    assert {answer.code for answer in answers} == {0}
    assert [answer.rejected for answer in answers[:4]] == [1, 1, 1, 1]
    assert "ml.batch" in answers[1].message
    with target.rows(2, "arrow-whole"):
        assert target.send(otlp.request([otlp.prediction("arrow-whole", {"ml.batch": whole})])).rejected == 0


def test_what_is_well_in_a_request_counts_beside_what_is_not(target: Target, otlp: Any) -> None:
    good = otlp.prediction("mixed", {"ml.feature.x": 1.0})
    bad = otlp.prediction("mixed", {"ml.batch": b"nonsense"}, 1)
    with target.receives("accepted", 1), target.receives("failed", 1), target.rows(1, "mixed"):
        assert target.send(otlp.request([bad, good])).rejected == 1


# --- time ----------------------------------------------------------------------------------------------------
def test_a_clock_a_day_ahead_is_not_believed_and_one_a_day_behind_is_late(target: Target, otlp: Any) -> None:
    def rows(count: int, offset_ns: int) -> bytes:
        start_ns = time.time_ns() + offset_ns
        return otlp.request(predictions(otlp, "timed", count, {"ml.feature.x": 1.0}, start_time_unix_nano=start_ns))

    assert target.send(rows(200, 0)).code == 0
    with target.counts(3, "otel_ml_clamped_total", stage="window", reason="clock_ahead"):
        assert target.send(rows(3, DAY_NS)).code == 0
    with target.drops(5, "window", "late"):
        assert target.send(rows(5, -DAY_NS)).code == 0
    with target.drops(0, "window", "late"), target.rows(7, "timed"):
        assert target.send(rows(7, 0)).code == 0


@pytest.mark.parametrize(
    ("start_ns", "end_ns"), [(0, 0), (2**64 - 1, 0), (2**63, 2**63 + 5), (2**64 - 1, 2**64 - 1), (1, 2**64 - 1)]
)
def test_an_impossible_time_stamp_counts_at_its_arrival(
    attacked: tuple[Any, Any], otlp: Any, start_ns: int, end_ns: int
) -> None:
    target = Target(*attacked, "grpc")
    fields = {"start_time_unix_nano": start_ns, "end_time_unix_nano": end_ns}
    with target.rows(2, "timeless"), target.counts(0, "otel_ml_clamped_total"):
        assert target.send(otlp.request(predictions(otlp, "timeless", 2, {"ml.feature.x": 1.0}, **fields))).code == 0
    target.check()


# --- labels --------------------------------------------------------------------------------------------------
def test_labels_for_unknown_ids_and_models_wait_and_labels_without_id_are_rejected(target: Target, otlp: Any) -> None:
    said = {"ml.label.class": "yes"}
    unknown = [otlp.label(f"nobody-{target.protocol}", f"id-{number}", said) for number in range(3)]
    with target.labels(3, f"nobody-{target.protocol}", "early"):
        assert target.send(otlp.request(unknown)).code == 0
    with target.labels(1, "healthy", "early"):
        assert target.send(otlp.request([otlp.label("healthy", f"nowhere-{target.protocol}", said)])).code == 0
    nameless = [otlp.label("healthy", "", said), otlp.label("healthy", "x", {"ml.label.class": ""})]
    answer = target.send(otlp.request(nameless))
    assert (answer.code, answer.rejected) == (0, 1)
    assert "ml.prediction.id is missing" in answer.message


def test_a_prediction_and_a_label_that_come_twice_join_once(target: Target, otlp: Any) -> None:
    model = f"twice-{target.protocol}"
    spans = [
        otlp.prediction(model, {"ml.prediction.id": f"{row}", "ml.prediction.class": "a", "ml.feature.x": 1.0})
        for row in range(100)
    ]
    with target.rows(300, model):
        for _ in range(3):
            assert target.send(otlp.request(spans)).code == 0
    labels = otlp.request([otlp.label(model, f"{row}", {"ml.label.class": "a"}) for row in range(100)])
    with target.labels(100, model, "joined"):
        target.send(labels)
    with target.labels(100, model, "duplicate"), target.labels(0, model, "joined"):
        target.send(labels)


# --- floods --------------------------------------------------------------------------------------------------
RSS = "otelcol_process_memory_rss_bytes"


def test_a_flood_of_model_names_stops_at_the_limit(run: Make, otlp: Any, healthy_model: Any) -> None:
    limited = changes({"healthy": healthy_model.SETTINGS}, limits={"models": 50})
    with run(limited) as running:
        target = Target(running, healthy_model(running), "grpc")
        target.check()
        before = running.counted(RSS)
        with target.drops(2951 * 2, "models", "limit"):
            for start in range(0, 3000, 500):
                names = range(start, start + 500)
                spans = [otlp.prediction(f"m{name}", {"ml.feature.x": 1.0}, row) for name in names for row in (0, 1)]
                assert target.send(otlp.request(spans)).code == 0
        assert running.counted("otel_ml_models") == 50
        assert len([name for name, _, _ in running.samples(running.own) if name == "otel_ml_rows_total"]) == 50
        labels = [otlp.label(f"m{name}", "1", {"ml.label.class": "a"}) for name in range(3000)]
        with target.counts(3000, "otel_ml_labels_total", outcome="early"):
            for start in range(0, 3000, 1000):
                assert target.send(otlp.request(labels[start : start + 1000])).code == 0
        assert len([name for name, _, _ in running.samples(running.own) if name == "otel_ml_labels_total"]) < 4000
        assert running.counted(RSS) - before < 200e6
        target.check()


def test_a_flood_of_categories_classes_and_segments_ends_as_other(run: Make, otlp: Any, healthy_model: Any) -> None:
    models = {"healthy": healthy_model.SETTINGS, "flood": {"segments": ["s"]}}
    limits = {"categories": 100, "classes": 10, "segment_values": 10}
    with run(changes(models, limits=limits)) as running:
        target = Target(running, healthy_model(running), "http")

        def rows(first: int, count: int, few: int = 100_000) -> bytes:
            return otlp.request([
                otlp.prediction(
                    "flood",
                    {"ml.feature.c": f"c{row % few}", "ml.prediction.class": f"k{row}", "ml.segment.s": f"s{row}"},
                    row,
                )
                for row in range(first, first + count)
            ])  # fmt: skip

        target.check()
        before = running.counted(RSS)
        with target.counts(51, "otel_ml_windows_closed_total", model="flood"):
            target.send(rows(0, 200, few=20))
            for first in range(200, 10_200, 1000):
                assert target.send(rows(first, 1000)).code == 0
        labels = [otlp.label("flood", f"{row:x}", {"ml.label.class": f"l{row}"}) for row in range(2000)]
        assert target.send(otlp.request(labels)).code == 0
        flood = {"ml_model_name": "flood"}
        running.wait(lambda: running.value("ml_quality_unseen_ratio", **flood, ml_feature_name="c") == 1.0)
        assert running.value("ml_window_rows", **flood, ml_segment_name="s", ml_segment_value="other") == 200
        series = [labels for _, labels, _ in running.samples(running.prometheus) if labels["ml_model_name"] == "flood"]
        assert len(series) < 300
        assert running.counted(RSS) - before < 200e6
        target.check()
