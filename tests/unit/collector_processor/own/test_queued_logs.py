"""A reader of the log that stops reading holds up nobody."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Iterator

import pytest

from collector_processor.own.logs import QueuedHandler
from support.waiting import wait_until

Pipe = tuple[int, int]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    reader, writer = os.pipe()
    yield reader, writer
    for end in (reader, writer):
        with contextlib.suppress(OSError):
            os.close(end)


def record(message: str) -> logging.LogRecord:
    return logging.LogRecord("a", logging.INFO, "", 0, message, None, None)


def test_a_stalled_reader_holds_up_nobody_and_learns_what_it_missed(pipe: Pipe) -> None:
    reader, writer = pipe
    handler = QueuedHandler(writer, max_messages=100)
    sender = threading.Thread(target=lambda: [handler.handle(record("x" * 1000)) for _ in range(1000)])
    sender.start()
    sender.join(20)
    assert not sender.is_alive()
    assert handler.dropped >= 1000 - 100 - 66, "the pipe holds 64 KiB"
    received = bytearray()
    wait_until(lambda: received.extend(os.read(reader, 2**16)) or b"messages were dropped" in received)
    lines = received.decode().splitlines()
    assert lines[-1].endswith(f"{handler.dropped} messages were dropped: standard error was not read")
    assert len(lines) - 1 + handler.dropped == 1000


def test_messages_come_in_order_and_a_flush_waits_for_them(pipe: Pipe) -> None:
    reader, writer = pipe
    handler = QueuedHandler(writer)
    for number in range(100):
        handler.handle(record(f"{number} \ud800"))
    handler.flush()
    assert os.read(reader, 2**16).decode().splitlines() == [f"{number} \\ud800" for number in range(100)]
    assert handler.dropped == 0


def test_a_flush_does_not_wait_forever(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collector_processor.own.logs._FLUSH_S", 0.05)
    _, writer = pipe
    handler = QueuedHandler(writer)
    handler.handle(record("x" * 200_000))
    handler.flush()


def test_a_reader_that_is_gone_is_counted(pipe: Pipe) -> None:
    reader, writer = pipe
    os.close(reader)
    handler = QueuedHandler(writer)
    handler.handle(record("x"))
    wait_until(lambda: handler.dropped == 1)
