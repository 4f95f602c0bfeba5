"""Settings of what is estimated before the labels come, which several monitors share."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from collector_processor.settings.base import Settings
from collector_processor.settings.values import Rate

ADAPTIVE: Final = "adaptive"


class EstimateSettings(Settings):
    """How performance is estimated before the labels come, and what counts as a harmful shift."""

    method: Literal["adaptive", "cbpe"] = Field(
        default=ADAPTIVE,
        description="how figures of performance are estimated. `adaptive`: from calibrated scores, corrected by trees "
        "that look at the features if the reference has them; `cbpe`: from calibrated scores alone",
    )
    false_alarms: Rate = Field(
        default="1 per year",
        description="false alarms of a harmful shift of one model version: `N per day`, `week`, `month` or `year`; 0 "
        "raises no alarms",
    )
    tolerance: float = Field(
        default=0.02,
        ge=0,
        lt=0.5,
        description="drop of the expected accuracy that counts as no harm; the reference's own error is added",
    )
    error_tolerance: float = Field(
        default=0.1,
        ge=0,
        description="rise of the expected absolute error of a regression, as a share of that of the reference, that "
        "counts as no harm",
    )
