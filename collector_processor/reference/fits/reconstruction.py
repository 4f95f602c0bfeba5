"""Fit the principal components that explain most of the reference, and how far its rows are from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar, Final

import numpy as np

from collector_processor.columns.batch import F64, I32, PredictionBatch
from collector_processor.reference.document import Json, Node, number
from collector_processor.reference.fits.base import FitRows
from collector_processor.reference.fits.compat import CHUNKS
from collector_processor.statistics.compat import Compat
from collector_processor.statistics.fits.pair_scores import Scores
from collector_processor.statistics.fits.reconstruction import (
    Chunks,
    Reconstruction,
    encoded,
    filled,
    standardized,
    unexplained,
)
from collector_processor.statistics.parts.pair_moments import products
from collector_processor.statistics.schema import Schema

EXPLAINED: Final = 0.65
"""Share of the variance that the components explain at least."""
LEAST_ROWS: Final = 100
MOST: Final = 256
"""Most features."""
_BLOCK: Final = 8192
"""Rows that are looked at together."""


class ReconstructionFitter:
    """Principal components of imputed, encoded and standardized features, as in NannyML 0.13.1.

    A missing number is the mean, a missing category the most frequent one; a category is its share of all rows. The
    components are the first ones that explain more than 65 % of the variance.
    """

    name: ClassVar[str] = "reconstruction"
    kind: type[Reconstruction] = Reconstruction
    slow: ClassVar[bool] = False

    def fit(self, rows: FitRows) -> Reconstruction | None:
        """Return the components; None for fewer than 100 rows, or not 2 to 256 features."""
        schema, batch = rows.schema, rows.batch
        features = np.array([i for i, spec in enumerate(schema.columns) if spec.role == "feature"], np.int32)
        if len(batch) < LEAST_ROWS or not batch.weights.sum() > 0.0 or len(features) < 2:
            return None
        if len(features) > MOST:
            rows.note(f"no reconstruction error: that is measured of up to {MOST} features, not {len(features)}")
            return None
        positions, shares, fill = _filling(schema, batch, features)
        mean, scale, varying = _scaling(schema, batch, positions, shares, fill)
        if varying < 2:
            return None

        def cells(block: PredictionBatch) -> F64:
            return standardized(filled(encoded(schema, positions, shares, block), fill), mean, scale)

        covariance = sum(products((z := cells(block)) * block.weights, z) for block in _blocks(batch))
        components = _components(np.asarray(covariance))
        residuals = [np.square(unexplained(components, cells(block))) for block in _blocks(batch)]
        errors = np.concatenate([np.sqrt(part.sum(axis=0)) for part in residuals])
        squares = sum(part @ block.weights for part, block in zip(residuals, _blocks(batch), strict=True))
        compat = schema.fit(Compat)
        return Reconstruction(
            positions,
            shares,
            fill,
            mean,
            scale,
            components,
            np.asarray(squares) / batch.weights.sum(),
            _chunks(errors, batch.weights),
            whole=compat is not None and compat.tool == "nannyml",
        )

    def written(self, fit: Reconstruction) -> Mapping[str, Json]:
        """Return the numbers by name; components one after the other."""
        places = fit.shares.positions.tolist()
        chunks = fit.chunks
        return {
            "positions": fit.positions.tolist(),
            "shares": {str(place): row.tolist() for place, row in zip(places, fit.shares.categories, strict=True)},
            **{name: [number(x) for x in np.ravel(getattr(fit, name)).tolist()] for name in _ARRAYS},
            "chunks": [number(x) for x in (chunks.mean, chunks.spread, chunks.rows, chunks.of_row)],
            "whole": int(fit.whole),
        }

    def read(self, node: Node, schema: Schema) -> Reconstruction:
        """Return the fit, checked against the schema."""
        positions = node["positions"].integers(0, max(len(schema.columns) - 1, 0))
        if not 2 <= len(positions) <= MOST or (np.diff(positions) <= 0).any():
            node["positions"].fail(f"must be 2 to {MOST} ascending positions")
        if any(schema.columns[place].role != "feature" for place in positions.tolist()):
            node["positions"].fail("must be positions of features")
        texts = positions[positions >= len(schema.numeric)]
        shares = tuple(node["shares"][str(place)].numbers() for place in texts.tolist())
        for place, one in zip(texts.tolist(), shares, strict=True):
            # Categories may have come since the fit.
            if len(one) > (size := len(schema.categories.names(place - len(schema.numeric)))):
                node["shares"][str(place)].fail(f"must have at most {size} numbers")
        arrays = {name: node[name].numbers() for name in _ARRAYS}
        size = len(positions)
        for name in ("fill", "mean", "scale", "squares"):
            if len(arrays[name]) != size or not np.isfinite(arrays[name]).all():
                node[name].fail(f"must have {size} finite numbers")
        if not (arrays["scale"] > 0.0).all():
            node["scale"].fail("must be above 0")
        count, rest = divmod(len(arrays["components"]), size)
        if rest or not 0 < count <= size or not (np.abs(arrays["components"]) <= 1.0 + 1e-9).all():
            node["components"].fail(f"must be 1 to {size} times {size} numbers from -1 to 1")
        chunks = node["chunks"].numbers()
        if len(chunks) != 4 or not np.isfinite(chunks).all() or (chunks < 0.0).any() or chunks[2] <= 0.0:
            node["chunks"].fail("must be four numbers that are not negative, the third above 0")
        arrays["components"] = arrays["components"].reshape(count, size)
        return Reconstruction(
            positions, Scores.stacked(schema, texts, shares), **arrays, chunks=Chunks(*chunks.tolist()),
            whole=bool(node["whole"].integer(0, 1)),
        )  # fmt: skip


_ARRAYS: Final = ("fill", "mean", "scale", "components", "squares")


def _blocks(batch: PredictionBatch) -> Iterator[PredictionBatch]:
    for start in range(0, len(batch), _BLOCK):
        yield batch.take(slice(start, start + _BLOCK))


def _filling(schema: Schema, batch: PredictionBatch, features: I32) -> tuple[I32, Scores, F64]:
    """Return the features that have cells, the share of every category, and what a missing cell stands for."""
    texts = features[features >= len(schema.numeric)]
    sizes = [len(schema.categories.names(place - len(schema.numeric))) for place in texts.tolist()]
    codes = Scores.stacked(schema, texts, [np.arange(float(size)) for size in sizes], np.inf)
    sums, present = np.zeros(len(features)), np.zeros(len(features))
    counts = [np.zeros(size) for size in sizes]
    for block in _blocks(batch):
        cells, weights = encoded(schema, features, codes, block), block.weights
        there = np.isfinite(cells)
        with np.errstate(over="ignore", invalid="ignore"):
            sums += np.where(there, cells, 0.0) @ weights
        present += np.where(there, 1.0, np.isinf(cells) & (features >= len(schema.numeric))[:, None]) @ weights
        for one, row, known in zip(counts, cells[-len(texts) :], there[-len(texts) :], strict=False):
            one += np.bincount(row[known].astype(np.int64), weights[known], len(one))
    kept = present > 0.0
    total = batch.weights.sum()
    fill = np.divide(sums, present, out=np.zeros(len(features)), where=kept)  # an overflow becomes 0, below
    shares: list[F64] = []
    for row, one in enumerate(counts, len(features) - len(texts)):
        if len(one) and kept[row]:
            one[int(one.argmax())] += total - present[row]
            shares.append(one / total)
            fill[row] = shares[-1].max()
        else:
            kept[row] = False
    positions = features[kept]
    fill = np.where(np.isfinite(fill), fill, 0.0)[kept]
    return positions, Scores.stacked(schema, positions[positions >= len(schema.numeric)], shares), fill


def _scaling(schema: Schema, batch: PredictionBatch, positions: I32, shares: Scores, fill: F64) -> tuple[F64, F64, int]:
    """Return mean and scale of each feature, 1 for a constant, and how many are not."""
    total, rows = batch.weights.sum(), len(batch)
    with np.errstate(over="ignore", invalid="ignore"):
        mean = np.zeros(len(positions))
        for block in _blocks(batch):
            mean += filled(encoded(schema, positions, shares, block), fill) @ (block.weights / total)
        variance = np.zeros(len(positions))
        for block in _blocks(batch):
            cells = filled(encoded(schema, positions, shares, block), fill) - mean[:, None]
            variance += np.square(cells) @ (block.weights / total)
        # What rounding alone makes of a constant, as scikit-learn's StandardScaler decides.
        eps = np.finfo(np.float64).eps
        varies = (variance > rows * eps * variance + (rows * mean * eps) ** 2) & np.isfinite(variance)
    return np.where(np.isfinite(mean), mean, 0.0), np.where(varies, np.sqrt(variance), 1.0), int(varies.sum())


def _components(covariance: F64) -> F64:
    """Return the eigenvectors with the largest eigenvalues that explain more than the share, ``[C, K]``."""
    values, vectors = np.linalg.eigh(covariance)
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    explained = np.cumsum(values / values.sum())
    count = int(np.searchsorted(explained, EXPLAINED, side="right")) + 1
    return np.ascontiguousarray(vectors[:, : min(count, len(values))].T)


def _chunks(errors: F64, weights: F64) -> Chunks:
    """Return how errors vary between ten chunks, with what is left as a further one, and between rows."""
    size = len(errors) // CHUNKS
    parts = [slice(start, start + size) for start in range(0, len(errors), size)]
    means = np.array([np.average(errors[part], weights=weights[part]) for part in parts if weights[part].sum() > 0.0])
    of_row = np.sqrt(np.average(np.square(errors - np.average(errors, weights=weights)), weights=weights))
    independent = size * weights.sum() ** 2 / (weights @ weights) / len(errors)
    return Chunks(float(means.mean()), float(means.std()), float(independent), float(of_row))
