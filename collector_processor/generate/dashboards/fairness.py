"""The panels of fairness: gaps with what chance explains, rates by group, and groups beside the reference group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from collector_processor.exporters.naming import label_name
from collector_processor.generate.catalog import SEGMENT, SEGMENT_VALUE, SOURCE, VERSION, Catalog
from collector_processor.generate.dashboards.generic import ONE_MODEL, aggregated, legend
from collector_processor.generate.dashboards.plan import NO_BOUNDS, Bounds, Limits, Link, Panel, Query
from collector_processor.monitors.fairness import METRICS
from otel_ml import semconv

METRIC: Final = label_name(semconv.FAIRNESS_METRIC)
REFERENCE: Final = label_name(semconv.FAIRNESS_REFERENCE)
GIVEN: Final = label_name(semconv.FAIRNESS_GIVEN)
_GAP: Final = (SEGMENT, SOURCE, VERSION)
_ABOUT: Final = (SEGMENT, METRIC, SOURCE, VERSION)
_GROUP: Final = (SEGMENT, SEGMENT_VALUE, SOURCE, VERSION)
_PAIR: Final = (SEGMENT, SEGMENT_VALUE, REFERENCE, SOURCE, VERSION)
_NONE: Final = "not measured: no segment is compared, or less than two groups are large enough"
_CERTAIN: Final = 1.0


def fairness_panels(
    catalog: Catalog, limits: Limits, links: Sequence[Link]
) -> tuple[tuple[Panel, ...], frozenset[str]]:
    """Return the panels, and the metrics that are on them; nothing if the monitor's metrics are not in the catalog."""
    known = [name for name in METRICS if name in catalog]
    if semconv.FAIRNESS_EXCESS not in known:
        return (), frozenset()
    whole = f'{ONE_MODEL},{SEGMENT_VALUE}=""'
    groups = f'{ONE_MODEL},{SEGMENT}=~"$segment",{SEGMENT_VALUE}!=""'

    def query(metric: str, selector: str, labels: Sequence[str], text: str = "") -> Query:
        return Query(aggregated("max", catalog[metric].now(selector), labels), f"{text} {legend(labels)}".strip())

    def panel(
        title: str, text: str, queries: Sequence[Query], unit: str = "percentunit", bounds: Bounds = NO_BOUNDS
    ) -> Panel:
        return Panel(title, text, tuple(queries), unit, no_data=_NONE, bounds=bounds, links=tuple(links))

    def short(metric: str) -> str:
        return metric.removeprefix(semconv.FAIRNESS).replace("_", " ")

    differences = [name for name in known if name.endswith("_difference")]
    ratios = [name for name in known if name.endswith("_ratio")]
    rates = [name for name in known if name.endswith("_rate")]
    entropy = semconv.FAIRNESS + "generalized_entropy"
    disparity = semconv.FAIRNESS + "conditional_demographic_disparity"
    parity = semconv.FAIRNESS + "demographic_parity_difference"
    about = f'{groups},{METRIC}="demographic_parity_difference"'
    panels = (
        panel(
            "Gaps between groups", "Largest difference between any two groups of a segment, by figure.",
            [query(name, whole, _GAP, short(name)) for name in differences],
        ),
        panel(
            "Gaps beyond threshold and chance",
            "Each gap in multiples of its threshold, or of what chance explains if that is more. Above 1 it is in "
            "breach for certain. The second line is 1 while it is in breach at the chosen alpha.",
            [query(semconv.FAIRNESS_EXCESS, ONE_MODEL, _ABOUT), query(semconv.FAIRNESS_BREACHED, ONE_MODEL, _ABOUT,
             "breached")],
            "short",
            limits.get(semconv.FAIRNESS_EXCESS, Bounds(ceilings=(_CERTAIN,))),
        ),
        panel(
            "Rates by group", "Share of favorable predictions, of all rows and of labeled ones, of each group of the "
            "chosen segment.",
            [query(name, groups, _GROUP, short(name)) for name in rates],
        ),
        panel(
            "Groups beside the reference group", "Difference of the selection rate of each group of the chosen segment "
            "and that of the reference group, with its interval.",
            [
                query(parity, f'{groups},{REFERENCE}!=""', _PAIR),
                query(semconv.FAIRNESS_LOWER, about, _PAIR, "from"),
                query(semconv.FAIRNESS_UPPER, about, _PAIR, "to"),
            ],
        ),
        panel(
            "Ratios between groups", "Smallest ratio between any two groups of a segment, by figure.",
            [query(name, whole, _GAP, short(name)) for name in ratios],
        ),
        panel(
            "What chance explains", "The largest difference, or the smallest ratio, that chance explains between equal "
            "groups of these sizes.",
            [query(semconv.FAIRNESS_NOISE_LIMIT, ONE_MODEL, _ABOUT)],
        ),
        panel(
            "Small groups", "Groups that are too small to be compared alone, and are compared together.",
            [query(semconv.FAIRNESS_SMALL_GROUPS, ONE_MODEL, _ABOUT)], "short",
        ),
        panel(
            "Inequality between rows, and within other segments",
            "Generalized entropy of benefits, conditional demographic disparity, and figures by the names of other "
            "tools.",
            [
                query(entropy, ONE_MODEL, (SOURCE, VERSION), "entropy"),
                query(disparity, ONE_MODEL, (SEGMENT, SEGMENT_VALUE, GIVEN, VERSION), "disparity"),
                query(semconv.FAIRNESS_ALIAS, groups, (*_PAIR, METRIC)),
            ],
            "short",
        ),
    )  # fmt: skip
    return panels, frozenset(known)
