"""The rules for a model's windows: how long they are, how often one closes, how late a row may come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MAX_PANES: Final = 10_000
"""Maximum number of panes in a window."""
_SLACK_PANES: Final = 16
_UNITS: Final = {"d": 86_400 * 10**9, "h": 3600 * 10**9, "m": 60 * 10**9, "s": 10**9, "ms": 10**6, "us": 10**3}


def duration_words(duration_ns: int) -> str:
    """Return a duration as a user would write it.

    >>> duration_words(5400 * 10**9), duration_words(1500 * 10**6), duration_words(7), duration_words(0)
    ('1h30m', '1s500ms', '7ns', '0s')
    """
    rest, words = duration_ns, ""
    for unit, size in _UNITS.items():
        count, rest = divmod(rest, size)
        words += f"{count}{unit}" if count else ""
    return words + (f"{rest}ns" if rest else "") or "0s"


@dataclass(frozen=True, slots=True)
class WindowPolicy:
    """How a model's traffic is cut into panes, and panes summed into windows; all durations in nanoseconds.

    Windows of *time* (``rows`` is 0): a pane is ``every_ns`` wide and starts at a multiple of it, so that panes of all
    replicas line up. One window closes at every pane's end and is the sum of the last ``size_ns / every_ns`` panes.

    Windows of *rows* (``rows`` > 0): a pane is ``every_rows`` rows in order of arrival, exactly; a window is the sum of
    the last ``rows / every_rows`` panes. It never closes for lack of traffic, and no row is late for it. ``size_ns``
    and ``every_ns`` are ignored; an ``every_rows`` of 0 means ``rows``.

    ``allowed_lateness_ns`` is how long a pane stays open for rows that come after newer ones. An event time more than
    ``max_clock_ahead_ns`` ahead of the service's clock is not believed: the row counts at its time of arrival.

    >>> WindowPolicy(size_ns=3600 * 10**9, every_ns=60 * 10**9).panes
    60
    >>> WindowPolicy(size_ns=3600 * 10**9, every_ns=7 * 60 * 10**9)
    Traceback (most recent call last):
    ValueError: window: size must be a multiple of every; size is 1h, every is 7m
    """

    size_ns: int = 3600 * 10**9
    every_ns: int = 60 * 10**9
    rows: int = 0
    every_rows: int = 0
    allowed_lateness_ns: int = 600 * 10**9
    max_clock_ahead_ns: int = 600 * 10**9

    def __post_init__(self) -> None:
        if self.allowed_lateness_ns < 0:
            raise ValueError("window: allowed_lateness must not be negative")
        if self.max_clock_ahead_ns < 0:
            raise ValueError("window: max_clock_ahead must not be negative")
        if self.rows < 0 or self.every_rows < 0:
            raise ValueError("window: size and every must not be negative")
        if self.every_rows and not self.rows:
            raise ValueError("window: every is in rows, so size must be in rows too")
        if self.rows:
            words = f"size is {self.rows} rows, every is {self.pane_rows} rows"
            _check(self.rows, self.pane_rows, words)
            return
        if self.size_ns <= 0 or self.every_ns <= 0:
            raise ValueError("window: size and every must be greater than 0")
        words = f"size is {duration_words(self.size_ns)}, every is {duration_words(self.every_ns)}"
        _check(self.size_ns, self.every_ns, words)
        if self.allowed_lateness_ns > MAX_PANES * self.every_ns:
            raise ValueError(
                f"window: allowed_lateness may be at most {MAX_PANES} times every; "
                f"it is {duration_words(self.allowed_lateness_ns)}, every is {duration_words(self.every_ns)}"
            )

    @property
    def by_rows(self) -> bool:
        """Whether windows are counted in rows."""
        return self.rows > 0

    @property
    def pane_rows(self) -> int:
        """Number of rows in a pane, for windows of rows; 0 for windows of time."""
        return self.every_rows or self.rows

    @property
    def panes(self) -> int:
        """Number of panes in a window."""
        return self.rows // self.pane_rows if self.by_rows else self.size_ns // self.every_ns

    @property
    def open_panes(self) -> int:
        """Maximum number of open panes, counted back from the newest.

        Everything between the watermark and the latest event time that is believed fits, with a little room for a
        watermark that has moved but was not read yet; what is older than that is late.
        """
        if self.by_rows:
            return 1
        late = -(-self.allowed_lateness_ns // self.every_ns)
        ahead = min(-(-self.max_clock_ahead_ns // self.every_ns), MAX_PANES)
        return late + ahead + _SLACK_PANES


def _check(size: int, every: int, words: str) -> None:
    if every > size:
        raise ValueError(f"window: every must not be longer than size; {words}")
    if size % every:
        raise ValueError(f"window: size must be a multiple of every; {words}")
    if size // every > MAX_PANES:
        raise ValueError(f"window: size may be at most {MAX_PANES} times every; {words}")
