"""From what senders report to what is new: counts that only rise, deltas, resets, duplicates, points out of order.

A series is identified by its sender, its place and the time at which it started: a sender that starts again
counts from zero, and so does another process that calls itself by the same name. Points that come again or late change
nothing, because a later one includes them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np

from collector_processor.columns.batch import F64, I64, U64, Mask, ModelKey
from collector_processor.columns.observations import DELTA, ObservationBatch
from collector_processor.columns.parts import Array

MAX_SENDERS: Final = 1000
MAX_SERIES: Final = 65_536
"""Series of one sender; one feature has about fifteen."""
_RECENT: Final = 16
"""Collections of a sender of deltas that are remembered, to notice points that come again."""
_START: Final = np.uint64(0x9E3779B97F4A7C15)
_PLACE: Final = np.uint64(0xC2B2AE3D27D4EB4F)

SenderKey = tuple[ModelKey, str, str, str]


class News(NamedTuple):
    """What is new in each point ``[n]``, and how many points were left out: those whose count fell without a reset,
    those about a longer time than a window, those that begin before this service knew the sender.
    """

    counts: F64
    fell: int = 0
    stale: int = 0
    baseline: int = 0


@dataclass(slots=True)
class _Series:
    """The series of one sender by key, ascending: the last count, its time, the start, and the first time."""

    keys: U64 = field(default_factory=lambda: np.zeros(0, np.uint64))
    last: F64 = field(default_factory=lambda: np.zeros(0))
    seen_ns: I64 = field(default_factory=lambda: np.zeros(0, np.int64))
    start_ns: I64 = field(default_factory=lambda: np.zeros(0, np.int64))
    first_ns: I64 = field(default_factory=lambda: np.zeros(0, np.int64))

    def find(self, keys: U64) -> tuple[I64, Mask]:
        """Return where each key is, and whether it is there."""
        at = np.searchsorted(self.keys, keys)
        found = np.zeros(len(keys), np.bool_)
        inside = at < len(self.keys)
        found[inside] = self.keys[at[inside]] == keys[inside]
        return at, found

    def insert(self, keys: U64, last: F64, time_ns: I64, start_ns: I64) -> None:
        """Add series that are new."""
        order = np.argsort(np.concatenate((self.keys, keys)), kind="stable")
        for name, more in (
            ("keys", keys),
            ("last", last),
            ("seen_ns", time_ns),
            ("start_ns", start_ns),
            ("first_ns", time_ns),
        ):
            setattr(self, name, np.concatenate((getattr(self, name), more))[order])

    def keep_newest(self, count: int) -> int:
        """Forget all but the series seen last; return how many were forgotten."""
        gone = len(self.keys) - count
        if gone <= 0:
            return 0
        kept = np.sort(np.argsort(self.seen_ns, kind="stable")[gone:])
        for name in ("keys", "last", "seen_ns", "start_ns", "first_ns"):
            setattr(self, name, getattr(self, name)[kept])
        return gone


class Senders:
    """The last counts of every sender. ``since_ns``: series that started before are a baseline, not news.

    At most :data:`MAX_SENDERS`; the one that was silent longest makes room.
    """

    def __init__(self, since_ns: int) -> None:
        self.since_ns = since_ns
        self._series: OrderedDict[SenderKey, _Series] = OrderedDict()
        self._recent: dict[SenderKey, OrderedDict[int, set[int]]] = {}

    def news(self, batch: ObservationBatch, places: I64, longest_ns: int, now_ns: int) -> tuple[News, int]:
        """Return what is new in a batch, and how many series were forgotten to make room.

        ``places`` ``[n]`` identify the series of one start. No count is about more than ``longest_ns``.
        """
        key = (batch.model, batch.sender, batch.reference, batch.temporality)
        if batch.temporality == DELTA:
            return self._deltas(key, batch, places, longest_ns), self._evicted(key, now_ns)
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = _Series()
        self._series.move_to_end(key)
        counts, totals = np.zeros(len(batch)), [0, 0, 0]
        with np.errstate(over="ignore"):
            keys = batch.start_ns.astype(np.uint64) * _START + (places.astype(np.uint64) + np.uint64(1)) * _PLACE
        for time_ns in np.unique(batch.time_ns).tolist():
            # Of one series with two counts of one time, which no SDK sends, the last.
            at = np.flatnonzero(batch.time_ns == time_ns)
            _, last = np.unique(keys[at][::-1], return_index=True)
            rows = at[::-1][last]
            part = self._risen(series, keys[rows], batch.counts[rows], batch.start_ns[rows], time_ns, longest_ns)
            counts[rows] = part.counts
            totals = [total + more for total, more in zip(totals, part[1:], strict=True)]
        gone = series.keep_newest(MAX_SERIES)
        if gone:
            self.since_ns = max(self.since_ns, now_ns)
        return News(counts, *totals), gone + self._evicted(key, now_ns)

    def forget(self, model: ModelKey) -> None:
        """Forget the senders of a model."""
        for known in (self._series, self._recent):
            for key in [key for key in known if key[0] == model]:
                del known[key]

    def state(self) -> dict[str, Any]:
        """Return the state as JSON with arrays in it; what is remembered of deltas is not kept."""
        series = [
            [[model.name, model.version, *rest], {name: getattr(each, name) for name in _KINDS}]
            for (model, *rest), each in self._series.items()
        ]
        return {"since_ns": self.since_ns, "series": series}

    def restore(self, saved: Any) -> None:
        """Take over :meth:`state`; raise ``ValueError`` or ``TypeError`` for anything else."""
        series: OrderedDict[SenderKey, _Series] = OrderedDict()
        since_ns = int(saved["since_ns"])
        if not -(2**63) <= since_ns < 2**63:
            raise ValueError("the time since when senders are known is none")
        for (name, version, sender, reference, temporality), arrays in saved["series"]:
            restored = _Series(**{key: _checked(arrays, key, kind) for key, kind in _KINDS.items()})
            if (
                len({len(getattr(restored, key)) for key in _KINDS}) != 1
                or (restored.keys[1:] <= restored.keys[:-1]).any()
            ):
                raise ValueError("the counts of a sender do not fit together")
            series[ModelKey(str(name), str(version)), str(sender), str(reference), str(temporality)] = restored
        self._series, self.since_ns = series, since_ns

    def _risen(self, series: _Series, keys: U64, counts: F64, start_ns: I64, time_ns: int, longest_ns: int) -> News:
        """Return the news of series that rise, all at one time."""
        at, known = series.find(keys)
        news = np.zeros(len(keys))
        old, new = at[known], ~known
        earlier = series.start_ns[series.first_ns < time_ns]
        # A series that comes later than others of its start was at zero until now.
        fresh = (start_ns[new] != 0) & ((start_ns[new] >= self.since_ns) | np.isin(start_ns[new], earlier))
        too_long = fresh & (time_ns - start_ns[new] > longest_ns) & (counts[new] > 0.0)
        news[new] = np.where(fresh & ~too_long, counts[new], 0.0)
        newer = series.seen_ns[old] < time_ns
        risen = counts[known] - series.last[old]
        fell = newer & (risen < 0.0)
        restarted = fell & (start_ns[known] == 0)
        risen = np.where(restarted, counts[known], risen)
        stale = newer & (time_ns - series.seen_ns[old] > longest_ns) & (risen > 0.0)
        news[known] = np.where(newer & ~stale, np.maximum(risen, 0.0), 0.0)
        series.last[old] = np.where(newer, counts[known], series.last[old])
        series.seen_ns[old] = np.maximum(series.seen_ns[old], time_ns)
        if new.any():
            times = np.full(int(new.sum()), time_ns, np.int64)
            series.insert(keys[new], counts[new], times, start_ns[new])
        fallen = int((fell & ~restarted).sum())
        return News(news, fallen, int(stale.sum() + too_long.sum()), int((~fresh & (counts[new] > 0.0)).sum()))

    def _deltas(self, key: SenderKey, batch: ObservationBatch, places: I64, longest_ns: int) -> News:
        """Return the news of deltas: those that did not come before."""
        recent = self._recent.setdefault(key, OrderedDict())
        counts, stale = np.zeros(len(batch)), 0
        rows = zip(batch.time_ns.tolist(), batch.start_ns.tolist(), places.tolist(), strict=True)
        oldest_ns = min(recent) if len(recent) >= _RECENT else None
        for row, (time_ns, start_ns, place) in enumerate(rows):
            too_long = start_ns != 0 and time_ns - start_ns > longest_ns
            if too_long or (oldest_ns is not None and time_ns < oldest_ns):
                stale += 1
                continue
            seen = recent.setdefault(time_ns, set())
            if place not in seen:
                seen.add(place)
                counts[row] = batch.counts[row]
        for time_ns in sorted(recent)[:-_RECENT]:
            del recent[time_ns]
        return News(counts, stale=stale)

    def _evicted(self, key: SenderKey, now_ns: int) -> int:
        """Forget the senders beyond the limit that were silent longest; return how many."""
        if len(self._recent) > MAX_SENDERS:
            del self._recent[next(each for each in self._recent if each != key)]
            return 1
        if len(self._series) <= MAX_SENDERS:
            return 0
        self._series.popitem(last=False)
        self.since_ns = max(self.since_ns, now_ns)
        return 1


_KINDS: Final[Mapping[str, Any]] = {
    "keys": np.uint64,
    "last": np.float64,
    "seen_ns": np.int64,
    "start_ns": np.int64,
    "first_ns": np.int64,
}


def _checked(arrays: Mapping[str, Any], name: str, kind: Any) -> Array:
    values = arrays[name]
    if not isinstance(values, np.ndarray) or values.dtype != kind or values.ndim != 1:
        raise ValueError(f"the counts of a sender have no {name}")
    return values.copy()
