"""Say that windows have too few rows for drift: their silence looks like a model that does not change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from collector_processor.monitors.drift import DriftSettings, LeastRows
from collector_processor.pipeline.settings import WindowConfig
from collector_processor.settings.base import Settings
from collector_processor.window.closed import Window

FEW_REFERENCE_ROWS: Final = 1000
"""Rows of a reference below which its model's state says so, if they are fewer than wanted."""
_DAY_NS: Final = 86_400 * 10**9


@dataclass(slots=True)
class FewRows:
    """Watches the sizes of one model's windows of time: ``needed`` rows each, 0 if nothing needs to be said.

    If a model's windows never had enough rows, there is a text after the first whole window. If they had enough before,
    there is one after a day only, because a quiet night is normal. ``text`` is what there is to say now.
    """

    needed: int = 0
    size_ns: int = 0
    every_ns: int = 0
    text: str = ""
    _since_ns: int | None = None
    _wait_ns: int = 0
    _most: int = 0

    @classmethod
    def configured(cls, window: WindowConfig, drift: Settings) -> FewRows:
        """Return what watches windows of these settings; windows of rows have as many rows as they are set to."""
        runs = not isinstance(drift, DriftSettings) or drift.numeric or drift.categorical
        if window.size.rows or not isinstance(window, LeastRows) or not runs:
            return cls()
        return cls(window.min_rows, window.size.ns, window.step.ns)

    def see(self, window: Window) -> str:
        """Look at a closed window; return :attr:`text`."""
        rows = int(window.pane.rows[1])
        if rows >= self.needed:
            self._since_ns, self._wait_ns, self._most, self.text = window.end_ns, max(_DAY_NS, self.size_ns), 0, ""
            return ""
        if self._since_ns is None:
            self._since_ns, self._wait_ns = window.end_ns - self.every_ns, self.size_ns
        self._most = max(self._most, rows)
        if window.end_ns - self._since_ns >= self._wait_ns:
            self.text = (
                f"the fullest window has {self._most:,} of {self.needed:,} rows; drift needs {self.needed:,}: "
                f"use `window: {{size: {self.needed} rows}}`, or a longer size"
            )
        return self.text
