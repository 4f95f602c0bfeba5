"""What is not compiled is listed and told once, with what would build it; what is compiled needs no notice."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import collector_processor
from collector_processor.cli.components import components
from collector_processor.decode import DECODER_VARIABLE
from collector_processor.service.compiled_parts import PARTS, parts_notice

SHOW = "from collector_processor.service.compiled_parts import PARTS, parts_notice; "
SHOW += "print([part.name for part in PARTS if part.built]); print(parts_notice())"
UNBUILT = f"""
import sys
for name in {[part.name for part in PARTS]}:
    sys.modules["collector_processor." + name] = None
"""


def shown(script: str, choice: str = "") -> list[str]:
    environment = {**os.environ, DECODER_VARIABLE: choice}
    run = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    return run.stdout.splitlines()


def test_every_source_to_compile_is_a_part() -> None:
    root = Path(collector_processor.__path__[0])
    sources = {
        ".".join(path.relative_to(root).with_suffix("").parts) for path in [*root.rglob("*.pyx"), *root.rglob("*.pxd")]
    }
    assert {part.name for part in PARTS} == sources


def test_only_what_is_missing_is_told_and_how_to_build_it() -> None:
    parts = [replace(part, built=part.name != "labels.slots") for part in PARTS]
    notice = parts_notice(parts)
    assert notice is not None
    assert notice.startswith("not compiled here: labels.slots (labels to their predictions); ")
    assert "--no-binary otel-ml" in notice


def test_where_all_is_compiled_only_a_slow_choice_is_told() -> None:
    notice = parts_notice([replace(part, built=True) for part in PARTS])
    assert notice is None or DECODER_VARIABLE in notice


def test_without_any_compiled_part_each_is_told_of_and_nothing_else_changes() -> None:
    built, notice = shown(UNBUILT + SHOW)
    assert built == "[]"
    assert all(f"{part.name} ({part.work})" in notice for part in PARTS)
    assert DECODER_VARIABLE not in notice


def test_the_list_of_components_says_what_is_built() -> None:
    found = {item.name: item.text for item in components() if item.kind == "compiled part"}
    assert found == {part.name: f"{part.work}: {'built' if part.built else 'not built'}" for part in PARTS}
