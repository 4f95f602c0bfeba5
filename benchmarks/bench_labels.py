"""The join: predictions stored, labels that find them, and the memory of what waits."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from benchmarks import traffic
from benchmarks.measure import Row, clock_s, rate
from collector_processor.columns.batch import LabelBatch
from collector_processor.labels.join import LabelJoin

PENDING, PENDING_FULL = 1_000_000, 10_000_000
CHUNK = 10_000
_REACH_BYTES = 60.0


def rows(progress: Callable[[str], None], full: bool = False) -> Iterator[Row]:
    """All lines about labels; with ``full`` ten million wait instead of one."""
    total = PENDING_FULL if full else PENDING
    progress(f"labels: {total / 1e6:g} M pending")
    schema = traffic.reference().schema.fork()
    join = LabelJoin(capacity=PENDING_FULL)
    template = traffic.batch(CHUNK, numeric=0, categorical=0)
    inserted_s = joined_s = 0.0
    sample: list[LabelBatch] = []
    for number in range(total // CHUNK):
        rng = np.random.default_rng(number)
        template.ids[:] = rng.integers(0, 2**64 - 1, (CHUNK, 2), np.uint64)
        start = clock_s()
        join.predictions(traffic.KEY, schema, template)
        inserted_s += clock_s() - start
        if number % max(1, total // PENDING) == 0:
            sample.append(traffic.labels_of(template, number))
    per_entry = join.nbytes / len(join)
    order = np.random.default_rng(0).permutation(len(sample))
    for position in order.tolist():
        start = clock_s()
        join.labels(sample[position], {traffic.KEY: schema}, {})
        joined_s += clock_s() - start
    yield Row(
        f"label join, {total / 1e6:g} M pending, batches of {CHUNK:,}",
        f"{rate(total / inserted_s)} inserted, {rate(len(sample) * CHUNK / joined_s)} joined",
        baseline=_dictionary(),
    )
    yield Row(
        f"memory of pending predictions, {total / 1e6:g} M of them",
        f"{per_entry:.0f} bytes each: 10 M take {per_entry * 10:.0f} MB ({join.nbytes / len(join):.0f} once labeled)",
        "10 M in ≤ 600 MB",
        _REACH_BYTES / per_entry,
        why="the table is resized by doubling, and is emptiest just after",
    )


def _dictionary() -> str:
    """The obvious store, in the same order as ours: a dict from bytes, which neither expires nor joins."""
    rng = np.random.default_rng(0)
    ids = [bytes(row) for row in rng.integers(0, 256, (PENDING, 16), np.uint8)]
    wanted = [ids[row] for row in rng.permutation(len(ids)).tolist()]
    pending: dict[bytes, tuple[float, int]] = {}
    start = clock_s()
    for id in ids:
        pending[id] = (0.5, 1)
    inserted_s = clock_s() - start
    start = clock_s()
    for id in wanted:
        pending[id]
    found_s = clock_s() - start
    return f"dict of bytes, look-up only: {rate(len(ids) / inserted_s)}, {rate(len(ids) / found_s)}"
