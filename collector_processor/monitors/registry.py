"""The list of monitors, and what follows from it: configuration sections, metrics, a model's monitors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias, TypeVar, cast

from pydantic import Field, create_model

from collector_processor.monitors.alarms import AlarmMonitor
from collector_processor.monitors.attributions import AttributionMonitor
from collector_processor.monitors.base import Metric, Monitor, OptIn, Sequential
from collector_processor.monitors.causes import CauseMonitor
from collector_processor.monitors.certain_drop import CertainDropMonitor
from collector_processor.monitors.class_ranking import ClassRankingMonitor
from collector_processor.monitors.combined import CombinedMonitor
from collector_processor.monitors.concept import ConceptMonitor
from collector_processor.monitors.divergence import DivergenceMonitor
from collector_processor.monitors.drift import DriftMonitor
from collector_processor.monitors.estimated_classes import EstimatedClassesMonitor
from collector_processor.monitors.estimated_errors import EstimatedErrorMonitor
from collector_processor.monitors.estimated_performance import EstimatedPerformanceMonitor
from collector_processor.monitors.fairness import FairnessMonitor
from collector_processor.monitors.feature_causes import FeatureCauseMonitor
from collector_processor.monitors.further_performance import FurtherPerformanceMonitor
from collector_processor.monitors.harm import HarmMonitor
from collector_processor.monitors.interval_monitor import IntervalMonitor
from collector_processor.monitors.missing_rise import MissingRiseMonitor
from collector_processor.monitors.missing_shift import MissingShiftMonitor
from collector_processor.monitors.pairs import PairMonitor
from collector_processor.monitors.performance import PerformanceMonitor
from collector_processor.monitors.quality import QualityMonitor
from collector_processor.monitors.reconstruction import ReconstructionMonitor
from collector_processor.monitors.restated import RESTATED_METRICS
from collector_processor.monitors.slices import SliceMonitor
from collector_processor.monitors.stream_detectors import StreamDetectorMonitor
from collector_processor.monitors.traffic import TrafficMonitor
from collector_processor.settings.base import Settings

AnyMonitor: TypeAlias = Monitor | Sequential[Any]

MONITOR_TYPES: Final[tuple[type[AnyMonitor], ...]] = (
    TrafficMonitor,
    QualityMonitor,
    DriftMonitor,
    AlarmMonitor,
    PerformanceMonitor,
    FurtherPerformanceMonitor,
    ClassRankingMonitor,
    IntervalMonitor,
    EstimatedPerformanceMonitor,
    EstimatedErrorMonitor,
    EstimatedClassesMonitor,
    DivergenceMonitor,
    CombinedMonitor,
    CertainDropMonitor,
    FairnessMonitor,
    MissingRiseMonitor,
    MissingShiftMonitor,
    HarmMonitor,
    ConceptMonitor,
    StreamDetectorMonitor,
    PairMonitor,
    ReconstructionMonitor,
    AttributionMonitor,
    SliceMonitor,
    CauseMonitor,
    FeatureCauseMonitor,
)
"""Every monitor of either kind, in the order of listings."""

S = TypeVar("S", bound=Settings)


def monitor_metrics() -> tuple[Metric, ...]:
    """Return every metric of every monitor, once if several monitors have it."""
    return tuple(dict.fromkeys((*(metric for kind in MONITOR_TYPES for metric in kind.metrics), *RESTATED_METRICS)))


def section_settings(name: str, base: type[S]) -> type[S]:
    """Return the settings of one section: ``base`` and the keys of every monitor that reads the section."""
    parts = dict.fromkeys(kind.sections[name] for kind in MONITOR_TYPES if name in kind.sections)
    if not parts:
        return base
    if base is Settings and len(parts) == 1:
        return cast("type[S]", next(iter(parts)))
    bases = (*reversed(parts), base)  # pydantic orders fields by the reverse order of bases
    return cast("type[S]", create_model(base.__name__, __base__=bases, __doc__=base.__doc__))


def with_sections(base: type[S], *, optional: bool = False) -> type[S]:
    """Return ``base`` plus a key for each section of the monitors that it lacks; ``optional`` keys may be absent.

    >>> from collector_processor.settings.base import Settings
    >>> 'drift' in with_sections(Settings).model_fields
    True
    """
    names = dict.fromkeys(name for kind in MONITOR_TYPES for name in kind.sections)
    fields: dict[str, Any] = {}
    for name in names:
        if name not in base.model_fields:
            section = section_settings(name, Settings)
            fields[name] = (
                (section | None, Field(default=None, description="overrides the connector's"))
                if optional
                else (section, Field(default_factory=section, description=name.replace("_", " ")))
            )
    return create_model(base.__name__, __base__=base, __doc__=base.__doc__, **fields)


def configured_monitors(section: Callable[[str], Settings]) -> Iterator[AnyMonitor]:
    """Return all enabled monitors, each built with the settings of its sections."""
    for kind in MONITOR_TYPES:
        settings = [section(name) for name in kind.sections]
        if all(part.enabled for part in settings if isinstance(part, OptIn)):
            yield cast("Callable[..., AnyMonitor]", kind)(*settings)
