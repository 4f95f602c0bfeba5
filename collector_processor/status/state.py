"""The state of the service and of every model at one moment, immutable, so that any thread may read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal

from collector_processor.columns.batch import ModelKey
from collector_processor.monitors.base import Measurement
from collector_processor.window.policy import duration_words

_MINUTE_NS: Final = 60 * 10**9
Phase = Literal["learning", "counting", "measured"]
"""The phase of a model: learning its reference; no window has closed yet; a window has been measured."""


@dataclass(frozen=True, slots=True)
class Learning:
    """Progress of learning: ``rows`` of ``wanted`` rows; ``least`` are enough once they cover ``span_wanted_ns``."""

    rows: int
    wanted: int
    progress: float = 0.0
    least: int = 0
    span_ns: int = 0
    span_wanted_ns: int | None = None

    def __str__(self) -> str:
        """Return it in words.

        >>> str(Learning(138, 5000, 0.69, 200, 59_400 * 10**9, 86_400 * 10**9))
        '138 of 5,000 rows; 200 rows are enough after 1d, and 16h30m have passed'
        """
        words = f"{self.rows:,} of {self.wanted:,} rows"
        if self.span_wanted_ns is None:
            return words
        passed = duration_words(self.span_ns // _MINUTE_NS * _MINUTE_NS) if self.span_ns >= _MINUTE_NS else "0m"
        enough = duration_words(self.span_wanted_ns)
        return f"{words}; {self.least:,} rows are enough after {enough}, and {passed} have passed"


@dataclass(frozen=True, slots=True)
class LastWindow:
    """The newest closed window, which ended at ``end_ns`` (event time)."""

    end_ns: int
    rows: int
    labels: int


@dataclass(frozen=True, slots=True)
class FiringAlert:
    """One rule that fires for one model, on ``series`` of its series; ``since_ns`` is a time of the service's clock.

    The model has no version if the rule combines all versions.
    """

    model: ModelKey
    rule: str
    severity: str
    since_ns: int
    series: int


@dataclass(frozen=True, slots=True)
class ModelState:
    """One model version.

    ``predictions`` counts those since the service started, with sampling weights; ``late`` counts rows dropped because
    their window had closed. ``waiting`` predictions have no label yet. ``joined`` counts labels of all versions of the
    model since the start. ``problems`` are sentences about what came and cannot be used as it is. ``measurements`` are
    the newest window's, and the newest of each counter.
    """

    key: ModelKey
    phase: Phase
    reference: str
    task: str
    positive_class: str
    last_seen_ns: int
    predictions: float
    late: int
    waiting: int
    joined: int
    learning: Learning | None = None
    filling: Learning | None = None
    """Rows of the window that fills now, if windows are of rows."""
    few_rows: str = ""
    """That no window has enough rows for drift; empty otherwise."""
    window: LastWindow | None = None
    problems: tuple[str, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    unable: tuple[tuple[str, str], ...] = ()
    """Alert rules that cannot fire for it, each with the reason."""
    first_labels: Learning | None = None
    """Progress of learning the performance of the first labels; None if the reference has labels."""
    threshold: float | None = None
    without_estimate: str = ""
    """Why its performance is not estimated before labels come; empty if it is, or cannot be."""
    slow_alarms: str = ""
    """Why its alarms take long to find a change while no rule on scores is on; empty if they do not."""

    @property
    def reason(self) -> str:
        """Why there are no figures yet, or none of drift; empty when there are.

        >>> learning = Learning(3200, 5000)
        >>> ModelState(ModelKey("m"), "learning", "", "", "", 0, 3200.0, 0, 0, 0, learning=learning).reason
        'learning a reference: 3,200 of 5,000 rows'
        """
        if self.learning is not None:
            return f"learning a reference: {self.learning}"
        if self.phase == "counting":
            return "waiting for the first window to close" + ("" if self.filling is None else f": {self.filling}")
        return self.few_rows


@dataclass(frozen=True, slots=True)
class ServiceState:
    """Every model that is tracked, and every alert that fires, at ``time_ns``."""

    time_ns: int = 0
    models: Mapping[ModelKey, ModelState] = field(default_factory=lambda: MappingProxyType({}))
    firing: tuple[FiringAlert, ...] = ()

    def alerts_of(self, key: ModelKey) -> list[FiringAlert]:
        """Return the alerts of a model version, including those that combine all versions."""
        return [alert for alert in self.firing if alert.model in (key, ModelKey(key.name))]

    def counts(self) -> dict[str, int]:
        """Return a few counts that contain no names."""
        return {
            "models": len(self.models),
            "learning": sum(model.learning is not None for model in self.models.values()),
            "alerts_firing": len(self.firing),
        }
