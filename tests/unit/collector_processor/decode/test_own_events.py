"""Alerts that this service sent are refused where they come back in, and nothing else is."""

from __future__ import annotations

import pytest

from collector_processor.alerts.notice import Notice
from collector_processor.alerts.rules import DEFAULT_RULES
from collector_processor.decode import LoopError, MalformedRequestError, ModelKey, decode
from collector_processor.exporters.otlp.alert_events import event_request

EVENT = Notice(DEFAULT_RULES[0], ModelKey("fraud"), "firing", "new", 1, 2, 3, 0, ())


def test_own_alerts_are_refused() -> None:
    with pytest.raises(LoopError, match="these alerts come from this service") as caught:
        # Requests glued together are one request of all that is in them.
        decode("logs", 2 * event_request(EVENT, "me") + event_request(EVENT, "other"), 0, own_instance_id="me")
    assert caught.value.items == 3


@pytest.mark.parametrize("own", ["", "another", "m"])
def test_alerts_of_others_pass(own: str) -> None:
    assert decode("logs", event_request(EVENT, "me"), 0, own_instance_id=own).items == 1


def test_a_name_like_our_id_is_no_loop() -> None:
    body = event_request(Notice(DEFAULT_RULES[0], ModelKey("me"), "firing", "new", 1, 2, 3, 0, ()), "other")
    assert decode("logs", body, 0, own_instance_id="me").items == 1


def test_broken_bytes_with_our_id_are_malformed() -> None:
    with pytest.raises(MalformedRequestError):
        decode("logs", event_request(EVENT, "me")[:-3], 0, own_instance_id="me")
