"""Combine the own metrics of several processes into those of one service by adding them up."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from prometheus_client.core import Metric
from prometheus_client.registry import Collector, CollectorRegistry
from prometheus_client.samples import Sample

_LONGEST: Final = frozenset({"otelcol_process_uptime_seconds", "otelcol_exporter_queue_capacity"})
"""Not added up: uptime is that of the oldest process, capacity is the same in each."""
_COUNTED: Final = frozenset({"counter", "histogram", "summary"})
_STAMP: Final = "_created"
_Key = tuple[str, tuple[tuple[str, str], ...]]
Snapshot = list[Any]
"""Name, description, type and samples (name, labels, value) of each metric."""


def snapshot(registry: CollectorRegistry) -> Snapshot:
    """Return what a registry holds now, in values that JSON can hold."""
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
    """Collects the sums of ``own`` and of the snapshots of ``others``; register it in a separate registry.

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
        """Return nothing: the metrics depend on the other processes, which do not exist yet."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Return the sums. The others are read first, so that ``own`` includes what they have handed over."""
        others = [*self._others()]
        families: dict[str, _Family] = {}
        for metrics in (*others, snapshot(self._own)):
            add(families, metrics)
        return [_metric(name, family) for name, family in families.items()]


def add(families: dict[str, _Family], metrics: Snapshot) -> None:
    """Add the values of a snapshot to ``families``."""
    for name, text, kind, samples in metrics:
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


def counted(metrics: Snapshot) -> Snapshot:
    """Return what remains of a process that has ended: what it counted, not what it held."""
    return [family for family in metrics if family[2] in _COUNTED]


def total(snapshots: Iterable[Snapshot]) -> Snapshot:
    """Return the sum of several snapshots."""
    families: dict[str, _Family] = {}
    for one in snapshots:
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
