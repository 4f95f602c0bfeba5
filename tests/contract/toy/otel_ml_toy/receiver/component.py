"""A receiver that reads one request from a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from collector_processor.receivers.admission import Hold, Payload
from collector_processor.receivers.component import Receiver, ReceiverComponent, ReceiverContext
from collector_processor.settings.base import Settings
from collector_processor.settings.values import FilePath


class FileReceiverSettings(Settings):
    """Reads one OTLP request from a file."""

    file: FilePath = Field(description="file with the bytes of a request for traces")

    def problems(self, key: str) -> Iterator[str]:
        """Return a line when the file cannot be read."""
        if not self.file.is_file():
            yield f"{key}.file: there is no file {self.file.name}"


class _File:
    """The file as the one request that it holds."""

    def __init__(self, file: Path) -> None:
        self._file = file

    async def read(self, hold: Hold) -> None:
        """Nothing comes over a network."""

    def payload(self, hold: Hold) -> Payload:
        return Payload(self._file.read_bytes())


class FileReceiver:
    """Hands the file over once the service has started."""

    name = "toy_file"
    port = 0

    def __init__(self, settings: FileReceiverSettings, context: ReceiverContext) -> None:
        self._file = settings.file
        self._admission = context.admission

    async def start(self) -> None:
        outcome = await self._admission.admit(_File(self._file), "traces", "http")
        if outcome.verdict != "accepted":
            raise OSError(f"receivers.toy_file: {outcome.message}")

    async def stop(self, timeout_s: float) -> None:
        """Nothing is in flight."""


def build(settings: FileReceiverSettings, context: ReceiverContext) -> Iterator[Receiver]:
    yield FileReceiver(settings, context)


COMPONENT = ReceiverComponent("toy_file", FileReceiverSettings, build=build)
