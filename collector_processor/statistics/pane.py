"""The pane: the sums of one slice of a model's traffic, as vectors that add up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from collector_processor.columns.batch import F64
from collector_processor.statistics.exemplars.exemplars import Exemplars
from collector_processor.statistics.parts.registry import Further
from collector_processor.statistics.schema import Schema
from collector_processor.statistics.vectors import Vectors

LATENCY_BINS = 1042
"""Logarithmic bins from 1 µs to 1,000 s, 2 % wide, with one bin below and one above (:mod:`.latency`)."""
DELAY_BINS = 1302
"""The same width from 1 ms to 1e8 s (three years), for the delay of labels."""
CALIBRATION_BINS = 10
"""Equal-width bins of the score for the calibration table."""


@dataclass(slots=True)
class Outcomes(Vectors):
    """The sums of joined labels. ``G`` = groups + 1, ``K`` = class slots, ``B`` = fine bins of the score.

    - ``labels`` ``[G]``: joined labels, weighted. ``delay`` ``[DELAY_BINS]``: time from prediction to label.
    - ``by_class`` ``[G, 3, K]`` of the rows with a label and a predicted class: how many were right, by class; how many
      were labeled as each class; how many were predicted as it. Classes beyond the limit count in slot 0, but are right
      only if they are the same class.
    - ``score_hits`` ``[G, 2, B]``: the positive score's fine bins, for negative and positive labels (binary).
    - ``calibration`` ``[G, 3, CALIBRATION_BINS]``: count, Σ score, Σ positive (binary).
    - ``scored`` ``[G, 3]``: count, Σ (score − y)², Σ −ln p(label) of outcomes whose label has a probability. In a
      multiclass task the second counts the outcomes with a score whose label has no probability.
    - ``errors`` ``[G, 8]``: regression sums, see :mod:`.outcomes`.

    The label's own distribution (for label drift) is an ordinary column of the pane.
    """

    labels: F64
    delay: F64
    by_class: F64
    score_hits: F64
    calibration: F64
    scored: F64
    errors: F64

    @classmethod
    def empty(cls, groups: int, classes: int, score_bins: int) -> Outcomes:
        """Return empty sums of the given sizes."""
        return cls(
            labels=np.zeros(groups),
            delay=np.zeros(DELAY_BINS),
            by_class=np.zeros((groups, 3, classes)),
            score_hits=np.zeros((groups, 2, score_bins)),
            calibration=np.zeros((groups, 3, CALIBRATION_BINS)),
            scored=np.zeros((groups, 3)),
            errors=np.zeros((groups, 8)),
        )


@dataclass(slots=True)
class Pane(Vectors):
    """The vectors of one slice. ``F`` numeric columns, ``C`` all columns (numeric first), ``S`` category slots.

    - ``rows`` ``[2]``: weighted and unweighted predictions, failed ones included.
    - ``counts`` ``[F, B]``: weighted cells in each fine bin, ``B`` = edges + 1.
    - ``excess`` ``[F, B]``: Σ weight · (x − anchor) with the bin's lower edge as anchor (its upper edge for bin 0), so
      that all terms of a sum have the same sign and no precision is lost. Infinite cells are counted but not summed.
    - ``category_counts`` ``[S]``; ``missing`` and ``wrong_type`` ``[C]``: cells that are absent, or of the other kind.
    - ``latency`` ``[G, LATENCY_BINS]``: durations of calls. ``group_rows`` ``[G, 2]``: rows and failed rows.
    - ``outcomes``: the sums of joined labels. ``further``: what monitors of single topics need (:mod:`.parts`).
    - ``exemplars``: which predictions were counted where.
    """

    rows: F64
    counts: F64
    excess: F64
    category_counts: F64
    missing: F64
    wrong_type: F64
    latency: F64
    group_rows: F64
    outcomes: Outcomes
    further: Further
    exemplars: Exemplars = field(default_factory=Exemplars)

    @classmethod
    def parts(cls) -> Mapping[str, type[Vectors]]:
        """Return the types of the nested records."""
        return {"outcomes": Outcomes, "further": Further, "exemplars": Exemplars}

    def copy(self) -> Pane:
        """Return an independent copy, with its exemplars, which are not among the arrays."""
        copied = self.from_arrays({name: values.copy() for name, values in self.arrays().items()})
        copied.exemplars = self.exemplars.copy()
        return copied

    @classmethod
    def empty(cls, schema: Schema) -> Pane:
        """Return an empty pane of the schema's current size."""
        numeric, columns, bins = len(schema.numeric), len(schema.columns), schema.edges.shape[1] + 1
        groups = len(schema.groups) + 1
        return cls(
            rows=np.zeros(2),
            counts=np.zeros((numeric, bins)),
            excess=np.zeros((numeric, bins)),
            category_counts=np.zeros(len(schema.categories)),
            missing=np.zeros(columns),
            wrong_type=np.zeros(columns),
            latency=np.zeros((groups, LATENCY_BINS)),
            group_rows=np.zeros((groups, 2)),
            outcomes=Outcomes.empty(groups, len(schema.classes), bins),
            further=Further.empty(schema),
        )
