from __future__ import annotations

import gzip
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace

import pytest
from inline_snapshot import snapshot
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from collector_processor.exporters.prometheus.exporter import PrometheusExporter
from collector_processor.monitors.base import Exemplar, Measurement
from collector_processor.own.telemetry import Telemetry
from otel_ml import semconv

FRAUD = ((semconv.MODEL_NAME, "fraud"), (semconv.MODEL_VERSION, "7"))
CHURN = ((semconv.MODEL_NAME, "churn"), (semconv.MODEL_VERSION, ""))


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


CLOCK = Clock()


def drift(feature: str, value: float, time_ns: int = 60, model: tuple[tuple[str, str], ...] = FRAUD) -> Measurement:
    return Measurement(
        semconv.DRIFT_SCORE, value, semconv.UNIT_SCORE, (*model, (semconv.FEATURE_NAME, feature)), time_ns
    )


def predictions(value: float, time_ns: int = 60, model: tuple[tuple[str, str], ...] = FRAUD) -> Measurement:
    return Measurement(semconv.PREDICTIONS, value, semconv.UNIT_PREDICTION, model, time_ns, "counter", 10)


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


@pytest.fixture
def exporter(telemetry: Telemetry) -> Iterator[PrometheusExporter]:
    CLOCK.now_s = 1000.0
    one = PrometheusExporter(
        "prometheus", "127.0.0.1:0", telemetry, max_series=5, clock=CLOCK, expiration_s=300.0, exemplars=True
    )
    one.start()
    yield one
    one.shutdown(5)


def fetch(exporter: PrometheusExporter, path: str = "/metrics", **headers: str) -> tuple[str, bytes, str]:
    address = f"http://127.0.0.1:{exporter.port}{path}"
    with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=10) as answer:
        return answer.headers["Content-Type"], answer.read(), answer.headers.get("Content-Encoding", "")


def scraped(exporter: PrometheusExporter) -> dict[str, float]:
    """Value by name and the feature or model that sets it apart."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(fetch(exporter)[1].decode()):
        for sample in family.samples:
            apart = sample.labels.get("ml_feature_name", sample.labels["ml_model_name"])
            found[f"{sample.name} {apart}"] = sample.value
    return found


def dropped(telemetry: Telemetry, reason: str) -> float:
    intentional = "true" if reason == "series_limit" else "false"
    labels = {"stage": "export", "reason": reason, "intentional": intentional}
    return telemetry.registry.get_sample_value("otel_ml_dropped_total", labels) or 0.0


def test_measurements_are_served_under_their_standard_names(exporter: PrometheusExporter) -> None:
    exporter.export([drift("age", 0.25), predictions(5), drift('odd "name"\n\\', 1e-9)])
    kind, body, _ = fetch(exporter)
    assert kind.startswith("text/plain; version=0.0.4")
    assert body.decode() == snapshot(
        """\
# HELP ml_drift_score ml.drift.score
# TYPE ml_drift_score gauge
ml_drift_score{ml_feature_name="age",ml_model_name="fraud",ml_model_version="7"} 0.25
ml_drift_score{ml_feature_name="odd \\"name\\"\\n\\\\",ml_model_name="fraud",ml_model_version="7"} 1e-09
# HELP ml_predictions_total ml.predictions
# TYPE ml_predictions_total counter
ml_predictions_total{ml_model_name="fraud",ml_model_version="7"} 5.0
"""
    )


def test_openmetrics_is_served_to_who_asks_for_it(exporter: PrometheusExporter) -> None:
    exporter.export([drift("age", 0.25), predictions(5)])
    kind, body, _ = fetch(exporter, Accept="application/openmetrics-text; version=1.0.0")
    assert kind.startswith("application/openmetrics-text; version=1.0.0")
    families = {family.name: family for family in parse_openmetrics(body.decode())}
    assert families["ml_predictions"].type == "counter"
    assert families["ml_predictions"].samples[0].name == "ml_predictions_total"
    assert families["ml_drift_score"].type == "gauge"
    assert families["ml_drift_score"].samples[0].timestamp is None


TRACE = Exemplar("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")


def test_openmetrics_has_the_first_exemplar_of_each_measurement(exporter: PrometheusExporter) -> None:
    other = Exemplar("1" * 32, "1" * 16)
    exporter.export([replace(drift("age", 0.25, 60_500_000_000), exemplars=(TRACE, other))])
    exporter.export([drift('odd "name"\n\\', 0.5, 60_500_000_000)])
    _, body, _ = fetch(exporter, Accept="application/openmetrics-text; version=1.0.0")
    own = 'ml_model_name="fraud",ml_model_version="7"'
    assert body.decode().splitlines() == [
        "# HELP ml_drift_score ml.drift.score",
        "# TYPE ml_drift_score gauge",
        f'ml_drift_score{{ml_feature_name="age",{own}}} 0.25'
        f' # {{span_id="{TRACE.span_id}",trace_id="{TRACE.trace_id}"}} 0.25 60.5',
        f'ml_drift_score{{ml_feature_name="odd \\"name\\"\\n\\\\",{own}}} 0.5',
        "# EOF",
    ]
    exporter.export([drift("age", 0.25, 120_000_000_000)])
    assert b"trace_id" not in fetch(exporter, Accept="application/openmetrics-text; version=1.0.0")[1]


def test_the_text_format_has_no_exemplars(exporter: PrometheusExporter) -> None:
    exporter.export([replace(drift("age", 0.25), exemplars=(TRACE,))])
    kind, body, _ = fetch(exporter)
    assert kind.startswith("text/plain")
    assert b"trace_id" not in body


def test_without_exemplars_openmetrics_is_as_strict_parsers_want_it(telemetry: Telemetry) -> None:
    one = PrometheusExporter("prometheus", "127.0.0.1:0", telemetry, max_series=5, clock=CLOCK, expiration_s=300.0)
    one.start()
    try:
        one.export([replace(drift("age", 0.25), exemplars=(TRACE,))])
        _, body, _ = fetch(one, Accept="application/openmetrics-text; version=1.0.0")
    finally:
        one.shutdown(5)
    [family] = parse_openmetrics(body.decode())
    assert family.samples[0].exemplar is None


def test_answers_are_gzipped_for_who_takes_it(exporter: PrometheusExporter) -> None:
    exporter.export([drift("age", 0.25)])
    _, body, encoding = fetch(exporter, **{"Accept-Encoding": "gzip"})
    assert encoding == "gzip"
    assert b"ml_drift_score" in gzip.decompress(body)


def test_only_metrics_is_served(exporter: PrometheusExporter) -> None:
    for path in ("/", "/metrics/", "/-/healthy"):
        with pytest.raises(urllib.error.HTTPError, match="404") as error:
            fetch(exporter, path)
        error.value.close()


def test_a_series_that_the_newest_window_does_not_have_is_gone(exporter: PrometheusExporter) -> None:
    exporter.export([drift("age", 0.1), drift("income", 0.2), drift("tenure", 9, model=CHURN), predictions(5)])
    exporter.export([drift("age", 0.3, time_ns=120)])
    assert scraped(exporter) == {
        "ml_drift_score age": 0.3,
        "ml_drift_score tenure": 9,
        "ml_predictions_total fraud": 5,
    }, "another model and the counter stay"


def test_a_window_may_come_in_parts(exporter: PrometheusExporter) -> None:
    exporter.export([drift("age", 0.1)])
    exporter.export([drift("income", 0.2)])
    exporter.export([drift("age", 0.3)])
    assert scraped(exporter) == {"ml_drift_score age": 0.3, "ml_drift_score income": 0.2}


def test_the_newest_of_several_windows_is_shown(exporter: PrometheusExporter) -> None:
    exporter.export(
        [drift("b", 3, 180), drift("a", 1, 60), drift("b", 2, 120), predictions(9, 180), predictions(5, 60)]
    )
    exporter.export([drift("a", 1, 60)])
    assert scraped(exporter) == {"ml_drift_score b": 3, "ml_predictions_total fraud": 9}


def test_series_expire_when_nothing_comes(exporter: PrometheusExporter) -> None:
    exporter.export([drift("age", 0.1), predictions(5)])
    CLOCK.now_s += 200
    exporter.export([drift("income", 0.2, model=CHURN)])
    CLOCK.now_s += 200
    assert scraped(exporter) == {"ml_drift_score income": 0.2}
    CLOCK.now_s += 200
    assert fetch(exporter)[1] == b""
    exporter.export([drift(str(number), 1, 999) for number in range(5)])
    assert len(scraped(exporter)) == 5, "what expired makes room"


def test_counters_that_come_between_windows_leave_gauges_as_they_are(exporter: PrometheusExporter) -> None:
    exporter.export([drift("age", 0.1), predictions(5)])
    exporter.export([predictions(6, time_ns=999)])
    assert scraped(exporter) == {"ml_drift_score age": 0.1, "ml_predictions_total fraud": 6}
    exporter.export([drift("age", 0.2, time_ns=120)])
    assert scraped(exporter) == {"ml_drift_score age": 0.2, "ml_predictions_total fraud": 6}


def test_counters_do_not_keep_gauges_of_windows_that_have_stopped(exporter: PrometheusExporter) -> None:
    exporter.export([drift("age", 0.1), drift("income", 0.1), predictions(5)])
    CLOCK.now_s += 200
    exporter.export([predictions(6)])
    CLOCK.now_s += 200
    assert scraped(exporter) == {"ml_predictions_total fraud": 6}
    exporter.export([drift(str(number), 1, 999, CHURN) for number in range(5)])
    assert len(scraped(exporter)) == 5, "what expired makes room"
    CLOCK.now_s += 200
    exporter.export([drift("age", 0.3, 999)])
    assert scraped(exporter)["ml_drift_score age"] == 0.3


def test_series_are_bounded_and_counted(exporter: PrometheusExporter, telemetry: Telemetry) -> None:
    exporter.export([drift(str(number), number) for number in range(8)])
    assert len(scraped(exporter)) == 5
    assert dropped(telemetry, "series_limit") == 3
    exporter.export([drift("0", 42)])
    assert scraped(exporter)["ml_drift_score 0"] == 42, "known series go on"
    exporter.export([drift(f"new {number}", number, 120) for number in range(5)])
    assert len(scraped(exporter)) == 5
    assert dropped(telemetry, "series_limit") == 3


def test_a_name_has_one_kind(exporter: PrometheusExporter, telemetry: Telemetry) -> None:
    exporter.export([predictions(5), Measurement("ml.predictions.total", 7.0, "{x}", FRAUD, 60)])
    assert scraped(exporter) == {"ml_predictions_total fraud": 5}
    assert dropped(telemetry, "kind_conflict") == 1


def test_a_name_of_which_nothing_is_left_is_counted(exporter: PrometheusExporter, telemetry: Telemetry) -> None:
    exporter.export([Measurement("…", 7.0, "", FRAUD, 60)])
    assert fetch(exporter)[1] == b""
    assert dropped(telemetry, "name") == 1


def test_values_that_are_no_numbers_are_told_as_they_are(exporter: PrometheusExporter) -> None:
    exporter.export([drift("a", float("inf")), drift("b", float("-inf")), drift("c", float("nan"))])
    body = fetch(exporter)[1].decode()
    assert [line.rsplit(" ", 1)[1] for line in body.splitlines() if line[0] != "#"] == ["+Inf", "-Inf", "NaN"]


def test_time_stamps_and_help_are_there_when_asked_for(telemetry: Telemetry) -> None:
    exporter = PrometheusExporter(
        "prometheus",
        "127.0.0.1:0",
        telemetry,
        send_timestamps=True,
        descriptions={semconv.DRIFT_SCORE: "distance\nfrom the reference"},
        expiration_s=300.0,
        max_series=1000,
    )
    exporter.start()
    exporter.export([drift("age", 0.25, time_ns=1_750_000_000_123_000_000)])
    body = fetch(exporter)[1].decode()
    exporter.shutdown(5)
    assert "# HELP ml_drift_score distance\\nfrom the reference" in body
    assert body.rstrip().endswith(" 0.25 1750000000123")


def test_an_address_in_use_is_named_with_its_key(telemetry: Telemetry) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        exporter = PrometheusExporter("prometheus/two", address, telemetry, expiration_s=300.0, max_series=1000)
        with pytest.raises(
            OSError, match=rf"exporters\.prometheus/two\.endpoint: cannot listen on {address}: .*in use"
        ):
            exporter.start()
        exporter.shutdown(1)


@pytest.mark.parametrize("endpoint", ["", "localhost", "localhost:", "localhost:http", "localhost:65536", ":-1"])
def test_what_is_no_address_is_refused(telemetry: Telemetry, endpoint: str) -> None:
    with pytest.raises(ValueError, match=r"exporters\.prometheus\.endpoint: .* is not an address"):
        PrometheusExporter("prometheus", endpoint, telemetry, expiration_s=300.0, max_series=1000)


def test_a_host_that_does_not_exist_is_named(telemetry: Telemetry) -> None:
    exporter = PrometheusExporter("prometheus", "256.256.256.256:80", telemetry, expiration_s=300.0, max_series=1000)
    with pytest.raises(OSError, match=r"cannot listen on 256\.256\.256\.256:80"):
        exporter.start()


def test_the_address_is_free_after_the_shutdown(telemetry: Telemetry) -> None:
    before = threading.active_count()
    first = PrometheusExporter("prometheus", "localhost:0", telemetry, expiration_s=300.0, max_series=1000)
    assert first.port == 0
    first.start()
    address = f"localhost:{first.port}"
    fetch(first)
    first.shutdown(5)
    first.shutdown(5)
    second = PrometheusExporter("prometheus", address, telemetry, expiration_s=300.0, max_series=1000)
    second.start()
    fetch(second)
    second.shutdown(5)
    assert threading.active_count() <= before + 1


def test_ipv6_is_listened_on_where_it_is_asked_for(telemetry: Telemetry) -> None:
    exporter = PrometheusExporter("prometheus", "[::1]:0", telemetry, expiration_s=300.0, max_series=1000)
    try:
        exporter.start()
    except OSError as error:
        assert "cannot listen on [::1]:0" in str(error)  # noqa: PT017 -- a machine without IPv6 must say so
        return
    with urllib.request.urlopen(f"http://[::1]:{exporter.port}/metrics", timeout=10) as answer:
        assert answer.status == 200
    exporter.shutdown(5)


def test_idle_connections_do_not_starve_the_scraper_for_ever(exporter: PrometheusExporter) -> None:
    held = [socket.create_connection(("127.0.0.1", exporter.port)) for _ in range(31)]
    exporter.export([drift("age", 0.25)])
    assert scraped(exporter) == {"ml_drift_score age": 0.25}
    # The scrape may not have given its place back yet, so the last of three is one too many in any case.
    held += [socket.create_connection(("127.0.0.1", exporter.port)) for _ in range(3)]
    refused = held[-1]
    refused.settimeout(10)
    assert refused.recv(1) == b"", "beyond the limit a connection is closed at once"
    for connection in held:
        connection.close()


def test_a_client_that_hangs_up_does_no_harm(exporter: PrometheusExporter) -> None:
    for text in (b"", b"GET", b"\xff\xfe\r\n\r\n", b"GET /metrics HTTP/1.1\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", exporter.port)) as client:
            client.sendall(text)
    assert fetch(exporter)[1] == b""
