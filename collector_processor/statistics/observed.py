"""Where the counts that senders made themselves belong in a pane."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from collector_processor.columns.batch import F64, I64
from collector_processor.statistics.bins import bin_index, finite_edges
from collector_processor.statistics.pane import Pane
from collector_processor.statistics.parts.observed import Observed
from collector_processor.statistics.schema import ColumnSpec, Schema
from collector_processor.statistics.vectors import added
from otel_ml.emit.buckets import Buckets, categorical_buckets, numeric_buckets, observed_edges, profile_id


@dataclass(frozen=True, slots=True)
class Layout:
    """The buckets by which senders count the columns of a reference.

    ``id`` is that of its profile. ``places`` maps (role, name, label) to a place in ``targets``, which has the place in
    :class:`.Observed`, flattened: ``counts``, ``category_counts``, ``missing``, ``wrong_type``. ``bins`` ``[F, D + 3]``
    is the first fine bin of each bucket.
    """

    id: str
    positive_class: str
    places: dict[tuple[str, str, str], int]
    targets: I64
    columns: I64
    sizes: tuple[int, int, int]
    bins: I64

    def counted(self, schema: Schema, places: I64, counts: F64) -> Observed:
        """Return counts by place as a part of a pane, without rows."""
        cells, slots, columns = self.sizes
        flat = np.bincount(self.targets[places], counts, cells + slots + 2 * columns).astype(np.float64, copy=False)
        part = Observed.empty(schema)
        part.counts = flat[:cells].reshape(part.counts.shape)
        part.category_counts[:slots] = flat[cells : cells + slots]
        part.missing, part.wrong_type = flat[cells + slots :].reshape(2, columns)
        return part


def layout_of(schema: Schema) -> Layout:
    """Return the layout of a reference's schema."""
    part = Observed.empty(schema)
    width, columns = part.counts.shape[1], len(schema.columns)
    cells, slots = part.counts.size, len(schema.categories)
    missing = cells + slots
    places: dict[tuple[str, str, str], int] = {}
    targets: list[int] = []
    owners: list[int] = []
    counted: dict[tuple[str, str], Buckets] = {}
    bins = np.zeros(part.counts.shape, np.int64)
    for position, spec, buckets in _buckets(schema):
        counted[spec.role, spec.name] = buckets
        if buckets.edges is None:
            column = position - len(schema.numeric)
            first = [cells + slot for slot in schema.categories.column_slots(column).tolist()]
            of_column = [*first[1:], first[0]]
        else:
            edges = np.array(buckets.edges)
            bins[position, 1 : len(edges) + 1] = bin_index(edges, schema.edges[position])
            # A number that is of no bin does not exist: a text counts as other only from an older sender.
            of_column = [*range(width * position, width * position + len(edges) + 1), missing + columns + position]
        of_column += [missing + columns + position, missing + position]
        for label, target in zip(buckets.labels, of_column, strict=True):
            places[spec.role, spec.name, label] = len(targets)
            targets.append(target)
            owners.append(position)
    return Layout(
        profile_id(counted, schema.positive_class),
        schema.positive_class,
        places,
        np.array(targets, np.int64),
        np.array(owners, np.int64),
        (cells, slots, columns),
        bins,
    )


def _buckets(schema: Schema) -> Iterator[tuple[int, ColumnSpec, Buckets]]:
    """Yield position and buckets of every column that senders can count: labels come as labels."""
    for position, spec in enumerate(schema.numeric):
        if spec.role != "label":
            edges = schema.edges[position, : finite_edges(schema.edges[position])].tolist()
            low, high = float(schema.low[position]), float(schema.high[position])
            observed = observed_edges(edges, schema.drift_edges[position].tolist(), low, high)
            yield position, spec, numeric_buckets(observed)
    for column, spec in enumerate(schema.categorical):
        if spec.role != "label":
            yield len(schema.numeric) + column, spec, categorical_buckets(schema.categories.names(column))


def with_observed(pane: Pane, layout: Layout) -> Pane:
    """Return a pane in which what senders counted is added to the rows; the pane itself if nothing was.

    The cells of a bucket are in its first fine bin: coarse bins, ranges and totals are right, fine bins and excess not.
    """
    part = pane.further[Observed]
    if not part.any():
        return pane
    counts, group_rows = pane.counts.copy(), pane.group_rows.copy()
    rows = np.arange(len(counts))[:, None]
    np.add.at(counts, (rows, layout.bins), part.counts)
    group_rows[0] += part.rows
    return replace(
        pane,
        rows=pane.rows + part.rows[0],
        counts=counts,
        category_counts=added(pane.category_counts.copy(), part.category_counts),
        missing=pane.missing + part.missing,
        wrong_type=pane.wrong_type + part.wrong_type,
        group_rows=group_rows,
    )
