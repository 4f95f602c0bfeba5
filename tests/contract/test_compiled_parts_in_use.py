"""Where there is a C compiler, the installation has built the compiled arithmetic, and the service counts with it."""

from __future__ import annotations

import shutil

import pytest

from collector_processor.decode import built as decode
from collector_processor.labels import built as labels
from collector_processor.statistics import built as statistics


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler here: numpy is right")
def test_sums_slots_and_hashes_are_compiled_where_they_can_be() -> None:
    assert None not in (decode.packing, labels.slots, statistics.sums)
