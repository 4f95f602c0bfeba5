"""Settings of the debug exporter."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from collector_processor.settings.base import Settings


class DebugSettings(Settings):
    """Prints measurements and alerts to standard output."""

    verbosity: Literal["basic", "detailed"] = Field(
        default="basic", description="basic (one line per metric) | detailed (one line per series)"
    )
