"""Settings of the storage of the state on disk."""

from __future__ import annotations

from pydantic import Field, field_validator

from collector_processor.settings.base import Settings
from collector_processor.settings.values import Duration, FilePath

_MINUTE_NS = 60 * 10**9


class FileStorageSettings(Settings):
    """Keeps the state across restarts."""

    directory: FilePath = Field(description="folder for snapshots and learned references")
    interval: Duration = Field(default=_MINUTE_NS, description="time between snapshots")

    @field_validator("interval")
    @classmethod
    def _is_some_time(cls, value: int) -> int:
        if value < 10**8:
            raise ValueError("must be at least 100ms; 1m is typical")
        return value
