"""Attributions: what explaining one call in 100, in a thread beside it, adds to the time of the median call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from statistics import mean, median
from time import perf_counter
from typing import Any

import numpy as np
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from benchmarks.bench_emit import NowhereExporter
from benchmarks.measure import Row
from otel_ml import Config, Model
from otel_ml.explain.queue import queue

COLUMNS, CALLS, ROUNDS = 20, 1000, 9
SIZES = ((100, 31), (500, 63))
_MOST = 0.10
_WHY = "both threads share the interpreter, and LightGBM's own method takes milliseconds"


def rows(progress: Callable[[str], None]) -> Iterator[Row]:
    """Lines about calls of one row of boosted trees, by their number and leaves."""
    import lightgbm

    rng = np.random.default_rng(0)
    cells = rng.standard_normal((5000, COLUMNS))
    truth = (cells[:, 0] + cells[:, 1] * cells[:, 2] + rng.standard_normal(5000) > 0).astype(int)
    for trees, leaves in SIZES:
        progress(f"attributions: {trees} trees of {leaves} leaves")
        model: Any = lightgbm.LGBMClassifier(n_estimators=trees, num_leaves=leaves, verbose=-1).fit(cells, truth)
        yield _row(model, cells[:1], f"{trees} trees of {leaves} leaves")


def _row(model: Any, row: Any, what: str) -> Row:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(NowhereExporter()))
    handles = {
        share: Model("m", explainer=model, tracer_provider=provider, config=Config(explain=share))
        for share in ("off", "1 in 100")
    }
    times: dict[str, list[list[float]]] = {share: [] for share in handles}
    predict = model.booster_.predict
    for _ in range(ROUNDS):
        for share, handle in handles.items():
            times[share].append(_calls(handle, predict, row))
            queue.settle(60)
    provider.shutdown()
    medians = {share: [median(each) for each in rounds] for share, rounds in times.items()}
    means = {share: median(mean(each) for each in rounds) for share, rounds in times.items()}
    more = median(a / b - 1 for a, b in zip(medians["1 in 100"], medians["off"], strict=True))
    started = perf_counter()
    for _ in range(20):
        model.booster_.predict(row, pred_contrib=True, num_threads=1)
    explained_ms = (perf_counter() - started) / 20 * 1e3
    return Row(
        f"attributions of 1 call in 100, LightGBM, {what}: the median call",
        f"{more:+.1%} (the mean {means['1 in 100'] / means['off'] - 1:+.1%})",
        f"≤ +{_MOST:.0%}",
        _MOST / max(more, 1e-9),
        f"the call without: {median(medians['off']) * 1e6:.0f} µs; one explanation: {explained_ms:.2f} ms",
        _WHY,
    )


def _calls(handle: Model, predict: Callable[..., Any], row: Any) -> list[float]:
    found: list[float] = []
    for _ in range(CALLS):
        started = perf_counter()
        with handle.predict(row) as prediction:
            prediction.record(score=float(predict(row, num_threads=1)[0]))
        found.append(perf_counter() - started)
    return found
