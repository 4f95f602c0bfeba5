"""Says that nothing was observed, after a minute or when the process exits, and what might be the reason."""

from __future__ import annotations

import atexit
import logging
import sys
import threading
from contextvars import ContextVar
from typing import Final

_logger = logging.getLogger("otel_ml")

DELAY_S: Final = 60.0
NOT_OBSERVED: Final = (
    "tensorflow",
    "torch",
)
"""Libraries whose models are not observed without code."""


inside_prediction: Final[ContextVar[bool]] = ContextVar("otel_ml_inside_prediction", default=False)
"""Whether this code runs in a call of a model that is observed, so that what the call does inside is not."""


class Activity:
    """What this process has observed so far."""

    def __init__(self) -> None:
        self.observed = False
        self.reported = False


activity = Activity()


def watch() -> None:
    """Report after a minute, and when the process exits, if nothing has been observed until then."""
    atexit.unregister(report_silence)
    atexit.register(report_silence)
    timer = threading.Timer(DELAY_S, report_silence)
    timer.daemon = True
    timer.name = "otel-ml-activity"
    timer.start()


def report_silence() -> None:
    """Log one line if no prediction has been observed: a warning if a library is loaded that may have made some."""
    if activity.observed or activity.reported:
        return
    activity.reported = True
    unobserved = [name for name in NOT_OBSERVED if name in sys.modules]
    reasons: list[str] = []
    if unobserved:
        reasons.append(
            f"{', '.join(unobserved)} is loaded but not observed: put its calls into `with otel_ml.Model(…).predict(…)`"
        )
    if not reasons:
        loaded = "is" if "sklearn" in sys.modules else "is not"
        reasons.append(f"scikit-learn {loaded} loaded; see docs/instrumentation.md for what is observed")
    level = logging.WARNING if unobserved else logging.INFO
    _logger.log(level, "observed 0 predictions; %s", "; ".join(reasons))
