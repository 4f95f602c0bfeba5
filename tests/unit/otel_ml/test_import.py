"""Importing the package is light, and works in processes that fork."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from otel_ml.testing import capture

HEAVY = ("numpy", "pyarrow", "pandas", "polars", "grpc", "google.protobuf", "opentelemetry.sdk")


def run(code: str, **environ: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environ},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_import_loads_nothing_heavy() -> None:
    assert run(f"import sys, otel_ml; print([name for name in {HEAVY!r} if name in sys.modules])") == "[]"


def test_a_row_needs_nothing_heavy() -> None:
    code = """
import sys
from otel_ml import Model
with Model("m").predict({"a": 1}) as prediction:
    prediction.record(score=0.5, class_="x")
Model("m").label(prediction.id, class_="x")
print([name for name in HEAVY if name in sys.modules])
"""
    assert run(f"HEAVY = {HEAVY!r}" + code) == "[]"


def test_a_batch_counts_without_numpy() -> None:
    code = """
import sys
sys.modules["numpy"] = sys.modules["pyarrow"] = None
from otel_ml.testing import capture
from otel_ml import Model
with capture() as captured, Model("m").predict([{"a": 1.5, "b": "x"}, {"a": None}]) as prediction:
    prediction.record(scores={"u": [0.25, 0.5], "v": [0.5, 0.25], "w": [0.25, 0.25]}, class_=["u", "v"])
print([(seen.features, seen.score) for seen in captured.predictions])
"""
    assert run(code) == "[({'a': 1.5, 'b': 'x'}, 0.25), ({}, 0.25)]"


def test_a_disabled_sdk_emits_nothing() -> None:
    code = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
trace.set_tracer_provider(TracerProvider())
from otel_ml import Model
with Model("m").predict({"a": 1}) as prediction:
    print(prediction.recording, len(prediction.id))
"""
    assert run(code, OTEL_SDK_DISABLED="true") == "False 49"


def test_a_model_made_before_the_sdk_is_set_up_follows_it() -> None:
    code = """
from otel_ml import Model
model = Model("m")
with model.predict({"a": 1}):
    pass
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
metrics.set_meter_provider(MeterProvider([reader]))
with model.predict({"a": 1}):
    pass
found = reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics
print(len(exporter.get_finished_spans()), sorted(metric.name for metric in found))
"""
    assert run(code) == "1 ['ml.prediction.duration', 'ml.prediction.rows']"


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_makes_and_uses_models_though_a_lock_was_held() -> None:
    from otel_ml import Model
    from otel_ml.emit import instruments

    model = Model("m")
    with capture() as captured, instruments._lock:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                for one in (model, Model("n")):
                    with one.predict({"a": 1}):
                        pass
                code = 0 if len(captured.predictions) == 2 else 2
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
