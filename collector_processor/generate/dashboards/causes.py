"""The panels of causes: how much of a change other cases explain, how much the world, and which features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from collector_processor.exporters.naming import label_name
from collector_processor.generate.catalog import FEATURE, VERSION, Catalog
from collector_processor.generate.dashboards.generic import ONE_MODEL, WHOLE, aggregated
from collector_processor.generate.dashboards.plan import Link, Panel, Query
from otel_ml import semconv

_TERM: Final = label_name(semconv.CAUSE_TERM)
_PARTS: Final = (
    (semconv.CAUSE_POPULATION, "population", "population: more or fewer of known cases"),
    (semconv.CAUSE_UNSEEN, "unseen", "population: cases that the reference lacks"),
    (semconv.CAUSE_CONCEPT, "concept", "world: same cases, other outcomes"),
)
"""The parts that add up to the change, the names of their terms, and what a person reads."""
_CAUSES: Final = (*(metric for metric, _, _ in _PARTS), semconv.CAUSE_CHANGE, semconv.CAUSE_ERROR)
_NONE: Final = "not measured: too few labels in the window or in the reference"


def cause_panels(catalog: Catalog, links: Sequence[Link]) -> tuple[tuple[Panel, ...], frozenset[str]]:
    """Return the panels, and the metrics that are on them; only those whose metrics are in the catalog."""
    panels: list[Panel] = []
    drawn: list[str] = []
    if all(metric in catalog for metric in _CAUSES):
        panels += _split(catalog, links)
        drawn += _CAUSES
    if semconv.CAUSE_FEATURE in catalog:
        panels.append(_features(catalog, links))
        drawn.append(semconv.CAUSE_FEATURE)
    return tuple(panels), frozenset(drawn)


def _split(catalog: Catalog, links: Sequence[Link]) -> tuple[Panel, Panel]:
    whole = f"{ONE_MODEL},{WHOLE}"
    parts = [(aggregated("max", catalog[metric].now(whole), (VERSION,)), term, text) for metric, term, text in _PARTS]
    change = aggregated("max", catalog[semconv.CAUSE_CHANGE].now(whole), (VERSION,))
    return (
        Panel(
            "Why the mean error changed",
            "The change of the mean error since the reference, and the parts that add up to it. Above 0, it is worse. "
            "A population that changes needs no new model as long as its cases are known; a changed world does.",
            (
                *(Query(expr, f"{text} {{{{{VERSION}}}}}") for expr, _, text in parts),
                Query(change, f"whole change {{{{{VERSION}}}}}"),
            ),
            "short",
            "bars",
            16,
            9,
            _NONE,
            links=tuple(links),
        ),
        Panel(
            "What is certain of it",
            "Each part now, less two of its standard errors: what remains is beyond chance. 0 means that chance "
            "explains the part.",
            tuple(
                Query(_beyond_chance(expr, _errors(catalog, whole, term)), f"{text} {{{{{VERSION}}}}}", instant=True)
                for expr, term, text in parts
            ),
            "short",
            "bargauge",
            8,
            9,
            _NONE,
            links=tuple(links),
        ),
    )


def _errors(catalog: Catalog, whole: str, term: str) -> str:
    return aggregated("max", catalog[semconv.CAUSE_ERROR].now(f'{whole},{_TERM}="{term}"'), (VERSION,))


def _beyond_chance(part: str, error: str) -> str:
    return f"sgn({part}) * clamp_min(abs({part}) - 2 * {error}, 0)"


def _features(catalog: Catalog, links: Sequence[Link]) -> Panel:
    now = aggregated("max", catalog[semconv.CAUSE_FEATURE].now(ONE_MODEL), (FEATURE, VERSION))
    return Panel(
        "Features that explain it",
        "The features whose changed distribution explains most of the mean error that is expected now. "
        "Features that are related explain the same change, so these parts do not add up.",
        (Query(f"{now} != 0", f"{{{{{FEATURE}}}}} {{{{{VERSION}}}}}", instant=True),),
        "short",
        "bargauge",
        24,
        9,
        "no feature explains more than chance does",
        links=tuple(links),
    )
