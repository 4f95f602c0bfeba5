"""Zero-code instrumentation: what a call of scikit-learn costs more than the same call without us."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Tracer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.bench_emit import NowhereExporter
from benchmarks.measure import Row, together
from otel_ml.frameworks.sklearn import SklearnInstrumentor

COLUMNS, CALLS, ROUNDS = 20, 20, 60
FORESTS = (10, 100)
FOREST_CALLS = 2
_REACH_US = 60.0
_OTHERS = 7
"""Attributes of a span besides the features."""
_WHY = "the SDK's own span takes about 40 of them; the rest is the guards around the call, its context and its row"


@dataclass(frozen=True)
class _Case:
    what: str
    work: Callable[[], object]
    calls: int


def rows(progress: Callable[[str], None]) -> Iterator[Row]:
    """All lines about scikit-learn without code."""
    progress("zero-code: one row")
    cases = _cases()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(NowhereExporter()))
    meters = MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False)
    times = [_Times() for _ in cases]
    span, spans = partial(_bare_spans, provider.get_tracer("benchmark")), list[float]()
    gc.collect()
    for _ in range(ROUNDS):
        _round(cases, [each.bare for each in times])
        [[taken]] = together([span], 1)
        spans.append(taken / CALLS * 1e6)
        with _Instrumented(tracer_provider=provider):
            _round(cases, [each.spans for each in times])
        with _Instrumented(tracer_provider=provider, meter_provider=meters):
            _round(cases, [each.metered for each in times])
    provider.shutdown()
    span_us = median(spans)
    for case, found in zip(cases, times, strict=True):
        more, metered = found.more_us(found.spans, case), found.more_us(found.metered, case)
        yield Row(
            f"scikit-learn without code: {case.what}",
            f"+{more:.0f} µs (with metrics +{metered:.0f} µs)",
            f"≤ +{_REACH_US:.0f} µs",
            _REACH_US / max(more, 1.0),
            f"the bare call: {median(found.bare) / case.calls * 1e6:.0f} µs; a bare SDK span: {span_us:.0f} µs",
            _WHY,
        )


class _Instrumented:
    """A block in which scikit-learn is instrumented."""

    def __init__(self, **providers: Any) -> None:
        self._providers = providers

    def __enter__(self) -> None:
        SklearnInstrumentor().instrument(skip_dep_check=True, **self._providers)

    def __exit__(self, *error: object) -> None:
        SklearnInstrumentor().uninstrument()


class _Times:
    """Seconds of the rounds, by what was switched on."""

    def __init__(self) -> None:
        self.bare: list[float] = []
        self.spans: list[float] = []
        self.metered: list[float] = []

    def more_us(self, times: Sequence[float], case: _Case) -> float:
        """What a call took longer than the bare one: median of the differences, round by round."""
        return median(a - b for a, b in zip(times, self.bare, strict=True)) / case.calls * 1e6


def _round(cases: Sequence[_Case], into: Sequence[list[float]]) -> None:
    for case in cases:
        case.work()  # the first call looks at the estimator
    for found, [taken] in zip(into, together([case.work for case in cases], 1), strict=True):
        found.append(taken)


def _cases() -> list[_Case]:
    rng = np.random.default_rng(0)
    names = [f"amount_{number}" for number in range(COLUMNS)]
    table = pd.DataFrame(rng.standard_normal((500, COLUMNS)), columns=names)
    cells: Any = table.to_numpy()
    classes = (cells[:, 0] + rng.standard_normal(500) > 0).astype(int)
    row = cells[:1].copy()
    frame = table.iloc[:1]
    by_position = LogisticRegression().fit(cells, classes)
    by_name = LogisticRegression().fit(table, classes)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(cells, classes)
    regression = LinearRegression().fit(cells, cells[:, 1])
    found = [
        _Case(f"{what} of 1 × {COLUMNS}", partial(_repeated, CALLS, model, method, features), CALLS)
        for what, model, method, features in (
            ("LogisticRegression, `predict`, numpy", by_position, "predict", row),
            ("LogisticRegression, `predict_proba`, numpy", by_position, "predict_proba", row),
            ("LogisticRegression, `predict`, pandas", by_name, "predict", frame),
            ("LogisticRegression, `predict_proba`, pandas", by_name, "predict_proba", frame),
            ("LinearRegression, `predict`, numpy", regression, "predict", row),
            ("a pipeline of two, `predict`, numpy", pipeline, "predict", row),
        )
    ]
    for trees in FORESTS:
        forest = RandomForestClassifier(trees, max_depth=4, random_state=0).fit(cells, classes)
        work = partial(_repeated, FOREST_CALLS, forest, "predict", row)
        found.append(_Case(f"a forest of {trees} trees, `predict`, numpy", work, FOREST_CALLS))
    return found


def _bare_spans(tracer: Tracer) -> None:
    """Spans with as many attributes as those of a call, and nothing else."""
    attributes: dict[str, float | str] = {f"ml.feature.amount_{number}": number / 7 for number in range(COLUMNS)}
    attributes |= {f"ml.model.{number}": "a text" for number in range(_OTHERS)}
    for _ in range(CALLS):
        with tracer.start_as_current_span("predict") as span:
            span.set_attributes(attributes)


def _repeated(calls: int, model: object, method: str, features: object) -> None:
    for _ in range(calls):
        getattr(model, method)(features)  # looked up in each call, because a patch replaces it
