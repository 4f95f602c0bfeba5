"""The mutation runner changes one place at a time, and notices which changes tests notice."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tools import mutate

SOURCE = """
def clipped(value: int | None, limit: int = 3) -> int | None:
    if value is None or not value:
        return None
    return limit - 1 if value >= limit else value
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "code.py"
    path.write_text(SOURCE, encoding="utf-8")
    return path


def test_each_mutant_changes_one_place_and_is_python(file: Path) -> None:
    found = list(mutate.mutants(file))
    assert len({each.source for each in found}) == len(found)
    for each in found:
        assert ast.dump(ast.parse(each.source)) != ast.dump(ast.parse(SOURCE))
    assert {(each.before, each.after) for each in found} >= {
        ("value >= limit", "value > limit"),
        ("limit - 1", "limit + 1"),
        ("value is None or not value", "value is None and (not value)"),
        ("not value", "not not value"),
        ("3", "4"),
    }


def test_annotations_are_left_alone(file: Path) -> None:
    assert all("int & None" not in each.source for each in mutate.mutants(file))


def test_the_original_is_back_after_a_mutant(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def noticed(home: Path, room: str, timeout_s: float | None) -> bool:
        return "limit + 1" in file.read_text(encoding="utf-8")

    monkeypatch.setattr(mutate, "passes", noticed)
    survivors = [each for each in mutate.mutants(file) if mutate.survives(each, file.parent, "room", 1)]
    assert [each.after for each in survivors] == ["limit + 1"]
    assert file.read_text(encoding="utf-8") == SOURCE


def test_the_rooms_exist_and_have_tests() -> None:
    for room in mutate.ROOMS:
        assert (mutate.ROOT / mutate.PACKAGE / room).is_dir()
        assert (mutate.ROOT / "tests" / "unit" / mutate.PACKAGE / room).is_dir()
