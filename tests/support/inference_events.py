"""Posts of inference loggers, as their sources write them."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from contextlib import closing
from typing import Any, Literal

Side = Literal["request", "response"]


def kserve(side: Side, identity: str, *, time: str = "", **attributes: str) -> dict[str, str]:
    """Return the headers of KServe's logger (``pkg/logger/worker.go``), with ``time`` those since 0.18."""
    headers = {
        "Ce-Specversion": "1.0",
        "Ce-Id": identity,
        "Ce-Source": "http://localhost:9081/",
        "Ce-Type": f"org.kubeflow.serving.inference.{side}",
        "Ce-Inferenceservicename": "churn",
        "Ce-Namespace": "shop",
        "Ce-Component": "predictor",
        "Ce-Endpoint": "default",
        "Ce-Metadata": "{}",
        "Content-Type": "application/json",
    }
    if time:
        headers |= {"Ce-Time": time, "Ce-Recordedtime": time}
    return headers | {f"Ce-{name.capitalize()}": value for name, value in attributes.items()}


def seldon(side: Side, identity: str, request_id: str) -> dict[str, str]:
    """Return the headers of Seldon Core's executor (``executor/logger/worker.go``)."""
    return {
        "Ce-Specversion": "1.0",
        "Ce-Id": identity,
        "Ce-Requestid": request_id,
        "Ce-Source": "http://:8000/",
        "Ce-Type": f"io.seldon.serving.inference.{side}",
        "Ce-Modelid": "classifier",
        "Ce-Inferenceservicename": "income",
        "Ce-Namespace": "seldon",
        "Ce-Endpoint": "default",
        "Ce-Protocol": "seldon",
        "Ce-Time": "2026-11-29T10:00:00.5Z",
        "Content-Type": "application/json",
    }


def lower(headers: Mapping[str, str]) -> dict[str, str]:
    """Return headers as the receiver has them."""
    return {name.lower(): value for name, value in headers.items()}


def post(port: int, headers: Mapping[str, str], body: object, timeout_s: float = 30.0) -> tuple[int, str]:
    """Post one event; return the status and the text of the answer."""
    octets = body if isinstance(body, bytes) else json.dumps(body).encode()
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)) as connection:
        connection.request("POST", "/", octets, dict(headers))
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def tensor(name: str, shape: list[int], datatype: str, values: Any, **parameters: Any) -> dict[str, Any]:
    """Return a tensor of the Open Inference Protocol."""
    found = {"name": name, "shape": shape, "datatype": datatype, "data": values}
    return found | ({"parameters": parameters} if parameters else {})
