"""A sender is replaced when its credentials change; requests under way end where they began."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from collector_processor.exporters.delivery.connection import Connection
from collector_processor.exporters.delivery.retry import Delivery
from collector_processor.journal.base import Signal


class Recording:
    """A sender that answers as it is told to, once it is let."""

    def __init__(self, outcome: str = "sent") -> None:
        self.outcome = outcome
        self.sent: list[bytes] = []
        self.closed = 0
        self.go = threading.Event()
        self.go.set()
        self.entered = threading.Event()

    def send(self, signal: Signal, body: bytes, timeout_s: float, gzipped: bytes = b"", via: str = "") -> Delivery:
        self.entered.set()
        assert self.go.wait(10)
        assert not self.closed, "used after it was closed"
        self.sent.append(body)
        return Delivery(self.outcome)

    def close(self) -> None:
        self.closed += 1


class Changes:
    def __init__(self) -> None:
        self.pending = False

    def __call__(self) -> bool:
        found, self.pending = self.pending, False
        return found


def renewing(*senders: Recording) -> tuple[Connection[Recording], Changes]:
    made: Iterator[Recording] = iter(senders)
    changes = Changes()
    connection = Connection("otlp_grpc", lambda: next(made), changes)
    connection.open()
    return connection, changes


def send(connection: Connection[Recording], body: bytes) -> Delivery:
    return connection.use(lambda sender: sender.send("traces", body, 1.0))


def test_the_next_request_after_a_change_goes_out_with_the_new_credentials() -> None:
    old, new = Recording(), Recording()
    connection, changes = renewing(old, new)
    send(connection, b"1")
    changes.pending = True
    send(connection, b"2")
    assert (old.sent, new.sent) == ([b"1"], [b"2"])
    assert (old.closed, new.closed) == (1, 0)
    connection.close()
    assert new.closed == 1


def test_what_is_under_way_ends_on_the_sender_that_it_began_on() -> None:
    old, new = Recording(), Recording()
    old.go.clear()
    connection, changes = renewing(old, new)
    slow = threading.Thread(target=send, args=(connection, b"slow"))
    slow.start()
    assert old.entered.wait(10)
    changes.pending = True
    send(connection, b"fast")
    assert not old.closed
    old.go.set()
    slow.join(10)
    assert (old.sent, new.sent, old.closed) == ([b"slow"], [b"fast"], 1)


def test_a_refusal_is_tried_again_only_with_other_credentials() -> None:
    class Rotated(Recording):
        """The token is replaced while its second request is under way."""

        def send(self, signal: Signal, body: bytes, timeout_s: float, gzipped: bytes = b"", via: str = "") -> Delivery:
            changes.pending = bool(self.sent)
            return super().send(signal, body, timeout_s, gzipped)

    old, new = Rotated("refused"), Recording()
    connection, changes = renewing(old, new)
    assert send(connection, b"1").outcome == "refused"
    assert old.sent == [b"1"]
    assert send(connection, b"2").outcome == "sent"
    assert (old.sent, new.sent) == ([b"1", b"2"], [b"2"])


def test_credentials_that_cannot_be_used_leave_the_sender_as_it_was() -> None:
    old = Recording()
    tries = 0

    def make() -> Recording:
        nonlocal tries
        tries += 1
        if tries > 1:
            raise OSError("exporters.otlp_grpc.tls: cannot use client.pem")
        return old

    changes = Changes()
    connection = Connection("otlp_grpc", make, changes)
    connection.open()
    changes.pending = True
    assert send(connection, b"1").outcome == "sent"
    assert (old.sent, old.closed, tries) == ([b"1"], 0, 2)


def test_a_closed_sender_is_not_made_anew() -> None:
    old, new = Recording(), Recording()
    connection, changes = renewing(old, new)
    connection.close()
    changes.pending = True
    old.closed = 0
    send(connection, b"1")
    assert new.sent == []
