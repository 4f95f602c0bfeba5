"""Settings of what is estimated before the labels come, which several monitors share."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from collector_processor.monitors.intervals import BAND
from collector_processor.settings.base import Settings
from collector_processor.settings.values import Rate
from collector_processor.statistics.fits.baseline import Figure
from otel_ml import semconv

ADAPTIVE: Final = "adaptive"
NINETY_FIVE: Final = "95%"
NANNYML: Final = 3.0
"""Standard errors from an estimate to either end of NannyML's band."""


class EstimateSettings(Settings):
    """How performance is estimated before the labels come, and what counts as a harmful shift."""

    method: Literal["adaptive", "cbpe"] = Field(
        default=ADAPTIVE,
        description="how figures of performance are estimated. `adaptive`: from calibrated scores, corrected by trees "
        "that look at the features if the reference has them; `cbpe`: from calibrated scores alone",
    )
    band: Literal["95%", "nannyml"] = Field(
        default=NINETY_FIVE,
        description="range around an estimate, "
        f"`{semconv.PERFORMANCE_LOWER}` and `{semconv.PERFORMANCE_UPPER}`. `95%`: where the figure of the labels will "
        "lie with 95 %, the reference's own error included; `nannyml`: three standard errors of the window, as NannyML "
        "has it",
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

    def margin(self, figure: Figure, rows: float, labeled: float) -> float:
        """Return how far either end of the band is from an estimate over ``rows``; the reference has ``labeled`` ones.

        >>> figure = Figure(0.5, 0.25, 0.0, 1.0)
        >>> round(EstimateSettings(band="nannyml").margin(figure, 400.0, 1200.0), 4)
        0.15
        >>> round(EstimateSettings().margin(figure, 400.0, 1200.0), 4)  # that of 300 rows
        0.1132
        """
        if self.band != NINETY_FIVE:
            return NANNYML * figure.error(rows)
        return BAND.z * figure.error(1.0 / (1.0 / rows + 1.0 / labeled)) if labeled > 0.0 else float("nan")
