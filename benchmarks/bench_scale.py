"""How throughput and memory move with features, models, categories, panes and the size of a batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from benchmarks import traffic
from benchmarks.bench_statistics import default_monitors, measured
from benchmarks.measure import clock_s, rate, seconds
from collector_processor.columns.batch import Decoded, ModelKey, PredictionBatch
from collector_processor.own.telemetry import Telemetry
from collector_processor.pipeline.pipeline import Pipeline
from collector_processor.pipeline.settings import LimitsConfig, MlMonitor
from collector_processor.reference.profile import Reference
from collector_processor.window.policy import WindowPolicy
from collector_processor.window.windows import ModelWindows

ROWS = 20_000
_HEAD = ("", "rows in", "evaluating one window", "bytes of one full pane, as kept")


def lines(progress: Callable[[str], None]) -> list[str]:
    """The tables, as Markdown."""
    found = [
        "Decoded rows go through the pipeline (windows, join) in batches of 1,000, on one thread. Evaluating runs all",
        "monitors on one window. By default there are 20 numeric and 5 categorical features of 8 categories.",
        "",
        "The cost grows slower than the number of categories. It is proportional to features and panes until the data",
        "no longer fits the processor's caches: a row of 1,000 features takes 15 times as long as one of 100, as a",
        "pane is then 22 MB, and 600 panes (132 MB) close in a little more than ten times the time of 60. Models cost",
        "as much as their batches: with more models, each batch has fewer rows, and the last table shows the cost of a",
        "batch.",
        "",
    ]
    progress("scaling: features")
    found += _table(("features (4 of 5 numeric)", *_HEAD[1:]), map(_features, (10, 100, 1000)))
    progress("scaling: categories")
    found += _table(("categories of each of 5 features", *_HEAD[1:]), map(_categories, (10, 1000, 10_000, 100_000)))
    progress("scaling: models")
    found += _table(("models, alternating batches", "rows in", "memory a model"), map(_models, (1, 10, 100, 1000)))
    progress("scaling: panes")
    found += _table(("panes of a window", "closing one", "memory"), map(_panes, (1, 10, 60, 600)))
    progress("scaling: batch size")
    found += _table(
        ("rows a batch", "one request at a time", "64 that waited together"), map(_sizes, (1, 10, 100, 1000, 10_000))
    )
    return found[:-1]


def _table(head: Sequence[str], rows: Iterator[Sequence[str]]) -> list[str]:
    return [
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
        *("| " + " | ".join(row) + " |" for row in rows),
        "",
    ]


def _pipeline(references: dict[str, Reference], **limits: int) -> Pipeline:
    config = MlMonitor(limits=LimitsConfig(**limits))
    return Pipeline(config, references, Telemetry(), time.time_ns())


def _rate(pipeline: Pipeline, batches: Sequence[PredictionBatch], together: int = 64) -> str:
    requests = [Decoded(predictions=(batch,)) for batch in batches]

    def work() -> None:
        for start in range(0, len(requests), together):
            pipeline.process(requests[start : start + together], time.time_ns())

    work()
    return rate(sum(map(len, batches)) / seconds(work, 3))


def _shape(label: str, reference: Reference, whole: PredictionBatch) -> Sequence[str]:
    """Throughput, evaluation, memory of one model of a shape."""
    pipeline = _pipeline({traffic.MODEL: reference}, categories=1_000_000)
    throughput = _rate(pipeline, traffic.parts(whole, 1000))
    policy = WindowPolicy(allowed_lateness_ns=0)
    windows = ModelWindows(traffic.KEY, reference.schema.fork(), policy, Telemetry())
    later_ns = policy.every_ns
    windows.add(whole, int(whole.time_ns[0]))
    windows.add(
        replace(whole.take(slice(0, 1)), time_ns=whole.time_ns[:1] + later_ns), int(whole.time_ns[0]) + later_ns
    )
    [window, *_] = windows.close(int(whole.time_ns[0]) + later_ns)
    monitors = default_monitors()
    taken = seconds(lambda: list(measured(monitors, window, reference)), 3)
    return label, throughput, f"{taken * 1e3:.1f} ms", _size(windows.nbytes)


def _features(number: int) -> Sequence[str]:
    numeric, categorical = number * 4 // 5, number // 5
    rows = ROWS if number < 1000 else 5000
    reference = traffic.reference(20_000, numeric, categorical)
    return _shape(f"{number:,}", reference, traffic.batch(rows, numeric=numeric, categorical=categorical, seed=1))


def _categories(number: int) -> Sequence[str]:
    reference = traffic.reference(max(20_000, 2 * number), categories=number)
    return _shape(f"{number:,}", reference, traffic.batch(ROWS, categories=number, seed=1))


def _models(number: int) -> Sequence[str]:
    reference = traffic.reference()
    names = [f"model-{i}" for i in range(number)]
    pipeline = _pipeline(dict.fromkeys(names, reference))
    whole = traffic.batch(max(ROWS, number * 100), seed=1)
    size = min(1000, len(whole) // number)
    batches = traffic.parts(whole, size)
    keyed = [replace(part, model=ModelKey(names[i % number])) for i, part in enumerate(batches)]
    throughput = _rate(pipeline, keyed)
    held = sum(model.watch.windows.nbytes for model in pipeline.models.values() if model.watch is not None)
    return f"{number:,} ({size:,} rows a batch)", throughput, _size(held / number)


def _panes(number: int) -> Sequence[str]:
    reference = traffic.reference()
    policy = WindowPolicy(size_ns=number * 60 * 10**9, allowed_lateness_ns=0)
    windows = ModelWindows(traffic.KEY, reference.schema.fork(), policy, Telemetry())
    base = traffic.batch(1000, seed=1)
    start_ns = int(base.time_ns[0]) // policy.every_ns * policy.every_ns
    times: list[float] = []
    for minute in range(number + 6):
        at_ns = start_ns + minute * policy.every_ns
        windows.add(replace(base, time_ns=np.full(len(base), at_ns)), at_ns)
        begin = clock_s()
        windows.close(at_ns)
        times.append(clock_s() - begin)
    return f"{number:,}", f"{float(np.median(times[-5:])) * 1e3:.1f} ms", _size(windows.nbytes)


def _sizes(rows: int) -> Sequence[str]:
    batches = traffic.parts(traffic.batch(max(64 * rows, 640) if rows < 10_000 else 160_000, seed=1), rows)
    alone = _rate(_pipeline({traffic.MODEL: traffic.reference()}), batches, 1)
    return f"{rows:,}", alone, _rate(_pipeline({traffic.MODEL: traffic.reference()}), batches)


def _size(octets: float) -> str:
    return f"{octets / 1e6:.1f} MB" if octets >= 1e6 else f"{octets / 1e3:.0f} kB"
