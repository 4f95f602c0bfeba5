"""The journal against a model of it that is too simple to be wrong."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from collector_processor.columns.batch import Decoded
from collector_processor.journal.base import JournalFullError, Request, Signal
from collector_processor.journal.memory import MemoryJournal, request_bytes
from collector_processor.own.telemetry import Telemetry

MAX_ENTRIES = 4
MAX_BYTES = 4000
NAMES = ("a", "b", "c")


@dataclass
class Reader:
    essential: bool
    signals: tuple[Signal, ...]
    unread: list[int] = field(default_factory=list[int])
    taken: list[int] = field(default_factory=list[int])
    evicted: list[int] = field(default_factory=list[int])
    lost: int = 0

    def needs(self, offset: int) -> bool:
        return offset in self.unread or offset in self.taken


class Model:
    """Every entry for ever in a list, and for each reader the offsets that it has and has not read."""

    def __init__(self) -> None:
        self.log: list[Request] = []
        self.readers: dict[str, Reader] = {}

    def held(self) -> list[int]:
        return [o for o in range(len(self.log)) if any(reader.needs(o) for reader in self.readers.values())]

    def bytes(self, offsets: list[int]) -> int:
        return sum(request_bytes(self.log[offset]) for offset in offsets)

    def fits(self, offsets: list[int], request: Request) -> bool:
        room = len(offsets) < MAX_ENTRIES and self.bytes(offsets) + request_bytes(request) <= MAX_BYTES
        return room or not offsets

    def append(self, request: Request) -> bool:
        wanting = [r for r in self.readers.values() if not r.signals or request.signal in r.signals]
        if wanting:
            waited_for = [o for o in self.held() if any(r.essential and r.needs(o) for r in self.readers.values())]
            if not self.fits(waited_for, request):
                return False
            while not self.fits(self.held(), request):
                oldest = next(offset for offset in self.held() if offset not in waited_for)
                for reader in self.readers.values():
                    reader.lost += self.log[oldest].items if oldest in reader.unread else 0
                    reader.evicted += [oldest] * (oldest in reader.taken)
                    reader.unread = [offset for offset in reader.unread if offset != oldest]
                    reader.taken = [offset for offset in reader.taken if offset != oldest]
        self.log.append(request)
        for reader in wanting:
            reader.unread.append(len(self.log) - 1)
        return True


class JournalMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.telemetry = Telemetry()
        self.journal = MemoryJournal(self.telemetry, max_bytes=MAX_BYTES, max_entries=MAX_ENTRIES)
        self.model = Model()

    @rule(
        name=st.sampled_from(NAMES),
        essential=st.booleans(),
        signals=st.sampled_from([(), ("traces",), ("logs", "metrics")]),
    )
    def subscribe(self, name: str, essential: bool, signals: tuple[Signal, ...]) -> None:
        known = self.model.readers.get(name)
        if known is None:
            self.model.readers[name] = Reader(essential, signals)
        else:
            known.signals = signals
            known.unread = sorted(known.unread + known.taken)
            known.taken = []
            known.lost += sum(self.model.log[offset].items for offset in known.evicted)
            known.evicted = []
        self.journal.subscribe(name, essential=essential, signals=signals)

    @rule(
        signal=st.sampled_from(["traces", "logs", "metrics"]),
        size=st.sampled_from([0, 500, 1500, 5000]),
        items=st.integers(0, 3),
    )
    def append(self, signal: Signal, size: int, items: int) -> None:
        request = Request(signal, bytes(size), Decoded(items=items), items, 0)
        expected = len(self.model.log)
        if self.model.append(request):
            assert self.journal.append(request) == expected
            return
        try:
            self.journal.append(request)
        except JournalFullError:
            return
        raise AssertionError("the journal took what its model refused")

    @precondition(lambda self: self.model.readers)
    @rule(choice=st.integers(0, 99), limit=st.integers(1, 3))
    def read(self, choice: int, limit: int) -> None:
        name = sorted(self.model.readers)[choice % len(self.model.readers)]
        reader = self.model.readers[name]
        expected, reader.unread = reader.unread[:limit], reader.unread[limit:]
        reader.taken += expected

        entries = self.journal.read(name, limit=limit, timeout_s=0.0)

        assert [entry.offset for entry in entries] == expected
        assert all(entry.request is self.model.log[entry.offset] for entry in entries)

    @precondition(lambda self: self.model.readers and self.model.log)
    @rule(choice=st.integers(0, 99), offset=st.integers(0, 99))
    def commit(self, choice: int, offset: int) -> None:
        name = sorted(self.model.readers)[choice % len(self.model.readers)]
        offset %= len(self.model.log)
        reader = self.model.readers[name]
        reader.unread = [other for other in reader.unread if other > offset]
        reader.taken = [other for other in reader.taken if other > offset]
        reader.evicted = [other for other in reader.evicted if other > offset]

        self.journal.commit(name, offset)

    @precondition(lambda self: self.model.readers and self.model.log)
    @rule(choice=st.integers(0, 99), offset=st.integers(0, 99))
    def release(self, choice: int, offset: int) -> None:
        name = sorted(self.model.readers)[choice % len(self.model.readers)]
        offset %= len(self.model.log)
        reader = self.model.readers[name]
        for offsets in (reader.unread, reader.taken, reader.evicted):
            if offset in offsets:
                offsets.remove(offset)

        self.journal.release(name, offset)

    @invariant()
    def holds_what_somebody_waits_for_and_no_more(self) -> None:
        held = self.model.held()
        assert self.journal.held_bytes == self.model.bytes(held)
        assert self.telemetry.registry.get_sample_value("otel_ml_journal_entries") == len(held)
        assert len(held) <= MAX_ENTRIES
        assert self.journal.held_bytes <= MAX_BYTES or len(held) == 1

    @invariant()
    def counts_what_is_lost(self) -> None:
        for name, reader in self.model.readers.items():
            counted = sum(
                self.telemetry.registry.get_sample_value(
                    f"otelcol_exporter_enqueue_failed_{items}_total", {"exporter": name}
                )
                or 0
                for items in ("spans", "log_records", "metric_points")
            )
            assert counted == reader.lost
            assert self.journal.lag(name) == len(reader.unread) + len(reader.taken)
            left = [self.model.log[offset] for offset in sorted(reader.unread + reader.taken + reader.evicted)]
            remaining = self.journal.remaining(name)
            assert [(each.signal, each.items) for each in remaining] == [(each.signal, each.items) for each in left]


TestJournalAgainstItsModel = JournalMachine.TestCase
TestJournalAgainstItsModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
