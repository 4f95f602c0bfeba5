"""The wording check reports what is out, on its line, and leaves plain English and code alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import words

ROOT = Path(__file__).parents[3]


def phrases(folder: Path, name: str, text: str) -> list[tuple[int, str]]:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return [(each.line, each.phrase) for each in words.findings(file)]


@pytest.mark.parametrize(
    "phrase",
    [
        "it is told twice",
        "the service goes on",
        "built anew",
        "which is no stream",
        "so many rows",
        "a thread of its own",
        "kept for ever",
        "lest it fails",
        "nobody's port",
        "drift rings with the seasons",
        "measured in turns",
        "what it holds is what counts",
        "spelled otherwise than before",
        "all but for one",
        "inputs as ever",
        "where one value is due",
        "has not been seen to gain",
        "broken\nfor\never",
    ],
)
def test_a_turn_of_phrase_is_reported(tmp_path: Path, phrase: str) -> None:
    assert len(phrases(tmp_path, "page.md", f"First line.\n\nHere {phrase}.\n")) == 1


@pytest.mark.parametrize(
    "plain",
    [
        "There is no release.",
        "It is no longer there, and is no slower.",
        "So many that they do not fit.",
        "`told` and `goes on`",
        "```text\nit is told anew\n```\n",
        "[a page](told.md)",
        "A foretold, well-told story.",
    ],
)
def test_plain_english_and_code_are_left_alone(tmp_path: Path, plain: str) -> None:
    assert not phrases(tmp_path, "page.md", plain)


def test_lines_are_those_of_the_phrase(tmp_path: Path) -> None:
    assert phrases(tmp_path, "page.md", "One.\n```sh\nmake\n```\nTwo.\nIt goes on,\nand goes\non.\n") == [
        (6, "goes on"),
        (7, "goes on"),
    ]


def test_docstrings_messages_and_comments_of_python_are_read(tmp_path: Path) -> None:
    source = '"""It is told."""\n\ntold = "told"  # a name\nlog(f"{told} goes on")\n# of its\n# own\n'
    assert phrases(tmp_path, "code.py", source) == [(1, "told"), (4, "goes on"), (5, "of its own")]


def test_it_fails_with_file_line_and_replacement(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "page.md").write_text("Built anew.\n", encoding="utf-8")
    assert words.main([str(tmp_path)]) == 1
    assert f"{tmp_path}/page.md:1: 'anew': write again" in capsys.readouterr().out


def test_what_is_enforced_exists() -> None:
    assert [name for name in words.ENFORCED if not (ROOT / name).exists()] == []


def test_the_page_on_style_names_every_turn_of_phrase() -> None:
    page = (ROOT / "docs" / "STYLE.md").read_text(encoding="utf-8").partition("## Turns of phrase")[2]
    examples = "\n".join(line for line in page.splitlines() if line.startswith("| `"))
    for turn, _ in words.turns():
        assert turn.search(examples.replace("`", " ")), turn.pattern
