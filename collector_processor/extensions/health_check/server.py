"""The health check: answers 200 while every part of the service is alive, and 503 with the reason otherwise."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Final

from collector_processor.own.telemetry import Telemetry
from collector_processor.serving.admin import AdminServer
from collector_processor.serving.http_connection import HttpLimits
from collector_processor.serving.routes import JSON, HttpAnswer, HttpRequest, Routes

_KEY: Final = "extensions.health_check.endpoint"
_STOP_S: Final = 1.0


class HealthServer:
    """Serves the status at every path of one address.

    ``status`` returns the empty string while the service is healthy, and the problem otherwise; ``counts`` returns
    counts to show with it. Both are called at each request and must not wait. Anyone can read the answer, so it must
    not contain names.
    """

    def __init__(
        self,
        endpoint: str,
        status: Callable[[], str],
        counts: Callable[[], Mapping[str, int]] = dict[str, int],
        telemetry: Telemetry | None = None,
        limits: HttpLimits | None = None,
    ) -> None:
        self._status = status
        self._counts = counts
        routes = Routes()
        routes.add("/*", self._answer, quick=True)
        self._server = AdminServer(_KEY, endpoint, routes, limits=limits, telemetry=telemetry)

    @property
    def port(self) -> int:
        """The port that it listens on; 0 before the start."""
        return self._server.port

    def start(self) -> None:
        """Start to answer; ``OSError`` with the configuration key if the address is not available."""
        self._server.start()

    def stop(self) -> None:
        """Stop answering; safe to call without start."""
        self._server.stop(_STOP_S)

    def _answer(self, _: HttpRequest) -> HttpAnswer:
        problem = self._status()
        body = json.dumps({"status": problem or "Server available", **self._counts()})
        return HttpAnswer(body.encode(), JSON, 503 if problem else 200)
