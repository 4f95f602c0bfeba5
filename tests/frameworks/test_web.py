"""FastAPI, Flask and Django with OpenTelemetry's own instrumentation, and behind real servers, in their environment."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.ports import free_port
from support.served import ask, serving, together
from support.sink import Sink, listening

for module in ("fastapi", "flask", "django", "opentelemetry.instrumentation.fastapi"):
    pytest.importorskip(module, reason="is in the environment of `make frameworks`")

APPS = {
    "fastapi": """
import asyncio

import httpx
from fastapi import FastAPI


def make():
    app = FastAPI()

    @app.get("/sync")
    def sync():
        return predict()

    @app.get("/async")
    async def asynchronous():
        return await asyncio.to_thread(predict)

    return app


def ask(app, path):
    async def request():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client:
            return await client.get(path)

    answer = asyncio.run(request())
    return answer.json(), answer.headers["X-Prediction-Id"]


def theirs():
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

    FastAPIInstrumentor().instrument()


def ours():
    from otel_ml.frameworks.starlette import StarletteInstrumentor

    StarletteInstrumentor().instrument()
""",
    "flask": """
import flask


def make():
    app = flask.Flask("app")

    @app.get("/sync")
    def sync():
        return predict()

    @app.get("/async")
    def again():
        return predict()

    return app


def ask(app, path):
    answer = app.test_client().get(path)
    return answer.text, answer.headers["X-Prediction-Id"]


def theirs():
    from opentelemetry.instrumentation.flask import FlaskInstrumentor

    FlaskInstrumentor().instrument()


def ours():
    from otel_ml.frameworks.flask import FlaskInstrumentor

    FlaskInstrumentor().instrument()
""",
    "django": """
import asyncio

import django
from django.conf import settings
from django.http import HttpResponse
from django.urls import path


def sync(request):
    return HttpResponse(predict())


async def asynchronous(request):
    return HttpResponse(await asyncio.to_thread(predict))


urlpatterns = [path("sync", sync), path("async", asynchronous)]
settings.configure(SECRET_KEY="x", ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, LOGGING_CONFIG=None, MIDDLEWARE=[])


def make():
    django.setup()


def ask(app, path):
    from django.test import Client

    answer = Client().get(path)
    return answer.content.decode(), answer.headers["X-Prediction-Id"]


def theirs():
    from opentelemetry.instrumentation.django import DjangoInstrumentor

    DjangoInstrumentor().instrument()


def ours():
    from otel_ml.frameworks.django import DjangoInstrumentor

    DjangoInstrumentor().instrument()
""",
}

ORDERS = """
import json, sys

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import otel_ml

exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
churn = otel_ml.Model("churn")


def predict():
    with churn.predict({"age": 3}) as prediction:
        prediction.record(score=0.5)
    return prediction.id


for step in sys.argv[1].split(","):
    {"theirs": theirs, "ours": ours}[step]()
app = make()
seen = []
for path in ("/sync", "/async"):
    exporter.clear()
    body, header = ask(app, path)
    assert body == header, (body, header)
    spans = {span.context.span_id: span for span in exporter.get_finished_spans()}
    [prediction] = [span for span in spans.values() if span.name == "predict churn"]
    kinds, parent = [], prediction.parent
    while parent is not None and parent.span_id in spans:
        kinds.append(spans[parent.span_id].kind.name)
        parent = spans[parent.span_id].parent
    seen.append(kinds)
print(json.dumps(seen))
"""


@pytest.mark.parametrize("framework", APPS)
@pytest.mark.parametrize(
    ("order", "ancestors"), [("theirs,ours", ["SERVER"]), ("ours,theirs", ["SERVER"]), ("ours", [])]
)
def test_a_prediction_is_a_child_of_the_request_in_either_order(
    framework: str, order: str, ancestors: list[str], tmp_path: Path
) -> None:
    script = tmp_path / "urls_and_app.py"
    script.write_text(APPS[framework] + ORDERS)
    done = subprocess.run(
        [sys.executable, str(script), order], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    for kinds in json.loads(done.stdout.splitlines()[-1]):
        # FastAPI's newer versions make spans themselves.
        assert kinds[-1:] == ancestors or (framework == "fastapi" and kinds[-1:] == ["SERVER"])


FLASK_APP = """
from flask import Flask, jsonify, request

import otel_ml

app = Flask(__name__)
churn = otel_ml.Model("churn")


@app.get("/score")
def score():
    with churn.predict({"age": int(request.args["age"])}) as prediction:
        prediction.record(score=0.5)
    return jsonify(prediction.id)
"""

FASTAPI_APP = """
from fastapi import FastAPI

import otel_ml

app = FastAPI()
churn = otel_ml.Model("churn")


@app.get("/score")
def score(age: int):
    with churn.predict({"age": age}) as prediction:
        prediction.record(score=0.5)
    return prediction.id
"""


@pytest.fixture
def sink() -> Iterator[Sink]:
    with listening() as server:
        yield server


@pytest.mark.parametrize(
    "command",
    [
        "gunicorn -w 2 -b 127.0.0.1:PORT flask_app:app",
        "gunicorn -w 2 --threads 4 -b 127.0.0.1:PORT flask_app:app",
        "gunicorn -w 2 --preload -b 127.0.0.1:PORT flask_app:app",
        "uvicorn --port PORT fastapi_app:app",
        "uvicorn --port PORT --workers 2 fastapi_app:app",
    ],
)
def test_workers_of_a_server_lose_nothing(sink: Sink, tmp_path: Path, command: str) -> None:
    (tmp_path / "flask_app.py").write_text(FLASK_APP)
    (tmp_path / "fastapi_app.py").write_text(FASTAPI_APP)
    port = free_port()
    url = f"http://127.0.0.1:{port}/score?age="
    started = command.replace("PORT", str(port)).split()
    with serving(sink.endpoint, tmp_path, started, f"{url}0", OTEL_BSP_SCHEDULE_DELAY="60000"):
        answers = together([lambda age=age: ask(f"{url}{age}") for age in range(1, 101)])
    assert all(answer.headers["x-prediction-id"] == answer.body for answer in answers)
    spans = [span for span in sink.spans() if span.name == "predict churn"]
    made = {f"{span.trace_id.hex()}:{span.span_id.hex()}" for span in spans}
    assert len(made) == len(spans) == 101, "those of SIGTERM included"
    assert {answer.body for answer in answers} <= made
    assert all(span.parent_span_id for span in spans), "each is a child of its request"
