"""Simulated streams: a reference of drawn rows, and panes of counts whose true distribution is known.

A feature is standard normal, with a share of missing cells. Its reference is drawn row by row, so that its bins and
counts have the error that a reference of that size has. A pane is drawn as counts: the same as drawing its rows and
counting them, and a hundred times as fast.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from scipy.special import ndtr

from collector_processor.columns.batch import F64, I32, I64, ModelKey
from collector_processor.reference.profile import Reference
from collector_processor.statistics.pane import Pane
from collector_processor.statistics.schema import Categories, ColumnSpec, Schema
from collector_processor.window.closed import Window

MODEL = ModelKey("simulated", "1")
MISSING = 0.01
PANE_NS = 60_000_000_000
CHUNKS = 10
Cdf = Callable[[F64], F64]


def normal(mean: float = 0.0, spread: float = 1.0) -> Cdf:
    """Return the distribution function of a normal."""
    return lambda z: ndtr((z - mean) / spread)


def mixed(share: float, mean: float) -> Cdf:
    """Return the distribution function of standard normal rows, a share of which moved by ``mean``."""
    return lambda z: (1.0 - share) * ndtr(z) + share * ndtr(z - mean)


def _decile_gains(z: F64) -> F64:
    """Return the distribution function of a standard normal whose fifth decile gains five points from all others."""
    low, high = 0.4, 0.5
    inside = np.clip((ndtr(z) - low) / (high - low), 0.0, 1.0)
    return 0.95 * ndtr(z) + 0.05 * inside


@dataclass(frozen=True, slots=True)
class Shift:
    """One change of a feature, and how a detector may call it (:data:`otel_ml.semconv`); ``tv`` is its size."""

    name: str
    cdf: Cdf = field(default=normal())
    missing: float = MISSING
    called: tuple[str, ...] = ()


SHIFTS = (
    Shift("mean +0.1 σ", normal(0.1), called=("mean_up",)),
    Shift("mean +0.25 σ", normal(0.25), called=("mean_up",)),
    Shift("mean +0.5 σ", normal(0.5), called=("mean_up",)),
    Shift("mean +1 σ", normal(1.0), called=("mean_up",)),
    Shift("standard deviation × 1.25", normal(0.0, 1.25), called=("spread_up",)),
    Shift("standard deviation × 1.5", normal(0.0, 1.5), called=("spread_up",)),
    Shift("missing 1 % to 3 %", missing=0.03, called=("missing_up",)),
    Shift("missing 1 % to 6 %", missing=0.06, called=("missing_up",)),
    Shift("one decile gains 5 points", _decile_gains, called=("bin",)),
    Shift("10 % of rows +1 σ", mixed(0.1, 1.0), called=("mean_up", "bin", "spread_up")),
    Shift("10 % of rows +2 σ", mixed(0.1, 2.0), called=("mean_up", "bin", "spread_up")),
)
NONE = Shift("none")


@dataclass(frozen=True, slots=True)
class Columns:
    """The references of ``F`` features: edges ``[F, E]`` padded with ``+inf``, counts ``[F, E + 1]``, missing ``[F]``.

    ``deciles`` ``[F, 9]`` and ``even`` ``[F, D]`` are positions of edges: the deciles, and the bins of even width that
    NannyML makes (``doane``), padded with the last. ``chunks`` ``[10, F, E + 1]`` are the counts of ten parts of the
    reference, one after another. Without ``peers``, there is one chunk and one even bin.
    """

    edges: F64
    counts: F64
    missing: F64
    deciles: I32
    even: I32
    chunks: F64

    @classmethod
    def drawn(
        cls, random: np.random.Generator, features: int, rows: int, bins: int = 10, *, peers: bool = False
    ) -> Columns:
        """Draw the rows of references and count them in ``bins`` bins of equal counts, a multiple of ten."""
        cells = rows - round(rows * MISSING)
        cells -= cells % CHUNKS
        found = [_Column.drawn(random.standard_normal(cells), bins, peers=peers) for _ in range(features)]
        width, evens = max(len(each.edges) for each in found), max(len(each.even) for each in found)
        chunks = np.stack([_padded(each.chunks, width + 1, 0.0) for each in found], axis=1)
        return cls(
            edges=np.stack([_padded(each.edges, width, np.inf) for each in found]),
            counts=chunks.sum(axis=0),
            missing=np.full(features, float(rows - cells)),
            deciles=np.stack([each.deciles for each in found]).astype(np.int32),
            even=np.stack([_padded(each.even, evens, each.even[-1]) for each in found]).astype(np.int32),
            chunks=chunks,
        )

    def chances(self, shift: Shift) -> F64:
        """Return the probability of each bin and, last, of a missing cell, ``[F, E + 2]``."""
        below = shift.cdf(self.edges)
        inside = np.diff(below, axis=1, prepend=0.0, append=1.0)
        return np.column_stack((inside * (1.0 - shift.missing), np.full(len(below), shift.missing)))

    def reference(self) -> Reference:
        """Return the references as the profile of one model."""
        features, none = len(self.edges), Categories((), 1)
        schema = Schema(
            task="", positive_class="", numeric=tuple(ColumnSpec("feature", f"x{n}") for n in range(features)),
            edges=self.edges, drift_edges=self.deciles, low=self.edges[:, 0], high=np.full(features, np.inf),
            categorical=(), categories=none, classes=none.fork(), groups=none.fork(),
        )  # fmt: skip
        rows = float(self.counts[0].sum() + self.missing[0])
        return Reference(MODEL.name, schema, _pane(schema, self.counts, self.missing, rows), np.ones(features), "", "")


@dataclass(frozen=True, slots=True)
class _Column:
    """The reference of one feature."""

    edges: F64
    chunks: F64
    deciles: I64
    even: I64

    @classmethod
    def drawn(cls, values: F64, bins: int, *, peers: bool) -> _Column:
        quantiles = np.quantile(values, np.arange(1, bins) / bins)
        even = np.histogram_bin_edges(values, bins="doane") if peers else quantiles[:1]
        if peers:
            even[-1] = np.nextafter(even[-1], np.inf)  # its last bin has its upper edge
        edges = np.union1d(quantiles, even)
        place = np.searchsorted(edges, values, "right").reshape(CHUNKS if peers else 1, -1)
        chunks = np.stack([np.bincount(part, minlength=len(edges) + 1) for part in place]).astype(np.float64)
        deciles = np.searchsorted(edges, quantiles[bins // 10 - 1 :: bins // 10])
        return cls(edges, chunks, deciles, np.searchsorted(edges, even))


def _padded(values: F64 | I64, width: int, by: float) -> F64:
    return np.pad(
        values.astype(np.float64), [(0, 0)] * (values.ndim - 1) + [(0, width - values.shape[-1])], constant_values=by
    )


def drawn(random: np.random.Generator, chances: F64, rows: int, alike: int = 1) -> F64:
    """Draw the counts of a pane, ``[F, E + 2]``; each ``alike`` rows, those of one call, are equal."""
    return random.multinomial(rows // alike, chances).astype(np.float64) * alike


def window(reference: Reference, counts: F64, number: int, rows: int) -> Window:
    """Return the counts of pane ``number`` as monitors see it."""
    pane = _pane(reference.schema, counts[:, :-1], counts[:, -1], float(rows))
    return Window(MODEL, number * PANE_NS, (number + 1) * PANE_NS, reference.schema, pane)


def _pane(schema: Schema, counts: F64, missing: F64, rows: float) -> Pane:
    pane = Pane.empty(schema)
    pane.rows[:] = rows
    pane.counts[:], pane.missing[:] = counts, missing
    return pane
