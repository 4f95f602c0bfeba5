"""Takes the README's picture: runs the real demo and saves its screen in November as ``docs/demo.svg``.

Run: ``python tools/demo_picture.py``. It takes about four minutes.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console, RenderableType

from collector_processor.demo import run
from collector_processor.demo.figures import Figures
from collector_processor.demo.screen import live_screen

PICTURE = Path(__file__).resolve().parents[1] / "docs" / "demo.svg"
WIDTH = 92


class _Taken(Exception):  # noqa: N818 - it ends the demo, and is no error
    """The picture is there."""


def screen(
    share: float, now: str, chapters: Mapping[str, Figures], alarms: Mapping[str, str], latest: Figures, url: str
) -> RenderableType:
    """Return the demo's own screen, until November, of which it takes the picture."""
    shown = live_screen(share, now, chapters, alarms, latest, url)
    if "30 Nov" in chapters and latest.accuracy is not None:
        console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
        console.print(shown)
        svg = console.export_svg(title="otel-ml demo")
        # Without the fonts that a browser would fetch: the page loads nothing from elsewhere.
        PICTURE.write_text(re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL), encoding="utf-8")
        raise _Taken
    return shown


if __name__ == "__main__":
    run.live_screen = screen
    try:
        run.run_demo(180, folder=PICTURE.parents[1] / "otel-ml-demo")
    except _Taken:
        print(PICTURE)  # noqa: T201 - a script
