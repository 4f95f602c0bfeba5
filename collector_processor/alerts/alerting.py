"""The notifier: passes measurements to the rules, and notices to the destinations."""

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
"""How often time alone is judged, without new measurements."""
_log = logging.getLogger(__name__)


class Alerting:
    """Judges the measurements of every tick and sends notices to the destinations and the log; used by one thread."""

    def __init__(self, engine: Engine, destinations: Sequence[Destination], telemetry: Telemetry) -> None:
        self.engine = engine
        self.destinations = tuple(destinations)
        self._telemetry = telemetry
        self._swept_ns: int | None = None

    def tick(
        self, measurements: Sequence[Measurement], arrivals: Callable[[], Mapping[ModelKey, int]], now_ns: int
    ) -> None:
        """Judge measurements, and about once a second the passing of time; send the notices that follow.

        ``arrivals`` returns all tracked models, each with the time at which its last prediction arrived.
        """
        since_ns = None if self._swept_ns is None else now_ns - self._swept_ns
        if not measurements and since_ns is not None and 0 <= since_ns < SWEEP_NS:
            return
        self._swept_ns = now_ns
        with self._telemetry.alert_seconds.time():
            self.engine.judge(measurements, now_ns)
            notices = self.engine.sweep(arrivals(), now_ns)
        self._send(notices)

    def state(self) -> Json:
        """Return the state to keep across a restart."""
        return engine_state(self.engine)

    def restore(self, state: Json, now_ns: int) -> None:
        """Restore a saved state, before :meth:`resume`; ``ValueError`` if it is not a valid one."""
        restore_engine(self.engine, state, now_ns)

    def resume(self, now_ns: int) -> None:
        """Send the alerts that were firing before the restart to the destinations, which must be started."""
        self._send(self.engine.resumed(now_ns))

    def _send(self, notices: Sequence[Notice]) -> None:
        for notice in notices:
            if notice.reason not in QUIET:
                _log.info("alert: %s", title(notice))
        if notices:
            for destination in self.destinations:
                with survived("notify", self._telemetry):
                    destination.notify(notices)
