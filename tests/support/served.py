"""A model server under ``opentelemetry-instrument``, and the predictions that it sends."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_ml.encode.reading import CapturedPrediction, read_predictions
from support.sink import Sink
from support.waiting import wait_until

ROOT = Path(__file__).parents[2]
SCRIPTS = Path(sys.executable).parent
LOG = "server.log"


@dataclass(frozen=True)
class Answer:
    """What a server answers: its status, headers (lower case) and the JSON of its body."""

    status: int
    headers: dict[str, str]
    body: Any


def ask(url: str, body: object = None, **headers: str) -> Answer:
    """Send JSON, or get; a refusal is an answer, too. In the names of headers ``_`` stands for ``-``."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    sent = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, sent, {"Content-Type": "application/json", **names})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return _answer(response.status, response.headers, response.read())
    except urllib.error.HTTPError as error:
        with error:
            return _answer(error.code, error.headers, error.read())


def _answer(status: int, headers: Any, body: bytes) -> Answer:
    try:
        content: Any = json.loads(body) if body else None
    except ValueError:
        content = body.decode(errors="replace")
    return Answer(status, {name.lower(): value for name, value in headers.items()}, content)


def together(calls: list[Any]) -> list[Answer]:
    """Make calls at once, each in a thread."""
    with ThreadPoolExecutor(min(len(calls), 32)) as pool:
        return [done.result() for done in [pool.submit(call) for call in calls]]


@contextlib.contextmanager
def running(
    endpoint: str, folder: Path, command: list[object], *, scripts: Path = SCRIPTS, **environ: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program in a folder, its output in ``server.log``; it is stopped by SIGTERM, with all its processes.

    It sends to ``endpoint``, over HTTP; ``scripts`` are those of its environment.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "PYTHONPATH"))}
    environment |= {
        "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_BSP_SCHEDULE_DELAY": "200",
        **environ,
    }
    with (folder / LOG).open("wb") as output:
        server = subprocess.Popen(
            [str(scripts / "opentelemetry-instrument"), *map(str, command)],
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield server
        finally:
            server.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(30)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)
            server.wait()


@contextlib.contextmanager
def serving(
    endpoint: str,
    folder: Path,
    command: list[object],
    ready: str,
    *,
    scripts: Path = SCRIPTS,
    timeout_s: float = 120,
    **environ: str,
) -> Iterator[None]:
    """Run a server, as in :func:`running`, once ``ready`` answers with 200."""
    log = folder / LOG
    with running(endpoint, folder, command, scripts=scripts, **environ) as server:

        def answers() -> bool:
            assert server.poll() is None, log.read_text(errors="replace")
            with contextlib.suppress(OSError):
                return ask(ready).status == 200
            return False

        wait_until(answers, timeout_s, lambda: log.read_text(errors="replace"))
        yield


def predictions(sink: Sink) -> list[CapturedPrediction]:
    """All predictions that have arrived."""
    spans = [span for span in sink.spans() if span.name.startswith("predict ")]
    return [prediction for span in spans for prediction in read_predictions(_readable(span))]


def wait_for_predictions(sink: Sink, count: int) -> list[CapturedPrediction]:
    """Wait until this many predictions have arrived, and return them."""
    wait_until(lambda: len(predictions(sink)) >= count, explain=lambda: predictions(sink))
    return predictions(sink)


def _readable(span: Span) -> Any:
    context = SimpleNamespace(
        trace_id=int.from_bytes(span.trace_id, "big"), span_id=int.from_bytes(span.span_id, "big")
    )
    return SimpleNamespace(
        attributes={each.key: _value(each.value) for each in span.attributes},
        get_span_context=lambda: context,
        start_time=span.start_time_unix_nano,
    )


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return tuple(map(_value, value.array_value.values))
    if kind == "kvlist_value":
        return {each.key: _value(each.value) for each in value.kvlist_value.values}
    return getattr(value, kind) if kind else None
