"""Say that a model's rows come in one call a pane: an alarm needs many panes then, and silence looks like calm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from collector_processor.detectors.dependence import design_effect
from collector_processor.statistics.calls import LARGEST_CALL
from collector_processor.statistics.parts.calls import SIZES, Calls
from collector_processor.window.closed import Window

LEAST_ROWS: Final = 10
"""Rows of a call from which on it matters that they may be alike."""
LEAST_PANES: Final = 3
"""Panes of one call each, one after the other, before it is said."""
_NEARLY: Final = 0.95
"""Share of a pane's rows that are in one call."""


@dataclass(slots=True)
class SingleCalls:
    """Watches how the rows of one model's panes come; ``text`` is what there is to say now.

    Panes of fewer than :data:`LEAST_ROWS` rows show nothing. A call of more than a thousand rows counts as that many.
    """

    watching: bool = False
    text: str = ""
    _panes: int = 0

    def see(self, pane: Window) -> None:
        """Look at a closed pane."""
        calls, rows = pane.pane.further[Calls], int(pane.pane.rows[1])
        total = float(calls.by_call.sum())
        if not self.watching or rows < LEAST_ROWS or not total > 0.0:
            return
        self._panes = self._panes + 1 if design_effect(calls.by_call, SIZES) >= _NEARLY * total else 0
        self.text = ""
        if self._panes >= LEAST_PANES:
            self.text = (
                f"its rows come in one call a pane, {rows:,} in the newest: up to {LARGEST_CALL:,} rows of a call may "
                "be alike, so alarms take many panes to find a change. Turn on the rule that finds a large one at "
                "once: `alerts: {rules: {feature_drift: {}}}`"
            )
