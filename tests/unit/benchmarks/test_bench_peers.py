"""The comparison with other tools: scripts in processes, environments, figures, and the page that is shared."""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import bench_peers, page
from benchmarks.measure import Row
from benchmarks.peers import section, table
from benchmarks.peers.catalog import EVERYTHING, OURS, PEERS, Case, Peer, chosen, script_of
from benchmarks.peers.environments import NotInstalledError, python_of
from benchmarks.peers.runs import Run, RunError, Tables, environment, parsed, run, typical

ROWS = 20_000
SCIPY = chosen("scipy")[0]


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    folder = tmp_path_factory.mktemp("tables")
    return Tables(table.written(folder, "reference", ROWS // 10), table.written(folder, "current", ROWS))


def installed(cache: Path, peer: Peer) -> Path:
    """An environment that looks installed and is this one."""
    python = cache / peer.name / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    (cache / peer.name / "requirements-installed.txt").write_text(peer.requirements.read_text(), encoding="utf-8")
    return python


def made(cpu_s: float, scores: Any = None, peak: int = 3_000_000) -> Run:
    return Run(0.0, 0.0, cpu_s, cpu_s, 1_000_000, peak, "3.11.7", {"tool": "1.2"}, scores or {})


# --- scripts and processes -----------------------------------------------------------------------------------


def test_every_tool_is_compared_on_the_same_rows_and_the_figures_agree(tmp_path: Path) -> None:
    installed(tmp_path, SCIPY)
    outcome = bench_peers.compare([SCIPY], ROWS, 1, 1, tmp_path)
    assert set(outcome.runs) == {(OURS, EVERYTHING), (OURS, "ks+chi2"), ("scipy", "ks+chi2")}
    theirs, [ours] = outcome.runs["scipy", "ks+chi2"][0].scores, outcome.runs[OURS, "ks+chi2"]
    for name, statistic in theirs["ks"].items():
        assert statistic - 1.1 / 1024 <= ours.scores["ks"][name] <= statistic + 1e-12
    for figure in ("chi2", "chi2_p"):
        assert ours.scores[figure] == pytest.approx(theirs[figure], rel=1e-9)
    assert len(theirs["ks"]) == table.NUMERIC
    assert len(theirs["chi2"]) == table.CATEGORICAL
    everything = outcome.runs[OURS, EVERYTHING][0].scores
    assert everything["ks"] == ours.scores["ks"]
    assert {"psi", "js", "hellinger", "l_infinity", "tvd", "chi2", "ks", "wasserstein"} <= set(everything)
    text = "\n".join(section.lines(outcome))
    assert "| scipy: KS of numbers, χ² of texts, in a loop | " in text
    assert re.search(r"Where our time goes: fit: [^,]+, .*score: counting \d[^,]*, score: evaluating \d[^,]*\.", text)
    assert re.search(r"- scipy: scipy [\d.]+, numpy [\d.]+, pandas [\d.]+, Python 3", text)


def test_what_a_tool_prints_is_not_taken_for_its_answer(tmp_path: Path, tables: Tables) -> None:
    script = tmp_path / "peer_loud.py"
    script.write_text(
        "from protocol import Case, main\n"
        "def fit(reference, numeric, categorical):\n"
        "    print('{}')\n"
        "    return len(reference)\n"
        "main([Case('rows', fit, lambda rows, current: (rows, len(current)),\n"
        "           lambda found: {'rows': dict(zip(('reference', 'current'), found))})], ['numpy'])\n",
        encoding="utf-8",
    )
    found = run(sys.executable, script, "rows", tables, 1, script_of(OURS).parent)
    assert found.scores == {"rows": {"reference": ROWS // 10, "current": ROWS}}
    assert found.peak_bytes >= found.loaded_bytes // 2 > 0
    assert set(found.versions) == {"numpy"}


def test_a_script_that_fails_is_told_by_the_last_thing_that_it_said(tmp_path: Path, tables: Tables) -> None:
    script = tmp_path / "broken.py"
    script.write_text("raise KeyError('no such engine')", encoding="utf-8")
    with pytest.raises(RunError, match="KeyError: 'no such engine'"):
        run(sys.executable, script, "any", tables, 1)


@pytest.mark.parametrize("output", ["", "no JSON", "[]", "{}", '{"fit": 1}', '{"fit": {"wall_s": "x"}}'])
def test_an_answer_that_is_not_the_protocols_is_refused(output: str) -> None:
    with pytest.raises(RunError, match="not what the protocol says"):
        parsed(output)


def test_all_tools_get_the_same_threads_and_tell_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    variables = environment(2)
    assert variables["OMP_NUM_THREADS"] == variables["OPENBLAS_NUM_THREADS"] == "2"
    assert variables["DO_NOT_TRACK"] == "1"
    assert "PYTHONPATH" not in variables


def test_repetitions_are_medians() -> None:
    assert typical([made(1.0), made(9.0), made(2.0, peak=5)]).cpu_s == 4.0 - 2.0


# --- tables --------------------------------------------------------------------------------------------------


def test_tables_are_the_same_every_time_and_drift_as_they_say() -> None:
    first, again = (table.drawn("current", 5000) for _ in range(2))
    assert first.equals(again)
    reference = table.drawn("reference", 5000)
    assert reference.column_names == first.column_names
    means = [(first[f"number_{i:02}"].to_numpy().mean(), reference[f"number_{i:02}"].to_numpy().mean()) for i in (2, 0)]
    assert means[0][0] - means[0][1] == pytest.approx(0.5, abs=0.15)
    assert means[1][0] - means[1][1] == pytest.approx(0.0, abs=0.15)


def test_a_table_is_written_once(tmp_path: Path) -> None:
    path = table.written(tmp_path / "new", "reference", 100)
    before = path.stat().st_mtime_ns
    assert table.written(tmp_path / "new", "reference", 100) == path
    assert path.stat().st_mtime_ns == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


# --- tools and environments ----------------------------------------------------------------------------------


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_every_tool_has_a_script_and_pinned_requirements(peer: Peer) -> None:
    lines = [line for line in peer.requirements.read_text().splitlines() if not line.startswith("#")]
    assert lines
    assert all(re.fullmatch(r"[\w.-]+==[\w.+!]+", line) for line in lines)
    assert any(line.lower().startswith(f"{peer.name}==") for line in lines)
    script, ours = peer.script.read_text(), script_of(OURS).read_text()
    for case in peer.cases:
        assert f'"{case.name}"' in script
        assert f'drift_case("{case.ours}"' in ours
        assert {what.split()[1] for what in case.notes} <= {"numeric", "categorical"}


def test_an_environment_is_used_again_while_its_requirements_are_the_same(tmp_path: Path) -> None:
    python = installed(tmp_path, SCIPY)
    assert python_of(SCIPY, tmp_path) == python


def test_a_tool_that_cannot_be_installed_is_left_out_with_the_reason(tmp_path: Path) -> None:
    never = Peer("scipy", "Tool of tomorrow", SCIPY.cases, pythons=("9.9",))
    with pytest.raises(NotInstalledError, match=r"needs Python 9\.9"):
        python_of(never, tmp_path)
    outcome = section.Outcome([never], ROWS // 10, ROWS, 1, 1)
    assert bench_peers._installed(outcome, tmp_path, lambda _: None) == {}
    assert "| Tool of tomorrow: it needs Python 9.9, and none is here | – |" in "\n".join(section.times(outcome))


def test_a_tool_that_fails_once_is_not_run_again() -> None:
    calls: list[str] = []

    def failing() -> Run:
        calls.append("tool")
        raise RunError("no memory")

    outcome = section.Outcome([SCIPY], 1, 1, 2, 1)
    works = {(OURS, EVERYTHING): lambda: made(1.0), ("scipy", "ks+chi2"): failing}
    for _ in range(2):
        bench_peers._round(outcome, works, lambda _: None)
    assert calls == ["tool"]
    assert outcome.failed == {"scipy": "ks+chi2: no memory"}
    assert len(outcome.runs[OURS, EVERYTHING]) == 2
    assert any("no memory" in line for line in section.times(outcome))


def test_an_unknown_tool_lists_the_choices() -> None:
    with pytest.raises(ValueError, match="no such tool: 'river'; there are: scipy, nannyml"):
        chosen("scipy, river")
    assert chosen("") == PEERS


@pytest.mark.parametrize(
    "words",
    [["--peers", "river"], ["--rows", "10"], ["--runs", "0"], ["--threads", "0"], ["--write", "--peers", "scipy"],
     ["--write", "--runs", "2"]],
)  # fmt: skip
def test_options_that_make_no_sense_are_refused(words: list[str]) -> None:
    with pytest.raises(SystemExit):
        bench_peers.main(words)


# --- the page ------------------------------------------------------------------------------------------------


def outcome_of(theirs: float, ours: float) -> section.Outcome:
    outcome = section.Outcome([SCIPY], 100_000, 1_000_000, 3, 1)
    outcome.runs[OURS, "ks+chi2"] = [made(ours, {"ks": {"number_00": 0.25, "number_01": 0.5}})] * 3
    outcome.runs["scipy", "ks+chi2"] = [made(theirs, {"ks": {"number_00": 0.25, "number_01": 0.625}})] * 3
    return outcome


def test_ratios_are_of_cpu_time_and_the_verdict_is_about_the_fastest() -> None:
    far, near = outcome_of(12.0, 1.0), outcome_of(3.0, 1.0)
    assert "Measured: 12.0× (scipy: KS of numbers, χ² of texts, in a loop), reached." in "\n".join(section.lines(far))
    assert "Measured: 3.0× (scipy: KS of numbers, χ² of texts, in a loop), **not** reached." in "\n".join(
        section.lines(near)
    )
    assert section.times(near)[2].startswith(
        "| scipy: KS of numbers, χ² of texts, in a loop | < 1 ms | 3.00 s | 3.00 s"
    )


def test_differences_show_the_column_that_differs_most() -> None:
    outcome = outcome_of(1.0, 1.0)
    [line] = [line for line in section.lines(outcome) if line.startswith("| scipy | KS, D, numeric")]
    assert line.startswith("| scipy | KS, D, numeric | 2 | 0.125 | 0.625 | 0.5 |")


def test_a_figure_that_is_no_number_on_one_side_is_the_largest_difference() -> None:
    case = Case("x", "x", "x", {"ks numeric": "why"})
    theirs = {"ks": {"number_00": math.nan, "number_01": 0.9}}
    [line] = section.differences(SCIPY, case, theirs, {"ks": {"number_00": 0.1, "number_01": 0.2}})
    assert line == "| scipy | KS, D, numeric | 2 | inf | nan | 0.1 | why |"
    assert list(section.differences(SCIPY, case, {}, {})) == []


def test_a_reason_fits_a_cell_and_names_no_folder() -> None:
    outcome = outcome_of(1.0, 1.0)
    outcome.failed["scipy"] = "no file '/somewhere/x.py' | in\nline 3"
    assert "| scipy: no file … / in line 3 | – |" in "\n".join(section.times(outcome))


@pytest.fixture
def own_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "benchmarks.md"
    monkeypatch.setattr(page, "PAGE", path)
    return path


def test_neither_writer_destroys_what_the_other_wrote(own_page: Path) -> None:
    rows = [Row("decoding", "26×", "≥ 20×", 1.3)]
    page.write(rows, ["old curves"])
    page.write_peers(["## Other tools", "", "first"])
    page.write([Row("decoding", "27×", "≥ 20×", 1.4)], None)
    text = own_page.read_text()
    assert text.count("27×") == text.count("first") == text.count("old curves") == 1
    assert "26×" not in text
    assert text.index("27×") < text.index("first") < text.index("old curves")
    page.write(rows, ["new curves"])
    page.write_peers(["## Other tools", "", "second"])
    text = own_page.read_text()
    assert "first" not in text
    assert text.count("second") == text.count("new curves") == text.count("## Other tools") == 1
    assert text.endswith("new curves\n")
    once = text
    page.write_peers(["## Other tools", "", "second"])
    assert own_page.read_text() == once


def test_other_tools_are_written_into_a_page_that_has_nothing_else(own_page: Path) -> None:
    page.write_peers(["alone"])
    assert "alone" in own_page.read_text()
    page.write_peers(["again"])
    assert "alone" not in own_page.read_text()


def test_a_page_whose_marks_are_broken_is_left_alone(own_page: Path) -> None:
    page.write_peers(["kept"])
    own_page.write_text(broken := own_page.read_text().replace("<!-- End of other tools. -->", ""))
    with pytest.raises(ValueError, match="nothing was written"):
        page.write([], None)
    with pytest.raises(ValueError, match="nothing was written"):
        page.write_peers(["new"])
    assert own_page.read_text() == broken
