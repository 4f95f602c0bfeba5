"""Starlette and FastAPI: the ids of a request's predictions return in its response, and nothing else changes."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("httpx")

from fastapi import BackgroundTasks, FastAPI, WebSocket
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

from otel_ml import Model, problems
from otel_ml.frameworks.starlette import StarletteInstrumentor
from otel_ml.testing import Captured, capture
from support.asgi import get, websocket

HEADER = "x-prediction-id"


def predict(rows: int = 1, **arguments: Any) -> str:
    with Model("churn").predict([[1.0]] * rows, **arguments) as prediction:
        prediction.record(score=[0.5] * rows)
    return prediction.id


def made() -> FastAPI:
    app = FastAPI()
    app.state.late = []

    @app.get("/async")
    async def asynchronous() -> str:
        return predict()

    @app.get("/sync")
    def synchronous() -> str:
        return predict()

    @app.get("/many")
    async def many() -> list[str]:
        return [await asyncio.to_thread(predict), predict(rows=3)]

    @app.get("/none")
    async def none() -> None: ...

    @app.get("/named")
    async def named(name: str) -> str:
        return predict(id=name)

    @app.get("/fails")
    def fails() -> None:
        predict(id="before")
        raise RuntimeError("secret")

    @app.get("/own")
    def own(response: Response) -> None:
        predict()
        response.headers["X-Prediction-ID"] = "mine"

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        first = predict()

        async def body() -> AsyncIterator[str]:
            yield first
            predict(id="too-late")

        return StreamingResponse(body())

    @app.get("/background")
    async def later(tasks: BackgroundTasks) -> str:
        tasks.add_task(lambda: app.state.late.append(predict()))
        return predict()

    @app.websocket("/ws")
    async def ws(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text(predict())
        await socket.close()

    return app


@pytest.fixture
def captured() -> Iterator[Captured]:
    problems.forget()
    with capture() as captured:
        yield captured


@pytest.fixture
def instrumentor() -> Iterator[StarletteInstrumentor]:
    instrumentor = StarletteInstrumentor()
    yield instrumentor
    if instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.uninstrument()


@pytest.fixture(params=["app made before", "app made after"])
def app(request: pytest.FixtureRequest, instrumentor: StarletteInstrumentor, captured: Captured) -> FastAPI:
    if request.param == "app made before":
        app = made()
        instrumentor.instrument()
        return app
    instrumentor.instrument()
    return made()


@pytest.mark.parametrize("path", ["/async", "/sync", "/background"])
def test_the_id_returns(app: FastAPI, path: str) -> None:
    [answer] = get(app, path)
    assert answer.headers[HEADER] == answer.json()


def test_several_calls_return_together_and_a_batch_returns_its_base_id(app: FastAPI, captured: Captured) -> None:
    [answer] = get(app, "/many")
    single, base = answer.json()
    assert answer.headers[HEADER] == f"{single},{base}"
    assert [seen.id for seen in captured.predictions] == [single, f"{base}:0", f"{base}:1", f"{base}:2"]


def test_a_request_without_predictions_has_no_header(app: FastAPI) -> None:
    get(app, "/async")
    [answer] = get(app, "/none")
    assert HEADER not in answer.headers


def test_an_id_cannot_add_a_header(app: FastAPI) -> None:
    [answer] = get(app, "/named?name=a%0D%0ASet-Cookie:%20x=1,b")
    assert answer.headers[HEADER] == "a%0D%0ASet-Cookie:%20x=1%2Cb"
    assert "set-cookie" not in answer.headers


def test_an_error_has_the_ids_of_what_was_predicted_before(app: FastAPI) -> None:
    [answer] = get(app, "/fails")
    assert (answer.status_code, answer.headers[HEADER]) == (500, "before")


def test_a_header_of_the_application_stays(app: FastAPI) -> None:
    [answer] = get(app, "/own")
    assert answer.headers.get_list(HEADER) == ["mine"]


def test_a_stream_has_the_ids_known_when_it_begins(app: FastAPI, captured: Captured) -> None:
    [answer] = get(app, "/stream")
    assert answer.headers[HEADER] == answer.text
    assert len(captured.predictions) == 2


def test_what_a_background_task_predicts_comes_too_late_and_is_observed(app: FastAPI, captured: Captured) -> None:
    [answer] = get(app, "/background")
    first, late = captured.predictions
    assert answer.headers[HEADER] == first.id
    assert app.state.late == [late.id]


def test_websockets_pass(app: FastAPI, captured: Captured) -> None:
    accepted, answer, _ = websocket(app, "/ws")
    assert not accepted["headers"]
    assert answer["text"] == captured.predictions[0].id


def test_requests_at_once_have_their_own_ids(app: FastAPI, captured: Captured) -> None:
    answers = get(app, *["/async", "/sync"] * 100)
    assert all(answer.headers[HEADER] == answer.json() for answer in answers)
    assert len({answer.json() for answer in answers}) == len(captured.predictions) == 200


def test_mounted_applications_and_middleware_add_it_once(
    instrumentor: StarletteInstrumentor, captured: Captured
) -> None:
    instrumentor.instrument()
    inner = Starlette(routes=[Route("/", lambda request: PlainTextResponse(predict()))])
    middle = FastAPI()
    middle.mount("/in", inner)
    outer = Starlette(routes=[Mount("/mid", middle)])

    async def passing(request: Any, call_next: Any) -> Any:
        return await call_next(request)

    outer.add_middleware(BaseHTTPMiddleware, dispatch=passing)
    [answer] = get(outer, "/mid/in/")
    assert answer.headers.get_list(HEADER) == [answer.text]


@pytest.mark.parametrize(("argument", "header"), [("X-Score-Id", "x-score-id"), ("off", None)])
def test_the_header_is_named_or_off(
    instrumentor: StarletteInstrumentor, captured: Captured, argument: str, header: str | None
) -> None:
    instrumentor.instrument(prediction_id_header=argument)
    [answer] = get(made(), "/async")
    assert {name for name in answer.headers if name.endswith("-id")} == ({header} if header else set())


def test_a_server_sees_that_an_application_is_not_a_factory(instrumentor: StarletteInstrumentor) -> None:
    """uvicorn calls what it is given without arguments."""
    instrumentor.instrument()
    for app in (Starlette(), FastAPI()):
        with pytest.raises(TypeError):
            app()  # type: ignore[call-arg]


def test_a_bad_name_is_refused_before_anything_is_replaced(instrumentor: StarletteInstrumentor) -> None:
    with pytest.raises(ValueError, match="is not the name of a header"):
        instrumentor.instrument(prediction_id_header="a b")
    assert not instrumentor.is_instrumented_by_opentelemetry


def test_it_works_without_an_sdk(instrumentor: StarletteInstrumentor) -> None:
    instrumentor.instrument()
    [answer] = get(made(), "/async")
    assert answer.status_code == 200
    assert HEADER not in answer.headers


def test_uninstrument_restores_the_class(instrumentor: StarletteInstrumentor, captured: Captured) -> None:
    original = vars(Starlette)["__call__"]
    app = made()

    def has_header() -> bool:
        return HEADER in get(app, "/async")[0].headers

    for _ in range(2):
        instrumentor.instrument()
        replaced = vars(Starlette)["__call__"]
        assert replaced is not original
        assert inspect.iscoroutinefunction(replaced)
        assert inspect.signature(replaced) == inspect.signature(original)
        assert has_header()
        instrumentor.uninstrument()
        assert vars(Starlette)["__call__"] is original
        assert not has_header()
