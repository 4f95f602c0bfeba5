"""The paths of an HTTP listener: packages add routes, and the server looks them up."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

TEXT: Final = "text/plain; charset=utf-8"
JSON: Final = "application/json"


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request without its body: ``query`` has every value of each name, ``headers`` are in lower case."""

    method: str
    path: str
    query: Mapping[str, Sequence[str]] = field(default_factory=dict[str, "list[str]"])
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A complete answer."""

    body: bytes
    content_type: str = TEXT
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


Handler = Callable[[HttpRequest], HttpAnswer]


@dataclass(frozen=True, slots=True)
class Route:
    """One handler. A ``quick`` handler neither waits nor computes, and answers even while all threads are busy.

    A route reads (GET and HEAD), or it ``changes`` something (POST).
    """

    handler: Handler
    quick: bool = False
    changes: bool = False

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods of HTTP that the route answers."""
        return ("POST",) if self.changes else ("GET", "HEAD")


class Routes:
    """Handlers by path; a path that ends with ``/*`` matches everything below it, the longest path first.

    >>> routes = Routes()
    >>> routes.add("/metrics", lambda request: HttpAnswer(b"figures"))
    >>> routes.add("/api/*", lambda request: HttpAnswer(b"models"))
    >>> [routes.find(path) is not None for path in ("/metrics", "/metrics/", "/api/v1/models", "/")]
    [True, False, True, False]
    >>> routes.paths
    ['/metrics', '/api/*']
    """

    def __init__(self) -> None:
        self._exact: dict[str, Route] = {}
        self._below: dict[str, Route] = {}

    @property
    def paths(self) -> list[str]:
        """All paths, in the order in which they were added."""
        return [*self._exact, *(f"{path}*" for path in self._below)]

    def add(self, path: str, handler: Handler, *, quick: bool = False, changes: bool = False) -> None:
        """Add a route; raise ``ValueError`` if the path has one."""
        routes = self._below if path.endswith("/*") else self._exact
        name = path.removesuffix("*")
        if name in routes:
            raise ValueError(f"{path} already has a handler")
        routes[name] = Route(handler, quick, changes)

    def find(self, path: str) -> Route | None:
        """Return the route of a path."""
        path = f"/{path.lstrip('/')}"
        exact = self._exact.get(path)
        if exact is not None:
            return exact
        below = max((prefix for prefix in self._below if path.startswith(prefix)), key=len, default=None)
        return None if below is None else self._below[below]
