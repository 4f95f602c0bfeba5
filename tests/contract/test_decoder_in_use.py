"""Where there is a C compiler, the installation has built the compiled decoder and uses it."""

from __future__ import annotations

import os
import shutil

import pytest

from collector_processor.decode import DECODER_VARIABLE, decoder_name


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler here: the Python decoder is right")
def test_the_compiled_decoder_is_in_use_where_it_can_be_built() -> None:
    assert decoder_name() == os.environ.get(DECODER_VARIABLE, "compiled")
