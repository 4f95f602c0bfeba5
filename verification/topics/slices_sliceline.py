"""The ten best slices of one and two predicates beside those of sliceline."""

from __future__ import annotations

import numpy as np

from collector_processor.monitors.slices import SliceSettings, found_slices
from collector_processor.reference.build import build_reference
from collector_processor.statistics.fits.slice_cells import SliceCells
from collector_processor.statistics.parts.slice_sums import SliceSums
from verification.oracle import Oracle
from verification.topic import Check, Findings, Progress, Topic, largest
from verification.topics.slices import labeled, window

BEST = 10


def run(quick: bool, progress: Progress) -> Findings:
    """Ask sliceline about the codes of the same rows."""
    settings, differences, same = SliceSettings(alpha=0.95), list[float](), 0
    seeds = range(1 if quick else 5)
    found_by: dict[str, str] = {}
    for seed in seeds:
        progress(f"rows {seed}")
        random = np.random.default_rng(seed)
        batch, labels = labeled(random, 4_000 if quick else 20_000, 0.6)
        reference = build_reference("slices", batch, positive_class="yes", label_classes=labels)
        fit = reference.schema.fit(SliceCells)
        assert fit is not None
        assert batch.prediction is not None
        assert batch.prediction.codes is not None
        assert labels.codes is not None
        part = window(reference, batch, labels).pane.further[SliceSums]
        slices = found_slices(fit, part, SliceSums.empty(reference.schema), settings)
        best = np.argsort(-slices.score, kind="stable")
        best = best[slices.score[best] > 0.0][:BEST]
        codes = fit.of(reference.schema, batch)
        answer = Oracle("sliceline").ask(
            {
                "codes": (codes + 1).tolist(),
                "errors": (batch.prediction.codes != labels.codes).astype(float).tolist(),
                "alpha": settings.alpha, "k": BEST,
                "rows": int(max(settings.min_rows, settings.min_share * len(batch))),
            }
        )  # fmt: skip
        found_by = dict(answer.versions)
        theirs = {
            tuple(int(fit.starts[j]) + code - 1 for j, code in enumerate(each["codes"]) if code is not None): each
            for each in answer.value
        }
        mine = {
            tuple(sorted({int(slices.one[at]), int(slices.other[at])})): (slices.score[at], slices.rows[at])
            for at in best.tolist()
        }
        same += mine.keys() == theirs.keys()
        for key, (score, rows) in mine.items():
            if key in theirs:
                differences += [abs(score - theirs[key]["slice_score"]), abs(rows - theirs[key]["slice_size"])]
    return Findings(
        data=f"{len(seeds)} tables of 25 features with one bad slice of two predicates, α .95",
        checks=[
            Check.equal("tables with the same ten best slices", same, len(seeds)),
            Check.at_most("difference of score and size", largest(differences) if differences else float("nan"), 1e-9),
        ],
        versions=found_by,
    )


TOPIC = Topic("Slices beside sliceline", run, oracles=("sliceline",), page="methods/slices.md")
