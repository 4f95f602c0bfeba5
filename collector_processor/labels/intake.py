"""What is kept of a prediction until its label comes: the outputs as class slots and scores, however they were sent."""

from __future__ import annotations

import numpy as np

from collector_processor.columns.batch import F64, I64, U64, PredictionBatch
from collector_processor.columns.traces import Traces
from collector_processor.labels.pending import SCORES_LIMIT, PendingRows, SampledRows
from collector_processor.statistics.cells import likeliest_score, score_cells
from collector_processor.statistics.estimates import estimates
from collector_processor.statistics.fits.cause_cells import CauseCells
from collector_processor.statistics.fits.slice_cells import SliceCells
from collector_processor.statistics.groups import segment_groups
from collector_processor.statistics.predicted import predicted_codes
from collector_processor.statistics.sample import levels, sampled
from collector_processor.statistics.schema import Schema


def pending_rows(schema: Schema, batch: PredictionBatch) -> PendingRows:
    """Return the rows of a batch as they are kept, without failed ones.

    A binary prediction without a class gets the one that the threshold decides, if the positive class is known; a
    multiclass one gets its most likely class.
    """
    batch = _done(batch)
    groups = segment_groups(schema, batch)
    if schema.task == "regression":
        return PendingRows(
            batch.ids, batch.time_ns, batch.weights, groups, predicted_values=batch.value, traces=_traces(batch)
        )
    predicted = predicted_codes(schema, batch)
    scores, expected = score_cells(batch, schema.positive_class), estimates(schema, batch)
    if schema.task == "binary_classification":
        return PendingRows(
            batch.ids,
            batch.time_ns,
            batch.weights,
            groups,
            predicted,
            scores=scores,
            estimates=expected,
            traces=_traces(batch),
        )
    class_scores = _class_scores(schema, batch)
    scores = likeliest_score(batch, scores)
    return PendingRows(
        batch.ids,
        batch.time_ns,
        batch.weights,
        groups,
        predicted,
        scores=scores,
        class_scores=class_scores,
        estimates=expected,
        traces=_traces(batch),
    )


def sampled_rows(schema: Schema, batch: PredictionBatch) -> SampledRows | None:
    """Return the cells of a sample of the rows of :func:`pending_rows`; None without cells in the reference."""
    slices, causes = schema.fit(SliceCells), schema.fit(CauseCells)
    if slices is None and causes is None:
        return None
    part, rows, _, levels = sampled(_done(batch))
    if not len(rows):
        return None
    codes = levels[:, None] if slices is None else np.column_stack((levels, slices.of(schema, part)))
    key = 0 if slices is None else slices.key
    return SampledRows(rows, codes, key, None if causes is None else causes.of(schema, part))


def _traces(batch: PredictionBatch) -> Traces | None:
    """Return the traces of the rows that are in the sample, too: of the rows of a busy minute, these are enough."""
    if batch.traces is None:
        return None
    return Traces(np.where(levels(batch) > 0, batch.traces.codes, np.int32(-1)), batch.traces.ids)


def _done(batch: PredictionBatch) -> PredictionBatch:
    """Return the rows that did not fail."""
    if batch.error is None:
        return batch
    done = ~batch.error.is_text()
    return batch if done.all() else batch.take(done)


def latest_rows(ids: U64) -> I64:
    """Return the last row of each id, int64 ``[n]``.

    >>> latest_rows(np.array([[7, 1], [7, 2], [7, 1]], np.uint64)).tolist()
    [2, 1, 2]
    """
    rows = np.arange(len(ids))
    first = np.sort(ids[:, 0])
    if not (first[1:] == first[:-1]).any():
        return rows
    order = np.lexsort((ids[:, 1], ids[:, 0]))
    ordered = ids[order]
    last = np.append((ordered[1:] != ordered[:-1]).any(axis=1), [True])
    rows[order] = order[last][np.cumsum(last) - last]
    return rows


def _class_scores(schema: Schema, batch: PredictionBatch) -> dict[int, F64]:
    """Return probabilities by class slot; classes that only fit into ``other`` are left out."""
    names = tuple(batch.scores)[:SCORES_LIMIT]
    slots = schema.classes.slots(0, names).tolist()
    return {slot: batch.scores[name] for slot, name in zip(slots, names, strict=True) if slot}
