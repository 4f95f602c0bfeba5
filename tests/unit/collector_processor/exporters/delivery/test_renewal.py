"""A sender is replaced when its credentials change; requests under way end where they began."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from collector_processor.exporters.delivery.renewal import RenewingSender
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

    def send(self, signal: Signal, body: bytes, timeout_s: float, gzipped: bytes = b"") -> Delivery:
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


def renewing(*senders: Recording) -> tuple[RenewingSender, Changes]:
    made: Iterator[Recording] = iter(senders)
    changes = Changes()
    return RenewingSender("otlp_grpc", lambda: next(made), changes), changes


def test_the_next_request_after_a_change_goes_out_with_the_new_credentials() -> None:
    old, new = Recording(), Recording()
    sender, changes = renewing(old, new)
    sender.send("traces", b"1", 1.0)
    changes.pending = True
    sender.send("traces", b"2", 1.0)
    assert (old.sent, new.sent) == ([b"1"], [b"2"])
    assert (old.closed, new.closed) == (1, 0)
    sender.close()
    assert new.closed == 1


def test_what_is_under_way_ends_on_the_sender_that_it_began_on() -> None:
    old, new = Recording(), Recording()
    old.go.clear()
    sender, changes = renewing(old, new)
    slow = threading.Thread(target=sender.send, args=("traces", b"slow", 10.0))
    slow.start()
    assert old.entered.wait(10)
    changes.pending = True
    sender.send("traces", b"fast", 1.0)
    assert not old.closed
    old.go.set()
    slow.join(10)
    assert (old.sent, new.sent, old.closed) == ([b"slow"], [b"fast"], 1)


def test_a_refusal_is_tried_again_only_with_other_credentials() -> None:
    class Rotated(Recording):
        """The token is replaced while its second request is under way."""

        def send(self, signal: Signal, body: bytes, timeout_s: float, gzipped: bytes = b"") -> Delivery:
            changes.pending = bool(self.sent)
            return super().send(signal, body, timeout_s, gzipped)

    old, new = Rotated("refused"), Recording()
    sender, changes = renewing(old, new)
    assert sender.send("traces", b"1", 1.0).outcome == "refused"
    assert old.sent == [b"1"]
    assert sender.send("traces", b"2", 1.0).outcome == "sent"
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
    sender = RenewingSender("otlp_grpc", make, changes)
    changes.pending = True
    assert sender.send("traces", b"1", 1.0).outcome == "sent"
    assert (old.sent, old.closed, tries) == ([b"1"], 0, 2)


def test_a_closed_sender_is_not_made_anew() -> None:
    old, new = Recording(), Recording()
    sender, changes = renewing(old, new)
    sender.close()
    changes.pending = True
    old.closed = 0
    sender.send("traces", b"1", 1.0)
    assert new.sent == []
