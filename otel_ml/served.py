"""What a server knows of the request that it answers: the model's name and version, the request's id, segments.

The hooks of servers set it, the hooks of libraries and :class:`~otel_ml.Prediction` read it. So a prediction has its
name and its id from the server and its features from the library, and counts once. It is a context variable: tasks,
``asyncio.to_thread`` and thread pools that copy the context see it.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final, NamedTuple

from opentelemetry.context import attach, detach
from opentelemetry.trace import INVALID_SPAN, set_span_in_context

_CALLS: Final = 100
"""Calls of a request whose ids are kept; a request that makes more has the first."""


class ServedName(NamedTuple):
    """The model that a server says it serves; either may be empty."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class ServedCall:
    """One call of a model within a request: labels join on ``id``, on ``id:0``, ``id:1``, … if it has many rows."""

    model: str
    id: str
    rows: int


class Request:
    """One request that a server answers; :func:`serving` opens it."""

    __slots__ = ("_calls", "_named", "_outer", "request_id", "segments", "served")

    def __init__(
        self,
        served: ServedName,
        request_id: str | Sequence[str],
        segments: Mapping[str, object],
        outer: Request | None,
    ) -> None:
        self.served = served
        self.request_id = request_id
        self.segments = segments
        self._outer = outer
        self._calls: list[ServedCall] = []
        self._named: dict[str, object] = {}
        if outer is not None and request_id == outer.request_id:
            self._named = outer._named  # noqa: SLF001 - of the same class; an id is given out once

    @property
    def calls(self) -> tuple[ServedCall, ...]:
        """The calls of models made in the request so far, the first 100 of them."""
        return tuple(self._calls)

    def id_for(self, model: str) -> str | Sequence[str] | None:
        """Return the request's id for a call of this model, or that of each row if it answers many requests at once.

        None if there is none, or an earlier call has it.
        """
        mine = object()  # of two threads that come at once, one has the id
        return self.request_id if self.request_id and self._named.setdefault(model, mine) is mine else None

    def give_back(self, model: str) -> None:
        """Let another call of this model have the id: the one that has it is not a prediction after all."""
        self._named.pop(model, None)

    def add(self, call: ServedCall) -> None:
        """Keep the id of a call, here and in the requests around, so that each may return it.

        A block around a whole server gets the calls of all its requests; each of these has only its own.
        """
        request: Request | None = self
        while request is not None:
            if len(request._calls) < _CALLS:  # noqa: SLF001
                request._calls.append(call)  # noqa: SLF001
            request = request._outer  # noqa: SLF001


_current: ContextVar[Request | None] = ContextVar("otel_ml_request", default=None)

current_request: Final = _current.get
"""Return the request that is being answered here, None outside of one."""


@contextmanager
def serving(
    name: str = "",
    *,
    version: str = "",
    request_id: str | Sequence[str] = "",
    segments: Mapping[str, object] | None = None,
) -> Generator[Request]:
    """Say which model a block serves, and for which request: for a server that no instrumentation here knows.

    - ``name``, ``version``: of the model, for calls that an instrumentor observes. A name given in the code
      (:func:`~otel_ml.name_model`) comes first; a :class:`~otel_ml.Model` keeps its own.
    - ``request_id``: the prediction id of the first call of each model in the block (``request_id:i`` for row ``i`` of
      many), unless the call has one. Further calls of the same model have their own ids. A server that answers many
      requests with one call gives a list: the id of each row. A call of another number of rows has its own ids.
    - ``segments``: added to each prediction.

    What is not given is that of the block around it. The block's ``calls``, those in blocks inside it included, are the
    ids to return to the client.

    >>> from otel_ml import Model
    >>> from otel_ml.testing import capture
    >>> with capture() as captured, serving("churn", request_id="order-1", segments={"tier": "gold"}) as request:
    ...     with Model("churn").predict({"age": 37}) as prediction:
    ...         prediction.record(score=0.8)
    >>> [(seen.id, dict(seen.segments)) for seen in captured.predictions]
    [('order-1', {'tier': 'gold'})]
    >>> request.calls
    (ServedCall(model='churn', id='order-1', rows=1),)
    """
    with _opened(_current.get(), name, version, request_id, segments) as request:
        yield request


@contextmanager
def serving_apart(name: str = "", *, version: str = "", request_id: str | Sequence[str] = "") -> Generator[Request]:
    """Serve requests that were gathered into one call: of none of them are the trace, the ids and the segments.

    A server gathers them in a task that one of the requests happened to start, so what surrounds it is that request's.
    """
    token = attach(set_span_in_context(INVALID_SPAN))
    try:
        with _opened(None, name, version, request_id, None) as request:
            yield request
    finally:
        detach(token)


@contextmanager
def _opened(
    outer: Request | None,
    name: str,
    version: str,
    request_id: str | Sequence[str],
    segments: Mapping[str, object] | None,
) -> Generator[Request]:
    if outer is not None:
        # A name without its version says nothing of the version around it.
        served = ServedName(name, version) if name else ServedName(outer.served.name, version or outer.served.version)
        request_id = request_id or outer.request_id
        segments = {**outer.segments, **(segments or {})}
    else:
        served = ServedName(name, version)
    request = Request(served, request_id, segments or {}, outer)
    token = _current.set(request)
    try:
        yield request
    finally:
        _current.reset(token)


def served_name() -> ServedName | None:
    """Return the model that the server here says it serves, None if it says nothing.

    >>> with serving("churn"):
    ...     served_name()
    ServedName(name='churn', version='')
    """
    request = _current.get()
    return None if request is None or not any(request.served) else request.served
