"""A closed window and a closed pane, as monitors see them."""

from __future__ import annotations

from dataclasses import dataclass

from collector_processor.columns.batch import ModelKey
from collector_processor.statistics.pane import Pane
from collector_processor.statistics.schema import Schema
from collector_processor.window.compact_panes import CompactPane


@dataclass(frozen=True, slots=True)
class ClosedPane:
    """A pane as it was when the window that ends with it closed; later rows and labels do not change it."""

    start_ns: int
    compact: CompactPane


@dataclass(frozen=True, slots=True)
class Window:
    """The sum of the panes of one model between two instants (Unix nanoseconds); read-only for monitors.

    ``newest`` is the last of them, which closed with the window; None if nothing came in it.
    """

    model: ModelKey
    start_ns: int
    end_ns: int
    schema: Schema
    pane: Pane
    newest: ClosedPane | None = None

    def newest_pane(self) -> Window | None:
        """Return the newest pane as a separate window. Over all windows of a model, each pane comes once and in order.

        Rows, cells and latency are final: what comes later for this span of time is late. The outcomes are those of
        labels joined so far. A label that comes later counts in a later pane; one that replaces an earlier label
        takes the earlier one out of the pane's share of later windows, but not out of the pane returned here.
        """
        if self.newest is None:
            return None
        pane = self.newest.compact.expanded(self.schema)
        return Window(self.model, self.newest.start_ns, self.end_ns, self.schema, pane)
