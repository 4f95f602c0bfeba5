"""Which rows the dearer sums look at: all of the first ones of a minute, then fewer and fewer, by prediction id.

Where windows are counted in rows, a pane takes the place of the minute: its figures need its rows, however fast they
come. A row that is looked at stands for those that are not, so it has their weight, and sums are right whatever the
share. The choice depends on the id and on how many rows of the model came before in that minute or pane, never on what
is in the row or on how the rows were divided into batches. The share halves whenever the rows of a minute have doubled,
so a sum of n rows is worth about 1.5 times as many equal ones as are looked at before it first halves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from collector_processor.columns.batch import F64, I64, U64, Column, PredictionBatch

WHOLE: Final = 4096
"""How many rows of a minute are looked at before sampling begins, unless a sum costs more."""
LEVELS: Final = 24
"""How often the share halves at most."""
MINUTE_NS: Final = 60 * 10**9
_EVERY: Final = 1
Levels = NDArray[np.uint8]


class Arrivals:
    """Numbers the rows of a model in the order in which they come, from 0 on in each minute of event time.

    A row of an earlier minute than the newest one counts in the newest. With ``pane_rows``, from 0 on in each pane of
    that many rows.

    >>> arrivals = Arrivals()
    >>> [arrivals.numbers(np.array(minutes) * MINUTE_NS, 2**62).tolist() for minutes in ([1, 1], [1, 2, 1], [3])]
    [[0, 1], [2, 0, 1], [0]]
    >>> arrivals = Arrivals(pane_rows=3)
    >>> [arrivals.numbers(np.zeros(rows, np.int64), 0).tolist() for rows in (2, 3)]
    [[0, 1], [2, 0, 1]]
    """

    def __init__(self, pane_rows: int = 0) -> None:
        self._minute, self._came, self._pane_rows = -(2**62), 0, pane_rows

    def number(self, batch: PredictionBatch, latest_ns: int) -> None:
        """Number the rows of a batch before it is cut into panes; times after ``latest_ns`` are not believed."""
        if len(batch):
            batch.once("arrivals", None, lambda: self.numbers(batch.time_ns, latest_ns))

    def numbers(self, time_ns: I64, latest_ns: int) -> I64:
        """Return the number of each row ``[n]``, and count them."""
        self._minute = min(self._minute, latest_ns // MINUTE_NS)  # the service's clock may have been ahead
        numbers = self._came + np.arange(len(time_ns))
        if self._pane_rows:
            numbers %= self._pane_rows
            self._came = (int(numbers[-1]) + 1) % self._pane_rows
            return numbers
        if min(int(time_ns.max()), latest_ns) // MINUTE_NS > self._minute:
            minutes = np.maximum.accumulate(np.maximum(np.minimum(time_ns, latest_ns) // MINUTE_NS, self._minute))
            begins = np.append(minutes[:1] > self._minute, minutes[1:] > minutes[:-1])
            numbers -= np.maximum.accumulate(np.where(begins, numbers, 0))
            self._minute = int(minutes[-1])
        self._came = int(numbers[-1]) + 1
        return numbers

    def state(self) -> list[int]:
        """Return what the next rows are numbered by, for :meth:`restore`."""
        return [self._minute, self._came]

    def restore(self, saved: object) -> None:
        """Continue from :meth:`state`; from anything else, such as that of an earlier version, begin again."""
        numbers = [each for each in saved if type(each) is int] if isinstance(saved, list) else []
        if len(numbers) == 2 and abs(numbers[0]) <= 2**62 and 0 <= numbers[1] <= 2**62:
            self._minute, self._came = numbers


def number_by_place(batch: PredictionBatch) -> None:
    """Number the rows of a table, as if all came in one minute."""
    batch.once("arrivals", None, lambda: np.arange(len(batch)))


class Sample(NamedTuple):
    """The rows of a batch that are looked at, their positions in it and the weight of each, ``[m]``, and their
    ``levels``: each stands for 2 ** (level − 1) rows.
    """

    batch: PredictionBatch
    rows: I64
    weights: F64
    levels: Levels


def sampled(batch: PredictionBatch) -> Sample:
    """Return the rows of a batch that :func:`levels` chooses, without segments and attributions.

    Derived once for each batch.

    >>> from collector_processor.columns.batch import ModelKey
    >>> ids = np.arange(1, 17, dtype=np.uint64).repeat(2).reshape(16, 2)
    >>> batch = PredictionBatch(ModelKey("fraud"), np.zeros(16, np.int64), ids, np.ones(16), np.ones(16))
    >>> arrivals = Arrivals()
    >>> _ = arrivals.numbers(np.zeros(WHOLE - 3, np.int64), 0)
    >>> arrivals.number(batch, 0)
    >>> [each.tolist() for each in sampled(batch)[1:3]]
    [[0, 1, 2, 3, 5, 7, 9, 11, 13, 15], [1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0]]
    """
    known = batch.kept.get("sample")
    if not isinstance(known, Sample):
        known = batch.kept["sample"] = _sampled(batch)
    return known


def _sampled(batch: PredictionBatch) -> Sample:
    chosen = levels(batch)
    rows = np.flatnonzero(chosen > 0)
    if len(rows) == len(batch) and (chosen == _EVERY).all():
        return Sample(batch, rows, batch.weights, chosen)
    features = _Taken(batch.features, rows)
    part = replace(batch, features={}, segments={}, attributions={}).take(rows)
    taken = chosen[rows]
    return Sample(replace(part, features=features), rows, part.weights * stands_for(taken), taken)


class _Taken(Mapping[str, Column]):
    """Some rows of columns, each taken when it is first asked for: of many columns, sums look at few."""

    def __init__(self, columns: Mapping[str, Column], rows: I64) -> None:
        self._columns, self._rows = columns, rows
        self._taken: dict[str, Column] = {}

    def __getitem__(self, name: str) -> Column:
        taken = self._taken.get(name)
        if taken is None:
            taken = self._taken[name] = self._columns[name].mapped(lambda values: values[self._rows])
        return taken

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)


def levels(batch: PredictionBatch, whole: int = WHOLE) -> Levels:
    """Return 1 for a row that stands for itself, 2 for one that stands for two, 3 for four …, and 0 for one that is
    not looked at, ``[n]``.

    All of the first ``whole`` rows of a minute are, and all of a batch whose rows have no numbers (:class:`Arrivals`).
    What a smaller ``whole`` chooses, a larger one does, too.
    """
    return batch.once(f"levels {whole}", None, lambda: _levels(batch, whole))


def stands_for(chosen: Levels) -> F64:
    """Return how many rows each of these levels stands for: 0, 1, 2, 4, 8 …"""
    return _STANDS_FOR[chosen]


_STANDS_FOR: Final[F64] = np.append(0.0, np.exp2(np.arange(LEVELS + 1)))


def _levels(batch: PredictionBatch, whole: int) -> Levels:
    numbers = batch.derived.get("arrivals", (None, None))[1]
    if numbers is None or not len(batch):
        return np.full(len(batch), _EVERY, np.uint8)
    keys = batch.ids[:, 0]
    if whole >= WHOLE:
        return _levels_of(keys, numbers, whole)
    rows = np.flatnonzero(levels(batch) > 0)
    found = np.zeros(len(batch), np.uint8)
    if len(rows):
        found[rows] = _levels_of(keys[rows], numbers[rows], whole)
    return found


def _levels_of(keys: U64, numbers: I64, whole: int) -> Levels:
    least, most = (min(int(number) // whole, 2**LEVELS - 1).bit_length() for number in (numbers.min(), numbers.max()))
    if least == most:
        left_out = np.uint64((1 << least) - 1)
        rows = np.flatnonzero(keys & left_out == 0)
        rows = rows[_keys(keys[rows], numbers[rows]) & left_out == 0]
        found = np.zeros(len(keys), np.uint8)
        found[rows] = least + 1
        return found
    halved = np.clip(np.frexp(numbers // whole)[1], 0, LEVELS)
    left_out = _keys(keys, numbers) & ((np.uint64(1) << halved.astype(np.uint64)) - np.uint64(1))
    return np.where(left_out == 0, halved + 1, 0).astype(np.uint8)


def _keys(keys: U64, numbers: I64) -> U64:
    """Return the numbers of rows without an id, such as those of a table, in place of their keys."""
    return keys if keys.all() else np.where(keys == 0, numbers.astype(np.uint64), keys)


def evaluated_weights(batch: PredictionBatch, by: object, whole: int) -> F64:
    """Return how many predictions each row stands for in estimates, float64 ``[n]``; 0 for rows that are not evaluated.

    Derived once for each batch and ``by``.
    """

    def derive() -> F64:
        chosen = levels(batch, whole)
        rows, weights = np.flatnonzero(chosen > 0), np.zeros(len(batch))
        weights[rows] = batch.weights[rows] * stands_for(chosen[rows])
        return weights

    return batch.once("evaluated_weights", by, derive)


def evaluated_evenly(batch: PredictionBatch, by: object, most: int) -> None:
    """Choose at most ``most`` rows of a batch by their place: the rows of a table have no ids, and need no haste."""

    def derive() -> F64:
        chosen = np.arange(len(batch)) % max(-(-len(batch) // most), 1) == 0
        total = batch.weights[chosen].sum()
        return np.where(chosen, batch.weights * (batch.weights.sum() / total if total > 0.0 else 0.0), 0.0)

    batch.once("evaluated_weights", by, derive)
