"""What a call of one row costs more with each framework that is installed: ``python -m benchmarks.bench_frameworks``.

The calls are those of the contract tests (``tests/unit/otel_ml/frameworks/NAME/case.py``), so this runs in the
environments of ``make frameworks`` too. Each is compared with a bare span of the SDK that has the same attributes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from statistics import median
from typing import Any

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Tracer

from benchmarks.measure import Row, together
from otel_ml.testing import capture
from tests.support.framework_case import NAMES, Case, load

CALLS, ROUNDS = 20, 40
_REACH = 1.3
_BATCH = "ml.batch"


class NowhereExporter(SpanExporter):
    def export(self, spans: Sequence[Any]) -> SpanExportResult:
        return SpanExportResult.SUCCESS


def rows(progress: Callable[[str], None], names: Sequence[str] = ()) -> Iterator[Row]:
    """One line for each framework that is installed."""
    for name in names or NAMES:
        case = load(name)
        if find_spec(case.package) is None:
            continue
        progress(f"frameworks: {name}")
        found = _one_row(case)
        if found is not None:
            yield _measured(name, case, *found)


def _one_row(case: Case) -> tuple[str, Callable[[], object], dict[str, Any]] | None:
    """The first call that is one prediction in one span, and the attributes of that span."""
    model, table = case.make(), case.table()
    instrumentor = case.instrument()
    try:
        with capture() as captured:
            for what, call in case.predictions.items():
                captured.clear()
                call(model, table)
                spans = captured.spans
                if len(spans) == 1 and _BATCH not in (spans[0].attributes or {}):
                    return what, partial(call, model, table), dict(spans[0].attributes or {})
    finally:
        instrumentor.uninstrument()
    return None


def _measured(name: str, case: Case, what: str, call: Callable[[], object], attributes: dict[str, Any]) -> Row:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(NowhereExporter()))
    work = partial(_repeated, call)
    span = partial(_bare_spans, provider.get_tracer("benchmark"), attributes)
    differences: list[float] = []
    spans: list[float] = []
    bares: list[float] = []
    for _ in range(ROUNDS):
        work()
        [[bare], [one]] = together([work, span], 1)
        instrumentor = case.instrumentor()
        instrumentor.instrument(**case.arguments, tracer_provider=provider, skip_dep_check=True)
        try:
            call()  # the first call looks at the model
            [[observed]] = together([work], 1)
        finally:
            instrumentor.uninstrument()
        differences.append(observed - bare)
        spans.append(one)
        bares.append(bare)
    provider.shutdown()
    more, alone, bare_us = (median(times) / CALLS * 1e6 for times in (differences, spans, bares))
    return Row(
        f"{name} without code: {what}",
        f"+{more:.0f} µs, {more / alone:.2f} × a bare span",
        f"≤ {_REACH} ×",
        _REACH / max(more / alone, 0.01),
        f"a bare span with the same attributes: {alone:.0f} µs; the bare call: {bare_us:.0f} µs",
    )


def _repeated(call: Callable[[], object]) -> None:
    for _ in range(CALLS):
        call()


def _bare_spans(tracer: Tracer, attributes: dict[str, Any]) -> None:
    for _ in range(CALLS):
        with tracer.start_as_current_span("predict") as span:
            span.set_attributes(attributes)


if __name__ == "__main__":
    for row in rows(lambda what: print(what, file=sys.stderr), sys.argv[1:]):
        print(f"{row.what}: {row.measured} ({row.reach}: {row.verdict}); {row.baseline}")
