"""The twin of an SDK's tracer provider (see :mod:`.counted`); imported only where the SDK is installed."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, Final
from weakref import ref

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceFlags, TraceState
from opentelemetry.util.types import Attributes

from otel_ml.config import MAX_ATTRIBUTES
from otel_ml.delivery.copies import copy_of
from otel_ml.semconv import TRACE_SAMPLED

_OTEL: Final = "ot"
"""OpenTelemetry's entry of a tracestate; its ``th`` says how many spans a sampled one stands for."""
_THRESHOLD: Final = "th"


class Twin(TracerProvider):
    """A tracer provider beside the application's, with its resource, ids and processors.

    Unless ``follow_sampler``, every span is exported: it stands for one call, whatever its tracestate says.
    """

    def __init__(self, source: Any, *, follow_sampler: bool) -> None:
        processor: SpanProcessor = source._active_span_processor  # noqa: SLF001 - no public way to share it
        self._source = ref(source)
        super().__init__(
            sampler=source.sampler if follow_sampler else _RecordAll(source.sampler),
            resource=source.resource,
            shutdown_on_exit=False,
            active_span_processor=processor if follow_sampler else _ExportAll(processor),  # type: ignore[arg-type]
            id_generator=source.id_generator,
            span_limits=SpanLimits(
                max_attributes=MAX_ATTRIBUTES,
                max_span_attributes=MAX_ATTRIBUTES,
                max_attribute_length=SpanLimits.UNSET,
                max_span_attribute_length=SpanLimits.UNSET,
            ),
            # A tracer that the application has turned off stays off.
            _tracer_configurator=getattr(source, "_tracer_configurator", None),
        )

    @property
    def exports(self) -> bool:
        """Whether spans go anywhere, as far as can be seen."""
        source = self._source()
        processor = getattr(source, "_active_span_processor", None)
        return getattr(processor, "_span_processors", None) != ()

    def _handle_fork(self) -> None:
        # A child has another service.instance.id than its parent, and the same as the application's own spans.
        self._tracers_lock = threading.Lock()
        source = self._source()
        if source is not None:
            self._update_resource(source.resource)


class _RecordAll(Sampler):
    """Records what the application's sampler drops, without making its context sampled."""

    def __init__(self, source: Sampler) -> None:
        self._source = source

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """Return the application's decision, "record only" in place of "drop"."""
        # As the SDK calls it: a sampler of the application may know no further argument.
        result = self._source.should_sample(parent_context, trace_id, name, kind, attributes, links)
        if result.decision is not Decision.DROP:
            return result
        return SamplingResult(
            Decision.RECORD_ONLY, {**(attributes or {}), TRACE_SAMPLED: False}, trace_state=result.trace_state
        )

    def get_description(self) -> str:
        """Return the sampler's name in the form of the SDK's own."""
        return f"OtelMlRecordAll{{{self._source.get_description()}}}"


class _ExportAll(SpanProcessor):
    """Passes spans to the application's processors; one that is not sampled goes as a copy that says it is."""

    def __init__(self, source: SpanProcessor) -> None:
        self._source = source

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Pass the span as it is."""
        self._source.on_start(span, parent_context)

    def _on_ending(self, span: Span) -> None:
        self._source._on_ending(span)  # noqa: SLF001 - the SDK's own name for a step before the end

    def on_end(self, span: ReadableSpan) -> None:
        """Pass the span, or its copy with a context that every exporter takes."""
        context = span.context
        if context is not None and (not context.trace_flags.sampled or _OTEL in context.trace_state):
            span = copy_of(span, context=_exported(context))
        self._source.on_end(span)

    def shutdown(self) -> None:
        """Do nothing: the application shuts its processors down."""

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Flush the application's processors."""
        return self._source.force_flush(timeout_millis)


def _exported(context: SpanContext) -> SpanContext:
    return SpanContext(
        context.trace_id,
        context.span_id,
        context.is_remote,
        TraceFlags(context.trace_flags | TraceFlags.SAMPLED),
        without_threshold(context.trace_state),
    )


def without_threshold(state: TraceState) -> TraceState:
    """Return the tracestate without a sampling threshold: all spans are exported, so each stands for itself.

    >>> without_threshold(TraceState([("ot", "th:c;rv:6e6d1a75832a2f"), ("congo", "t61")])).to_header()
    'ot=rv:6e6d1a75832a2f,congo=t61'
    >>> without_threshold(TraceState([("ot", "th:8")])).to_header()
    ''
    """
    fields = state.get(_OTEL)
    if fields is None:
        return state
    kept = [part for part in fields.split(";") if part.partition(":")[0].strip() != _THRESHOLD]
    return state.update(_OTEL, ";".join(kept)) if kept else state.delete(_OTEL)
