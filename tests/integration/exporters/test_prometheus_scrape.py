"""A real Prometheus scrapes the exporter and answers PromQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from collector_processor.exporters.naming import prometheus_name
from collector_processor.exporters.prometheus.exporter import PrometheusExporter
from collector_processor.monitors.base import Measurement
from collector_processor.own.telemetry import Telemetry
from otel_ml import semconv

pytestmark = pytest.mark.prometheus
MODEL = ((semconv.MODEL_NAME, "fraud"), (semconv.MODEL_VERSION, "7"))


def measured(name: str, unit: str, value: float, window: int, **attributes: str) -> Measurement:
    extra = tuple((key.replace("__", "."), text) for key, text in attributes.items())
    kind = "counter" if name == semconv.PREDICTIONS else "gauge"
    return Measurement(name, value, unit, MODEL + extra, window * 60 * 10**9, kind, 10**9)


class Scraped:
    """Exporters that one Prometheus scrapes, told apart by their instance label."""

    def __init__(self, start: Callable[..., Any], count: int) -> None:
        self._free = [
            PrometheusExporter("prometheus", "127.0.0.1:0", Telemetry(), expiration_s=300.0, max_series=1000)
            for _ in range(count)
        ]
        self.all = [*self._free]
        for exporter in self.all:
            exporter.start()
        self.server = start([exporter.port for exporter in self.all])

    def take(self) -> tuple[PrometheusExporter, str]:
        """An exporter that no test has used, and the matcher for its series."""
        exporter = self._free.pop()
        return exporter, f'instance="127.0.0.1:{exporter.port}"'


@pytest.fixture(scope="module")
def scraped(prometheus: Callable[..., Any]) -> Iterator[Scraped]:
    one = Scraped(prometheus, 3)
    yield one
    for exporter in one.all:
        exporter.shutdown(5)


def test_prometheus_reads_what_is_exported(scraped: Scraped) -> None:
    exporter, here = scraped.take()
    feature = 'größe "in" cm\\\n'
    exporter.export(
        [
            measured(semconv.WINDOW_ROWS, semconv.UNIT_ROW, 500, 1),
            measured(semconv.DRIFT_SCORE, semconv.UNIT_SCORE, 0.25, 1, ml__feature__name=feature),
            measured(semconv.QUALITY_MISSING, semconv.UNIT_RATIO, 0.125, 1, ml__feature__name="age"),
            measured(semconv.LATENCY_P95, semconv.UNIT_SECOND, 0.01, 1),
            measured(semconv.PREDICTIONS, semconv.UNIT_PREDICTION, 1000, 1, ml__prediction__class="yes"),
        ]
    )
    server = scraped.server
    ((labels, value),) = server.wait_for(f"ml_drift_score{{{here}}}")
    assert value == 0.25
    assert labels["ml_feature_name"] == feature
    assert (labels["ml_model_name"], labels["ml_model_version"]) == ("fraud", "7")
    assert server.query(f"ml_quality_missing_ratio{{{here}}}")[0][1] == 0.125
    assert server.query(f"ml_latency_p95_seconds{{{here}}}")[0][1] == 0.01
    assert server.query(f"ml_window_rows{{{here}}}")[0][1] == 500
    assert server.query(f"ml_predictions_total{{{here}}}")[0][0]["ml_prediction_class"] == "yes"
    kinds = {name: entries[0]["type"] for name, entries in server.get("metadata").items()}
    assert kinds["ml_quality_missing_ratio"] == "gauge"
    # OpenMetrics, which Prometheus asks for first, names a counter's family without its suffix.
    assert kinds["ml_predictions"] == "counter"


def test_prometheus_sees_series_change_and_go(scraped: Scraped) -> None:
    exporter, here = scraped.take()
    exporter.export(
        [
            measured(semconv.DRIFT_SCORE, semconv.UNIT_SCORE, 0.1, 1, ml__feature__name="age"),
            measured(semconv.DRIFT_SCORE, semconv.UNIT_SCORE, 0.2, 1, ml__feature__name="income"),
            measured(semconv.PREDICTIONS, semconv.UNIT_PREDICTION, 10, 1),
        ]
    )
    server = scraped.server
    server.wait_for(f"ml_drift_score{{{here}}}", lambda found: len(found) == 2)
    exporter.export(
        [
            measured(semconv.DRIFT_SCORE, semconv.UNIT_SCORE, 0.3, 2, ml__feature__name="age"),
            measured(semconv.PREDICTIONS, semconv.UNIT_PREDICTION, 25, 2),
        ]
    )
    ((labels, value),) = server.wait_for(f"ml_drift_score{{{here}}}", lambda found: len(found) == 1)
    assert (labels["ml_feature_name"], value) == ("age", 0.3)
    counter = f"ml_predictions_total{{{here}}}[1m]"
    ((_, increase),) = server.wait_for(f"max_over_time({counter}) - min_over_time({counter})")
    assert increase == 15


def test_a_scrape_of_many_series_is_clean(scraped: Scraped) -> None:
    exporter, here = scraped.take()
    exporter.export(
        [
            measured(semconv.DRIFT_SCORE, semconv.UNIT_SCORE, number, 1, ml__feature__name=f"feature {number}")
            for number in range(500)
        ]
    )
    server = scraped.server
    name = prometheus_name(semconv.DRIFT_SCORE, semconv.UNIT_SCORE, "gauge")
    assert server.wait_for(f"count({name}{{{here}}})")[0][1] == 500
    assert server.query(f"scrape_samples_scraped{{{here}}}")[0][1] == 500
    assert server.query(f"up{{{here}}}")[0][1] == 1
