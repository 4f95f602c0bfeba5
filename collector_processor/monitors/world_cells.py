"""Where the world differs: segments and leaves in which the same cases turn out worse, corrected for the search."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np
from scipy.special import gammaln, logsumexp

from collector_processor.columns.batch import F64
from collector_processor.detectors.shiryaev_roberts import selected
from collector_processor.monitors.attributes import group_attributes
from collector_processor.monitors.cause_words import leaf_text
from collector_processor.monitors.disde import Split, split
from collector_processor.monitors.independence import rows_per_weight
from collector_processor.reference.profile import Reference
from collector_processor.statistics.fits.cause_cells import CauseCells
from collector_processor.statistics.pane import Pane
from collector_processor.statistics.parts.cause_sums import CauseSums
from collector_processor.window.closed import Window

FALSE_DISCOVERIES: Final = 0.05
"""Tolerated share of wrong places among those that are named."""
NAMED: Final = 3
"""Most segments, and most leaves, that are named."""
_ODDS: Final = np.array([1.02, 1.05, 1.1, 1.25, 1.5, 2.0, 3.0, 5.0])
"""Alternatives: the odds of an error now against those in the reference."""
_TILTS: Final = np.array([2.0, 3.0, 4.0, 6.0, 8.0])
"""Alternatives of a mean: how many standard errors it has moved."""
_LEAST_OF_LEAF: Final = 30.0
"""Rows with which a leaf is judged."""
_LOOK: Final = 2.0
"""Standard errors below which evidence is not computed: it would be small, and none is on the safe side."""


def equal_rows(pane: Pane) -> float:
    """Return the equal rows per row counted in cells: rows may be sampled by their sender, and again here."""
    return rows_per_weight(pane) * pane.further[CauseSums].worth


def where_worse(window: Window, reference: Reference, found: Mapping[int, Split]) -> str:
    """Return where the same cases turn out worse: segments, then leaves; empty if chance explains all of it.

    e-Benjamini–Hochberg selects them among all segments, and among all leaves: R. Wang and A. Ramdas, JRSS-B 84, 2022.
    It needs no assumption of how places depend on each other.
    """
    return "; ".join((*_segments(window, found), *_leaves(window, reference)))


def _segments(window: Window, found: Mapping[int, Split]) -> Iterator[str]:
    groups = [group for group in found if group]
    moved, error = (np.array([getattr(found[group], part)[1] for group in groups]) for part in ("terms", "errors"))
    for place in _named(evidence_of_means(moved, error), moved):
        (_, name), (_, value) = group_attributes(window.model, window.schema, groups[place])[2:]
        yield f"{name[:40]} {value[:40]}: {moved[place]:+.3g}"


def _leaves(window: Window, reference: Reference) -> Iterator[str]:
    fit = reference.schema.fit(CauseCells)
    old, new = (each.pane.further[CauseSums].leaves for each in (reference, window))
    if fit is None or not len(old) or not len(new) or fit.leaves < 3:
        return
    scales = equal_rows(reference.pane), equal_rows(window.pane)
    parts = split(old[0], new[0], np.arange(fit.leaves), scales)
    if parts is None:
        return
    enough = np.minimum(old[0, :, 0] * scales[0], new[0, :, 0] * scales[1]) >= _LEAST_OF_LEAF
    moved, error = np.where(enough, parts.moved, 0.0), np.where(enough, parts.moved_error, np.inf)
    if window.schema.task == "regression":
        evidence = evidence_of_means(moved, error)
    else:
        evidence = np.full(fit.leaves, -np.inf)
        for leaf in np.flatnonzero(moved > _LOOK * error).tolist():
            before, after = (side[0, leaf, :2] * scale for side, scale in zip((old, new), scales, strict=True))
            evidence[leaf] = evidence_of_errors(*before.tolist(), *after.tolist())
    # The last leaf is of rows that the reference has none like.
    for leaf in _named(np.where(enough, evidence, -np.inf)[:-1], moved):
        change = moved[leaf] / parts.shared[leaf]
        yield f"{leaf_text(fit, leaf)}: {change:+.3g} in {parts.shared[leaf]:.0%} of the rows"


def _named(evidence: F64, moved: F64) -> list[int]:
    """Return the places that are selected, those that add most to the concept first."""
    if not len(evidence):
        return []
    chosen = np.flatnonzero(selected(evidence, FALSE_DISCOVERIES))
    order: list[int] = chosen[np.argsort(-moved[chosen], kind="stable")][:NAMED].tolist()
    return order


def evidence_of_means(moved: F64, error: F64) -> F64:
    """Return the log e-value of each mean that has risen by ``moved`` with a standard error, if it is near normal.

    >>> evidence_of_means(np.array([0.0, 4.0]), np.array([1.0, 1.0])).round(1).tolist()
    [-3.5, 7.0]
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        z = np.where(error > 0.0, moved / error, np.where(moved > 0.0, np.inf, 0.0))
    logs = np.minimum(z, 1e6)[:, None] * _TILTS - _TILTS**2 / 2.0
    return np.asarray(logsumexp(logs, axis=1)) - np.log(len(_TILTS))


def evidence_of_errors(rows_before: float, before: float, rows_after: float, after: float) -> float:
    """Return the log e-value that errors are more frequent after than before, exact for independent rows.

    Given all errors, those after are hypergeometric if nothing has changed. The e-value is the likelihood of higher
    odds against that, averaged over :data:`_ODDS`. Its mean is 1 without a change, less if errors have become rarer.

    >>> round(evidence_of_errors(1000, 50, 100, 20), 1), round(evidence_of_errors(1000, 50, 100, 5), 1)
    (10.2, -0.5)
    """
    # Sums of weights may have fractions: rounded so that there is less evidence, not more.
    size, now = int(np.ceil(rows_after)), int(after)
    others, errors = int(rows_before), int(np.ceil(before)) + int(after)
    count = np.arange(max(errors - others, 0), min(errors, size) + 1)
    if now not in count:
        return 0.0
    log_ways = _log_choose(size, count) + _log_choose(others, errors - count)
    log_share = log_ways - np.asarray(logsumexp(log_ways))
    usual = logsumexp(log_share + np.log(_ODDS)[:, None] * count, axis=1)
    return float(logsumexp(now * np.log(_ODDS) - usual) - np.log(len(_ODDS)))


def _log_choose(size: int, count: np.ndarray[tuple[int], np.dtype[np.int64]]) -> F64:
    return gammaln(size + 1.0) - gammaln(count + 1.0) - gammaln(size - count + 1.0)
