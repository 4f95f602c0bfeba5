"""Every way in which a Collector can send, and batches that are larger than gRPC's usual 4 MiB."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from stack import COLLECTOR_FILE, Stack, free_port, listening
from traffic import SERVICE_NAME, make_rows, model, send_batch, send_rows

COMPRESSIONS = ("none", "gzip")


def test_every_transport_encoding_and_compression_delivers_every_row(stack: Stack) -> None:
    service, front = stack.service(), free_port()
    grpc = {
        f"otlp_grpc/{compression}": {
            "endpoint": f"localhost:{service.grpc}", "tls": {"insecure": True}, "compression": compression,
        }
        for compression in COMPRESSIONS
    }  # fmt: skip
    http = {
        f"otlp_http/{encoding}_{compression}": {
            "endpoint": f"http://localhost:{service.http}", "encoding": encoding, "compression": compression,
        }
        for encoding, compression in product(("proto", "json"), (*COMPRESSIONS, "deflate"))
    }  # fmt: skip
    exporters = {**grpc, **http}
    collector = stack.collector(
        {
            "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": f"localhost:{front}"}}}},
            "exporters": exporters,
            "service": {"pipelines": {"traces": {"receivers": ["otlp"], "exporters": [*exporters]}}},
        }
    )
    rows = make_rows(1_000, seed=5)
    with model(front) as fraud:
        send_rows(fraud, rows[:200])
        send_batch(fraud, rows[200:])
    collector.wait(lambda: service.counted("otel_ml_rows_total") == len(exporters) * 1_000)
    sent = [collector.counted("otelcol_exporter_sent_spans_total", exporter=name) for name in exporters]
    assert set(sent) == {collector.counted("otelcol_receiver_accepted_spans_total")}
    for transport, count in (("grpc", len(grpc)), ("http", len(http))):
        assert service.counted("otelcol_receiver_accepted_spans_total", transport=transport) == count * sent[0]
    assert service.counted("otel_ml_dropped_total") == 0


def test_a_large_batch_goes_through_the_collectors_file_whole_and_to_jaeger_once(stack: Stack) -> None:
    count, columns = 40_000, 40
    front = free_port()
    jaeger = stack.jaeger()
    service = stack.service({"connectors": {"ml_monitor": {"window": {"size": f"{count} rows"}}}})
    env = {"OTEL_ML_ENDPOINT": f"localhost:{service.grpc}", "JAEGER_ENDPOINT": f"localhost:{jaeger.otlp}"}
    collector = stack.collector(COLLECTOR_FILE, listening(front), env=env)

    random = np.random.default_rng(7)
    features = {f"x{number}": random.normal(number, 1.0, count) for number in range(columns)}
    with model(front, "bulk") as bulk, bulk.predict(features) as prediction:
        prediction.record(score=random.random(count))
    service.wait(lambda: service.counted("otel_ml_rows_total") == count)
    spans: list[dict[str, Any]] = []

    def all_there() -> bool:
        spans[:] = jaeger.spans(SERVICE_NAME)
        return len(spans) >= collector.counted("otelcol_receiver_accepted_spans_total") > 1

    collector.wait(all_there)
    tags = [{tag["key"]: tag["value"] for tag in span["tags"]} for span in spans]
    assert sum(int(each["ml.prediction.rows"]) for each in tags) == count
    assert len({span["spanID"] for span in spans}) == len(spans)
    for exporter in ("otlp_grpc/ml", "otlp_grpc/jaeger"):
        assert collector.counted("otelcol_exporter_send_failed_spans_total", exporter=exporter) == 0
