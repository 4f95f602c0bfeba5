from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import pytest

from collector_processor.columns.batch import Column, Decoded, LabelBatch, ModelKey, PredictionBatch
from collector_processor.journal.base import Entry, JournalFullError, Request, Signal
from collector_processor.journal.memory import MemoryJournal, request_bytes
from collector_processor.own.telemetry import Telemetry
from support.waiting import wait_until

EMPTY_BYTES = request_bytes(Request("traces", b"", Decoded(), 0, 0))


def request(name: str = "a", signal: Signal = "traces", size: int = 0, items: int = 1) -> Request:
    return Request(signal, name.encode().ljust(size, b"."), Decoded(items=items), items, 0)


def names(entries: Sequence[Entry]) -> list[str]:
    return [entry.request.body.decode().rstrip(".") for entry in entries]


def journal(**limits: int) -> MemoryJournal:
    return MemoryJournal(Telemetry(), **limits)


def lost(telemetry: Telemetry, consumer: str) -> float:
    labels = {"exporter": consumer}
    return telemetry.registry.get_sample_value("otelcol_exporter_enqueue_failed_spans_total", labels) or 0.0


def test_each_consumer_reads_everything_in_order_at_its_own_pace() -> None:
    log = journal()
    log.subscribe("statistics", essential=True)
    log.subscribe("backup")
    for name in "abc":
        log.append(request(name))

    assert names(log.read("statistics", limit=2)) == ["a", "b"]
    assert names(log.read("backup")) == ["a", "b", "c"]
    assert names(log.read("statistics")) == ["c"]


def test_offsets_count_up_from_zero_and_read_gives_them() -> None:
    log = journal()
    log.subscribe("statistics")

    assert [log.append(request(name)) for name in "ab"] == [0, 1]
    assert [entry.offset for entry in log.read("statistics")] == [0, 1]


def test_a_consumer_reads_from_its_subscription_on() -> None:
    log = journal()
    log.subscribe("early")
    log.append(request("a"))
    log.subscribe("late")
    log.append(request("b"))

    assert names(log.read("late")) == ["b"]


def test_a_consumer_reads_only_its_signals() -> None:
    log = journal()
    log.subscribe("logs only", signals=["logs"])
    log.append(request("a", "traces"))
    log.append(request("b", "logs"))

    assert names(log.read("logs only")) == ["b"]


def test_what_nobody_wants_is_not_kept_and_not_a_loss() -> None:
    telemetry = Telemetry()
    log = MemoryJournal(telemetry)
    log.append(request("a"))
    log.subscribe("logs only", signals=["logs"])
    log.append(request("b"))

    assert log.held_bytes == 0
    assert telemetry.registry.get_sample_value("otel_ml_unread_total", {"signal": "traces"}) == 2
    dropped = [sample for family in telemetry.registry.collect() for sample in family.samples]
    assert not [sample for sample in dropped if sample.name == "otel_ml_dropped_total"]


def test_room_is_freed_when_all_have_committed_and_not_before() -> None:
    log = journal()
    log.subscribe("one")
    log.subscribe("two")
    offset = log.append(request("a"))
    log.read("one")
    assert log.held_bytes > 0

    log.commit("one", offset)
    assert log.held_bytes > 0

    log.commit("two", offset)
    assert log.held_bytes == 0


def test_one_consumer_s_old_entry_does_not_hold_what_others_are_done_with() -> None:
    log = journal()
    log.subscribe("dead", signals=["metrics"])
    log.subscribe("statistics", essential=True, signals=["traces"])
    log.append(request("old", "metrics"))
    held = log.held_bytes
    for _ in range(10):
        log.commit("statistics", log.append(request("a", size=1000)))

    assert log.held_bytes == held


def test_subscribing_again_reads_again_what_was_not_committed() -> None:
    log = journal()
    log.subscribe("statistics", essential=True)
    for name in "abcd":
        log.append(request(name))
    first, *_ = log.read("statistics", limit=3)
    log.commit("statistics", first.offset)

    log.subscribe("statistics", essential=True)

    assert names(log.read("statistics")) == ["b", "c", "d"]


def test_committing_past_the_read_position_skips() -> None:
    log = journal()
    log.subscribe("statistics")
    offsets = [log.append(request(name)) for name in "abc"]

    log.commit("statistics", offsets[1])

    assert names(log.read("statistics")) == ["c"]


def test_committing_twice_or_what_was_never_there_does_nothing() -> None:
    log = journal()
    log.subscribe("statistics")
    log.append(request("a"))
    for offset in (-1, 0, 0):
        log.commit("statistics", offset)
    log.append(request("b"))

    assert names(log.read("statistics")) == ["b"]


def test_a_full_journal_refuses_while_an_essential_consumer_lags() -> None:
    log = journal(max_bytes=2 * EMPTY_BYTES + 20)
    log.subscribe("statistics", essential=True)
    log.append(request("a", size=10))
    log.append(request("b", size=10))

    with pytest.raises(JournalFullError, match="'statistics' is 2 requests behind"):
        log.append(request("c"))
    log.commit("statistics", 0)
    log.append(request("c", size=10))

    assert names(log.read("statistics")) == ["b", "c"]


def test_a_refused_append_loses_nothing_for_the_others() -> None:
    log = journal(max_entries=3)
    log.subscribe("backup")
    log.append(request("a"))
    log.subscribe("statistics", essential=True)
    for name in "bc":
        log.append(request(name))
    log.append(request("d"))

    with pytest.raises(JournalFullError):
        log.append(request("e"))

    assert names(log.read("backup")) == ["b", "c", "d"]


def test_a_lagging_destination_loses_its_oldest_counted_and_slows_nobody() -> None:
    telemetry = Telemetry()
    log = MemoryJournal(telemetry, max_entries=2)
    log.subscribe("statistics", essential=True)
    log.subscribe("backup")
    for name in "abcd":
        log.commit("statistics", log.append(request(name, items=5)))

    assert names(log.read("backup")) == ["c", "d"]
    assert lost(telemetry, "backup") == 10
    dropped = {"stage": "journal", "reason": "destination_lagging", "intentional": "true"}
    assert telemetry.registry.get_sample_value("otel_ml_dropped_total", dropped) == 10


def test_a_dead_destination_makes_way_even_while_the_statistics_lag_a_little() -> None:
    log = journal(max_entries=4)
    log.subscribe("dead")
    log.subscribe("statistics", essential=True, signals=["traces"])
    log.append(request("waits", "traces"))
    for name in "abcdef":
        log.append(request(name, "logs"))

    assert names(log.read("statistics")) == ["waits"]
    assert names(log.read("dead")) == ["waits", "d", "e", "f"]


def test_what_a_destination_has_read_is_not_counted_as_lost_when_it_makes_way() -> None:
    telemetry = Telemetry()
    log = MemoryJournal(telemetry, max_entries=1)
    log.subscribe("backup")
    offset = log.append(request("a"))
    log.read("backup")
    log.append(request("b"))
    log.commit("backup", offset)

    assert lost(telemetry, "backup") == 0
    assert names(log.read("backup")) == ["b"]


def test_a_request_larger_than_the_journal_is_taken_alone() -> None:
    log = journal(max_bytes=EMPTY_BYTES)
    log.subscribe("statistics", essential=True)
    offset = log.append(request("large", size=10_000))

    with pytest.raises(JournalFullError):
        log.append(request("b"))
    log.commit("statistics", offset)
    log.append(request("b"))

    assert log.held_bytes == EMPTY_BYTES + 1


def test_decoded_columns_count_towards_the_limit() -> None:
    rows = 1000
    zeros = np.zeros(rows)
    batch = PredictionBatch(
        ModelKey("fraud"),
        zeros.astype(np.int64),
        np.zeros((rows, 2), np.uint64),
        zeros,
        zeros,
        features={"age": Column(zeros), "country": Column(codes=np.zeros(rows, np.int32), categories=("de", "fr"))},
        score=zeros,
        scores={"yes": zeros},
    )
    labels = LabelBatch("fraud", zeros.astype(np.int64), np.zeros((rows, 2), np.uint64), values=zeros)
    decoded = Decoded((batch,), (labels,))

    columns = rows * (8 + 16 + 8 + 8 + 8 + 4 + 8 + 8) + rows * (8 + 16 + 8)
    assert request_bytes(Request("traces", b"", decoded, 1, 0)) - EMPTY_BYTES - columns == 2 * 64 + len("defr")


def test_reading_waits_for_an_append() -> None:
    log = journal()
    log.subscribe("statistics")
    seen: list[str] = []
    reader = threading.Thread(target=lambda: seen.extend(names(log.read("statistics"))))
    reader.start()
    log.append(request("a"))
    reader.join(10)

    assert seen == ["a"]


def test_reading_gives_up_after_its_timeout() -> None:
    log = journal()
    log.subscribe("statistics")

    assert log.read("statistics", timeout_s=0.01) == []
    assert log.read("statistics", timeout_s=0.0) == []


def test_close_wakes_all_readers_and_refuses_appends() -> None:
    log = journal()
    results: list[Sequence[Entry]] = []
    readers: list[threading.Thread] = []
    for name in "xyz":
        log.subscribe(name)
        readers.append(threading.Thread(target=lambda name=name: results.append(log.read(name))))
        readers[-1].start()
    log.close()
    for reader in readers:
        reader.join(10)

    assert results == [[], [], []]
    with pytest.raises(JournalFullError, match="closed"):
        log.append(request("a"))


def test_what_is_in_a_closed_journal_can_still_be_read() -> None:
    log = journal()
    log.subscribe("statistics")
    log.append(request("a"))
    log.close()

    assert names(log.read("statistics")) == ["a"]
    assert log.read("statistics") == []


def test_an_unknown_consumer_is_an_error_that_lists_the_known() -> None:
    log = journal()
    log.subscribe("statistics")
    for call in (lambda: log.read("backup"), lambda: log.commit("backup", 0), lambda: log.lag("backup")):
        with pytest.raises(ValueError, match="journal has no consumer 'backup'; it has: statistics"):
            call()


@pytest.mark.parametrize("limits", [{"max_bytes": 0}, {"max_entries": 0}])
def test_limits_below_one_are_refused(limits: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be at least 1"):
        journal(**limits)


def test_gauges_tell_what_is_held_and_who_lags() -> None:
    telemetry = Telemetry()
    log = MemoryJournal(telemetry, max_entries=7)
    log.subscribe("statistics", essential=True)
    log.subscribe("backup")
    log.append(request("a"))
    log.append(request("b"))
    log.read("statistics", limit=1)
    log.read("backup")
    value = telemetry.registry.get_sample_value

    assert value("otel_ml_journal_entries") == 2
    assert value("otel_ml_journal_bytes") == 2 * (EMPTY_BYTES + 1)
    assert value("otel_ml_journal_lag", {"consumer": "statistics"}) == 1
    assert value("otel_ml_journal_lag", {"consumer": "backup"}) == 0
    assert value("otelcol_exporter_queue_size", {"exporter": "backup", "data_type": "originals"}) == 2
    assert value("otelcol_exporter_queue_capacity", {"exporter": "backup", "data_type": "originals"}) == 7
    assert value("otelcol_exporter_queue_size", {"exporter": "statistics", "data_type": "originals"}) is None


def test_many_writers_and_readers_lose_and_double_nothing() -> None:
    log = journal(max_entries=8)
    seen: dict[str, list[int]] = {"one": [], "two": []}
    writers, count = 4, 200

    def write() -> None:
        for _ in range(count):
            wait_until(appended)

    def appended() -> bool:
        try:
            log.append(request())
        except JournalFullError:
            return False
        return True

    def read(name: str) -> None:
        while entries := log.read(name, limit=3):
            seen[name] += [entry.offset for entry in entries]
            log.commit(name, entries[-1].offset)

    for name in seen:
        log.subscribe(name, essential=True)
    readers = [threading.Thread(target=read, args=(name,)) for name in seen]
    threads = [threading.Thread(target=write) for _ in range(writers)]
    for thread in (*readers, *threads):
        thread.start()
    for thread in threads:
        thread.join(60)
    log.close()
    for thread in readers:
        thread.join(60)

    assert seen["one"] == seen["two"] == list(range(writers * count))
    assert log.held_bytes == 0
