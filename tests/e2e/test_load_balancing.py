"""Replicas behind the Collector's load_balancing exporter: routed by model, they have the figures of one service."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from stack import Service, Stack, free_port
from traffic import build_reference, make_rows, model, send_batch, send_rows

MODELS = ("basket", "churn", "delay", "fraud", "rank", "spam", "value", "wait")
WINDOW = 1_000
Figures = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


def figures(service: Service) -> Figures:
    """Every derived series and its value."""
    return {
        (name, frozenset(labels.items())): value for name, labels, value in service.samples() if name.startswith("ml_")
    }


def models_of(service: Service) -> set[str]:
    return {labels["ml_model_name"] for _, labels, _ in service.samples() if "ml_model_name" in labels}


def test_two_replicas_routed_by_model_have_exactly_the_figures_of_one(stack: Stack, tmp_path: Path) -> None:
    reference = make_rows(4_000, seed=1)
    profiles = {
        name: {"reference": str(build_reference(reference, tmp_path / f"{name}.json", name))} for name in MODELS
    }
    settings = {"connectors": {"ml_monitor": {"window": {"size": f"{WINDOW} rows"}, "models": profiles}}}
    one, first, second = (stack.service(settings) for _ in range(3))
    front = free_port()
    insecure = {"tls": {"insecure": True}}
    collector = stack.collector(
        {
            "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": f"localhost:{front}"}}}},
            "exporters": {
                "otlp_grpc/one": {"endpoint": f"localhost:{one.grpc}", **insecure},
                "load_balancing": {
                    "routing_key": "attributes",
                    "routing_attributes": ["ml.model.name"],
                    "protocol": {"otlp": insecure},
                    "resolver": {"static": {"hostnames": [f"localhost:{first.grpc}", f"localhost:{second.grpc}"]}},
                },
            },
            "service": {
                "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["otlp_grpc/one", "load_balancing"]}}
            },
        }
    )

    everything = [*MODELS]
    ids = {}
    for number, name in enumerate(everything):
        rows = make_rows(WINDOW, seed=10 + number, shift=0.1 * number)[: WINDOW - 1]
        with model(front, name) as sender:
            ids[name] = [*send_rows(sender, rows[:300]), *send_batch(sender, rows[300:])]
    count = len(MODELS) * (WINDOW - 1)
    collector.wait(lambda: one.counted("otel_ml_rows_total") == count)
    collector.wait(lambda: sum(each.counted("otel_ml_rows_total") for each in (first, second)) == count)

    # Labels go where their predictions went, for they carry the model's name too.
    for number, name in enumerate(everything):
        rows = make_rows(WINDOW, seed=10 + number, shift=0.1 * number)
        with model(front, name) as sender:
            sender.labels(ids[name], classes=rows.truth[: WINDOW - 1].tolist())
    joined = {"outcome": "joined"}
    collector.wait(lambda: one.counted("otel_ml_labels_total", **joined) == count)
    collector.wait(lambda: sum(each.counted("otel_ml_labels_total", **joined) for each in (first, second)) == count)

    for number, name in enumerate(everything):
        with model(front, name) as sender:
            send_rows(sender, make_rows(WINDOW, seed=10 + number, shift=0.1 * number)[WINDOW - 1 :])
    closed = "otel_ml_windows_closed_total"
    collector.wait(lambda: one.counted(closed) == len(MODELS))
    collector.wait(lambda: first.counted(closed) + second.counted(closed) == len(MODELS))
    collector.wait(lambda: len(figures(one)) == len(figures(first)) + len(figures(second)))

    assert models_of(first) | models_of(second) == set(MODELS) == models_of(one)
    assert not models_of(first) & models_of(second)
    assert models_of(first)
    assert models_of(second)
    alone, together = figures(one), {**figures(first), **figures(second)}
    assert together.keys() == alone.keys()
    assert together == pytest.approx(alone, rel=1e-12, abs=1e-12)
    assert sum(value for (name, _), value in alone.items() if name == "ml_predictions_total") == len(MODELS) * WINDOW
