"""The screen of the demo: the year so far, and the features that drift now."""

from __future__ import annotations

import math
from collections.abc import Mapping

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from collector_processor.demo.figures import Figures
from collector_processor.demo.story import CAUSE, CHAPTERS, cause, of_chapters

_BAR_WIDTH = 24


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"


def year_table(chapters: Mapping[str, Figures], alarms: Mapping[str, str]) -> Table:
    """Return a table with one line per chapter: the measurements at its end, and what happened.

    Chapters with ``alarms`` alone have a line, too. The alarms themselves are listed below the table.
    """
    table = Table(title="The latest 7,000 flights, about a week", box=None, padding=(0, 2, 0, 0), title_justify="left")
    explained = any(figures.causes for figures in chapters.values())
    for heading in ("week\nuntil", "estimated", "accuracy", "AUC", "delay\nPSI"):
        table.add_column(heading, justify="left" if heading.startswith("week") else "right", no_wrap=True)
    if explained:
        table.add_column(CAUSE, width=len("population -10"))
    table.add_column("what happened", overflow="fold")
    events = {chapter.name: chapter.event for chapter in CHAPTERS}
    for name, figures in of_chapters(chapters, alarms):
        delay = figures.drift.get("departure_delay")
        table.add_row(
            name,
            _percent(figures.estimated),
            _percent(figures.accuracy),
            "–" if figures.roc_auc is None else f"{figures.roc_auc:.3f}",
            "–" if delay is None else f"{delay[0]:.2f}",
            *([cause(figures)] if explained else []),
            events.get(name, ""),
        )
    return table


def drift_table(figures: Figures) -> Table:
    """Return a table of the features by drift, with a bar for each; red if in breach."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, (score, threshold) in sorted(figures.drift.items(), key=lambda item: -item[1][0]):
        breached = score > threshold
        filled = min(
            _BAR_WIDTH, round(math.sqrt(score) * _BAR_WIDTH / 3)
        )  # a square root, because scores range from 0.2 to 8
        bar = Text("█" * filled + "·" * (_BAR_WIDTH - filled), style="red" if breached else "green")
        table.add_row(name, bar, f"{score:.3f}", "drift" if breached else "")
    return table


def live_screen(
    share: float, now: str, chapters: Mapping[str, Figures], alarms: Mapping[str, str], latest: Figures, url: str
) -> RenderableType:
    """Return the whole screen at one moment; ``share`` of the replay is done."""
    head = Table.grid(padding=(0, 2))
    latency = "" if latest.latency_p95_s is None else f"p95 {latest.latency_p95_s * 1000:.0f} ms a call"
    bar = ProgressBar(total=1.0, completed=share, width=30)
    head.add_row(Text(f"2013 in fast motion: {now}", style="bold"), bar, Text(latency, style="dim"))
    panel = Panel(drift_table(latest), title=f"drift now, compared with March ({latest.rows:,.0f} flights)")
    fired = (Text.assemble(f"{name}  ", (words, "red")) for name, words in alarms.items())
    return Group(head, year_table(chapters, alarms), *fired, panel, Text(f"Prometheus scrapes {url}", style="dim"))
