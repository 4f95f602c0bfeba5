"""Fragments in changes/ are ones that towncrier takes, and become a section of the changelog."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FRAGMENTS = sorted(path for path in (ROOT / "changes").iterdir() if path.name != "README.md")
TYPES = ("added", "changed", "deprecated", "fixed", "removed", "security")


def towncrier(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "towncrier", *arguments, "--dir", str(folder)],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A folder with the configuration, the changelog and the fragments."""
    for name in ("pyproject.toml", "CHANGELOG.md"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "changes", tmp_path / "changes")
    return tmp_path


def test_every_fragment_has_a_name_that_towncrier_takes() -> None:
    names = re.compile(rf"(\d+|\+[\w-]+)\.({'|'.join(TYPES)})(\.\d+)?\.md")
    assert [path.name for path in FRAGMENTS if not names.fullmatch(path.name)] == []


def test_the_draft_has_every_fragment(copy: Path) -> None:
    draft = towncrier(copy, "build", "--draft", "--version", "next")
    for path in FRAGMENTS:
        first = path.read_text(encoding="utf-8").split("\n", 1)[0]
        assert first in draft, path.name


def test_links_of_fragments_lead_somewhere_from_the_changelog() -> None:
    for path in FRAGMENTS:
        for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text(encoding="utf-8")):
            assert link.startswith("https://") or (ROOT / link).exists(), f"{path.name}: {link}"


@pytest.mark.parametrize("kind", TYPES)
def test_a_release_writes_fragments_above_the_releases_before(copy: Path, kind: str) -> None:
    before = (copy / "CHANGELOG.md").read_text(encoding="utf-8")
    (copy / "changes" / f"12.{kind}.md").write_text("It does more.\n", encoding="utf-8")
    towncrier(copy, "build", "--yes", "--version", "1.2.3", "--date", "2030-01-02")
    head, title, rest = (copy / "CHANGELOG.md").read_text(encoding="utf-8").partition("## 1.2.3 (2030-01-02)\n")
    assert title
    assert before.startswith(head.rstrip())
    assert f"### {kind.capitalize()}\n" in rest
    assert "- It does more. (#12)\n" in rest
    assert rest.index("It does more.") < rest.index("## 0.1.0.dev0")
    assert [path.name for path in (copy / "changes").iterdir()] == ["README.md"]
