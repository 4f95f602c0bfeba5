"""Own metrics of several processes as those of one service: what they counted is added up."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from prometheus_client.core import Metric
from prometheus_client.registry import Collector, CollectorRegistry
from prometheus_client.samples import Sample

_LONGEST: Final = frozenset({"otelcol_process_uptime_seconds", "otelcol_exporter_queue_capacity"})
"""Not added up: uptime is that of the oldest, capacity is the same in each."""
_COUNTED: Final = frozenset({"counter", "histogram", "summary"})
_STAMP: Final = "_created"
_Key = tuple[str, tuple[tuple[str, str], ...]]
Snapshot = list[Any]
"""Name, text, type and samples (name, labels, value) of each metric."""


def snapshot(registry: CollectorRegistry) -> Snapshot:
    """What a registry holds now, as JSON can have it."""
    return [
        [
            metric.name,
            metric.documentation,
            metric.type,
            [[sample.name, dict(sample.labels), sample.value] for sample in metric.samples],
        ]
        for metric in registry.collect()
    ]


@dataclass(slots=True)
class _Family:
    text: str
    kind: str
    values: dict[_Key, float] = field(default_factory=dict[_Key, float])


class Summed(Collector):
    """Collects ``own`` and what ``others`` gives together; to be registered in a registry of its own.

    >>> from prometheus_client import Counter
    >>> one, all_together = CollectorRegistry(), CollectorRegistry()
    >>> Counter("spans", "spans", registry=one).inc(2)
    >>> all_together.register(Summed(one, lambda: [snapshot(one), snapshot(one)]))
    >>> all_together.get_sample_value("spans_total")
    6.0
    """

    def __init__(self, own: CollectorRegistry, others: Callable[[], Iterable[Snapshot]]) -> None:
        self._own = own
        self._others = others

    def describe(self) -> Iterable[Metric]:
        """Nothing: what there is depends on the others, who are not there yet."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """The sums. The others are asked first: what they have handed over is then in the own ones."""
        others = [*self._others()]
        families: dict[str, _Family] = {}
        for found in (*others, snapshot(self._own)):
            add(families, found)
        return [_metric(name, family) for name, family in families.items()]


def add(families: dict[str, _Family], found: Snapshot) -> None:
    """Adds the values of a snapshot up."""
    for name, text, kind, samples in found:
        family = families.setdefault(name, _Family(text, kind))
        for sample, labels, value in samples:
            key = (sample, tuple(labels.items()))
            before = family.values.get(key)
            if before is None:
                family.values[key] = value
            elif sample.endswith(_STAMP):
                family.values[key] = min(before, value)
            else:
                family.values[key] = max(before, value) if name in _LONGEST else before + value


def counted(found: Snapshot) -> Snapshot:
    """What stays of a process that has ended: what it counted, not what it held."""
    return [family for family in found if family[2] in _COUNTED]


def total(found: Iterable[Snapshot]) -> Snapshot:
    """Several snapshots as one."""
    families: dict[str, _Family] = {}
    for one in found:
        add(families, one)
    return [
        [
            name,
            family.text,
            family.kind,
            [[sample, dict(labels), value] for (sample, labels), value in family.values.items()],
        ]
        for name, family in families.items()
    ]


def _metric(name: str, family: _Family) -> Metric:
    metric = Metric(name, family.text, family.kind)
    metric.samples = [Sample(sample, dict(labels), value) for (sample, labels), value in family.values.items()]
    return metric
