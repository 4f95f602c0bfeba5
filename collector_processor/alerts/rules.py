"""Alert rules, and the built-in ones: the same set for the service's own notifier and for Prometheus."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from otel_ml import semconv

Severity = Literal["info", "warning", "critical"]
Condition = Literal["above", "below", "absent"]
Where = tuple[tuple[str, tuple[str, ...]], ...]
"""(attribute, allowed values); an absent attribute has the empty value, like a label in Prometheus."""
_S: Final = 10**9
_MINUTE_NS: Final = 60 * _S


@dataclass(frozen=True, slots=True)
class AlertRule:
    """The condition of an alert: a measurement stays beyond a threshold for some time, or stops arriving.

    - ``where``: selects series by attributes, each with its allowed values; ``("",)`` selects an absent attribute.
    - ``above``: in breach while value > ``threshold``, over once value ≤ ``clear``. ``below``: in breach while value <
      ``threshold``, over once value ≥ ``clear``. In between, a firing alert keeps firing and no alert starts.
    - ``absent``: in breach when nothing has arrived for ``absent_ns``, over with the next measurement. All versions of
      a model count as one; ``threshold`` and ``clear`` are not used.
    - ``hold_ns``: how long a breach must last before the alert fires, in the event time of the windows.
    - ``min_rows``: windows of the model with fewer rows are not judged (``ml.window.rows`` without a segment).
    - ``board``, ``traces``, ``trace``: links with ``{model}``, ``{version}``, ``{from}`` and ``{to}`` to be filled in;
      in ``trace``, ``{trace}`` is the id of the trace of a prediction that the alert is about.
    - ``once_above``: a series is judged only after its value has been above this once; None: always.
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
    board: str = ""
    traces: str = ""
    trace: str = ""

    def breached(self, value: float) -> bool:
        """Return whether a value is beyond the threshold.

        >>> AlertRule("slow", "latency", "above", threshold=1.0, clear=0.5).breached(1.0)
        False
        """
        return value > self.threshold if self.condition == "above" else value < self.threshold

    def cleared(self, value: float) -> bool:
        """Return whether a value ends a breach.

        >>> rule = AlertRule("slow", "latency", "above", threshold=1.0, clear=0.5)
        >>> rule.cleared(0.7), rule.cleared(0.5)
        (False, True)
        """
        return value <= self.clear if self.condition == "above" else value >= self.clear

    def matches(self, attributes: Iterable[tuple[str, str]]) -> bool:
        """Return whether ``where`` selects a series with these attributes."""
        return matches(self.where, attributes)


def matches(where: Where, attributes: Iterable[tuple[str, str]]) -> bool:
    """Return whether each attribute of ``where`` has one of its allowed values.

    >>> matches((("ml.segment.name", ("",)),), [("ml.model.name", "fraud")])
    True
    >>> matches((("ml.model.name", ("a", "b")),), [("ml.model.name", "fraud")])
    False
    """
    present = dict(attributes)
    return all(present.get(key, "") in values for key, values in where)


_WHOLE_MODEL: Final[Where] = ((semconv.SEGMENT_NAME, ("",)),)
"""Not by segment: small segments are noisy, and they appear and disappear."""


_FEATURES: Final[Where] = ((semconv.COLUMN_ROLE, ("",)),)
_OUTPUTS: Final[Where] = ((semconv.COLUMN_ROLE, ("prediction", "score")),)


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
        "feature_change", semconv.DRIFT_ALARM_SHARE, "above", 0.0, severity="info",
        summary="features have changed",
        description="At least one feature no longer looks like the reference; its name, what changed and since when "
        "are in the first line. By default, such an alert comes by chance at most once in a year on average, for "
        "each version of a model.",
    ),
    _rule(
        "prediction_change", semconv.DRIFT_ALARM, "above", 0.5,
        where=((semconv.COLUMN_ROLE, ("prediction", "score")),),
        summary="predictions have changed",
        description="The predictions or scores no longer look like those of the reference. By default, such an alert "
        "comes by chance at most once in a year on average, for each version of a model.",
    ),
    _rule(
        "performance_drop", semconv.PERFORMANCE_CERTAIN_DROP, "above", 0.1, hold_m=10, severity="critical",
        where=_WHOLE_MODEL,
        summary="the model performs worse than in its reference",
        description="According to the labels, performance is more than 10% worse than in the reference. What chance "
        "explains with this many labels is subtracted.",
    ),
    _rule(
        "fairness", semconv.FAIRNESS_EXCESS, "above", 1.0, hold_m=10,
        summary="groups of people are treated differently",
        description="A figure of fairness differs between groups of a segment by more than its threshold, and by more "
        "than chance would cause in one of 10,000 windows.",
    ),
    _rule(
        "harmful_shift", semconv.ESTIMATE_HARM_ALARM, "above", 0.5,
        summary="rows come that the model is expected to be wrong about more often",
        description="Before any label: by their features and scores, the newest predictions are expected to be wrong "
        "more often than those of the reference, or by more.",
    ),
    _rule(
        "concept_drift", semconv.CONCEPT_ALARM, "above", 0.5, severity="critical",
        summary="the world has changed: labels no longer have the probability that scores stand for",
        description="Rows with the same score come true more often, or less often, than in the reference. Other "
        "traffic does not explain this.",
    ),
    _rule(
        "error_rise", semconv.CONCEPT_ERROR_ALARM, "above", 0.5,
        summary="predictions are wrong more often than in the reference",
        description="The share of wrong predictions has risen. The first line says whether the population or the "
        "world changed.",
    ),
    _rule(
        "missing_outputs", semconv.QUALITY_MISSING_INCREASE, "above", 0.2, hold_m=10, min_rows=100, severity="critical",
        where=_OUTPUTS,
        summary="predictions lack their output more often than in the reference",
        description="The share of predictions without a class, value or score is more than 20 percentage points above "
        "the reference.",
    ),
    _rule(
        "error_rate", semconv.QUALITY_ERROR_RATE, "above", 0.1, hold_m=10, min_rows=100, severity="critical",
        where=_WHOLE_MODEL,
        summary="predictions fail",
        description="More than 10% of the predictions failed: their call raised an error.",
    ),
    _rule(
        "missing_features", semconv.QUALITY_MISSING_INCREASE, "above", 0.1, hold_m=10, min_rows=100, where=_FEATURES,
        summary="features are missing more often than in the reference",
        description="The share of missing cells of a feature is more than 10 percentage points above the reference.",
    ),
    _rule(
        "feature_gone", semconv.QUALITY_GONE, "above", 0.99, hold_m=10, min_rows=100, where=_FEATURES,
        summary="a feature is gone",
        description="More than 99% of the cells that a feature has in the reference are missing.",
    ),
    _rule(
        "out_of_range", semconv.QUALITY_OUT_OF_RANGE, "above", 0.9, hold_m=10, min_rows=100,
        summary="a feature or an output is outside the range of the reference",
        description="More than 90% of the numbers of a column are below the smallest or above the largest of the "
        "reference.",
    ),
    _rule(
        "unseen", semconv.QUALITY_UNSEEN, "above", 0.9, hold_m=10, min_rows=100,
        summary="a feature or the prediction has only categories that the reference does not have",
        description="More than 90% of the texts of a column are categories or classes that the reference does not "
        "have.",
    ),
    _rule(
        "missing_rise", semconv.QUALITY_MISSING_RISE, "above", 2.0, hold_m=10,
        summary="a feature that was rarely missing is missing more often",
        description="The share of missing cells of a feature is more than three times that of the reference. What "
        "chance explains is subtracted.",
    ),
    _rule(
        "wrong_type", semconv.QUALITY_WRONG_TYPE, "above", 0.01, hold_m=10, min_rows=100,
        summary="features have values of the wrong type",
        description="More than 1% of the cells of a feature are texts in a numeric column, or numbers in a categorical "
        "one.",
    ),
    _rule(
        "label_coverage", semconv.LABELS_COVERAGE, "below", 0.5, hold_m=60, min_rows=100, severity="info",
        once_above=0.0,
        summary="most predictions no longer get a label",
        description="The model received labels before, but now fewer than half of its predictions get one.",
    ),
    _rule(
        "silence", semconv.WINDOW_ROWS, "absent", absent_m=15, severity="critical", where=_WHOLE_MODEL,
        summary="the model has stopped sending predictions",
        description="No version of the model has sent a prediction for 15 minutes.",
    ),
    _rule(
        "latency", semconv.LATENCY_P99, "above", 1.0, hold_m=10, min_rows=100, where=_WHOLE_MODEL,
        summary="predictions are slow",
        description="One call in a hundred takes longer than one second.",
    ),
)  # fmt: skip
"""The rules that are on by default; ``alerts.rules`` can change each of them by its name."""

OPTIONAL_RULES: Final[tuple[AlertRule, ...]] = (
    _rule(
        "feature_drift", semconv.DRIFT_SHARE, "above", 0.3, hold_m=10,
        summary="many features have drifted from the reference",
        description="More than 30% of the features have drifted.",
    ),
    _rule(
        "prediction_drift", semconv.DRIFT_DRIFTED, "above", 0.5, hold_m=10,
        where=((semconv.COLUMN_ROLE, ("prediction", "score")),),
        summary="predictions have drifted from the reference",
        description="The distribution of the predictions or scores has changed, or the share of a class has.",
    ),
    _rule(
        "weighted_drift", semconv.DRIFT_WEIGHTED_SHARE, "above", 0.3, hold_m=10,
        summary="features that the model relies on have drifted from the reference",
        description="Features with more than 30% of the model's attributions have drifted.",
    ),
)  # fmt: skip
"""Built-in rules that are off until ``alerts.rules`` names them: ``feature_drift: {}`` turns one on.

They fire on drift scores, where those on by default fire on alarms with a promised number of false ones.
"""

BUILT_IN_RULES: Final[tuple[AlertRule, ...]] = (*DEFAULT_RULES, *OPTIONAL_RULES)
"""Every rule that ``alerts.rules`` knows by name."""
