"""The notifier: rules on one side, destinations on the other."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from collector_processor.alerts.engine import Engine
from collector_processor.alerts.kept import Json, engine_state, restore_engine
from collector_processor.alerts.notice import QUIET, Destination, Notice
from collector_processor.alerts.text import title
from collector_processor.columns.batch import ModelKey
from collector_processor.monitors.base import Measurement
from collector_processor.own.survive import survived
from collector_processor.own.telemetry import Telemetry

SWEEP_NS = 10**9
"""How often the clock alone is asked."""
_log = logging.getLogger(__name__)


class Alerting:
    """Judges what every tick gives and tells the destinations, and the log; one thread uses it."""

    def __init__(self, engine: Engine, destinations: Sequence[Destination], telemetry: Telemetry) -> None:
        self.engine = engine
        self.destinations = tuple(destinations)
        self._telemetry = telemetry
        self._swept_ns: int | None = None

    def tick(
        self, measurements: Sequence[Measurement], arrivals: Callable[[], Mapping[ModelKey, int]], now_ns: int
    ) -> None:
        """Judges measurements, and about every second what time alone does; tells what is to be told.

        ``arrivals`` gives all models there are and when their last prediction came.
        """
        since_ns = None if self._swept_ns is None else now_ns - self._swept_ns
        if not measurements and since_ns is not None and 0 <= since_ns < SWEEP_NS:
            return
        self._swept_ns = now_ns
        with self._telemetry.alert_seconds.time():
            self.engine.judge(measurements, now_ns)
            notices = self.engine.sweep(arrivals(), now_ns)
        self._tell(notices)

    def state(self) -> Json:
        """What outlives a restart."""
        return engine_state(self.engine)

    def restore(self, state: Json, now_ns: int) -> None:
        """Takes a saved state over; ``ValueError`` where it is none. To be called before :meth:`resume`."""
        restore_engine(self.engine, state, now_ns)

    def resume(self, now_ns: int) -> None:
        """Tells destinations what fires since before the restart; they must be started."""
        self._tell(self.engine.resumed(now_ns))

    def _tell(self, notices: Sequence[Notice]) -> None:
        for notice in notices:
            if notice.reason not in QUIET:
                _log.info("alert: %s", title(notice))
        if notices:
            for destination in self.destinations:
                with survived("notify", self._telemetry):
                    destination.notify(notices)
