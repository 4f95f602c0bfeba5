"""Every panel of every dashboard has data from a real run, and the generated rules fire, in a real Prometheus."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pandas as pd
import pytest
import yaml
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.instrumentation.system_metrics import SystemMetricsInstrumentor
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from prometheus_client import REGISTRY, Gauge, start_http_server

from collector_processor.cli import main as cli
from collector_processor.config import parse_config
from collector_processor.fairness.figures import FIGURES
from collector_processor.generate.catalog import Catalog
from collector_processor.generate.dashboards import boards
from collector_processor.generate.dashboards.plan import SERVICE_UID, Board, Panel
from collector_processor.generate.rules import rules_of, rules_text
from otel_ml import Model
from support.promql import metrics_named

Make = Callable[..., Any]
pytestmark = pytest.mark.prometheus
DEADLINE_S = 60.0
WINDOW = 400
MAY_BE_NOTHING = (
    "dropped",
    "evicted",
    "clamped",
    "errors",
    "failed",
    "refused",
    "unauthenticated",
    "misfits",
    "connections_closed",
    "unread",
    "reloads",
    "unmatched",
)
"""Words of the service's own metrics that have no series as long as nothing went wrong."""
NOT_HERE = (
    "ml.estimate.unsupported",  # trees are kept only where they improve the estimate, which they do not on these rows
    "ml.performance.rmsle",  # of trees of losses
    "ml.estimate.harm_changed_at",  # the expected errors stay as they are
    "ml.attributions.dropped",  # no explanation was dropped
    "ml.slice.",  # no slice is worse than others by more than chance
)
"""Metrics that this traffic has no reason to have."""


def rows(count: int, shift: float, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    score = np.clip(rng.beta(2, 5, count), 0.001, 0.999)
    truth = (rng.random(count) < score) ^ (rng.random(count) < 0.4 * shift)
    amount = rng.normal(100.0 + 60.0 * shift, 20.0, count)
    amount[rng.random(count) < 0.02] = np.nan
    return pd.DataFrame(
        {
            "amount": amount,
            "age": rng.normal(40.0, 10.0, count),
            "country": rng.choice(["DE", "FR"], count),
            "region": rng.choice(["north", "south"], count),
            "score": score,
            "prediction": np.where(score > 0.35, "fraud", "ok"),
            "label": np.where(truth, "fraud", "ok"),
            "price": amount * 3.0 + rng.normal(0.0, 5.0, count),
            "paid": amount * 3.0 + 40.0 * shift,
        }
    )


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reference profiles with labels, so that the drop of performance can be told."""
    folder = tmp_path_factory.mktemp("references")
    table = rows(4000, 0.0, 1).fillna({"price": 300.0, "paid": 300.0})
    table.drop(columns=["price", "paid"]).to_parquet(folder / "fraud.parquet")
    table[["age", "country", "price", "paid"]].to_parquet(folder / "price.parquet")
    common = ["reference", "build"]
    fraud = [
        "--model",
        "fraud",
        "--out",
        str(folder / "fraud.json"),
        "--positive-class",
        "fraud",
        "--segments",
        "country,region",
    ]
    fraud += ["--prediction", "prediction", "--score", "score", "--label", "label", "--features", "amount,age,country"]
    assert cli.main([*common, str(folder / "fraud.parquet"), *fraud]) == 0
    price = ["--model", "price", "--out", str(folder / "price.json"), "--task", "regression", "--segments", "country"]
    price += ["--prediction", "price", "--label", "paid", "--features", "age,country"]
    assert cli.main([*common, str(folder / "price.parquet"), *price]) == 0
    return folder


@pytest.fixture
def destination() -> Iterator[str]:
    """A destination that takes everything."""
    server = grpc.server(futures.ThreadPoolExecutor(2))
    for kind in ("trace", "logs", "metrics"):
        service = f"opentelemetry.proto.collector.{kind}.v1.{kind.title()}Service"
        handler = grpc.unary_unary_rpc_method_handler(lambda _body, _context: b"")
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, {"Export": handler})])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(0).wait()


DCGM = ("DCGM_FI_DEV_GPU_UTIL", "DCGM_FI_DEV_FB_USED")
"""Names of NVIDIA's exporter: percent, and MiB."""
SYSTEM: dict[str, Any] = {
    "system.cpu.time": ["idle", "user", "system", "irq"],
    "system.memory.usage": ["used", "free", "cached"],
    "process.cpu.time": ["user", "system"],
    "process.memory.usage": None,
}


def _observed(value: float, options: CallbackOptions) -> Iterator[Observation]:
    del options
    yield Observation(value, {"hw.id": "GPU-0"})


class Application:
    """Serves three models: one drifts, one predicts numbers, one falls silent; its own metrics are scraped."""

    def __init__(self, grpc_port: int, references: Path) -> None:
        self._reader = PrometheusMetricReader()
        # What the DCGM exporter of a machine has, is matched with the resource's host or node.
        resource = Resource({"service.name": "shop", "host.name": "gpu-1", "k8s.node.name": "gpu-1"})
        self._meters = MeterProvider([self._reader], resource)
        self._system = SystemMetricsInstrumentor(config=SYSTEM)  # all of it takes longer than a scrape may
        self._system.instrument(meter_provider=self._meters)
        for name, unit, value in (("hw.gpu.utilization", "1", 0.4), ("hw.gpu.memory.usage", "By", 2e9)):
            read = partial(_observed, value)
            self._meters.get_meter("gpu").create_observable_gauge(name, [read], unit)
        self._dcgm = [Gauge(name, "a GPU", ["Hostname", "gpu"]) for name in DCGM]
        for gauge in self._dcgm:
            gauge.labels("gpu-1", "0").set(40)
        self._server, self._thread = start_http_server(0, addr="127.0.0.1", registry=REGISTRY)
        self.port = self._server.server_port
        self._traces = TracerProvider()
        exporter = OTLPSpanExporter(endpoint=f"localhost:{grpc_port}", insecure=True)
        self._traces.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=50_000, schedule_delay_millis=100))
        providers: dict[str, Any] = {"tracer_provider": self._traces, "meter_provider": self._meters}
        fraud: dict[str, Any] = {
            "version": "1",
            "task": "binary_classification",
            "positive_class": "fraud",
            **providers,
        }
        self._fraud = Model("fraud", reference=str(references / "fraud.json"), **fraud)
        self._price = Model("price", version="3", task="regression", **providers)
        self._old = Model("old", **fraud)
        self._round = 0
        self._ends = threading.Event()
        self._traffic = threading.Thread(target=self._go_on)

    def send(self, count: int = WINDOW, shift: float = 1.0) -> None:
        """One round of predictions, and their labels."""
        self._round += 1
        table = rows(count, shift, self._round)
        ids = [f"{self._round}/{row}" for row in range(count)]
        for place, row in enumerate(table.to_dict("records")):
            features = {name: row[name] for name in ("amount", "age", "country")}
            segments = {"country": row["country"], "region": row["region"]}
            with self._fraud.predict(features, id=ids[place], segments=segments) as prediction:
                by_feature = {"amount": row["score"], "age": -0.1}
                prediction.record(score=row["score"], class_=row["prediction"], attributions=by_feature)
        batch = table.dropna()
        with self._price.predict(batch[["age", "country"]], id=[ids[row] for row in batch.index],
                                 segments={"country": batch["country"].tolist()}) as prediction:  # fmt: skip
            prediction.record(value=batch["price"].tolist())
        self._traces.force_flush()
        self._fraud.labels(ids, classes=table["label"].tolist())
        self._price.labels([ids[row] for row in batch.index], values=batch["paid"].tolist())
        self._traces.force_flush()

    def send_old(self) -> None:
        """Windows of the model that then falls silent."""
        for row in range(2 * WINDOW):
            with self._old.predict({"amount": float(row)}) as prediction:
                prediction.record(class_="ok", attributions={"amount": 0.01 * row, "age": -0.1})
        self._traces.force_flush()

    def _go_on(self) -> None:
        while not self._ends.is_set():
            self.send()
            self._ends.wait(0.2)

    def __enter__(self) -> Application:
        self._traffic.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._traffic.join()
        self._traces.shutdown()
        self._system.uninstrument()
        self._meters.shutdown()
        for gauge in self._dcgm:
            REGISTRY.unregister(gauge)
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def settings(references: Path, destination: str) -> dict[str, Any]:
    return {
        "connectors": {
            "ml_monitor": {
                "window": {"size": f"{WINDOW} rows", "min_rows": 100, "min_labels": 20},
                "reference": {"learn": 100},
                "drift": {"categorical": ["psi", "js", "l_infinity", "chi2"]},
                "performance": {"quantile": 0.5},
                "fairness": {"segments": ["country", "region"], "metrics": list(FIGURES), "names": "clarify"},
                "concept": {"detectors": ["adwin"]},
                "models": {
                    "fraud": {"reference": str(references / "fraud.json"), "segments": ["country", "region"]},
                    "price": {"reference": str(references / "price.json"), "segments": ["country"]},
                },
            }
        },
        "exporters": {
            "prometheus": {"metric_expiration": "5s"},
            "otlp_grpc": {"endpoint": destination, "tls": {"insecure": True}},
        },
        "alerts": {
            "notify": ["otlp_grpc"],
            "rules": {
                "feature_drift": {"for": "0"},
                "prediction_drift": {"enabled": False},
                "silence": {"absent_for": "8s"},
            }
        },
        "service": {
            "pipelines": {
                "traces": {"receivers": ["otlp"], "exporters": ["ml_monitor", "otlp_grpc"]},
                "metrics": {"receivers": ["ml_monitor"], "exporters": ["prometheus", "otlp_grpc"]},
            }
        },
    }  # fmt: skip


def substituted(expr: str, model: str) -> str:
    """The expression as Grafana sends it when all is chosen."""
    values = {"model": model, "version": ".*", "segment": ".+", "method": ".*", "job": ".*", "instance": ".*"}
    for long, short in (("$__rate_interval", "20s"), ("[1d]", "[60s]"), ("[15m]", "[8s]"), ("offset 15m", "offset 8s")):
        expr = expr.replace(long, short)
    for name, value in values.items():
        expr = re.sub(rf"\${name}\b", lambda _, value=value: value, expr)
    assert "$" not in expr.replace('"$1"', ""), "what remains is a group of label_replace"
    return expr


def has_data(server: Any, board: Board, panel: Panel) -> bool:
    """Whether the panel shows something for one model at least; of the service's own panels, one query is enough.

    Of a figure of performance its own query is enough: not every one has a range, and few have limits.
    """
    models = ("fraud", "price", "old") if board.uid.endswith("model") else (".*",)
    found = [any(server.query(substituted(query.expr, model)) for model in models) for query in panel.queries]
    if len(found) > 1 and "ml_performance_lower" in panel.queries[1].expr:
        return found[0]
    return any(found) if board.uid == SERVICE_UID else all(found)


def known_and_nothing(server: Any, catalog: Catalog, panel: Panel) -> bool:
    """Whether a panel without data is one of failures that there were none of, and Prometheus knows its metrics."""
    for query in panel.queries:
        for name in metrics_named(catalog, query.expr):
            if any(word in name for word in NOT_HERE):
                continue
            known = server.get("metadata", metric=name) or server.get("metadata", metric=name.removesuffix("_total"))
            if not known or not any(word in name for word in MAY_BE_NOTHING):
                return False
    return True


def runbook_queries() -> Iterator[tuple[str, str]]:
    """The queries of all runbooks."""
    for path in sorted((Path(__file__).parents[3] / "docs" / "runbooks").glob("*.md")):
        for query in re.findall(r"^```promql\n(.*?)^```$", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
            yield path.stem, query.strip()


def test_every_panel_has_data_and_the_rules_fire(
    prometheus: Make, run: Make, references: Path, destination: str, service_settings: Make, tmp_path: Path
) -> None:
    changes = settings(references, destination)
    config = parse_config(yaml.safe_dump(service_settings(tmp_path, changes)))
    rules = rules_of(config)
    catalog = Catalog.of_registries()
    with contextlib.ExitStack() as stack:
        running = stack.enter_context(run(changes, size=f"{WINDOW} rows"))
        application = Application(running.port("grpc"), references)
        server = prometheus([running.prometheus, running.own, application.port], rules=rules_text(rules))
        server.wait_for("up == 1", lambda found: len(found) == 3)
        application.send_old()
        server.wait_for('ml_window_rows{ml_model_name="old"}')
        stack.enter_context(application)

        pending = [(board, row, panel) for board in boards(config) for row, panel in board.panels()]
        deadline = time.monotonic() + DEADLINE_S
        while pending and time.monotonic() < deadline:
            pending = [(board, row, panel) for board, row, panel in pending if not has_data(server, board, panel)]
            pending = [item for item in pending if not known_and_nothing(server, catalog, item[2])]
            threading.Event().wait(0.2)
        missing = [
            f"{board.uid}: {row.title} / {panel.title}: {[query.expr for query in panel.queries]}"
            for board, row, panel in pending
        ]
        assert not missing, "\n".join(missing)

        # What whoever is woken is told to ask.
        for name, query in runbook_queries():
            assert server.query(query) is not None, name
        asked = [query for name, query in runbook_queries() if name == "feature_drift"]
        assert all(server.query(query) for query in asked[:1]), asked

        # What the template variables ask for, and the marks on the panels.
        for board in boards(config):
            for annotation in board.annotations:
                server.wait_for(substituted(annotation.expr, "fraud"))

        # Every rule is one that Prometheus can evaluate; those whose cause is there fire.
        firing = "ALERTS{alertname='%s',alertstate='firing'}"
        [drift] = [
            labels for labels, _ in server.wait_for(firing % "feature_drift") if labels["ml_model_name"] == "fraud"
        ]
        assert drift["severity"] == "warning"
        assert {labels["ml_model_name"] for labels, _ in server.wait_for(firing % "silence")} == {"old"}
        groups = server.get("rules")["groups"]
        health = {rule["name"]: (rule["health"], rule.get("lastError")) for group in groups for rule in group["rules"]}
        assert health.keys() == {rule.name for rule in rules}
        assert set(health.values()) == {("ok", None)}
        assert server.query(firing % "service_down") == []
