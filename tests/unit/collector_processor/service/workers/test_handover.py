"""What goes from a receiving process to the one that counts: columns, messages, own metrics."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from collector_processor.columns.batch import Column, Decoded, LabelBatch, ModelKey, PredictionBatch
from collector_processor.journal.base import Request
from collector_processor.own.telemetry import Telemetry
from collector_processor.service.workers.handover import pack, unpack
from collector_processor.service.workers.link import Link
from collector_processor.service.workers.metrics import Summed, counted, snapshot, total


def predictions(rows: int) -> PredictionBatch:
    numbers = np.arange(rows, dtype=np.float64)
    codes = np.arange(rows, dtype=np.int32) % 3 - 1
    return PredictionBatch(
        model=ModelKey("fraud", "7"),
        time_ns=np.arange(rows, dtype=np.int64) + 2**62,
        ids=np.full((rows, 2), 2**64 - 1, np.uint64),
        weights=np.ones(rows),
        duration_s=np.full(rows, np.nan),
        features={
            "mixed": Column(numbers, codes, ("é\ud800", "")),
            "number": Column(numbers[::-1]),
            "text": Column(None, codes, ("a", "b")),
        },
        prediction=Column(None, codes, ("yes", "no")),
        score=numbers / 7,
        scores={"yes": numbers},
        segments={"land": Column(None, codes, ("DE", "FR"))},
        attributions={"number": -numbers},
        error=None,
        task="multiclass",
        role="shadow",
    )


def requests() -> list[Request]:
    labels = LabelBatch(
        "fraud", np.array([5]), np.array([[1, 2]], np.uint64), Column(None, np.array([0], np.int32), ("yes",)), None
    )
    return [
        Request("traces", b"body", Decoded((predictions(rows), predictions(3)), (labels,), 9, 2, "bad", {"x": 1}), 9, 7)
        for rows in (0, 1, 2, 1000)
    ] + [Request("logs", b"", Decoded(), 0, 0)]


def assert_equal(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    if isinstance(one, np.ndarray):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    elif is_dataclass(one):
        for field in fields(one):
            assert_equal(getattr(one, field.name), getattr(other, field.name))
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_equal(one[key], other[key])
    elif isinstance(one, tuple):
        assert len(one) == len(other)
        for left, right in zip(one, other, strict=True):
            assert_equal(left, right)
    else:
        assert one == other


@pytest.fixture
def links() -> Iterator[tuple[Link, Link]]:
    ours, theirs = map(Link, socket.socketpair())
    with closing(ours), closing(theirs):
        yield ours, theirs


@pytest.mark.parametrize("request_", requests())
def test_columns_come_out_as_they_went_in(links: tuple[Link, Link], request_: Request) -> None:
    ours, theirs = links
    sender = threading.Thread(target=lambda: ours.send("request", *pack(request_)))
    sender.start()
    message = theirs.receive()
    sender.join(10)
    assert message is not None
    found = unpack(message.head, message.block)

    assert (found.signal, found.body, found.items, found.received_ns) == (
        request_.signal,
        b"",
        request_.items,
        request_.received_ns,
    )
    assert_equal(found.decoded, request_.decoded)


def test_what_is_larger_than_the_socket_goes_through_in_order(links: tuple[Link, Link]) -> None:
    ours, theirs = links
    pieces = [memoryview(bytes([number % 251]) * 3001) for number in range(2000)]
    sender = threading.Thread(target=lambda: [ours.send("request", b"null", pieces), ours.send_value("stop", 1.5)])
    sender.start()
    first, second = theirs.receive(), theirs.receive()
    sender.join(10)

    assert first is not None
    assert second is not None
    assert first.block == b"".join(pieces)
    assert (second.kind, second.value()) == ("stop", 1.5)


def test_a_message_broken_off_is_none(links: tuple[Link, Link]) -> None:
    ours, theirs = links
    ours.sock.sendall(b"\x03\x10\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00half")
    ours.close()

    assert theirs.receive() is None


def test_sending_to_one_that_is_gone_is_an_os_error(links: tuple[Link, Link]) -> None:
    ours, theirs = links
    theirs.close()

    with pytest.raises(OSError, match=r"."):
        ours.send_value("metrics")


def test_counters_are_added_up_and_uptime_is_not() -> None:
    own, workers = Telemetry(), [Telemetry(), Telemetry()]
    for number, telemetry in enumerate((own, *workers)):
        telemetry.received("accepted", "traces", "otlp", "http", 10**number)
        telemetry.journal_bytes.set(number)
        telemetry.queue_capacity.labels("otlp", "originals").set(100)
    summed = CollectorRegistry()
    summed.register(Summed(own.registry, lambda: [snapshot(telemetry.registry) for telemetry in workers]))

    labels = {"receiver": "otlp", "transport": "http"}
    assert summed.get_sample_value("otelcol_receiver_accepted_spans_total", labels) == 111
    assert summed.get_sample_value("otel_ml_journal_bytes") == 3
    assert (
        summed.get_sample_value("otelcol_exporter_queue_capacity", {"exporter": "otlp", "data_type": "originals"})
        == 100
    )
    uptime_s = summed.get_sample_value("otelcol_process_uptime_seconds")
    assert uptime_s is not None
    assert uptime_s < 60


def test_of_one_that_is_gone_what_it_counted_stays() -> None:
    telemetry = Telemetry()
    telemetry.received("accepted", "traces", "otlp", "grpc", 5)
    telemetry.journal_bytes.set(9)
    gone = counted(snapshot(telemetry.registry))
    kept = {name: samples for name, _, _, samples in total([gone, gone])}

    assert [value for name, _, value in kept["otelcol_receiver_accepted_spans"] if name.endswith("_total")] == [10]
    assert "otel_ml_journal_bytes" not in kept
    assert "otelcol_process_memory_rss_bytes" not in kept
