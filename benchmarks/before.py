"""``otel-ml`` with the statistics of version 0.2 only: what the cost of all further monitors is compared with."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any, cast

from collector_processor import monitors
from collector_processor.reference.fits import registry as fits
from collector_processor.settings.base import Settings
from collector_processor.statistics.parts import registry as parts

_MONITORS = ("traffic", "quality", "drift", "performance", "certain_drop", "missing_rise", "missing_shift")
_all = monitors.configured_monitors


def _those(section: Callable[[str], Settings]) -> Iterator[Any]:
    return (monitor for monitor in _all(section) if monitor.name in _MONITORS)


def _put(module: object, name: str, value: object) -> None:
    cast("Any", module).__dict__[name] = value


if __name__ == "__main__":
    _put(monitors, "configured_monitors", _those)
    _put(fits, "FITTERS", ())
    _put(parts, "PART_TYPES", ())
    from collector_processor.cli.main import main

    sys.exit(main())
