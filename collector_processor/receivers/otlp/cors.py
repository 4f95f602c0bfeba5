"""Cross-origin requests: which web pages may send from a browser, by the Collector's keys."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from pydantic import Field

from collector_processor.serving.http_connection import HttpCall, HttpHandler
from collector_processor.serving.routes import HttpAnswer
from collector_processor.settings.base import Settings

_ALWAYS: Final = frozenset({"accept", "content-type", "content-encoding", "origin", "x-requested-with"})
"""Headers that a browser's SDK cannot do without."""

_LONGEST_ORIGIN: Final = 300
"""A scheme, a host name of 253 characters and a port; a pattern with several ``*`` takes long for longer ones."""


class Cors(Settings):
    """Which web pages may send."""

    allowed_origins: tuple[str, ...] = Field(
        default=(), description="origins, such as `https://*.example.com`; `*` is any number of characters"
    )
    allowed_headers: tuple[str, ...] = Field(
        default=(), description="further headers that a page may send; `*` is every header"
    )
    exposed_headers: tuple[str, ...] = Field(default=(), description="headers of the answer that a page may read")
    max_age: int = Field(default=0, ge=0, description="seconds that a browser may remember the answer; 0: its default")


def with_cors(handler: HttpHandler, cors: Cors) -> HttpHandler:
    """Return the handler for pages as well: it answers what browsers ask before a request, and names the origin."""
    origins = re.compile("|".join(map(_pattern, cors.allowed_origins)), re.IGNORECASE)

    async def answered(call: HttpCall) -> HttpAnswer | None:
        headers = call.head.headers
        origin = headers.get("origin", "")
        allowed = 0 < len(origin) <= _LONGEST_ORIGIN and origins.fullmatch(origin) is not None
        if call.head.method == "OPTIONS" and "access-control-request-method" in headers:
            # Browsers send no token with this question, so it comes before the guard.
            asked = headers.get("access-control-request-headers", "")
            more = _preflight(cors, asked) if allowed else ()
            vary = ("vary", "Origin, Access-Control-Request-Method, Access-Control-Request-Headers")
            return HttpAnswer(b"", status=204, headers=(vary, *(_origin(origin) if allowed else ()), *more))
        answer = await handler(call)
        if answer is None or not allowed:
            return answer
        exposed = (("access-control-expose-headers", ", ".join(cors.exposed_headers)),) if cors.exposed_headers else ()
        return replace(answer, headers=(*answer.headers, ("vary", "Origin"), *_origin(origin), *exposed))

    return answered


def _origin(origin: str) -> tuple[tuple[str, str], ...]:
    return (("access-control-allow-origin", origin), ("access-control-allow-credentials", "true"))


def _preflight(cors: Cors, asked: str) -> Sequence[tuple[str, str]]:
    names = [name.strip().lower() for name in asked.split(",") if name.strip()]
    known = _ALWAYS.union(name.lower() for name in cors.allowed_headers)
    allowed = [name for name in names if "*" in cors.allowed_headers or name in known]
    return (
        ("access-control-allow-methods", "POST"),
        *((("access-control-allow-headers", ", ".join(allowed)),) if allowed else ()),
        *((("access-control-max-age", str(cors.max_age)),) if cors.max_age else ()),
    )


def _pattern(origin: str) -> str:
    r"""Return the pattern of an origin.

    >>> _pattern("https://*.example.com")
    'https://.*\\.example\\.com'
    """
    return ".*".join(map(re.escape, origin.split("*")))
