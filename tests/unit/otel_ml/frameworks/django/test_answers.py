"""Django under WSGI and ASGI: the ids of a request's predictions return in its response, and nothing else changes."""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("django")

import django
from django import conf, test
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path

from otel_ml import Model, problems
from otel_ml.frameworks.django import DjangoInstrumentor
from otel_ml.testing import Captured, capture

HEADER = "X-Prediction-Id"


def predict(**arguments: Any) -> str:
    with Model("churn").predict({"age": 3}, **arguments) as prediction:
        prediction.record(score=0.5)
    return prediction.id


def synchronous(request: HttpRequest) -> HttpResponse:
    return HttpResponse(predict())


async def asynchronous(request: HttpRequest) -> HttpResponse:
    return HttpResponse(await asyncio.to_thread(predict))


def none(request: HttpRequest) -> HttpResponse:
    return HttpResponse("")


def named(request: HttpRequest) -> HttpResponse:
    return HttpResponse(predict(id=request.GET["name"]))


def fails(request: HttpRequest) -> HttpResponse:
    predict(id="before")
    raise RuntimeError("secret")


def own(request: HttpRequest) -> HttpResponse:
    predict()
    return HttpResponse("", headers={"X-Prediction-ID": "mine"})


def stream(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(iter([predict()]))


def passing(get_response: Any) -> Any:
    """A middleware of the old kind, which Django runs in a thread under ASGI."""
    return lambda request: get_response(request)


URLS = ModuleType("otel_ml_test_urls")
VIEWS = (synchronous, asynchronous, none, named, fails, own, stream)
URLS.urlpatterns = [path(view.__name__, view) for view in VIEWS]  # type: ignore[attr-defined]


@pytest.fixture(scope="module", autouse=True)
def configured() -> None:
    if not conf.settings.configured:  # by another test of this process
        conf.settings.configure(SECRET_KEY="test", LOGGING_CONFIG=None)
        django.setup()


@pytest.fixture
def captured() -> Iterator[Captured]:
    problems.forget()
    with capture() as captured:
        yield captured


@pytest.fixture
def instrumentor() -> Iterator[DjangoInstrumentor]:
    instrumentor = DjangoInstrumentor()
    yield instrumentor
    if instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.uninstrument()


class Served:
    """Django's own test clients, for both kinds of servers."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.client: Any = (test.AsyncClient if kind == "asgi" else test.Client)(raise_request_exception=False)

    def get(self, where: str) -> Any:
        with test.override_settings(ROOT_URLCONF=URLS, ALLOWED_HOSTS=["*"], DEBUG=False):
            if self.kind == "wsgi":
                return self.client.get(where)

            async def request() -> Any:
                return await self.client.get(where)

            return asyncio.run(request())


@pytest.fixture(params=["wsgi", "asgi"])
def served(request: pytest.FixtureRequest, instrumentor: DjangoInstrumentor, captured: Captured) -> Served:
    served = Served(request.param)
    instrumentor.instrument()
    return served


@pytest.mark.parametrize("where", ["/synchronous", "/asynchronous"])
def test_the_id_returns(served: Served, where: str) -> None:
    answer = served.get(where)
    assert answer.headers[HEADER] == answer.content.decode()


def test_a_middleware_in_a_thread_keeps_it(served: Served) -> None:
    middleware = ModuleType("otel_ml_test_middleware")
    middleware.passing = passing  # type: ignore[attr-defined]
    sys.modules[middleware.__name__] = middleware
    try:
        with test.override_settings(MIDDLEWARE=[f"{middleware.__name__}.passing"]):
            answer = served.get("/asynchronous")
    finally:
        del sys.modules[middleware.__name__]
    assert answer.headers[HEADER] == answer.content.decode()


def test_a_request_without_predictions_has_no_header(served: Served) -> None:
    served.get("/synchronous")
    assert HEADER not in served.get("/none").headers


def test_an_id_cannot_add_a_header(served: Served) -> None:
    answer = served.get("/named?name=a%0D%0ASet-Cookie:%20x=1,b")
    assert answer.headers[HEADER] == "a%0D%0ASet-Cookie:%20x=1%2Cb"
    assert "Set-Cookie" not in answer.headers


def test_an_error_has_the_ids_of_what_was_predicted_before(served: Served) -> None:
    answer = served.get("/fails")
    assert (answer.status_code, answer.headers[HEADER]) == (500, "before")


def test_a_header_of_the_application_stays(served: Served) -> None:
    assert served.get("/own").headers[HEADER] == "mine"


def test_a_stream_has_the_ids_known_when_it_begins(served: Served, captured: Captured) -> None:
    answer = served.get("/stream")
    assert answer.headers[HEADER] == captured.predictions[0].id


def test_a_cached_response_does_not_return_the_id_of_an_earlier_request(served: Served, captured: Captured) -> None:
    from django.core.cache import cache

    cache.clear()
    caching = ["django.middleware.cache.UpdateCacheMiddleware", "django.middleware.cache.FetchFromCacheMiddleware"]
    with test.override_settings(MIDDLEWARE=caching):
        first, second = served.get("/synchronous"), served.get("/synchronous")
    assert first.content == second.content
    assert (HEADER in first.headers, HEADER in second.headers) == (True, False)


@pytest.mark.parametrize(("argument", "header"), [("X-Score-Id", "X-Score-Id"), ("off", None)])
def test_the_header_is_named_or_off(
    instrumentor: DjangoInstrumentor, captured: Captured, argument: str, header: str | None
) -> None:
    instrumentor.instrument(prediction_id_header=argument)
    answer = Served("wsgi").get("/synchronous")
    assert {name for name in answer.headers if name.endswith("-Id")} == ({header} if header else set())


def test_uninstrument_restores_the_class(instrumentor: DjangoInstrumentor, captured: Captured) -> None:
    from django.core.handlers.base import BaseHandler

    originals = {name: vars(BaseHandler)[name] for name in ("get_response", "get_response_async")}
    for _ in range(2):
        instrumentor.instrument()
        for name, original in originals.items():
            replaced = vars(BaseHandler)[name]
            assert replaced is not original
            assert inspect.iscoroutinefunction(replaced) == inspect.iscoroutinefunction(original)
            assert inspect.signature(replaced) == inspect.signature(original)
        assert HEADER in Served("wsgi").get("/synchronous").headers
        instrumentor.uninstrument()
        assert {name: vars(BaseHandler)[name] for name in originals} == originals
        assert HEADER not in Served("wsgi").get("/synchronous").headers
