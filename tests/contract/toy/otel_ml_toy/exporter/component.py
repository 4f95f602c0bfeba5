"""An exporter of measurements, alerts and originals that appends a line to a file for each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from collector_processor.alerts.notice import Notice
from collector_processor.exporters.component import ExporterComponent, ExporterContext
from collector_processor.journal.base import Journal, Signal
from collector_processor.monitors.base import Measurement
from collector_processor.settings.base import Settings
from collector_processor.settings.values import FilePath


class LinesSettings(Settings):
    """Appends a line to a file for each thing that it gets."""

    file: FilePath = Field(description="file to append to")


class Lines:
    """All three ends: it writes what it gets."""

    def __init__(self, context: ExporterContext, file: Path) -> None:
        self.name = context.id
        self._file = file

    def start(self) -> None:
        self._file.touch()

    def export(self, measurements: Sequence[Measurement]) -> None:
        self._write(f"measurement {measurement.name}" for measurement in measurements)

    def notify(self, notices: Sequence[Notice]) -> None:
        self._write(f"alert {notice.rule.name}" for notice in notices)

    def probe(self, notice: Notice) -> Sequence[str]:
        self.notify([notice])
        return ()

    def shutdown(self, timeout_s: float) -> None:
        self._write(["end"])

    def _write(self, lines) -> None:
        with self._file.open("a") as out:
            out.writelines(f"{line}\n" for line in lines)


class Originals(Lines):
    """Reads the journal at the end, when everything is in it."""

    def __init__(
        self, settings: LinesSettings, context: ExporterContext, journal: Journal, signals: Sequence[Signal]
    ) -> None:
        super().__init__(context, settings.file)
        self._journal = journal
        self._signals = signals

    def start(self) -> None:
        super().start()
        self._journal.subscribe(self.name, signals=self._signals)

    def shutdown(self, timeout_s: float) -> None:
        for entry in self._journal.read(self.name, timeout_s=timeout_s):
            self._write([f"original {entry.request.signal} {len(entry.request.body)}"])
            self._journal.commit(self.name, entry.offset)


def measurements(settings: LinesSettings, context: ExporterContext) -> Lines:
    return Lines(context, settings.file)


COMPONENT = ExporterComponent(
    "toy_lines", LinesSettings, aliases=("toylines",), measurements=measurements, alerts=measurements,
    originals=Originals,
)  # fmt: skip
