"""Fit the bins of attributions on the reference rows that have some."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

import numpy as np

from collector_processor.columns.batch import F64
from collector_processor.reference.document import Json, Node
from collector_processor.reference.estimator import MAX_TEXT_BYTES
from collector_processor.reference.fits.base import FitRows
from collector_processor.reference.task import listed
from collector_processor.statistics.fits.attribution_baseline import BEYOND, BINS, AttributionBaseline
from collector_processor.statistics.labeled import VALUE_LIMIT
from collector_processor.statistics.schema import Schema
from otel_ml.config import DEFAULT_MAX_FEATURES

LEAST_ROWS: Final = 100
"""Attributions of a feature that bins need."""
_NAMED: Final = 5
"""Features that a sentence names."""
_SHARES: Final = np.linspace(0.0, 1.0, BINS + 1)[1:-1]


class AttributionBaselineFitter:
    """Cut the attributions of each feature at their quantiles, and see how large they usually are."""

    name: ClassVar[str] = "attributions"
    kind: type[AttributionBaseline] = AttributionBaseline
    slow: ClassVar[bool] = False

    def fit(self, rows: FitRows) -> AttributionBaseline | None:
        """Return the bins; None without attributions."""
        edges: dict[str, F64] = {}
        caps: list[float] = []
        few: list[str] = []
        for name, phi in sorted(rows.batch.attributions.items())[:DEFAULT_MAX_FEATURES]:
            known = phi[np.abs(phi) <= VALUE_LIMIT]
            if not 0 < len(name.encode()) <= MAX_TEXT_BYTES:
                continue
            if len(known) < LEAST_ROWS:
                few.append(repr(name[:40]))
                continue
            edges[name] = np.quantile(known, _SHARES)
            caps.append(float(np.quantile(np.abs(known), 1.0 - BEYOND)))
        if few:
            rows.note(f"fewer than {LEAST_ROWS} attributions, so they are left out, of {listed(few, _NAMED)}")
        return AttributionBaseline(tuple(edges), np.stack([*edges.values()]), np.array(caps)) if edges else None

    def written(self, fit: AttributionBaseline) -> Mapping[str, Json]:
        """Return the edges and caps by feature."""
        edges: dict[str, Json] = {name: row.tolist() for name, row in zip(fit.names, fit.edges, strict=True)}
        if fit.caps is None:
            return {"edges": edges}
        return {"edges": edges, "caps": dict(zip(fit.names, fit.caps.tolist(), strict=True))}

    def read(self, node: Node, schema: Schema) -> AttributionBaseline:
        """Return the bins, checked."""
        del schema
        items = node["edges"].items()
        if not 0 < len(items) <= DEFAULT_MAX_FEATURES:
            node["edges"].fail(f"must have 1 to {DEFAULT_MAX_FEATURES} features")
        rows: list[F64] = []
        for _, item in items:
            edges = item.numbers()
            if len(edges) != BINS - 1 or (np.diff(edges) < 0.0).any():
                item.fail(f"must be {BINS - 1} ascending numbers")
            rows.append(edges)
        names = tuple(name for name, _ in items)
        return AttributionBaseline(names, np.stack(rows), self._caps(node["caps"], names) if "caps" in node else None)

    def _caps(self, node: Node, names: Sequence[str]) -> F64:
        """Return the caps of the features, checked; profiles from before there were any have none."""
        if [name for name, _ in node.items()] != [*names]:
            node.fail("must have the features of edges, in their order")
        caps = np.array([item.real() for _, item in node.items()])
        if not ((caps >= 0.0) & (caps <= VALUE_LIMIT)).all():
            node.fail("must not be negative")
        return caps
