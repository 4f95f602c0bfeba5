"""The seam behind which decoders are exchanged."""

from __future__ import annotations

import os
from typing import Any

import pytest

from collector_processor.decode import (
    DECODER_VARIABLE,
    DECODERS,
    DecodeLimits,
    MalformedRequestError,
    decode,
    decoder_name,
    decoder_named,
)


def test_the_first_decoder_is_used() -> None:
    assert decoder_named(os.environ.get(DECODER_VARIABLE, "")).name == decoder_name()
    assert decoder_named("") is DECODERS[0]
    assert len({decoder.name for decoder in DECODERS}) == len(DECODERS)
    assert DECODERS[-1].name == "fallback"


@pytest.mark.parametrize("signal", ["traces", "logs", "metrics"])
def test_every_signal_refuses_bytes_that_are_none_of_it(signal: Any) -> None:
    with pytest.raises(MalformedRequestError, match="not an Export"):
        decode(signal, b"nonsense", 0)


def test_limits_reach_the_decoder(otlp: Any) -> None:
    body = otlp.traces(otlp.prediction({}), otlp.prediction({}))
    assert decode("traces", body, 0, DecodeLimits(rows=1)).dropped == {"rows_over_limit": 1}
