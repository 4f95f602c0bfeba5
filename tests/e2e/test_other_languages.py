"""Apps on other languages' OpenTelemetry SDKs, without a line of ours, give the figures that the Python app gives."""

from __future__ import annotations

import csv
import math
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import stack
import traffic

from collector_processor.cli import main as cli

EXAMPLES = stack.ROOT / "examples"
RIDES = EXAMPLES / "rides.csv"
MODELS = ("tips-python", "tips-javascript", "tips-go", "tips-go-batch")
DISTRICTS = {"centre": 0.2, "north": -0.1, "harbour": 0.1, "east": -0.4}
DEADLINE_S = 600.0
"""Go compiles gRPC and the SDK first."""
TIMED = (
    "ml_latency_",
    "ml_labels_delay_",
    "ml_predictions_created",
    # Evidence is of the rows of each second, and shown as long as rows come.
    *("ml_drift_alarm", "ml_drift_changed_at", "ml_drift_evidence"),
    *("ml_concept_alarm", "ml_concept_changed_at", "ml_concept_error_", "ml_concept_evidence", "ml_estimate_harm_"),
)

Ride = dict[str, str]


def rides() -> list[Ride]:
    with RIDES.open(newline="") as lines:
        return list(csv.DictReader(lines))


def score(ride: Ride) -> float:
    z = -0.8 + DISTRICTS[ride["district"]] + 0.12 * float(ride["distance_km"] or 3)
    z += (0.5 if int(ride["hour"]) >= 20 else 0.0) + (0.7 if ride["airport"] == "true" else 0.0)
    return 1 / (1 + math.exp(-z))


def predicted(ride: Ride) -> str:
    return "yes" if score(ride) >= 0.5 else "no"


def build_reference(file: Path) -> Path:
    """The profile of the evening's rides only, so that all of them together have drifted.

    Its scores are a little lower: where one is a bin's edge, the last digit of exp(), which is each language's own,
    would decide into which bin the same ride falls.
    """
    table = file.with_suffix(".csv")
    with table.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["distance_km", "hour", "district", "airport", "tipped", "score", "class"])
        writer.writerows(
            [*ride.values(), 0.998 * score(ride), predicted(ride)] for ride in rides() if int(ride["hour"]) > 17
        )
    options = "--model tips --score score --prediction class --label tipped --positive-class yes --segments district"
    arguments = [*options.split(), "--features", "distance_km,hour,district,airport", "--out", str(file)]
    assert cli.main(["reference", "build", str(table), *arguments]) == 0
    return file


def run(command: list[str], folder: Path, model: str, endpoint: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    environment |= {"MODEL": model, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )  # fmt: skip
    assert done.returncode == 0, f"{command}: {done.stdout}\n{done.stderr}"


def run_python(port: int) -> None:
    with traffic.model(port, MODELS[0]) as model:
        for ride in rides():
            features = {
                "distance_km": float(ride["distance_km"]) if ride["distance_km"] else None,
                "hour": int(ride["hour"]),
                "district": ride["district"],
                "airport": ride["airport"] == "true",
            }
            with model.predict(features) as prediction:
                prediction.record(score=score(ride), class_=predicted(ride))
            model.label(prediction.id, class_=ride["tipped"])


def run_javascript(port: int, folder: Path) -> None:
    for name in ("package.json", "package-lock.json", "predict.js"):
        shutil.copy(EXAMPLES / "javascript" / name, folder)
    endpoint = f"http://localhost:{port}"
    run(["npm", "ci", "--no-audit", "--no-fund", "--silent"], folder, MODELS[1], endpoint)
    run(["node", "predict.js", str(RIDES)], folder, MODELS[1], endpoint)


def run_go(port: int, folder: Path) -> None:
    binary = folder / "predict"
    endpoint = f"http://localhost:{port}"
    run(["go", "build", "-o", str(binary), "."], EXAMPLES / "go", MODELS[2], endpoint)
    run([str(binary), str(RIDES)], folder, MODELS[2], endpoint)
    run([str(binary), "-batch", "100", str(RIDES)], folder, MODELS[3], endpoint)


def figures(service: stack.Service, model: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every derived sample of a model but those that measure time."""
    return {
        (name, tuple(sorted((key, text) for key, text in labels.items() if key != "ml_model_name"))): value
        for name, labels, value in service.samples()
        if labels.get("ml_model_name") == model and not name.startswith(TIMED)
    }


@pytest.mark.timeout(900)
@pytest.mark.usefixtures("capsys")
def test_javascript_and_go_are_monitored_as_python_is(
    service: Callable[..., stack.Service], tools: Callable[[str], str], tmp_path: Path
) -> None:
    for needed in ("node", "npm", "go"):
        tools(needed)
    reference = build_reference(tmp_path / "tips.json")
    monitor = {
        "window": {"size": "10m", "every": "1s", "allowed_lateness": "1s", "min_rows": 100},
        "models": {
            name: {"reference": str(reference), "positive_class": "yes", "segments": ["district"]} for name in MODELS
        },
    }
    serving = service({"connectors": {"ml_monitor": monitor}})
    run_python(serving.grpc)
    run_javascript(serving.http, tmp_path)
    run_go(serving.grpc, tmp_path)

    rows = len(rides())
    for model in MODELS:
        serving.wait(lambda model=model: serving.value("ml_window_labels", ml_model_name=model) == rows)
        serving.wait(lambda model=model: serving.value("ml_window_rows", ml_model_name=model) == rows)
    expected = figures(serving, MODELS[0])
    names = {name for name, _ in expected}
    assert {"ml_drift_score", "ml_performance_accuracy_ratio", "ml_quality_missing_ratio"} <= names
    right = sum(predicted(ride) == ride["tipped"] for ride in rides())
    accuracy = (("ml_model_version", "1"), ("ml_performance_source", "labels"))
    assert expected["ml_performance_accuracy_ratio", accuracy] == right / rows
    for model in MODELS[1:]:
        assert figures(serving, model) == pytest.approx(expected, rel=1e-9, abs=1e-12), model
