"""What an alert rule is, and the rules that are built in: one set for the service's own notifier and for Prometheus."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from otel_ml import semconv

Severity = Literal["info", "warning", "critical"]
Condition = Literal["above", "below", "absent"]
Where = tuple[tuple[str, tuple[str, ...]], ...]
"""(attribute, values allowed); an absent attribute has the empty value, as a label in Prometheus."""
_S: Final = 10**9
_MINUTE_NS: Final = 60 * _S


@dataclass(frozen=True, slots=True)
class AlertRule:
    """When to tell somebody: a measurement is beyond a threshold for some time, or has stopped to come.

    - ``where``: only series whose attributes have one of the values each; ``("",)`` asks for an absent attribute.
    - ``above``: breached while value > ``threshold``, over once value ≤ ``clear``. ``below``: breached while value <
      ``threshold``, over once value ≥ ``clear``. In between a firing alert goes on and none begins.
    - ``absent``: breached when nothing came for ``absent_ns``, over with the next that comes. All versions of a model
      count as one; ``threshold`` and ``clear`` mean nothing.
    - ``hold_ns``: how long a breach must last before it fires, in the windows' event time.
    - ``min_rows``: not judged while the window of the model has fewer rows (``ml.window.rows`` without a segment).
    - ``once_above``: a series is judged only after its value has been above this once; None: at once.
    """

    name: str
    measurement: str
    condition: Condition
    where: Where = ()
    threshold: float = 0.0
    clear: float = 0.0
    hold_ns: int = 0
    absent_ns: int = 0
    min_rows: int = 0
    severity: Severity = "warning"
    summary: str = ""
    description: str = ""
    runbook: str = ""
    enabled: bool = True
    once_above: float | None = None

    def breached(self, value: float) -> bool:
        """Whether a value is beyond the threshold.

        >>> AlertRule("slow", "latency", "above", threshold=1.0, clear=0.5).breached(1.0)
        False
        """
        return value > self.threshold if self.condition == "above" else value < self.threshold

    def cleared(self, value: float) -> bool:
        """Whether a value ends a breach.

        >>> rule = AlertRule("slow", "latency", "above", threshold=1.0, clear=0.5)
        >>> rule.cleared(0.7), rule.cleared(0.5)
        (False, True)
        """
        return value <= self.clear if self.condition == "above" else value >= self.clear

    def matches(self, attributes: Iterable[tuple[str, str]]) -> bool:
        """Whether a series' attributes are those that ``where`` asks for."""
        return matches(self.where, attributes)


def matches(where: Where, attributes: Iterable[tuple[str, str]]) -> bool:
    """Whether attributes have one of the values asked for, each.

    >>> matches((("ml.segment.name", ("",)),), [("ml.model.name", "fraud")])
    True
    >>> matches((("ml.model.name", ("a", "b")),), [("ml.model.name", "fraud")])
    False
    """
    found = dict(attributes)
    return all(found.get(key, "") in values for key, values in where)


_WHOLE_MODEL: Final[Where] = ((semconv.SEGMENT_NAME, ("",)),)
"""Not segment by segment: small segments are noisy, and come and go."""


def _rule(
    name: str, measurement: str, condition: Condition, threshold: float = 0.0, *, where: Where = (), hold_m: int = 0,
    absent_m: int = 0, min_rows: int = 0, severity: Severity = "warning", summary: str, description: str,
    once_above: float | None = None,
) -> AlertRule:  # fmt: skip
    return AlertRule(
        name=name,
        measurement=measurement,
        condition=condition,
        where=where,
        threshold=threshold,
        clear=threshold,
        hold_ns=hold_m * _MINUTE_NS,
        absent_ns=absent_m * _MINUTE_NS,
        min_rows=min_rows,
        severity=severity,
        summary=summary,
        description=description,
        runbook=f"docs/runbooks/{name}.md",
        once_above=once_above,
    )


DEFAULT_RULES: Final[tuple[AlertRule, ...]] = (
    _rule(
        "feature_drift", semconv.DRIFT_SHARE, "above", 0.3, hold_m=10,
        summary="many features are distributed unlike in the reference",
        description="More than 30 % of the features are in breach of their drift threshold.",
    ),
    _rule(
        "prediction_drift", semconv.DRIFT_BREACHED, "above", 0.5, hold_m=10,
        where=((semconv.COLUMN_ROLE, ("prediction", "score")),),
        summary="the model predicts other than in the reference",
        description="Predictions or scores are in breach of the drift threshold of a method.",
    ),
    _rule(
        "performance_drop", semconv.PERFORMANCE_DROP, "above", 0.1, hold_m=10, severity="critical",
        where=((semconv.PERFORMANCE_METRIC, ("accuracy", "roc_auc", "mae", "rmse")), *_WHOLE_MODEL),
        summary="the model is worse than in the reference",
        description="Labels say that performance is more than 10 % worse than the reference's own.",
    ),
    _rule(
        "missing_features", semconv.QUALITY_MISSING_INCREASE, "above", 0.1, hold_m=10, min_rows=100,
        summary="features are missing more often than in the reference",
        description="A feature's share of missing cells is more than 10 points above the reference's.",
    ),
    _rule(
        "wrong_type", semconv.QUALITY_WRONG_TYPE, "above", 0.01, hold_m=10, min_rows=100,
        summary="features come with cells of the wrong type",
        description="More than 1 % of a feature's cells are texts where numbers are due, or numbers for texts.",
    ),
    _rule(
        "label_coverage", semconv.LABELS_COVERAGE, "below", 0.5, hold_m=60, min_rows=100, severity="info",
        once_above=0.0,
        summary="labels have become rare",
        description="A model that had labels before gets less than one for every two predictions.",
    ),
    _rule(
        "silence", semconv.WINDOW_ROWS, "absent", absent_m=15, severity="critical", where=_WHOLE_MODEL,
        summary="the model has gone silent",
        description="No prediction of the model, whatever version, has come for 15 minutes.",
    ),
    _rule(
        "latency", semconv.LATENCY_P99, "above", 1.0, hold_m=10, min_rows=100, where=_WHOLE_MODEL,
        summary="predictions are slow",
        description="One call in a hundred takes more than a second.",
    ),
)  # fmt: skip
"""The built-in rules; ``alerts.rules`` may change each by its name."""
