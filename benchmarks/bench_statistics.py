"""From columns to measurements: accumulating, closing windows, drift, and the memory of one model."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields, replace
from functools import partial
from statistics import median
from typing import Any

import numpy as np
from scipy import stats

from benchmarks import traffic
from benchmarks.measure import Row, prepared_seconds, rate, ratio, seconds, together
from collector_processor.columns.batch import U64, PredictionBatch
from collector_processor.columns.traces import Traces
from collector_processor.monitors import configured_monitors
from collector_processor.monitors.alarms import AlarmMonitor, AlarmSettings
from collector_processor.monitors.base import Measurement, Monitor, Sequential
from collector_processor.monitors.drift import DriftMonitor, DriftSettings, LeastRows
from collector_processor.monitors.fold import Fold
from collector_processor.own.telemetry import Telemetry
from collector_processor.pipeline.settings import MlMonitor, ModelConfig
from collector_processor.reference.profile import Reference
from collector_processor.statistics.accumulate import accumulate
from collector_processor.statistics.pane import Pane
from collector_processor.statistics.schema import Schema
from collector_processor.window.closed import Window
from collector_processor.window.policy import WindowPolicy
from collector_processor.window.windows import ModelWindows

METHODS = ("psi", "js", "hellinger", "ks", "wasserstein")
_MINUTE_NS = 60 * 10**9
_EPOCH_NS = 1_700_000_040 * 10**9 // _MINUTE_NS * _MINUTE_NS
_PANES = 60
_REACH_DRIFT_S, _REACH_PEER, _REACH_EVALUATE_S, _REACH_BYTES = 0.3, 10.0, 0.05, 32e6
_REACH_ALARMS_S = 1e-3


def rows(progress: Callable[[str], None]) -> Iterator[Row]:
    """All lines about statistics."""
    progress("statistics: drift of 1 M rows × 25 columns, scipy beside it")
    yield from _drift()
    progress("statistics: 1,000 features × 5 methods")
    yield _evaluating()
    yield _alarms()
    progress("statistics: accumulating, closing, memory")
    yield _accumulating()
    yield _exemplars()
    yield from _windows()


def default_monitors() -> list[Monitor | Sequential[Any]]:
    """The monitors that a service without a configuration runs."""
    return list(configured_monitors(lambda name: MlMonitor().section(name, ModelConfig())))


def measured(
    monitors: Iterable[Monitor | Sequential[Any]], window: Window, reference: Reference
) -> Iterator[Measurement]:
    """What monitors say of a window that is the first pane of those with state."""
    for monitor in monitors:
        if isinstance(monitor, Sequential):
            yield from Fold.begun(monitor, reference).step(window, reference)
        else:
            yield from monitor.evaluate(window, reference)


def window_of(reference: Reference, batch: PredictionBatch) -> Window:
    """A window that holds one batch."""
    schema = reference.schema.fork()
    pane = Pane.empty(schema)
    accumulate(pane, schema, batch)
    return Window(batch.model, 0, 1, schema, pane)


def _drift() -> Iterator[Row]:
    reference = traffic.reference()
    base, current = traffic.batch(100_000, seed=100), traffic.batch(1_000_000, seed=5, shift=0.1)
    monitors = default_monitors()
    found: list[Measurement] = []

    def ours() -> None:
        window = window_of(reference, current)
        found[:] = [*measured(monitors, window, reference)]

    def theirs() -> None:
        for name, column in current.features.items():
            before = base.features[name]
            if column.numbers is not None and before.numbers is not None:
                stats.ks_2samp(before.numbers, column.numbers, method="asymp")
            elif column.codes is not None and before.codes is not None:
                size = len(column.categories)
                stats.chi2_contingency([np.bincount(part, minlength=size) for part in (before.codes, column.codes)])

    ours()
    mine, peers = together((ours, theirs), 5)
    taken = median(mine)
    yield Row(
        f"drift of 1 M rows × 25 columns, from raw columns to all {len(found)} measurements",
        f"{taken:.2f} s",
        "≤ 0.3 s",
        _REACH_DRIFT_S / taken,
        why="one thread of numpy, several passes a column: bin, count, sum for Wasserstein, missing and wrong types",
    )
    gain = ratio(peers, mine)
    yield Row(
        "the same against a loop of scipy's KS and χ² tests",
        f"{gain:.0f}×",
        "≥ 10×",
        gain / _REACH_PEER,
        f"{median(peers):.1f} s, one figure a column",
        "scipy's loop took 5.0 s where the target was set, and is faster in this run; it gives one figure a column",
    )


def _evaluating() -> Row:
    reference = traffic.reference(20_000, 1000, 0)
    window = window_of(reference, traffic.batch(5000, numeric=1000, categorical=0, seed=6))
    monitor = DriftMonitor(DriftSettings(numeric=METHODS), LeastRows())
    monitor.evaluate(window, reference)
    taken = seconds(lambda: monitor.evaluate(window, reference), 9)
    return Row(
        "evaluating 1,000 features × 5 methods from closed windows",
        f"{taken * 1e3:.0f} ms",
        "≤ 50 ms",
        _REACH_EVALUATE_S / taken,
        why="1,000 × 1,024 bins are read five times, and 15,000 measurements are Python objects",
    )


def _alarms() -> Row:
    """One pane of the sequential alarms; how long its measurements take as Python objects, in the same run."""
    reference = traffic.reference(20_000, 1000, 0)
    pane = window_of(reference, traffic.batch(1000, numeric=1000, categorical=0, seed=6))
    monitor = AlarmMonitor(AlarmSettings())
    state, found = monitor.step(pane, reference, monitor.begin(reference))

    def objects() -> None:
        [Measurement(item.name, item.value, item.unit, item.attributes, item.time_ns) for item in found]

    steps, made = together((lambda: monitor.step(pane, reference, state), objects), 41)
    size = sum(getattr(state, field.name).nbytes for field in fields(state))
    return Row(
        f"alarms of 1,000 features × {len(state.evidence) // 1000} alternatives, a pane",
        f"{median(steps) * 1e3:.1f} ms",
        "≤ 1 ms",
        _REACH_ALARMS_S / median(steps),
        f"{median(made) * 1e3:.1f} ms of it make {len(found):,} measurements; the state has {size / 1e3:.0f} kB",
        "every column has an evidence and an alarm, each a Python object",
    )


def _accumulating() -> Row:
    reference = traffic.reference()
    whole = traffic.batch(100_000, seed=7)
    rates: list[str] = []
    for size in (1000, 10_000, 100_000):
        batches = traffic.parts(whole, size)
        taken = seconds(partial(_add, batches, Pane.empty(reference.schema), reference.schema.fork()), 7)
        rates.append(f"{rate(len(whole) / taken)} ({size:,})")
    return Row("accumulating 25 columns, by rows a batch", ", ".join(rates))


def _exemplars() -> Row:
    """What traces of predictions add to the same rows."""
    reference = traffic.reference()
    whole = replace(traffic.batch(100_000, seed=7), ids=_random((100_000, 2)))
    traces = Traces(np.arange(100_000, dtype=np.int32), _random((100_000, 3)))
    texts: list[str] = []
    for size in (1000, 10_000, 100_000):
        without, having = traffic.parts(whole, size), traffic.parts(replace(whole, traces=traces), size)
        schema = reference.schema.fork()
        works = [partial(_add_to_new, batches, schema) for batches in (without, having)]
        bare, full = (median(times) for times in together(works, 9))
        texts.append(f"{(full - bare) * 1e3:.1f} ms more than {bare * 1e3:.0f} ms ({size:,})")
    return Row("exemplars of 100,000 rows of 25 columns in one pane, by rows a batch", ", ".join(texts))


def _add_to_new(batches: list[PredictionBatch], schema: Schema) -> None:
    _add(batches, Pane.empty(schema), schema)


def _random(shape: tuple[int, int]) -> U64:
    return np.random.default_rng(11).integers(1, 2**64 - 1, shape, dtype=np.uint64)


def _add(batches: list[PredictionBatch], pane: Pane, schema: Schema) -> None:
    for batch in batches:
        accumulate(pane, schema, batch)


def filled_windows(reference: Reference, rows_a_pane: int = 1000) -> ModelWindows:
    """A model's windows with 60 panes: 59 in the past window, the last one due."""
    policy = WindowPolicy(size_ns=_PANES * _MINUTE_NS, every_ns=_MINUTE_NS, allowed_lateness_ns=0)
    windows = ModelWindows(traffic.KEY, reference.schema.fork(), policy, Telemetry())
    for minute in range(_PANES + 1):
        at_ns = _EPOCH_NS + minute * _MINUTE_NS
        windows.add(traffic.batch(rows_a_pane, seed=minute, time_ns=at_ns), at_ns)
        if minute < _PANES:
            windows.close(at_ns)
    return windows


def _windows() -> Iterator[Row]:
    reference = traffic.reference()
    due_ns = _EPOCH_NS + _PANES * _MINUTE_NS
    monitors = default_monitors()
    [window] = filled_windows(reference).close(due_ns)
    close_s = prepared_seconds(lambda: filled_windows(reference), lambda windows: windows.close(due_ns), 5)
    evaluate_s = seconds(lambda: list(measured(monitors, window, reference)), 9)
    yield Row(
        "closing a window of 60 panes × 25 features",
        f"{close_s * 1e3:.1f} ms to sum up, {evaluate_s * 1e3:.1f} ms for all monitors",
    )
    filled = filled_windows(reference, 10_000)
    schema = filled.schema
    held = filled.nbytes + schema.edges.nbytes + sum(vector.nbytes for vector in reference.pane.arrays().values())
    tracemalloc.start()
    traced = filled_windows(reference, 10_000)
    total, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del traced
    yield Row(
        "memory of one model: 25 features, 60 panes of 10,000 rows",
        f"{total / 1e6:.1f} MB allocated, {held / 1e6:.1f} MB with reference and bins",
        "≤ 32 MB",
        _REACH_BYTES / max(total, held),
        why="panes full of different values do not pack",
    )
