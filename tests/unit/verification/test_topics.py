"""The quick version of every topic that needs no other tool, and the page that they write."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from verification import __main__ as command
from verification import oracle, page, registry
from verification.oracle import Oracle, OracleError
from verification.topic import Check, Findings, Table, Topic, largest

HERE = [name for name in registry.names() if not registry.topic(name).oracles]
FINDINGS = Findings("ten rows", [Check.at_most("error", 0.5, 1.0)], [Table("By day:", ("day", "error"), [(1, 0.5)])])


@pytest.mark.parametrize("name", HERE)
def test_the_quick_version_of_a_topic_keeps_its_promises(name: str):
    findings = registry.topic(name).run(True, lambda what: None)
    assert findings.checks
    assert [check for check in findings.checks if not check.held] == []


@pytest.mark.parametrize("name", registry.names())
def test_an_oracle_that_a_topic_names_has_requirements(name: str):
    for tool in registry.topic(name).oracles:
        assert Oracle(tool).requirements.exists()


def test_a_promise_is_not_kept_by_nan_or_by_measuring_nothing():
    assert not Check.at_most("", float("nan"), 1.0).held
    assert not Check.at_least("", float("nan"), 1.0).held
    assert not Check.at_most("", largest([0.1, float("nan")]), 1.0).held
    assert not Findings("", []).held


def test_a_section_is_replaced_and_the_others_stay(tmp_path: Path):
    path, topic = tmp_path / "page.md", Topic("Title", lambda quick, progress: FINDINGS)
    section = page.lines(topic, FINDINGS, 1.0)
    page.written({"b": section}, ["a", "b"], path)
    page.written({"a": ["A first"]}, ["a", "b"], path)
    page.written({"a": ["A again"]}, ["a", "b"], path)
    text = path.read_text(encoding="utf-8")
    assert text.index("A again") < text.index("## Title")
    assert "A first" not in text
    assert "| error | ≤ 1 | 0.5 | yes |" in text
    assert "| 1 | 0.5 |" in text
    page.written({}, ["b"], path)
    assert "A again" not in path.read_text(encoding="utf-8")


def test_the_exit_code_says_whether_all_promises_were_kept(monkeypatch, capsys):
    broken = Findings("ten rows", [Check.at_most("error", 2.0, 1.0)])
    topics = {"kept": FINDINGS, "broken": broken}
    monkeypatch.setattr(registry, "names", lambda: list(topics))
    monkeypatch.setattr(registry, "topic", lambda name: Topic(name, lambda quick, progress: topics[name]))
    assert command.main(["kept"]) == 0
    assert command.main([]) == 1
    assert "not kept or not verified: broken" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        command.main(["other"])


def _installed(cache: Path, tool: Oracle) -> None:
    """Make an environment that looks installed and is this one."""
    python = cache / tool.name / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    stamp = cache / tool.name / "requirements-installed.txt"
    stamp.write_text(tool.requirements.read_text(encoding="utf-8"), encoding="utf-8")


def test_an_oracle_answers_a_question_and_says_what_went_wrong(tmp_path: Path, monkeypatch):
    scripts = tmp_path / "oracles"
    scripts.mkdir()
    (scripts / "protocol.py").write_text((oracle.FOLDER / "protocol.py").read_text(encoding="utf-8"), encoding="utf-8")
    asked = 'from protocol import answer\nanswer(lambda asked: [print("noise"), 2 * asked["x"]][1], ["numpy"])\n'
    (scripts / "scipy.py").write_text(asked, encoding="utf-8")
    (scripts / "fails.py").write_text('raise SystemExit("no such figure")\n', encoding="utf-8")
    monkeypatch.setattr(oracle, "FOLDER", scripts)
    tool = Oracle("scipy")
    _installed(tmp_path / "cache", tool)
    found = tool.ask({"x": 21}, cache=tmp_path / "cache")
    assert found.value == 42
    assert list(found.versions) == ["numpy"]
    with pytest.raises(OracleError, match="scipy: no such figure"):
        tool.ask({}, "fails", cache=tmp_path / "cache")
