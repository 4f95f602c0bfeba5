"""Events of an inference logger: joined, made a request of OTLP and decoded, beside that request alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.measure import Row, ratio, together
from collector_processor.decode import decode
from collector_processor.own.telemetry import Telemetry
from collector_processor.receivers.inference_logger.joined import Joined
from collector_processor.receivers.inference_logger.settings import InferenceLoggerSettings, LoggedModel

FEATURES = 20
CALLS = {1: 1000, 100: 50}
"""Calls of one round, by rows of a call."""
_ROUNDS = 7
_START_NS = 1_750_000_000 * 10**9


def rows(progress: Callable[[str], None]) -> Iterator[Row]:
    """One line for each form of the body and number of rows."""
    for count in CALLS:
        for form in ("V1", "V2"):
            progress(f"events: {form}, {count} rows a call")
            yield _row(form, count)


def _row(form: str, count: int) -> Row:
    calls = [_call(form, count, number) for number in range(CALLS[count])]
    joined = _joined()
    requests = [body for call in calls for headers, event in call if (body := joined.take(headers, event, _START_NS))]

    def events() -> None:
        receiver = _joined()
        for call in calls:
            for headers, event in call:
                decode("traces", receiver.take(headers, event, _START_NS), _START_NS)

    def otlp() -> None:
        for body in requests:
            decode("traces", body, _START_NS)

    taken, plain = together([events, otlp], _ROUNDS)
    return Row(
        f"events of KServe's logger, {form}, calls of {count} rows of {FEATURES} features: joined and decoded",
        f"{2 * len(calls) / min(taken):,.0f} events/s, {count * len(calls) / min(taken):,.0f} rows/s; "
        f"{ratio(taken, plain):.1f} × the same rows as OTLP",
        baseline=f"one request of OTLP a call, decoded: {count * len(calls) / min(plain):,.0f} rows/s",
    )


def _joined() -> Joined:
    settings = InferenceLoggerSettings(models={"churn": LoggedModel(outputs="class")})
    return Joined(settings, Telemetry(), "receivers.inference_logger")


def _call(form: str, count: int, number: int) -> list[tuple[dict[str, str], bytes]]:
    rng = np.random.default_rng(number)
    table = rng.normal(size=(count, FEATURES)).round(6)
    labels = rng.integers(0, 2, count).tolist()
    if form == "V1":
        names = [f"feature_{column}" for column in range(FEATURES)]
        request: Any = {"instances": [dict(zip(names, row, strict=True)) for row in table.tolist()]}
        response: Any = {"predictions": labels}
    else:
        content = {"name": "input-0", "shape": [count, FEATURES], "datatype": "FP64", "data": table.ravel().tolist()}
        request = {"inputs": [content]}
        output = {"name": "predict", "shape": [count], "datatype": "INT64", "data": labels}
        response = {"model_name": "churn", "outputs": [output]}
    return [(_headers(side, number), json.dumps(body).encode()) for side, body in _sides(request, response)]


def _sides(request: Any, response: Any) -> Iterator[tuple[str, Any]]:
    yield "request", request
    yield "response", response


def _headers(side: str, number: int) -> dict[str, str]:
    return {
        "ce-id": f"call-{number}",
        "ce-type": f"org.kubeflow.serving.inference.{side}",
        "ce-time": "2026-11-29T10:00:00.5Z",
        "ce-recordedtime": "2026-11-29T10:00:00.5Z",
        "ce-inferenceservicename": "churn",
        "ce-namespace": "shop",
        "ce-component": "predictor",
        "ce-endpoint": "default",
        "ce-metadata": "{}",
        "content-type": "application/json",
    }
