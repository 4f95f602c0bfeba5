"""Fixtures of this directory: scikit-learn instrumented for one test, with what it emits in memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from otel_ml import problems
from otel_ml.frameworks.sklearn import SklearnInstrumentor
from otel_ml.testing import Captured, capture


@pytest.fixture
def captured() -> Iterator[Captured]:
    with capture() as captured:
        yield captured


@pytest.fixture
def instrumentor() -> Iterator[SklearnInstrumentor]:
    """Not instrumenting yet; whatever the test starts is ended."""
    instrumentor = SklearnInstrumentor()
    problems.forget()
    yield instrumentor
    if instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.uninstrument()


@pytest.fixture
def instrumented(instrumentor: SklearnInstrumentor, captured: Captured) -> Captured:
    instrumentor.instrument()
    return captured
