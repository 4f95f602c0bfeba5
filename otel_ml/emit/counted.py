"""Sends every prediction and label, whatever the trace sampler decides, and keeps the traces as they are.

A sampler at 1 % is right for traces and wrong for statistics. So the spans of this package come from a *twin* of the
application's tracer provider: the same resource, ids, processors and exporters, but a span of a trace that is not
sampled is recorded too. Its context stays unsampled, so what the application starts inside it stays unsampled as well;
only the copy that the exporters get says "sampled", and ``ml.trace.sampled = false`` marks it.

The twin has the SDK's default limits: those that ``OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT`` and its siblings set would cut
the ids that labels join on, and Arrow streams do not survive a limit at all. What a span holds is bounded by
:class:`~otel_ml.Config` instead.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, Tracer, TracerProvider
from opentelemetry.util.types import Attributes

from otel_ml.delivery.flush import follow
from otel_ml.problems import report

if TYPE_CHECKING:
    from otel_ml.emit.twin import Twin


class CountedTracer:
    """Starts the spans of this package; it waits until the application has set up a provider.

    >>> CountedTracer(None, follow_sampler=False, name="otel_ml").start_span("predict churn").is_recording()
    False
    """

    __slots__ = ("_follow_sampler", "_identity", "_provider", "_sampled_only", "_tracer", "_twin", "_weighted")

    def __init__(
        self,
        provider: TracerProvider | None,
        *,
        follow_sampler: bool,
        name: str,
        version: str = "",
        schema_url: str | None = None,
    ) -> None:
        self._provider = provider
        self._follow_sampler = follow_sampler
        self._identity = (name, version, schema_url)
        self._tracer: Tracer | None = None
        self._sampled_only = False
        self._twin: Twin | None = None
        self._weighted = False

    def start_span(
        self,
        name: str,
        context: Context | None = None,
        attributes: Attributes = None,
        start_time: int | None = None,
    ) -> Span:
        """Start a span; it does not record if there is no SDK, or if the sampler dropped it and is to be followed."""
        tracer = self._tracer or self._resolve()
        span = tracer.start_span(name, context, attributes=attributes, start_time=start_time)
        if self._follow_sampler and not self._weighted:
            self._weighted = _has_threshold(span)
        if self._sampled_only and not span.is_recording() and span.get_span_context().is_valid:
            report(
                "sampled only",
                "%s: predictions are sent only if their trace is sampled, because this tracer provider is not that of"
                " the OpenTelemetry SDK; make it sample all traces, or figures will be too low",
                type(self._provider or trace.get_tracer_provider()).__qualname__,
            )
        return span

    @property
    def exports(self) -> bool:
        """Whether the spans of this tracer go anywhere, as far as can be seen."""
        return self._twin is None or self._twin.exports

    def ready(self) -> bool:
        """Return whether there is an SDK, which need not sample; the application may set one up later."""
        if self._tracer is None:
            self._resolve()
        return self._tracer is not None

    def sends(self, recorded: bool) -> bool:
        """Return whether a call that was ``recorded`` as a span, or not, is in what spans say.

        Where sampled spans carry how many others they stand for, those that were dropped are.
        """
        return (recorded or self._weighted) and self.exports

    def _resolve(self) -> Tracer:
        provider = self._provider or trace.get_tracer_provider()
        name, version, schema_url = self._identity
        if isinstance(provider, trace.ProxyTracerProvider):
            if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() != "true":
                report(
                    "no SDK",
                    "no OpenTelemetry SDK is set up, so predictions are not sent: start the program with"
                    " opentelemetry-instrument, or call otel_ml.setup()",
                )
            return provider.get_tracer(name, version, schema_url)  # the application may set one up later
        counted = twin_of(provider, follow_sampler=self._follow_sampler)
        self._twin = counted
        self._sampled_only = counted is None and not self._follow_sampler
        tracer = self._tracer = (counted or provider).get_tracer(name, version, schema_url)
        return tracer


def _has_threshold(span: Span) -> bool:
    """Return whether a span says in its tracestate how many others it stands for."""
    context = span.get_span_context()
    fields = context.trace_state.get("ot") if context.is_valid else None
    return fields is not None and any(part.strip().startswith("th:") for part in fields.split(";"))


_lock = threading.Lock()
_twins: WeakKeyDictionary[TracerProvider, dict[bool, Twin]] = WeakKeyDictionary()


def twin_of(provider: TracerProvider, *, follow_sampler: bool) -> Twin | None:
    """Return the provider that counts every prediction beside this one; None if it is not an SDK's."""
    with _lock:
        known = _twins.setdefault(provider, {})
        if follow_sampler in known:
            return known[follow_sampler]
        try:
            from otel_ml.emit.twin import Twin

            made = known[follow_sampler] = Twin(provider, follow_sampler=follow_sampler)
            follow(provider)
            if not made.exports and os.environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() != "none":
                report(
                    "no exporter",
                    "the OpenTelemetry SDK has no span processor, so predictions are not sent: add an exporter, or"
                    " start the program with opentelemetry-instrument",
                )
        except (ImportError, AttributeError, TypeError):
            return None  # another vendor's provider, or an SDK that has changed
        return made
