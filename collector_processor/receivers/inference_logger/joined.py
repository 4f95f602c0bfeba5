"""From events to the request that is journaled: what is joined, counted, left out and logged."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from collector_processor.columns.batch import MalformedRequestError
from collector_processor.own.drops import InferenceReason
from collector_processor.own.telemetry import Telemetry
from collector_processor.receivers.inference_logger.bodies import parse
from collector_processor.receivers.inference_logger.events import Event, Side, read_events
from collector_processor.receivers.inference_logger.pairs import Pair, Pairs, Why
from collector_processor.receivers.inference_logger.rows import Rows, read_rows
from collector_processor.receivers.inference_logger.settings import InferenceLoggerSettings, LoggedModel
from collector_processor.receivers.inference_logger.spans import Call, request_of
from collector_processor.receivers.inference_logger.table import Lost, Table

_S: Final = 10**9
_REMEMBERED: Final = 10_000
"""Kinds of messages that have been logged, and models; beyond it, new ones are not."""
_DEFAULT: Final = LoggedModel()
_log = logging.getLogger(__name__)


class Joined:
    """Makes one OTLP request of the calls that are complete. ``key`` is the receiver's place in the configuration.

    :meth:`take` may be called from any thread.
    """

    def __init__(
        self,
        settings: InferenceLoggerSettings,
        telemetry: Telemetry,
        key: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._telemetry = telemetry
        self._key = key
        self._clock = clock
        waiting = settings.pairs
        self.pairs: Final = Pairs(waiting.wait / _S, waiting.events, waiting.size, self._evicted)
        self._lock = threading.Lock()
        self._logged: set[tuple[str, ...]] = set()
        self._origins: dict[str, tuple[str, str, str]] = {}

    def take(self, headers: Mapping[str, str], body: bytes, received_ns: int) -> bytes:
        """Return the ``ExportTraceServiceRequest`` of the calls that the events of one post complete; empty for none.

        Raises :class:`.MalformedRequestError` if the post, or the only call that it completes, cannot be read.
        """
        events = read_events(headers, body, self._settings.version_annotation)
        calls: list[tuple[Call, Rows, LoggedModel]] = []
        for event in events:
            pair = self._pair(event, received_ns)
            if pair is None:
                continue
            try:
                call = self._call(pair)
            except MalformedRequestError as error:
                if len(events) == 1:
                    raise
                self._drop("unreadable", 1, event.service, str(error))
            else:
                calls += [] if call is None else [call]
        return request_of(calls)

    def expire(self) -> None:
        """Evict the events that have waited for too long."""
        self.pairs.expire(self._clock())

    def _pair(self, event: Event, received_ns: int) -> Pair | None:
        name = event.service or event.model
        if event.side is None:
            self._drop("type", 1, name, f"events of type {event.type[:80]!r} are not of an inference")
            return None
        if event.component and event.component not in self._settings.components:
            problem = f"the component {event.component[:80]!r} is not in {self._key}.components"
            self._drop("component", 1, name, problem)
            return None
        met = self.pairs.meet(event, received_ns, self._clock())
        if met == "copy":
            self._drop("copy", 1, name, f"the id {event.id[:80]!r} has come before")
        return met if isinstance(met, Pair) else None

    def _call(self, pair: Pair) -> tuple[Call, Rows, LoggedModel] | None:
        lost = Lost()
        limit = self._settings.max_request_body_size
        try:
            request = parse(pair.request.body, lost, limit, pair.request.header_bytes)
        except MalformedRequestError as error:
            raise MalformedRequestError(f"the request of {pair.request.id[:80]!r}: {error}") from error
        response = parse(pair.response.body, lost, limit)
        model = self._model(pair, response)
        settings = self._settings.models.get(model, _DEFAULT)
        rows = read_rows(request, response, settings, lost)
        for reason, count in lost.counts.items():
            self._drop(reason, count, model, lost.reasons[reason])
        if rows is None:
            return None
        if rows.outputs.assumed:
            self._log_once((model, "assumed"), "model %r: %s (%s.models)", model, rows.outputs.assumed, self._key)
        return self._named(pair, request, response, model), rows, settings

    def _named(self, pair: Pair, request: Table, response: Table, model: str) -> Call:
        start_ns = pair.request.time_ns or pair.received_ns
        timed = self._settings.event_times or (pair.request.happened and pair.response.happened)
        endpoint = "" if pair.request.endpoint == "default" else pair.request.endpoint
        named = response.id or request.id if self._settings.prediction_id == "body" else ""
        return Call(
            model=model,
            version=pair.request.version or response.version or endpoint,
            id=named or pair.request.id,
            start_ns=start_ns,
            end_ns=(pair.response.time_ns or 0) if timed and pair.request.time_ns else 0,
            service=pair.request.service,
            namespace=pair.request.namespace,
            trace=pair.request.trace or pair.response.trace,
        )

    def _model(self, pair: Pair, response: Table) -> str:
        event = pair.request
        model = response.model or event.model
        fields = {
            "service": event.service or model,
            "namespace": event.namespace,
            "component": event.component,
            "endpoint": event.endpoint,
            "model": model or event.service,
        }
        name = self._settings.model_name.format_map(fields)
        if not name.strip("/-_. "):
            raise MalformedRequestError(
                f"the event names no model: {self._key}.model_name is {self._settings.model_name!r}, and "
                "ce-inferenceservicename, ce-modelid and model_name are missing"
            )
        origin = event.namespace, event.service, model
        with self._lock:
            known = self._origins.get(name, origin)
            if name in self._origins or len(self._origins) < _REMEMBERED:
                # Not every protocol names the model.
                self._origins[name] = known[0] or origin[0], known[1] or origin[1], known[2] or origin[2]
        if any(mine and theirs and mine != theirs for mine, theirs in zip(known, origin, strict=True)):
            self._log_once(
                (name, "mixed"),
                "model %r: events of several models are counted together: namespace, service and model %r and %r; "
                "set %s.model_name, for example to '{namespace}/{service}/{model}'",
                name, known, origin, self._key,
            )  # fmt: skip
        return name

    def _drop(self, reason: InferenceReason, count: int, name: str, explanation: str) -> None:
        self._telemetry.dropped(("events", reason), count)
        self._log_once((name, reason), "model %r: %s; left out and counted (reason %s)", name, explanation, reason)

    def _evicted(self, side: Side, why: Why, count: int) -> None:
        self._telemetry.evicted(f"inference_{side}s", why, count)
        other = "response" if side == "request" else "request"
        reasons: Sequence[str] = (
            f"its {other} did not come within {self._settings.pairs.wait / _S:g} s",
            "calls that failed have no response, and the logger's mode must be 'all'",
        )
        if why == "expired":
            self._log_once(("", side), "%s: a %s was dropped: %s (%s); counted", self._key, side, *reasons)
        elif why == "limit":
            self._log_once(
                ("", why), "%s.pairs: too many events wait for their other half; the oldest are evicted", self._key
            )

    def _log_once(self, kind: tuple[str, ...], message: str, *parts: object) -> None:
        with self._lock:
            if kind in self._logged or len(self._logged) >= _REMEMBERED:
                return
            self._logged.add(kind)
        _log.warning(f"{message} (logged once)", *parts)
