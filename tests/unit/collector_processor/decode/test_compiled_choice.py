"""Which decoder runs: the fastest there is, or the one that the environment names."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from collector_processor.decode import DECODER_VARIABLE, DECODERS, decoder_named

SHOW = "from collector_processor.decode import decoder_name, decoder_notice; print(decoder_name(), decoder_notice())"


def shown(choice: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, DECODER_VARIABLE: choice}
    return subprocess.run([sys.executable, "-c", SHOW], env=environment, capture_output=True, text=True, check=False)


def test_without_a_choice_the_first_decoder_runs() -> None:
    assert decoder_named("") is DECODERS[0]


def test_the_environment_chooses_and_the_slow_choice_is_told() -> None:
    name, _, notice = shown("fallback").stdout.partition(" ")
    assert name == "fallback"
    # Without a compiled one it is no choice: parts_notice tells of it.
    assert "decoded in Python" in notice or len(DECODERS) == 1


def test_an_unknown_choice_is_refused_with_the_choices() -> None:
    asked = shown("fast")
    assert asked.returncode
    assert "OTEL_ML_DECODER is 'fast'; this installation has: " in asked.stderr
    assert "fallback" in asked.stderr


def test_the_compiled_decoder_needs_no_notice() -> None:
    pytest.importorskip("collector_processor.decode.compiled.wire", reason="built without a C compiler")
    assert shown("").stdout.split() == ["compiled", "None"]
