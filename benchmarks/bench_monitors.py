"""What everything beyond drift, quality and realized performance costs the whole service, in rows per second."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import numpy as np

from benchmarks import traffic
from benchmarks.measure import Row, rate, ratio
from benchmarks.server import Server
from collector_processor.columns.batch import Column
from collector_processor.reference.build import build_reference
from collector_processor.reference.profile import Reference

ROUNDS, ROUND_S = 7, 1.5
_REACH = 0.85
_ROWS = 100_000


def rows(progress: Callable[[str], None]) -> Iterator[Row]:
    """The service with all monitors, and with those of version 0.2, in turns; the labeled reference is the same."""
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
            left = ratio(with_all, without)
            yield Row(
                f"rows a second of one core that are left with every monitor on (HTTP, {what}, 25 columns, labeled "
                "reference)",
                f"{left:.0%}: {rate(float(np.median(with_all)))}",
                "≥ 85 %",
                left / _REACH,
                f"{rate(float(np.median(without)))} with those of version 0.2",
            )


def labeled_reference() -> Reference:
    """A reference of the same traffic whose labels come true as often as the scores say."""
    shape = traffic.batch(_ROWS, seed=100)
    assert shape.score is not None
    positive = np.random.default_rng(7).random(_ROWS) < shape.score
    labels = Column(None, positive.astype(np.int32), ("no", traffic.POSITIVE))
    return build_reference(traffic.MODEL, shape, positive_class=traffic.POSITIVE, label_classes=labels)
