"""Where there is a C compiler, the installation has built the compiled arithmetic, and the service counts with it."""

from __future__ import annotations

import shutil

import pytest

from collector_processor.service.compiled_parts import PARTS


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler here: numpy is right")
def test_every_part_is_compiled_where_it_can_be() -> None:
    assert [part.name for part in PARTS if not part.built] == []
