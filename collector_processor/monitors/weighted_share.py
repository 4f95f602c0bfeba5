"""The share of features that have drifted, each counted by how much the model relies on it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import inf
from typing import Final, NamedTuple

import numpy as np

from collector_processor.monitors.attributes import MODEL_KEYS, model_attributes
from collector_processor.monitors.base import Measurement, Metric
from collector_processor.monitors.drift_words import MOST, Drifted, cut, percent
from collector_processor.reference.profile import Reference
from collector_processor.statistics.fits.attribution_baseline import AttributionBaseline
from collector_processor.statistics.parts.attribution_sums import AttributionSums, mean_abs
from collector_processor.window.closed import Window
from otel_ml import semconv

WEIGHTED_SHARE: Final = Metric(
    semconv.DRIFT_WEIGHTED_SHARE,
    semconv.UNIT_RATIO,
    "share of the evaluated features that have drifted, each weighted by its mean absolute attribution in the "
    "reference",
    MODEL_KEYS,
)
LEAST_KNOWN: Final = 0.5
"""Least share of all attributions that evaluated features must have: the rest could decide otherwise."""


class Importance(NamedTuple):
    """How much of all attributions of the reference each feature of the model has; empty, and why, if unknown."""

    shares: Mapping[str, float]
    without: str = ""


def importance(reference: Reference) -> Importance:
    """Return the importance of features: mean |φ| as a share of the sum over all names that have attributions.

    ``carrier=UA`` counts for the feature ``carrier`` if no feature has that name.
    """
    baseline = reference.schema.fit(AttributionBaseline)
    if baseline is None:
        return Importance({}, "its reference has no attributions")
    means = np.nan_to_num(mean_abs(reference.pane.further[AttributionSums].sums))
    total = float(means.sum())
    if not 0.0 < total < inf:
        return Importance({}, "the attributions of its reference are all 0")
    of_feature = dict.fromkeys((column.name for column in reference.schema.columns if column.role == "feature"), 0.0)
    for name, mean in zip(baseline.names, means.tolist(), strict=True):
        feature = name if name in of_feature else name.partition("=")[0]
        if feature in of_feature:
            of_feature[feature] += mean / total
    known = sum(of_feature.values())
    if known < LEAST_KNOWN:
        return Importance({}, f"only {percent(known)} of the attributions of its reference are those of features")
    return Importance(of_feature)


def without_weights(reference: Reference) -> str:
    """Return why the weighted share is not measured with a reference, empty if it is."""
    return reference.prepared(importance).without


def weights_left_out(reference: Reference) -> Iterator[str]:
    """Yield what the attributions of a reference do not cover, if it has some."""
    known = reference.prepared(importance)
    if reference.schema.fit(AttributionBaseline) is None:
        return
    if known.without:
        yield f"{known.without}: {WEIGHTED_SHARE.name} is not measured"
        return
    unknown = [name for name, share in known.shares.items() if not share]
    if unknown:
        rest = f" and {len(unknown) - MOST} more" if len(unknown) > MOST else ""
        names = ", ".join(cut(name) for name in unknown[:MOST])
        yield f"features without attributions in its reference do not count in {WEIGHTED_SHARE.name}: {names}{rest}"


def weighted_share(
    window: Window, reference: Reference, evaluated: Iterable[str], drifted: Sequence[Drifted]
) -> Iterator[Measurement]:
    """Yield the weighted share, unless the evaluated features have less than half of all attributions.

    Σ a_j [j drifted] / Σ a_j over the evaluated features j, with their importance a. ``drifted`` has each feature once.
    """
    shares = reference.prepared(importance).shares
    known = sum(shares.get(name, 0.0) for name in set(evaluated))
    if known < LEAST_KNOWN:
        return
    parts = [(shares.get(each.column.name, 0.0) / known, each) for each in drifted]
    value = min(sum(part for part, _ in parts), 1.0)
    yield Measurement(
        WEIGHTED_SHARE.name,
        value,
        WEIGHTED_SHARE.unit,
        model_attributes(window.model),
        window.end_ns,
        words=_words(value, parts),
    )


def _words(value: float, parts: Iterable[tuple[float, Drifted]]) -> str:
    """Return the drifted features that the model relies on most, such as ``income (61 %, js 0.4)``."""
    heaviest = sorted((each for each in parts if each[0] > 0.0), key=lambda each: -each[0])
    if not heaviest:
        return ""
    named = ", ".join(
        f"{cut(each.column.name)} ({percent(part)}, {each.method} {each.score:.2g})" for part, each in heaviest[:MOST]
    )
    rest = f" and {len(heaviest) - MOST} more" if len(heaviest) > MOST else ""
    return f"features with {percent(value)} of the importance drifted: {named}{rest}"
