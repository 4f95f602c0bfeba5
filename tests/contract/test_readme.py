"""The README's own path, followed from top to bottom: its app emits, its commands build, its file is accepted."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

import otel_ml
from collector_processor.cli import main as cli
from collector_processor.demo import flights
from collector_processor.demo.processes import CONFIG
from collector_processor.generate.catalog import Catalog
from otel_ml.testing import capture

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def our_commands() -> list[list[str]]:
    lines = "".join(blocks("sh")).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("otel-ml ")]


def test_the_app_emits_a_prediction_and_its_label() -> None:
    [text] = blocks("python")
    with capture() as captured:
        namespace: dict[str, Any] = {}
        exec(compile(text, "README.md", "exec"), namespace)
    [seen], [label] = captured.predictions, captured.labels
    assert (seen.model, seen.version, seen.class_, seen.score) == ("churn", "7", "leaves", 0.83)
    assert seen.features == {"age": 41, "plan": "basic", "calls": 3}
    assert (label.id, label.class_) == (seen.id, "stays")


@pytest.fixture(scope="module")
def scored() -> pd.DataFrame:
    """The table that the demo writes, of few flights."""
    year = flights.load_flights()
    tuning = year.part(slice(3000, 4000))
    return flights.scored_table(flights.train(year.part(slice(0, 3000)), tuning), tuning)


@pytest.fixture
def followed(scored: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The demo's folder: its table, the README's file, and what the README's build command makes."""
    scored.to_parquet(tmp_path / "train.parquet", index=False)
    [text] = blocks("yaml")
    (tmp_path / "otel-ml.yaml").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    [build] = [words for words in our_commands() if words[:2] == ["reference", "build"]]
    assert cli.main(build) == 0
    return tmp_path


def test_the_configuration_is_accepted_with_the_reference_that_was_built(
    followed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ["serve", "--config", "otel-ml.yaml"] in our_commands()
    [validate] = [words for words in our_commands() if words[0] == "validate"]
    assert cli.main(validate) == 0
    told = capsys.readouterr().out
    assert "model 'flight-delay': reference of 1,000 rows from train.parquet" in told
    assert "not used" not in told


def test_the_file_of_the_demo_is_accepted_too(followed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (followed / "otel-ml.yaml").write_text(CONFIG, encoding="utf-8")
    assert cli.main(["validate", "--config", "otel-ml.yaml"]) == 0
    assert "reference of 1,000 rows from train.parquet" in capsys.readouterr().out


def test_the_reference_has_the_features_that_the_app_sends(followed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert cli.main(["reference", "show", "reference.json"]) == 0
    shown = capsys.readouterr().out
    assert set(re.findall(r"^(\w+) +feature", shown, re.MULTILINE)) == set(flights.FEATURES)
    assert re.search(r"positive class +delayed", shown)


def test_boards_and_rules_are_written_for_the_file(followed: Path) -> None:
    pytest.importorskip("grafana_foundation_sdk")  # it needs Python 3.11
    written = [words for words in our_commands() if words[0] in ("dashboards", "rules")]
    assert [words[0] for words in written] == ["dashboards", "rules"]
    assert [cli.main(words) for words in written] == [0, 0]
    assert len(list(followed.glob("dashboards/otel-ml-*.json"))) == 3
    assert len(yaml.safe_load((followed / "rules.yml").read_text(encoding="utf-8"))["groups"]) == 2


def test_every_command_is_one_that_the_parser_takes() -> None:
    for words in our_commands():
        assert cli.parser_of(None).parse_args(words), words


def test_what_the_first_minutes_show_is_what_the_service_has() -> None:
    """That the example gets there is tests/integration/examples."""
    [shown] = blocks("text")
    known = {series.name: series.labels for series in Catalog.of_registries()}
    [pattern] = re.findall(r"grep -E '(.*?)'", README)
    for line in shown.splitlines():
        name, labels = line.partition("{")[0], re.findall(r'(\w+)="', line)
        assert set(labels) <= set(known[name]), line
        assert re.search(pattern, line)
    assert 'version="3"' in (ROOT / "examples" / "manual.py").read_text(encoding="utf-8")


def test_what_is_installed_is_what_there_is() -> None:
    told = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    extras = set(re.findall(r"^(\w+) = \[", told.partition("optional-dependencies]")[2], re.MULTILINE))
    asked = re.findall(r"pip install '\.\[([\w,]+)\]'", README)
    assert asked
    assert {extra for each in asked for extra in each.split(",")} <= extras


def test_make_targets_and_their_arguments_exist() -> None:
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert {"demo", "test"} <= set(targets)
    assert set(re.findall(r"make (\w+)", README)) <= set(targets)
    [arguments] = re.findall(r'DEMO_ARGS="(.*?)"', README)
    assert cli.parser_of(None).parse_args(["demo", *shlex.split(arguments)]).no_live


def test_redaction_variables_are_those_that_exist() -> None:
    listed = re.findall(r"`(OTEL_ML_FEATURES_\w+)`, (.*?) or\s", README, re.DOTALL)
    [(first, others)] = listed
    short = re.findall(r"`(_\w+)`", others)
    variables = {value for name, value in vars(otel_ml.config).items() if name.startswith("ENV_")}
    assert short == ["_DENY", "_HASH", "_BUCKET"]
    assert {first, *(f"OTEL_ML_FEATURES{name}" for name in short)} <= variables
