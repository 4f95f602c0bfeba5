"""Settings of the fairness monitor, and what they mean for a model: which segments, and which outcome is favorable."""

from __future__ import annotations

import re
from typing import Final

from pydantic import Field, field_validator

from collector_processor.fairness.counts import Favorable
from collector_processor.fairness.figures import FIGURES
from collector_processor.fairness.names import Names
from collector_processor.settings.base import Settings
from collector_processor.settings.values import ClassName
from collector_processor.statistics.schema import Schema

PROTECTED: Final = frozenset(
    {
        "age", "caste", "disability", "ethnicity", "gender", "maternity", "nationality", "pregnancy", "race",
        "religion", "sex",
    }
)  # fmt: skip
"""A declared segment whose name has one of these words is compared unless ``segments`` says otherwise."""
DEFAULT: Final = (
    "demographic_parity_difference", "demographic_parity_ratio", "equal_opportunity_difference",
    "equalized_odds_difference", "predictive_parity_difference", "accuracy_difference", "calibration_difference",
    "mean_error_difference", "mae_ratio",
)  # fmt: skip


class FairnessSettings(Settings):
    """Which groups are compared by which figures, and from where on a difference is a breach."""

    segments: tuple[str, ...] | None = Field(
        default=None,
        description="declared segments whose groups are compared; when absent, those with a name like "
        f"{', '.join(sorted(PROTECTED))}",
    )
    privileged: dict[str, str] = Field(
        default_factory=dict,
        description="the group that others are compared with, by segment; when absent, the largest in the reference",
    )
    favorable: ClassName = Field(
        default="", description="the class that is good for whom it is about; when absent, the positive class"
    )
    metrics: tuple[str, ...] = Field(default=DEFAULT, description=" | ".join(FIGURES))
    difference: float = Field(
        default=0.1,
        gt=0,
        description="the largest difference that is not a breach; of mean errors, in standard deviations of the label",
    )
    ratio: float = Field(default=0.8, gt=0, lt=1, description="smallest ratio that is not a breach")
    alpha: float = Field(
        default=0.05, gt=0, lt=1, description="share of windows in which chance may take equal groups into breach"
    )
    min_rows: int = Field(default=100, ge=2, description="smaller groups are compared together, as `small_groups`")
    min_outcomes: int = Field(
        default=10, ge=1, description="expected cases of either outcome that a group needs to be compared alone"
    )
    pairs: int = Field(
        default=10, ge=0, description="groups of a segment up to which each is also shown beside the privileged one"
    )
    names: Names = Field(
        default="fairlearn", description="fairlearn | clarify | aif360: adds the figures by the names of that tool"
    )

    @field_validator("metrics")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in FIGURES:
                raise ValueError(f"unknown figure {name!r}; choose from: {', '.join(FIGURES)}")
        return names


def compared_segments(settings: FairnessSettings, schema: Schema) -> list[int]:
    """Return the positions of the declared segments that are compared.

    >>> [bool(PROTECTED.intersection(re.split(r"[^a-z]+", name.lower()))) for name in ("Age-Group", "page", "shop")]
    [True, False, False]
    """
    if settings.segments is not None:
        return [place for place, name in enumerate(schema.groups.columns) if name in settings.segments]
    return [
        place
        for place, name in enumerate(schema.groups.columns)
        if PROTECTED.intersection(re.split(r"[^a-z]+", name.lower()))
    ]


def favorable_outcome(settings: FairnessSettings, schema: Schema) -> Favorable | None:
    """Return the favorable outcome; None in a regression, and while the class is not known.

    In a binary task, all classes but the positive one are one outcome.
    """
    if schema.task == "regression":
        return None
    positive = schema.positive_class
    wanted = settings.favorable or positive
    if schema.task == "binary_classification" and positive:
        slot = schema.classes.find(0, positive)
        if slot is None:
            return None
        if wanted == positive:
            return Favorable(slot)
        return Favorable(slot, other=True) if schema.classes.find(0, wanted) is not None else None
    slot = schema.classes.find(0, wanted) if wanted else None
    return None if slot is None else Favorable(slot)
