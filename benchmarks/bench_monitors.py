"""What everything beyond drift, quality and realized performance costs the whole service, in rows per second."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import numpy as np

from benchmarks import traffic
from benchmarks.measure import Row, rate, ratio
from benchmarks.server import Server
from collector_processor.columns.batch import Column, Decoded
from collector_processor.own.telemetry import Telemetry
from collector_processor.pipeline.pipeline import Pipeline
from collector_processor.pipeline.settings import MlMonitor, ModelConfig
from collector_processor.reference.build import build_reference
from collector_processor.reference.profile import Reference

ROUNDS, ROUND_S = 11, 1.5
_REACH, _REACH_BYTES = 0.85, 32e6
_MINUTES, _A_MINUTE, _MINUTE_NS = 60, 10_000, 60 * 10**9
_ROWS = 100_000


def rows(progress: Callable[[str], None]) -> Iterator[Row]:
    """Measure all monitors and those of version 0.2, alternately, in the whole service with one labeled reference."""
    progress("monitors: the whole service with all of them, and with those of version 0.2")
    reference = labeled_reference()
    with ExitStack() as running:
        all_of_them, before = (
            running.enter_context(Server(reference=reference, module=module))
            for module in ("collector_processor.cli.main", "benchmarks.before")
        )
        for what, template in (
            ("1,000 spans a request", traffic.spans_template()),
            (f"Arrow, {traffic.BATCH_ROWS:,} rows a span", traffic.arrow_template()),
        ):
            for server in (all_of_them, before):
                server.load(template, 0.5)
            found = [
                [server.load(template, ROUND_S).per_core for server in (all_of_them, before)] for _ in range(ROUNDS)
            ]
            with_all, without = zip(*found, strict=True)
            by_rounds, rates = ratio(with_all, without), (float(np.median(with_all)), float(np.median(without)))
            medians = rates[0] / rates[1]
            spread = sorted(one / other for one, other in zip(with_all, without, strict=True))
            yield Row(
                f"rows a second of one core that are left with every monitor on (HTTP, {what}, 25 columns, labeled "
                "reference)",
                f"{by_rounds:.1%} by rounds ({spread[0]:.0%} to {spread[-1]:.0%} in {ROUNDS}), "
                f"{medians:.1%} by medians: {rate(rates[0])}",
                "≥ 85 %",
                min(by_rounds, medians) / _REACH,
                f"{rate(rates[1])} with those of version 0.2",
                why="a request of batch rows costs so little that each further pass over its rows shows",
            )
    progress("monitors: the memory of a model with all of them")
    yield _memory(reference)


def _memory(reference: Reference) -> Row:
    """What a model holds after an hour of 10,000 rows a minute, all of which were labeled."""
    config = MlMonitor(models={traffic.MODEL: ModelConfig(task=traffic.TASK, positive_class=traffic.POSITIVE)})
    start_ns = time.time_ns() // _MINUTE_NS * _MINUTE_NS
    pipeline = Pipeline(config, {traffic.MODEL: reference}, Telemetry(), start_ns)
    for minute in range(_MINUTES):
        now_ns = start_ns + minute * _MINUTE_NS
        rows = traffic.batch(_A_MINUTE, seed=minute, time_ns=now_ns)
        pipeline.process([Decoded(predictions=(rows,))], now_ns)
        pipeline.process([Decoded(labels=(traffic.labels_of(rows),))], now_ns)
        pipeline.tick(now_ns)
    watch = pipeline.models[traffic.KEY].watch
    if watch is None or watch.cohorts is None:
        raise ValueError("the model is not watched")
    panes, cohorts = watch.windows.nbytes, watch.cohorts.nbytes
    waiting = pipeline.join.nbytes / len(pipeline.join)
    return Row(
        f"state of one model with every monitor on: 25 features, {_MINUTES} panes of {_A_MINUTE:,} labeled rows",
        f"{(panes + cohorts) / 1e6:.1f} MB: panes {panes / 1e6:.1f}, cohorts {cohorts / 1e6:.1f}; "
        f"{waiting:.0f} bytes for each prediction until labels are no longer waited for",
        "≤ 32 MB",
        _REACH_BYTES / (panes + cohorts),
        why="panes full of different values do not pack",
    )


def labeled_reference() -> Reference:
    """A reference of the same traffic whose labels come true as often as the scores say."""
    shape = traffic.batch(_ROWS, seed=100)
    assert shape.score is not None
    positive = np.random.default_rng(7).random(_ROWS) < shape.score
    labels = Column(None, positive.astype(np.int32), ("no", traffic.POSITIVE))
    return build_reference(traffic.MODEL, shape, positive_class=traffic.POSITIVE, label_classes=labels)
