"""Answer ``GET /metrics`` from a registry of Prometheus metrics."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric

from collector_processor.serving.routes import Handler, HttpAnswer, HttpRequest

_LEVEL = 6
_OPENMETRICS = "application/openmetrics-text"


def metrics_handler(
    registry: CollectorRegistry, openmetrics: Callable[[Iterable[Metric]], bytes] | None = None
) -> Handler:
    """Return a handler that renders a registry as text or OpenMetrics: all of it, or the families in ``name[]``.

    ``openmetrics`` writes OpenMetrics instead of ``prometheus_client``.

    >>> answer = metrics_handler(CollectorRegistry())(HttpRequest("GET", "/metrics"))
    >>> answer.body, answer.content_type
    (b'', 'text/plain; version=0.0.4; charset=utf-8')
    """

    def answer(request: HttpRequest) -> HttpAnswer:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        names = request.query.get("name[]", ())
        chosen = registry.restricted_registry(names) if names else registry
        own = openmetrics if content_type.startswith(_OPENMETRICS) else None
        body = encode(chosen) if own is None else own(chosen.collect())
        if "gzip" not in _accepted(request.headers.get("accept-encoding", "")):
            return HttpAnswer(body, content_type)
        return HttpAnswer(gzip.compress(body, _LEVEL), content_type, headers=(("content-encoding", "gzip"),))

    return answer


def _accepted(header: str) -> list[str]:
    """Return the content codings that a client accepts.

    >>> _accepted("gzip;q=1.0, deflate")
    ['gzip', 'deflate']
    """
    return [coding.partition(";")[0].strip().lower() for coding in header.split(",")]
