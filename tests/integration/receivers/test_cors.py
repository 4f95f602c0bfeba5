"""OTLP over HTTP from web pages, by the rules that browsers follow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import requests

from collector_processor.own.telemetry import Telemetry
from collector_processor.receivers.otlp.cors import Cors
from collector_processor.security.credentials import Tokens
from collector_processor.security.guard import Guard

PAGE = "https://shop.example.com"
JSON = {"Content-Type": "application/json"}


def ask(service: Any, origin: str, headers: str = "content-type") -> requests.Response:
    """What a browser asks before it sends."""
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": headers}
    return requests.options(f"http://{service.http_address}/v1/traces", headers=asked, timeout=10)


def post(service: Any, origin: str, **headers: str) -> requests.Response:
    url = f"http://{service.http_address}/v1/traces"
    return requests.post(url, b"{}", headers={**JSON, "Origin": origin, **headers}, timeout=10)


@pytest.mark.parametrize("pattern", ["*", "https://*.example.com", PAGE, "HTTPS://SHOP.example.com"])
def test_an_allowed_page_may_send(serve: Callable[..., Any], pattern: str) -> None:
    cors = Cors(allowed_origins=("http://other", pattern), exposed_headers=("Retry-After",), max_age=7200)
    service = serve(http={"cors": cors})
    answer = ask(service, PAGE)
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert answer.headers["access-control-allow-methods"] == "POST"
    assert answer.headers["access-control-allow-headers"] == "content-type"
    assert answer.headers["access-control-max-age"] == "7200"
    sent = post(service, PAGE)
    assert (sent.status_code, sent.headers["access-control-allow-origin"]) == (200, PAGE)
    assert sent.headers["access-control-expose-headers"] == "Retry-After"
    assert "Origin" in sent.headers["vary"]


@pytest.mark.parametrize(
    "origin",
    ["https://example.org", "https://shop.example.com.evil.org", "http://shop.example.com", "null", "x" * 999],
)
def test_another_page_may_not(serve: Callable[..., Any], origin: str) -> None:
    service = serve(http={"cors": Cors(allowed_origins=("https://*.example.com",))})
    for answer in (ask(service, origin), post(service, origin)):
        assert not any(name.lower().startswith("access-control") for name in answer.headers)


def test_headers_are_allowed_by_name_or_all(serve: Callable[..., Any]) -> None:
    named = serve(http={"cors": Cors(allowed_origins=("*",), allowed_headers=("X-Tenant",))})
    every = serve(http={"cors": Cors(allowed_origins=("*",), allowed_headers=("*",))})
    asked = "content-type, x-tenant, x-other"
    assert ask(named, PAGE, asked).headers["access-control-allow-headers"] == "content-type, x-tenant"
    assert ask(every, PAGE, asked).headers["access-control-allow-headers"] == asked


def test_without_the_key_nothing_changes(service: Any) -> None:
    assert ask(service, PAGE).status_code == 405
    assert "access-control-allow-origin" not in post(service, PAGE).headers


def test_a_browser_may_ask_without_a_token_and_reads_why_it_is_refused(serve: Callable[..., Any]) -> None:
    guard = Guard(Tokens("extensions.x", ("s3cret",), None), Telemetry(), key="some")
    service = serve(http={"guard": guard, "cors": Cors(allowed_origins=("*",), allowed_headers=("Authorization",))})
    assert ask(service, PAGE, "authorization").headers["access-control-allow-headers"] == "authorization"
    refused = post(service, PAGE)
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, PAGE)
    assert post(service, PAGE, Authorization="Bearer s3cret").status_code == 200


@pytest.mark.parametrize("origin", ["https://a\r\nx: y", "https://é"])
def test_an_origin_cannot_add_headers(serve: Callable[..., Any], origin: str) -> None:
    service = serve(http={"cors": Cors(allowed_origins=("*",))})
    try:
        answer = requests.post(
            f"http://{service.http_address}/v1/traces", b"{}", headers={**JSON, "Origin": origin.encode()}, timeout=10
        )
    except requests.exceptions.InvalidHeader:
        return
    assert answer.status_code == 200
    assert "x" not in answer.headers


def test_an_origin_that_is_longer_than_a_host_name_is_not_matched_at_all(serve: Callable[..., Any]) -> None:
    service = serve(http={"cors": Cors(allowed_origins=("https://*.*.example.com",))})
    assert "access-control-allow-origin" in ask(service, "https://a.b.example.com").headers
    # A pattern with several stars would take many seconds for it, in the receiver's event loop.
    assert "access-control-allow-origin" not in ask(service, "https://" + "." * 60_000).headers
