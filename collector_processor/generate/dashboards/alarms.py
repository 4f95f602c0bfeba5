"""The panels of alarms: which columns have changed, since when, and the evidence for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from collector_processor.exporters.naming import label_name
from collector_processor.generate.catalog import FEATURE, ROLE, VERSION, Catalog
from collector_processor.generate.dashboards.generic import ONE_MODEL, aggregated
from collector_processor.generate.dashboards.plan import Link, Panel, Query
from otel_ml import semconv

ALARMS: Final = (
    semconv.DRIFT_EVIDENCE,
    semconv.DRIFT_EVIDENCE_THRESHOLD,
    semconv.DRIFT_ALARM,
    semconv.DRIFT_CHANGED_AT,
)
"""The metrics that are on the panels."""
_CHANGE: Final = label_name(semconv.DRIFT_CHANGE)
_STRONGEST: Final = 10
_COLUMN: Final = f"{{{{{ROLE}}}}} {{{{{FEATURE}}}}}"
_NONE: Final = "no pane has closed yet, or drift.false_alarms is 0"


def alarm_panels(catalog: Catalog, links: Sequence[Link]) -> tuple[Panel, ...]:
    """Return the panels of one model."""
    evidence, needed, alarm, since = (catalog[metric].now(ONE_MODEL) for metric in ALARMS)
    strongest = aggregated("max", evidence, (ROLE, FEATURE, VERSION))
    return (
        Panel(
            "Alarms",
            "Columns that have changed: 1 from the alarm until the column has looked like the reference again for "
            "three times as long as the alarm took.",
            (Query(aggregated("max", alarm, (ROLE, FEATURE)), _COLUMN),),
            "short",
            "heatmap",
            12,
            9,
            _NONE,
            minimum=0,
            maximum=1,
            links=tuple(links),
        ),
        Panel(
            "Changed since",
            "What an alarm says has changed, and how long ago.",
            (Query(f"time() - {since}", f"{_COLUMN} {{{{{_CHANGE}}}}}", instant=True),),
            "s",
            "bargauge",
            12,
            9,
            "no alarm",
            links=tuple(links),
        ),
        Panel(
            "Evidence for a change",
            f"The {_STRONGEST} columns with most evidence, as a power of ten. An alarm is raised at the threshold; "
            "then the evidence restarts at 0.",
            (
                Query(f"topk({_STRONGEST}, {strongest})", _COLUMN),
                Query(aggregated("max", needed, (VERSION,)), f"threshold {{{{{VERSION}}}}}"),
            ),
            "short",
            width=24,
            height=9,
            links=tuple(links),
            no_data=_NONE,
        ),
    )
