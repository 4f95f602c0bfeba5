"""Flask: the ids of a request's predictions return in its response, and nothing else changes."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

pytest.importorskip("flask")

from flask import Flask, Response, request
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import Client

from otel_ml import Model, problems
from otel_ml.frameworks.flask import FlaskInstrumentor
from otel_ml.testing import Captured, capture

HEADER = "X-Prediction-Id"


def predict(**arguments: Any) -> str:
    with Model("churn").predict({"age": 3}, **arguments) as prediction:
        prediction.record(score=0.5)
    return prediction.id


def made() -> Flask:
    app = Flask("app")

    @app.get("/one")
    def one() -> str:
        return predict()

    @app.get("/two")
    def two() -> str:
        return f"{predict()},{predict()}"

    @app.get("/none")
    def none() -> str:
        return ""

    @app.get("/named")
    def named() -> str:
        return predict(id=request.args["name"])

    @app.get("/fails")
    def fails() -> str:
        predict(id="before")
        raise RuntimeError("secret")

    @app.get("/own")
    def own() -> Response:
        predict()
        return Response("", headers={"X-Prediction-ID": "mine"})

    @app.get("/stream")
    def stream() -> Response:
        first = predict()

        def body() -> Iterator[str]:
            yield first
            predict(id="too-late")

        return Response(body())

    return app


@pytest.fixture
def captured() -> Iterator[Captured]:
    problems.forget()
    with capture() as captured:
        yield captured


@pytest.fixture
def instrumentor() -> Iterator[FlaskInstrumentor]:
    instrumentor = FlaskInstrumentor()
    yield instrumentor
    if instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.uninstrument()


@pytest.fixture(params=["app made before", "app made after"])
def client(request: pytest.FixtureRequest, instrumentor: FlaskInstrumentor, captured: Captured) -> Client:
    if request.param == "app made before":
        app = made()
        instrumentor.instrument()
    else:
        instrumentor.instrument()
        app = made()
    return Client(app)


@pytest.mark.parametrize("path", ["/one", "/two"])
def test_the_ids_return(client: Client, path: str) -> None:
    answer = client.get(path)
    assert answer.headers[HEADER] == answer.text


def test_a_request_without_predictions_has_no_header(client: Client) -> None:
    client.get("/one")
    assert HEADER not in client.get("/none").headers


def test_an_id_cannot_add_a_header(client: Client) -> None:
    answer = client.get("/named?name=a%0D%0ASet-Cookie:%20x=1,b")
    assert answer.headers[HEADER] == "a%0D%0ASet-Cookie:%20x=1%2Cb"
    assert "Set-Cookie" not in answer.headers


def test_an_error_has_the_ids_of_what_was_predicted_before(client: Client) -> None:
    answer = client.get("/fails")
    assert (answer.status_code, answer.headers[HEADER]) == (500, "before")


def test_a_header_of_the_application_stays(client: Client) -> None:
    assert client.get("/own").headers.getlist(HEADER) == ["mine"]


def test_a_stream_has_the_ids_known_when_it_begins(client: Client, captured: Captured) -> None:
    answer = client.get("/stream")
    assert answer.headers[HEADER] == answer.text
    assert len(captured.predictions) == 2


def test_threads_of_the_server_have_their_own_ids(client: Client, captured: Captured) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(client.get, ["/one"] * 400))
    assert all(answer.headers[HEADER] == answer.text for answer in answers)
    assert len({answer.text for answer in answers}) == len(captured.predictions) == 400


def test_dispatchers_and_wrapped_applications_add_it_once(instrumentor: FlaskInstrumentor, captured: Captured) -> None:
    instrumentor.instrument()
    app, inner = made(), made()
    app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/inner": inner, "/bare": inner.wsgi_app})  # type: ignore[method-assign]
    for path in ("/one", "/inner/one", "/bare/one"):
        answer = Client(app).get(path)
        assert answer.headers.getlist(HEADER) == [answer.text]


def test_a_flask_application_mounted_in_another_server_adds_it_once(
    instrumentor: FlaskInstrumentor, captured: Captured
) -> None:
    pytest.importorskip("starlette")
    wsgi = pytest.importorskip("a2wsgi", reason="mounts WSGI applications")
    from starlette.applications import Starlette
    from starlette.routing import Mount

    from otel_ml.frameworks.starlette import StarletteInstrumentor
    from support.asgi import get

    instrumentor.instrument()
    StarletteInstrumentor().instrument()
    try:
        [answer] = get(Starlette(routes=[Mount("/", wsgi.WSGIMiddleware(made()))]), "/one")
    finally:
        StarletteInstrumentor().uninstrument()
    assert answer.headers.get_list(HEADER) == [answer.text]


@pytest.mark.parametrize(("argument", "header"), [("X-Score-Id", "X-Score-Id"), ("off", None)])
def test_the_header_is_named_or_off(
    instrumentor: FlaskInstrumentor, captured: Captured, argument: str, header: str | None
) -> None:
    instrumentor.instrument(prediction_id_header=argument)
    answer = Client(made()).get("/one")
    assert {name for name, _ in answer.headers if name.endswith("-Id")} == ({header} if header else set())


def test_uninstrument_restores_the_class(instrumentor: FlaskInstrumentor, captured: Captured) -> None:
    originals = {name: vars(Flask)[name] for name in ("__call__", "wsgi_app")}
    client = Client(made())
    for _ in range(2):
        instrumentor.instrument()
        for name, original in originals.items():
            assert vars(Flask)[name] is not original
            assert inspect.signature(vars(Flask)[name]) == inspect.signature(original)
        assert HEADER in client.get("/one").headers
        instrumentor.uninstrument()
        assert {name: vars(Flask)[name] for name in originals} == originals
        assert HEADER not in client.get("/one").headers
