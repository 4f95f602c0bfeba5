"""Reads the metrics of the service as Prometheus would."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import requests
from prometheus_client.parser import text_string_to_metric_families

_CAUSES: Final = {"ml_cause_population": "population", "ml_cause_unseen": "population", "ml_cause_concept": "world"}
"""Cases that the reference lacks are a part of what comes, too."""
_TERMS: Final = {name.removeprefix("ml_cause_"): cause for name, cause in _CAUSES.items()}


@dataclass(frozen=True, slots=True)
class Figures:
    """The measurements at one moment."""

    rows: float = 0.0
    estimated: float | None = None
    """The accuracy as estimated from the scores, before any label."""
    accuracy: float | None = None
    precision: float | None = None
    recall: float | None = None
    roc_auc: float | None = None
    latency_p95_s: float | None = None
    coverage: float | None = None
    causes: Mapping[str, float] = field(default_factory=dict[str, float])
    """What changed the accuracy, in shares of the rows, if beyond two standard errors: population, world."""
    accuracy_change: float = 0.0
    """The whole change of the accuracy since the reference."""
    drift: Mapping[str, tuple[float, float]] = field(default_factory=dict[str, tuple[float, float]])
    """Score and threshold of PSI by feature."""


def scrape(url: str) -> list[tuple[str, Mapping[str, str], float]]:
    """Return all samples of a metrics page: name, labels, value."""
    page = requests.get(url, timeout=5)
    page.raise_for_status()
    return [
        (sample.name, sample.labels, sample.value)
        for family in text_string_to_metric_families(page.text)
        for sample in family.samples
    ]


def read_figures(url: str) -> Figures:
    """Return the measurements of the latest window, without those of segments."""
    single: dict[tuple[str, str], float] = {}
    causes, variances = dict.fromkeys(_TERMS.values(), 0.0), dict.fromkeys(_TERMS.values(), 0.0)
    scores: dict[str, float] = {}
    thresholds: dict[str, float] = {}
    for name, labels, value in scrape(url):
        if "ml_segment_name" in labels:
            continue
        if name in _CAUSES:
            causes[_CAUSES[name]] -= value  # a part of the change of the error
        elif name == "ml_cause_error" and labels.get("ml_cause_term") in _TERMS:
            variances[_TERMS[labels["ml_cause_term"]]] += value**2
        by_feature = {"ml_drift_score": scores, "ml_drift_threshold": thresholds}.get(name)
        if by_feature is None:
            single[name, labels.get("ml_performance_source", "")] = value
        elif labels.get("ml_drift_method") == "psi" and "ml_feature_name" in labels:
            by_feature[labels["ml_feature_name"]] = value
    return Figures(
        rows=single.get(("ml_window_rows", ""), 0.0),
        estimated=single.get(("ml_performance_accuracy_ratio", "estimated")),
        accuracy=single.get(("ml_performance_accuracy_ratio", "labels")),
        precision=single.get(("ml_performance_precision_ratio", "labels")),
        recall=single.get(("ml_performance_recall_ratio", "labels")),
        roc_auc=single.get(("ml_performance_roc_auc_ratio", "labels")),
        latency_p95_s=single.get(("ml_latency_p95_seconds", "")),
        coverage=single.get(("ml_labels_coverage_ratio", "")),
        causes={cause: value for cause, value in causes.items() if value**2 > 4.0 * variances[cause]},
        accuracy_change=-single.get(("ml_cause_change", ""), 0.0),
        drift={name: (score, thresholds.get(name, 0.0)) for name, score in scores.items()},
    )


@dataclass(frozen=True, slots=True)
class Totals:
    """What the service has processed since it started."""

    decoded: int
    joined: int
    rejected: int
    newest_s: float
    """End of the newest window, as Unix time; 0 before the first one."""


def read_totals(url: str, model: str) -> Totals:
    """Return the service's own counters for one model."""
    decoded = joined = rejected = 0
    newest_s = 0.0
    for name, labels, value in scrape(url):
        if name == "otel_ml_rows_total" and labels["model"] == model:
            decoded += int(value)
        elif name == "otel_ml_newest_window_timestamp_seconds" and labels["model"] == model:
            newest_s = value
        elif name == "otel_ml_labels_total" and labels["outcome"] in ("joined", "joined_early"):
            joined += int(value)
        elif name.startswith(("otelcol_receiver_refused", "otelcol_receiver_failed")) and name.endswith("_total"):
            rejected += int(value)
    return Totals(decoded, joined, rejected, newest_s)
