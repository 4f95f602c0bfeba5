"""Returns the ids of the predictions made in a request as a header of its response, for every web framework.

The first framework that sees a request opens it and adds the header; one that is mounted inside adds nothing. The
header has the ids that are known when the response begins. What a streamed body or a background task predicts comes too
late.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final
from urllib.parse import quote

from otel_ml.config import ENV_PREDICTION_ID_HEADER
from otel_ml.frameworks.base import shielded
from otel_ml.problems import report
from otel_ml.served import Request, ServedCall, serving

_log = logging.getLogger(__name__)

DEFAULT_HEADER: Final = "X-Prediction-Id"
MAX_CHARS: Final = 1024
"""Of the header's value; proxies refuse responses whose headers exceed 4 KiB together."""
_OFF: Final = ("off", "false", "no", "0")
_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_TAKEN: Final = re.compile(
    "(content|transfer|access-control|proxy|www|sec|set|keep)-.*"
    "|authorization|connection|cookie|date|etag|expires|host|location|server|te|trailer|upgrade|vary"
)
"""Headers that mean something already."""
_SAFE: Final = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in ',%"')
"""What an id may have in the header as it is; the comma separates, and the percent sign escapes."""

_answering: ContextVar[bool] = ContextVar("otel_ml_answering", default=False)

is_answering: Final = _answering.get
"""Return whether a framework around this one answers the request already, and returns its ids."""


def chosen_header(argument: object, environ: Mapping[str, str]) -> str:
    """Return the header's name: the argument, else the variable, else ``X-Prediction-Id``; empty if it is off.

    A bad argument raises :class:`ValueError`; a bad variable is logged, and the default is used.

    >>> chosen_header(None, {}), chosen_header("X-Score-Id", {})
    ('X-Prediction-Id', 'X-Score-Id')
    >>> chosen_header(None, {"OTEL_ML_PREDICTION_ID_HEADER": "off"})
    ''
    >>> chosen_header("X: 1", {})
    Traceback (most recent call last):
    ...
    ValueError: prediction_id_header: 'X: 1' is not the name of a header; allowed: X-Prediction-Id, a similar name, off
    """
    if argument is not None:
        return "" if argument is False else _header("prediction_id_header", str(argument))
    raw = environ.get(ENV_PREDICTION_ID_HEADER, "").strip()
    if not raw:
        return DEFAULT_HEADER
    try:
        return _header(ENV_PREDICTION_ID_HEADER, raw)
    except ValueError as error:
        _log.error("%s; %s is used", error, DEFAULT_HEADER)
        return DEFAULT_HEADER


def _header(where: str, name: str) -> str:
    if name.lower() in _OFF:
        return ""
    if not _TOKEN.fullmatch(name) or _TAKEN.fullmatch(name.lower()):
        raise ValueError(
            f"{where}: {name!r} is not the name of a header; allowed: {DEFAULT_HEADER}, a similar name, off"
        )
    return name


@contextmanager
def answering() -> Generator[Request]:
    """Answer one request in the block: the ids of its predictions are the ``calls`` of what it gives."""
    token = _answering.set(True)
    try:
        with serving() as request:
            yield request
    finally:
        _answering.reset(token)


def header_value(calls: Iterable[ServedCall]) -> str:
    """Return the ids of calls as the value of a header, separated by commas, each as ``%``-escaped as it must be.

    Of a call of many rows it is the part before ``:i``. Ids that exceed the header's limit are left out, whole.

    >>> header_value([ServedCall("churn", "order-1", 1), ServedCall("fraud", "a, b", 1)])
    'order-1,a%2C%20b'
    """
    value = ""
    for text in dict.fromkeys(call.id for call in calls):
        added = quote(text, safe=_SAFE, errors="replace")
        if len(value) + len(added) + 1 > MAX_CHARS:
            report("ids over header", "a response has more ids than its header may hold (%d characters)", MAX_CHARS)
            break
        value = f"{value},{added}" if value else added
    return value


def missing_in(name: str, headers: Collection[tuple[Any, Any]]) -> bool:
    """Return whether the application itself has not set this header; names may be bytes."""
    wanted: Any = name.lower()
    for given, _ in headers:
        plain = given.decode("latin-1") if isinstance(given, bytes) else str(given)
        if plain.lower() == wanted:
            return False
    return True


class HttpAnswers:
    """Adds the header to the responses of ASGI and WSGI applications."""

    def __init__(self, header: str) -> None:
        self.header = header

    async def asgi(self, original: Callable[..., Any], app: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Answer one ASGI connection; anything other than an HTTP request passes as it is."""
        if is_answering() or kwargs or len(args) != 3 or args[0].get("type") != "http":
            return await original(app, *args, **kwargs)
        scope, receive, send = args
        with answering() as request:

            async def send_with_ids(message: Any) -> None:
                if message["type"] == "http.response.start":
                    message = shielded(self._start, request, message) or message
                await send(message)

            return await original(app, scope, receive, send_with_ids if self.header else send)

    def wsgi(self, original: Callable[..., Any], app: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Answer one WSGI request."""
        if is_answering() or kwargs or len(args) != 2:
            return original(app, *args, **kwargs)
        environ, start_response = args
        with answering() as request:

            def start_with_ids(status: Any, headers: Any, *rest: Any, **named: Any) -> Any:
                headers = shielded(self._with_ids, request, headers) or headers
                return start_response(status, headers, *rest, **named)

            return original(app, environ, start_with_ids if self.header else start_response)

    def _start(self, request: Request, message: Mapping[str, Any]) -> dict[str, Any] | None:
        headers = list(message.get("headers") or ())
        value = header_value(request.calls)
        if not value or not missing_in(self.header, headers):
            return None
        # The list is the response's own: it may be sent again.
        return {**message, "headers": [*headers, (self.header.lower().encode(), value.encode())]}

    def _with_ids(self, request: Request, headers: Sequence[tuple[str, str]]) -> list[tuple[str, str]] | None:
        value = header_value(request.calls)
        return [*headers, (self.header, value)] if value and missing_in(self.header, headers) else None
