"""Rules for the health of the service, over its own metrics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from collector_processor.config import Config
from collector_processor.generate.catalog import Catalog
from collector_processor.generate.rules.rule import MINUTE_NS, Example, Rule, number
from collector_processor.own.metrics import ITEMS, exported_name, received_name

_INSTANCE: Final = ("job", "instance")
_JOB: Final = (("instance", "a:8888"), ("job", "otel-ml"))
_QUEUE_SHARE: Final = 0.8
_LAG: Final = 1000.0
_MEMORY_SHARE: Final = 0.9
_JOURNAL_SHARE: Final = 0.8
_OURS: Final = "otel_ml_models"
"""A metric that every instance of otel-ml has; a Collector, which has metrics of the other names, does not."""


def service_rules(config: Config, catalog: Catalog, runbooks: str) -> Iterator[Rule]:
    """Yield every rule for the service; those for memory and journal have the limits of the configuration."""
    health = _Health(catalog, runbooks)
    limits = config.monitor.limits
    yield health.down()
    yield health.grown(
        "service_refuses", [received_name("refused", signal) for signal in ITEMS],
        ("receiver", "transport"), hold_m=5, severity="warning",
        summary="the service is refusing requests",
        description="Requests are refused because memory or the journal is full, or because they are too large. "
        "Senders retry the requests that can still succeed.",
    )  # fmt: skip
    yield health.grown(
        "service_drops", ["otel_ml_dropped_total"], ("stage", "reason"), where=(("intentional", "false"),),
        summary="the service is losing input because of errors",
        description="Something was dropped because of an error. No policy or limit asked for it.",
    )  # fmt: skip
    yield health.grown(
        "service_destination_lags", ["otel_ml_dropped_total"], ("stage", "reason"),
        where=(("stage", "journal"), ("reason", "destination_lagging")),
        summary="a destination is too slow and is missing originals",
        description="A destination of originals is slower than the traffic. The oldest requests that waited for it "
        "were dropped.",
    )  # fmt: skip
    failed = [exported_name(verb, signal) for verb in ("send_failed", "enqueue_failed") for signal in ITEMS]
    yield health.grown(
        "service_send_failures", failed, ("exporter",), severity="critical",
        summary="a destination is not accepting what it is sent",
        description="An exporter gave up on measurements or originals after all retries, or its queue was full.",
    )  # fmt: skip
    yield health.level(
        "service_queue_full", "otelcol_exporter_queue_size", ("exporter", "data_type"), _QUEUE_SHARE,
        per="otelcol_exporter_queue_capacity", hold_m=5,
        summary="an exporter's queue is nearly full",
        description="The queue is more than 80% full. The destination is slow or unreachable.",
    )  # fmt: skip
    yield health.level(
        "service_journal_lag", "otel_ml_journal_lag", ("consumer",), _LAG, hold_m=10,
        summary="a consumer of the journal is falling behind",
        description="For 10 minutes, more than 1000 requests have been waiting for one consumer.",
    )  # fmt: skip
    yield health.level(
        "service_journal_full", "otel_ml_journal_bytes", (), _JOURNAL_SHARE * limits.journal, hold_m=5,
        summary="the journal is nearly full",
        description=f"The journal uses more than 80% of limits.journal ({limits.journal} bytes).",
    )  # fmt: skip
    yield health.grown(
        "service_label_evictions", ["otel_ml_evicted_total"], ("store", "reason"),
        where=(("store", "pending_predictions"), ("reason", "capacity")),
        summary="predictions are evicted before their labels arrive",
        description="labels.capacity is too small for labels.wait: predictions that waited for a label were evicted.",
    )  # fmt: skip
    yield health.grown(
        "service_errors", ["otel_ml_errors_total"], ("stage",),
        summary="the service survived an unexpected error",
        description="The service survived an error that it did not expect. This is a bug; the log has the traceback.",
    )  # fmt: skip
    yield health.grown(
        "service_snapshots_fail", ["otel_ml_errors_total"], ("stage",), where=(("stage", ("snapshot", "storage")),),
        severity="critical",
        summary="the service cannot save its state",
        description="Snapshots are failing. A restart would lose windows, learned references and predictions that wait "
        "for a label.",
    )  # fmt: skip
    yield health.grown(
        "service_notifications_fail", ["otel_ml_notifications_total"], ("exporter", "outcome"),
        where=(("outcome", ("failed", "dropped")),), severity="critical",
        summary="alerts are not being delivered",
        description="The service could not deliver alerts to a destination after all retries, or its queue was full.",
    )  # fmt: skip
    if limits.memory is not None:
        yield health.level(
            "service_memory", "otelcol_process_memory_rss_bytes", (), _MEMORY_SHARE * limits.memory, hold_m=5,
            summary="memory use is close to the limit",
            description=f"More than 90% of limits.memory ({limits.memory} bytes) is in use. Above the limit, requests "
            "are refused.",
        )  # fmt: skip


Where = Sequence[tuple[str, str | tuple[str, ...]]]


class _Health:
    """Builds rules from names in the registry."""

    def __init__(self, catalog: Catalog, runbooks: str) -> None:
        self._catalog = catalog
        self._runbooks = runbooks

    def _name(self, name: str) -> str:
        return self._catalog[name].name

    def _ours(self, name: str) -> str:
        """Return a condition that excludes a Collector's metrics of the same name."""
        return f" and on (job, instance) {self._name(_OURS)}" if name.startswith("otelcol_") else ""

    def down(self) -> Rule:
        """Return the rule that fires when nothing can be scraped, or nothing arrives any longer."""
        models = self._name(_OURS)
        value = (
            f"group by (job, instance) (up == 0 and on (job, instance) last_over_time({models}[1d]))"
            f" or group by (job) (last_over_time({models}[1h])) unless on (job) {models} unless on (job) up == 0"
        )
        own = f'{models}{{instance="a:8888", job="otel-ml"}}'
        scraped = 'up{instance="a:8888", job="otel-ml"}'
        gone = Example(
            "fires when the scrape fails", ((own, "3+0x5 _x40"), (scraped, "1+0x5 0+0x40")), 20 * MINUTE_NS, _JOB, 1.0
        )
        pushed = Example(
            "fires when nothing is pushed any longer",
            ((own, "3+0x5 _x40"),),
            20 * MINUTE_NS,
            (("job", "otel-ml"),),
            1.0,
        )
        fine = Example("is quiet while all is well", ((own, "3+0x40"), (scraped, "1+0x40")), 20 * MINUTE_NS)
        return Rule(
            "service_down", "service", value, ">", 0.0, 0.0, _INSTANCE, 2 * MINUTE_NS, "critical",
            "the monitoring service is down",
            "An instance of otel-ml cannot be scraped, or its own metrics have stopped arriving.",
            self._runbook("service_down"), f"sum:{models}{{*}} by {{host}} + 1", "sum", ("host",), 5 * MINUTE_NS, "",
            (gone, pushed, fine),
        )  # fmt: skip

    def _runbook(self, name: str) -> str:
        return f"{self._runbooks}docs/runbooks/{name}.md"

    def grown(
        self, name: str, metrics: Sequence[str], labels: tuple[str, ...], *, where: Where = (), hold_m: int = 0,
        severity: str = "warning", summary: str, description: str,
    ) -> Rule:  # fmt: skip
        """Return a rule on counters that grew within 15 minutes; a counter that appeared then has grown, too."""
        by = f"by (job, instance{''.join(f', {label}' for label in labels)})"
        parts: list[str] = []
        for metric in metrics:
            chosen = f"{self._name(metric)}{_matchers(where)}"
            ours = self._ours(metric)
            born = f"sum {by} ({chosen}{ours}) unless sum {by} ({chosen} offset 15m)"
            parts.append(f"sum {by} (increase({chosen}[15m]){ours}) > 0 or ({born})")
        first = self._example_series(metrics[0], labels, where)
        alive = (f'{self._name(_OURS)}{{instance="a:8888", job="otel-ml"}}', "3+0x60")
        alert = (*_JOB, *((label, value) for label, value in first[1] if label in labels))
        fires = Example("fires when it grows", ((first[0], "1+0x20 1+1x40"), alive), 50 * MINUTE_NS, alert, 15.0)
        born = Example(
            "fires when it appears", ((first[0], "_x20 1+0x40"), alive), (22 + hold_m) * MINUTE_NS, alert, 1.0
        )
        quiet = Example("is quiet while it does not grow", ((first[0], "5+0x60"), alive), 50 * MINUTE_NS)
        tags = (*labels,)
        scope = " AND ".join(_tag(key, value) for key, value in where) or "*"
        datadog = " + ".join(
            f"default_zero(sum:{self._name(metric)}{{{scope}}} by {{{','.join(tags)}}}.as_count())"
            for metric in metrics
        )
        return Rule(
            name, "service", " or ".join(parts), ">", 0.0, 0.0, (*_INSTANCE, *labels), hold_m * MINUTE_NS, severity,
            summary, description, self._runbook(name), datadog, "sum", tags, 0, "Count in 15 minutes: {}.",
            (fires, born, quiet),
        )  # fmt: skip

    def level(
        self, name: str, metric: str, labels: tuple[str, ...], threshold: float, *, per: str = "", hold_m: int,
        severity: str = "warning", summary: str, description: str,
    ) -> Rule:  # fmt: skip
        """Return a rule on a gauge above a threshold, or on its share of another gauge."""
        keys = ", ".join((*_INSTANCE, *labels))
        value = f"max by ({keys}) ({self._name(metric)}{self._ours(metric)})"
        tags = labels or ("host",)
        datadog = f"max:{self._name(metric)}{{*}} by {{{','.join(tags)}}}"
        if per:
            value += f" / max by ({keys}) ({self._name(per)} > 0)"
            datadog += f" / max:{self._name(per)}{{*}} by {{{','.join(tags)}}}"
        series, pairs = self._example_series(metric, labels, ())
        alive = (f'{self._name(_OURS)}{{instance="a:8888", job="otel-ml"}}', "3+0x60")
        whole = 1000.0 if per else 1.0
        others = ((self._example_series(per, labels, ())[0], "1000+0x60"), alive) if per else (alive,)
        high, low = threshold * 1.125, threshold / 2
        at_ns = (hold_m + 5) * MINUTE_NS
        too_high = ((series, f"{number(high * whole)}+0x60"), *others)
        alert = (*_JOB, *((label, value) for label, value in pairs if label in labels))
        return Rule(
            name, "service", value, ">", threshold, threshold, (*_INSTANCE, *labels), hold_m * MINUTE_NS, severity,
            summary, description, self._runbook(name), datadog, "min", tags, 0, "Value: {}.",
            (
                Example("fires", too_high, at_ns, alert, high),
                Example("is quiet below", ((series, f"{number(low * whole)}+0x60"), *others), at_ns),
                Example("is quiet before the hold time is over", too_high, (hold_m - 1) * MINUTE_NS),
            ),
        )  # fmt: skip

    def _example_series(
        self, metric: str, labels: tuple[str, ...], where: Where
    ) -> tuple[str, tuple[tuple[str, str], ...]]:
        given = {key: value if isinstance(value, str) else value[0] for key, value in where}
        pairs = (*_JOB, *((label, given.get(label, "some")) for label in dict.fromkeys((*labels, *given))))
        matchers = ", ".join(f'{key}="{value}"' for key, value in pairs)
        return f"{self._name(metric)}{{{matchers}}}", pairs


def _matchers(where: Where) -> str:
    parts = [f'{key}="{value}"' if isinstance(value, str) else f'{key}=~"{"|".join(value)}"' for key, value in where]
    return f"{{{','.join(parts)}}}" if parts else ""


def _tag(key: str, value: str | tuple[str, ...]) -> str:
    return f"{key}:{value}" if isinstance(value, str) else f"({' OR '.join(f'{key}:{item}' for item in value)})"
