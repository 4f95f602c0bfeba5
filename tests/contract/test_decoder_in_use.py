"""Where there is a C compiler, the installation has built the compiled decoder and uses it for whatever comes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from collector_processor.decode import DECODER_VARIABLE, DECODERS, decoder_name

needs_compiler = pytest.mark.skipif(
    shutil.which("cc") is None, reason="no C compiler here: the Python decoder is right"
)
FORMS = """
from benchmarks.bench_decode import FORMS
from collector_processor.decode import decode, fallback

def helped(*given):
    raise SystemExit(f"{form.what}: left to the decoder in Python")

bodies = [(form, form.body(1000)) for form in FORMS]
for name in ("decode_traces", "decode_logs", "take_span", "take_record"):
    setattr(fallback, name, helped)
for form, body in bodies:
    decoded = decode("logs" if form.logs else "traces", body, 5)
    rows = [len(batch) for batch in (*decoded.predictions, *decoded.labels)]
    print(form.what, sum(rows), decoded.rejected, decoded.dropped)
"""


@needs_compiler
def test_the_compiled_decoder_is_in_use_where_it_can_be_built() -> None:
    assert decoder_name() == os.environ.get(DECODER_VARIABLE, "compiled")


@needs_compiler
def test_both_signals_are_decoded_by_compiled_code() -> None:
    first, second = DECODERS
    assert (first.name, second.name) == ("compiled", "fallback")
    assert {first.decode_traces.__module__, first.decode_logs.__module__} == {
        "collector_processor.decode.compiled.decoder"
    }


@needs_compiler
def test_every_form_that_is_measured_is_read_without_the_decoder_in_python() -> None:
    environment, root = {**os.environ, DECODER_VARIABLE: ""}, Path(__file__).parents[2]
    command = [sys.executable, "-c", FORMS]
    run = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    for line in run.stdout.splitlines():
        assert line.split()[-2:] == ["0", "{}"], line
