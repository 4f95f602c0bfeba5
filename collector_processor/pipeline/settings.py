"""Settings of the connector; those of monitors are in the monitors' own files."""

from __future__ import annotations

from functools import partial
from typing import TypeVar

from pydantic import Field, model_validator

from collector_processor.monitors.base import WINDOW
from collector_processor.monitors.registry import configured_monitors, section_settings, with_sections
from collector_processor.reference.learn import LEAST_ROWS
from collector_processor.settings.base import Settings
from collector_processor.settings.values import Bytes, ClassName, Duration, Extent, FilePath, Rows, WindowExtent
from otel_ml.config import DEFAULT_MAX_FEATURES
from otel_ml.semconv import TASKS, Task

_MINUTE_NS = 60 * 10**9
S = TypeVar("S", bound=Settings)


class WindowBounds(Settings):
    """The stretch of traffic that statistics cover."""

    size: WindowExtent = Field(default=Extent(ns=60 * _MINUTE_NS), description="length: a duration, or `5000 rows`")
    every: WindowExtent | None = Field(
        default=None, description="how often a window closes; default a minute, or a whole window of rows"
    )
    allowed_lateness: Duration = Field(default=10 * _MINUTE_NS, description="how late a row may arrive and still count")

    @property
    def step(self) -> Extent:
        """How often a window closes, the default filled in."""
        if self.every is not None:
            return self.every
        return Extent(rows=self.size.rows) if self.size.rows else Extent(ns=min(_MINUTE_NS, self.size.ns))

    @model_validator(mode="after")
    def _fits(self) -> WindowBounds:
        size, step = self.size, self.step
        if not (size.ns or size.rows) or not (step.ns or step.rows):
            raise ValueError("size and every must be greater than 0")
        if bool(size.rows) != bool(step.rows):
            raise ValueError("size and every must both be durations or both be rows")
        if (size.rows or size.ns) % (step.rows or step.ns):
            raise ValueError("size must be a multiple of every")
        if (size.rows or size.ns) // (step.rows or step.ns) > 10_000:
            raise ValueError("size may hold at most 10000 times every")
        if step.ns and self.allowed_lateness > 10_000 * step.ns:
            raise ValueError("allowed_lateness may be at most 10000 times every")
        return self


class WindowConfig(section_settings(WINDOW, WindowBounds)):
    """The stretch of traffic that statistics cover, and how small a window each monitor accepts."""


class LabelsConfig(Settings):
    """How long and how many predictions wait for their label."""

    wait: Duration = Field(default=7 * 24 * 60 * _MINUTE_NS, description="labels that arrive later are not joined")
    capacity: int = Field(default=10_000_000, ge=1, description="predictions that wait at once, across all models")


class LearnConfig(Settings):
    """How references are learned when none is given."""

    learn: Rows = Field(default=5000, ge=100, description="rows that each reference is learned from")
    learn_for: Duration = Field(
        default=24 * 60 * _MINUTE_NS,
        description=f"time, by the rows' own, after which {LEAST_ROWS} rows are enough",
    )
    labels: int = Field(
        default=1000,
        ge=50,
        description="first labels that performance is learned from, for a reference without labels; later performance "
        "is compared with it",
    )


class LimitsConfig(Settings):
    """What bounds memory; what exceeds a limit is counted."""

    models: int = Field(default=1000, ge=1, description="model versions")
    features: int = Field(default=DEFAULT_MAX_FEATURES, ge=1, description="features of one model")
    categories: int = Field(default=1000, ge=1, description="categories of one feature")
    classes: int = Field(default=100, ge=2, description="classes of one model")
    segment_values: int = Field(default=50, ge=1, description="values of one segment")
    series: int = Field(default=100_000, ge=1, description="series held by the Prometheus endpoint")
    journal: Bytes = Field(default=256 * 2**20, description="bytes of requests that wait to be processed")
    memory: Bytes | None = Field(
        default=None,
        description="resident memory above which requests are refused, retryably; when absent, 80 % of the container's "
        "limit, or of the machine's memory",
    )


class _ModelKeys(Settings):
    """The keys of one model that do not come from a monitor."""

    reference: FilePath | None = Field(
        default=None, description="reference profile; when absent, learned from the first rows"
    )
    task: Task | None = Field(
        default=None, description=" | ".join(TASKS) + "; when absent, inferred from the spans or the outputs"
    )
    positive_class: ClassName = Field(default="", description="the class that precision, recall and score are about")
    threshold: float | None = Field(
        default=None,
        allow_inf_nan=False,
        description="the positive class is predicted if the score is at least this; when absent, that of the reference "
        "or of the sender, or 0.5. A class that is sent counts more",
    )
    segments: tuple[str, ...] = Field(default=(), max_length=8, description="segments to report on")
    categorical: tuple[str, ...] = Field(
        default=(), description="features to treat as categories although they are numbers"
    )
    window: WindowConfig | None = Field(default=None, description="overrides the connector's")


class ModelConfig(with_sections(_ModelKeys, optional=True)):
    """What is known about one model (by name; all its versions)."""


class _ConnectorKeys(Settings):
    """The keys of the connector that do not come from a monitor, and that come first."""

    window: WindowConfig = Field(default_factory=WindowConfig, description="windows")
    labels: LabelsConfig = Field(default_factory=LabelsConfig, description="the label join")
    reference: LearnConfig = Field(default_factory=LearnConfig, description="learning references")


class MlMonitor(with_sections(_ConnectorKeys)):
    """The connector: predictions and labels in, measurements out."""

    limits: LimitsConfig = Field(default_factory=LimitsConfig, description="limits")
    models: dict[str, ModelConfig] = Field(default_factory=dict, description="settings by model name")

    def section(self, name: str, model: ModelConfig) -> Settings:
        """Return the settings of one section for a model: its own, else the connector's."""
        override: Settings | None = getattr(model, name)
        return getattr(self, name) if override is None else override

    def metrics(self) -> frozenset[str]:
        """Return the names of all metrics that the monitors of any model give; some monitors are off by default.

        >>> "ml.quality.missing_shift" in MlMonitor().metrics(), "ml.drift.share" in MlMonitor().metrics()
        (False, True)
        """
        models = [ModelConfig(), *self.models.values()]
        monitors = (monitor for model in models for monitor in configured_monitors(partial(self.section, model=model)))
        return frozenset(metric.name for monitor in monitors for metric in monitor.metrics)

    def of(self, kind: type[S]) -> S:
        """Return the connector's section of that type, such as a monitor's settings."""
        sections = (getattr(self, name) for name in type(self).model_fields)
        return next(section for section in sections if isinstance(section, kind))
