"""A restarted service has the same ``service.instance.id``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any


def test_a_restart_keeps_the_id(service_type: Callable[..., Any], tmp_path: Path) -> None:
    kept: list[str] = []
    for _ in range(2):
        with service_type(tmp_path / "state"):
            [path] = tmp_path.rglob("instance_id")
            kept.append(path.read_text())
    assert kept[0] == kept[1]
