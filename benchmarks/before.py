"""``otel-ml`` with the statistics of version 0.2 only: what the cost of all further monitors is compared with."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any, cast

from collector_processor import monitors
from collector_processor.labels.pending import PendingPredictions
from collector_processor.pipeline import watched
from collector_processor.reference.fits import registry as fits
from collector_processor.settings.base import Settings
from collector_processor.statistics.exemplars.exemplars import Exemplars
from collector_processor.statistics.parts import registry as parts
from collector_processor.window.cohorts import Cohorts

_MONITORS = ("traffic", "quality", "drift", "performance", "certain_drop", "missing_rise", "missing_shift")
_all = monitors.configured_monitors


def _those(section: Callable[[str], Settings]) -> Iterator[Any]:
    return (monitor for monitor in _all(section) if monitor.name in _MONITORS)


def _put(place: object, name: str, value: object) -> None:
    setattr(cast("Any", place), name, value)


def _nothing(*_: object) -> None:
    return None


def go_back() -> None:
    """Leave out of this process what version 0.2 did not have."""
    for place in (monitors, watched):
        _put(place, "configured_monitors", _those)
    _put(fits, "FITTERS", ())
    _put(parts, "PART_TYPES", ())
    for place in (Exemplars, "add_rows"), (PendingPredictions, "_keep_traces"), (Cohorts, "add"), (watched, "prepare"):
        _put(*place, _nothing)


if __name__ == "__main__":
    from collector_processor.cli.main import main

    go_back()
    sys.exit(main())
