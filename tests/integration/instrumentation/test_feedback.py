"""The feedback route in real FastAPI, Starlette, Flask and Django applications, and on real servers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import httpx
import pytest
import requests
import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from otel_ml import feedback
from otel_ml.testing import Captured, capture
from support.waiting import wait_until

TOKEN = "s3cret-token"
HEADERS = {"authorization": f"Bearer {TOKEN}"}
LABEL = {"model": "fraud", "prediction_id": "a", "class": "yes"}
Post = Callable[[str, Any, dict[str, str]], int]
Get = Callable[[str], tuple[int, str]]


PROJECTS = contextlib.ExitStack()
"""Settings of Django while a test runs."""


@pytest.fixture(autouse=True)
def captured() -> Iterator[Captured]:
    with PROJECTS, capture() as found:
        yield found


def of_client(client: Any) -> tuple[Post, Get]:
    def post(path: str, content: Any, headers: dict[str, str]) -> int:
        return int(client.post(path, json=content, headers=headers).status_code)

    def get(path: str) -> tuple[int, str]:
        answer = client.get(path)
        return int(answer.status_code), str(answer.text)

    return post, get


class AsgiClient:
    """Asks an ASGI application in this process."""

    def __init__(self, app: Any, root_path: str = "") -> None:
        self._transport = httpx.ASGITransport(app=app, root_path=root_path)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return asyncio.run(self._ask("POST", path, **options))

    def get(self, path: str) -> httpx.Response:
        return asyncio.run(self._ask("GET", path))

    async def _ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        async with httpx.AsyncClient(
            transport=self._transport, base_url="http://testserver", follow_redirects=True
        ) as client:
            return await client.request(method, path, **options)


def hello_of_starlette(request: Any) -> PlainTextResponse:
    return PlainTextResponse("hello")


def fastapi_wrapped() -> tuple[Post, Get]:
    fastapi: Any = pytest.importorskip("fastapi")
    app = fastapi.FastAPI()
    app.get("/hello")(lambda: "hello")
    app.add_middleware(feedback.asgi, token=TOKEN)
    return of_client(AsgiClient(app))


def fastapi_mounted() -> tuple[Post, Get]:
    fastapi: Any = pytest.importorskip("fastapi")
    app = fastapi.FastAPI()
    app.get("/hello")(lambda: "hello")
    app.mount("/feedback", feedback.asgi(token=TOKEN))
    return of_client(AsgiClient(app, root_path="/api"))


def starlette_wrapped() -> tuple[Post, Get]:
    return of_client(AsgiClient(feedback.asgi(Starlette(routes=[Route("/hello", hello_of_starlette)]), token=TOKEN)))


def starlette_mounted() -> tuple[Post, Get]:
    routes = [Route("/hello", hello_of_starlette), Mount("/feedback", feedback.asgi(token=TOKEN))]
    return of_client(AsgiClient(Starlette(routes=routes)))


def flask_wrapped() -> tuple[Post, Get]:
    flask: Any = pytest.importorskip("flask")
    app = flask.Flask(__name__)
    app.get("/hello")(lambda: "hello")
    app.wsgi_app = feedback.wsgi(app.wsgi_app, token=TOKEN)
    return of_client(app.test_client())


def flask_mounted() -> tuple[Post, Get]:
    flask: Any = pytest.importorskip("flask")
    from werkzeug.middleware.dispatcher import DispatcherMiddleware

    app = flask.Flask(__name__)
    app.get("/hello")(lambda: "hello")
    app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/feedback": feedback.wsgi(token=TOKEN)})
    return of_client(app.test_client())


def django_project() -> None:
    """Configure Django, which another test of this process may have done in another way."""
    django: Any = pytest.importorskip("django")
    from django.conf import settings
    from django.test.utils import override_settings

    if not settings.configured:
        settings.configure(SECRET_KEY="for tests")
        django.setup()
    project = override_settings(
        ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, MIDDLEWARE=["django.middleware.csrf.CsrfViewMiddleware"]
    )
    PROJECTS.enter_context(project)


def hello_of_django(request: Any) -> Any:
    from django.http import HttpResponse

    return HttpResponse("hello")


class _Patterns(list[Any]):
    """The address patterns of the Django project, which need Django only when it asks for them."""

    def __iter__(self) -> Iterator[Any]:
        from django.urls import path

        return iter([path("hello", hello_of_django)])


urlpatterns = _Patterns([None])


def django_wsgi() -> tuple[Post, Get]:
    django_project()
    from django.core.wsgi import get_wsgi_application
    from werkzeug.test import Client

    return of_client(Client(feedback.wsgi(get_wsgi_application(), token=TOKEN)))


def django_asgi() -> tuple[Post, Get]:
    django_project()
    from django.core.asgi import get_asgi_application

    return of_client(AsgiClient(feedback.asgi(get_asgi_application(), token=TOKEN)))


APPLICATIONS = [
    fastapi_wrapped, fastapi_mounted, starlette_wrapped, starlette_mounted, flask_wrapped, flask_mounted,
    django_wsgi, django_asgi,
]  # fmt: skip


@pytest.mark.parametrize("make", APPLICATIONS, ids=lambda make: make.__name__)
def test_an_application_takes_labels_beside_its_own_routes(make: Any, captured: Captured) -> None:
    post, get = make()
    assert post("/feedback", LABEL, HEADERS) == 202
    assert post("/feedback", [LABEL, {**LABEL, "prediction_id": 7}], HEADERS) == 202
    assert post("/feedback", LABEL, {"authorization": "Bearer wrong"}) == 401
    assert post("/feedback", {**LABEL, "clas": 1}, HEADERS) == 422
    status, document = get("/feedback/openapi.json")
    assert (status, json.loads(document)["openapi"]) == (200, "3.1.0")
    status, text = get("/hello")
    assert (status, text.strip('"')) == (200, "hello")
    assert get("/missing")[0] == 404
    assert [label.id for label in captured.labels] == ["a", "a", "7"]


@pytest.fixture
def asgi_server() -> Iterator[int]:
    config = uvicorn.Config(feedback.asgi(token=TOKEN), port=0, log_level="critical")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join()


class Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def wsgi_server() -> Iterator[int]:
    server = make_server("127.0.0.1", 0, feedback.wsgi(token=TOKEN), handler_class=Quiet)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("kind", ["asgi_server", "wsgi_server"])
def test_a_real_server_takes_labels_and_refuses_what_is_too_large_unread(
    kind: str, captured: Captured, request: pytest.FixtureRequest
) -> None:
    port = request.getfixturevalue(kind)
    url = f"http://127.0.0.1:{port}/feedback"
    assert requests.post(url, json=LABEL, headers=HEADERS, timeout=30).status_code == 202
    assert requests.get(f"{url}/openapi.json", timeout=30).json()["info"]["title"] == "Feedback for models"
    head = (
        f"POST /feedback HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
        "Content-Type: application/json\r\nContent-Length: 9000000000\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
        sock.sendall(head.encode())
        assert b" 413 " in sock.recv(4096)
    assert len(captured.labels) == 1


def test_callers_that_are_slow_hold_up_nobody_else(asgi_server: int, captured: Captured) -> None:
    head = (
        f"POST /feedback HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
        "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    )
    slow = [socket.create_connection(("127.0.0.1", asgi_server), timeout=30) for _ in range(50)]
    try:
        for sock in slow:
            sock.sendall(head.encode())
        url = f"http://127.0.0.1:{asgi_server}/feedback"
        assert requests.post(url, json=LABEL, headers=HEADERS, timeout=30).status_code == 202
    finally:
        for sock in slow:
            sock.close()
    assert requests.post(url, json=LABEL, headers=HEADERS, timeout=30).status_code == 202
    assert [label.id for label in captured.labels] == ["a", "a"]


def test_a_body_in_chunks_without_a_length_is_bounded(asgi_server: int, captured: Captured) -> None:
    def parts() -> Iterator[bytes]:
        yield b"["
        for _ in range(40):
            yield b" " * 65_536

    url = f"http://127.0.0.1:{asgi_server}/feedback"
    answer = requests.post(url, data=parts(), headers={**HEADERS, "content-type": "application/json"}, timeout=30)
    assert answer.status_code == 413
    assert not captured.labels
