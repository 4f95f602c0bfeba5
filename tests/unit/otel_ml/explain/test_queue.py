"""Calls that wait to be explained: bounded, counted, and sent in every case."""

from __future__ import annotations

import os
import threading

import pytest

from otel_ml.explain.queue import EXIT, QUEUE_FULL, Job, Queue


class Log:
    """Jobs that write down what happens to them; the first waits until it may go on."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.may_go, self.began = threading.Event(), threading.Event()

    def job(self, name: str, rows: int = 1, *, wait: bool = False, fail: bool = False) -> Job:
        def explain() -> None:
            if wait:
                self.began.set()
                assert self.may_go.wait(30)
            if fail:
                raise ValueError(name)
            self.lines.append(f"{name} explained")

        return Job(
            rows,
            explain,
            lambda: self.lines.append(f"{name} sent"),
            lambda why: self.lines.append(f"{name} dropped: {why}"),
        )


@pytest.fixture
def log() -> Log:
    return Log()


def test_without_room_a_call_is_sent_at_once(log: Log) -> None:
    queue = Queue(max_rows=3)
    queue.put(log.job("a", 2, wait=True))
    assert log.began.wait(30)
    queue.put(log.job("b", 2))
    queue.put(log.job("c", 1))
    assert log.lines == [f"b dropped: {QUEUE_FULL}", "b sent"], "rows count until they are explained"
    log.may_go.set()
    assert queue.settle(30)
    assert log.lines[2:] == ["a explained", "a sent", "c explained", "c sent"]
    queue.put(log.job("large", 50))
    assert queue.settle(30)
    assert log.lines[-2:] == ["large explained", "large sent"], "an empty queue has room for any call"


def test_what_fails_is_sent_and_counted(log: Log) -> None:
    queue = Queue()
    queue.put(log.job("a", fail=True))
    queue.put(log.job("b"))
    assert queue.settle(30)
    assert log.lines == ["a dropped: ValueError", "a sent", "b explained", "b sent"]


def test_at_the_end_nothing_is_lost(log: Log) -> None:
    queue = Queue()
    queue.put(log.job("a", wait=True))
    assert log.began.wait(30)
    queue.put(log.job("b"))
    ended = threading.Thread(target=queue.end, args=(0.2,))
    ended.start()
    ended.join(30)
    assert log.lines == [f"b dropped: {EXIT}", "b sent"]
    log.may_go.set()
    assert queue.settle(30)
    assert log.lines[2:] == ["a explained", "a sent"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_child_does_not_send_what_waits_in_its_parent(log: Log) -> None:
    from otel_ml.explain.queue import queue

    queue.put(log.job("a", wait=True))
    assert log.began.wait(30)
    queue.put(log.job("b"))
    child = os.fork()
    if child == 0:
        ok = queue.settle(0) and not log.lines
        queue.put(log.job("c"))
        ok = ok and queue.settle(30) and log.lines == ["c explained", "c sent"]
        os._exit(0 if ok else 1)
    assert os.waitpid(child, 0)[1] == 0
    log.may_go.set()
    assert queue.settle(30)
    assert log.lines == ["a explained", "a sent", "b explained", "b sent"]
