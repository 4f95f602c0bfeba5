"""Every command as a user calls it: output, error texts in the user's words, exit codes."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint, version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
import yaml

import collector_processor.__main__
import otel_ml
from collector_processor.cli.main import main, parser_of
from collector_processor.drift import DRIFT_METHODS
from collector_processor.monitors import MONITOR_TYPES
from collector_processor.reference.file import load_reference

ROOT = Path(__file__).parents[3]
OUTPUTS = ("--prediction", "predicted", "--score", "probability", "--label", "left")
WRITERS: dict[str, Callable[[Any, str], None]] = {
    "csv": pa.csv.write_csv,
    "parquet": pa.parquet.write_table,
    "arrow": lambda table, path: write_arrow(table, path),
}


def write_arrow(table: Any, path: str) -> None:
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table)


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    line = [sys.executable, "-m", "collector_processor", *arguments]
    return subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)


def customers(rows: int = 500) -> Any:
    """A table of a model's predictions with their truth."""
    rng = np.random.default_rng(0)
    score = rng.random(rows).round(3)
    return pa.table(
        {
            "age": rng.integers(18, 80, rows),
            "plan": rng.choice(["basic", "pro"], rows),
            "region": rng.choice(["north", "south", "west"], rows),
            "probability": score,
            "predicted": np.where(score > 0.5, "leaves", "stays"),
            "left": np.where(rng.random(rows) < score, "leaves", "stays"),
        }
    )


@pytest.fixture
def config_file(tmp_path: Path, service_settings: Callable[..., dict[str, Any]]) -> Callable[..., str]:
    """Writes a configuration with changes and returns its path."""

    def write(changes: dict[str, Any] | None = None) -> str:
        path = tmp_path / "otel-ml.yaml"
        path.write_text(yaml.safe_dump(service_settings(tmp_path / "state", changes)))
        return str(path)

    return write


def build(tmp_path: Path, kind: str, *options: str) -> tuple[int, Path]:
    """Builds a reference of the customers from a file of some kind: exit code and where the reference is."""
    data, out = tmp_path / f"customers.{kind}", tmp_path / "churn.json"
    WRITERS[kind](customers(), str(data))
    return main(["reference", "build", str(data), "--model", "churn", "--out", str(out), *options]), out


# --- what there is -------------------------------------------------------------------------------------------


def test_version_is_that_of_the_distribution() -> None:
    answer = command("--version")
    assert (answer.returncode, answer.stdout) == (0, f"otel-ml {version('otel-ml')}\n")


def test_components_lists_every_registered_one_on_a_line_without_markup(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["components"]) == 0
    lines = capsys.readouterr().out.splitlines()
    found = {(line.partition("  ")[0], word) for line in lines for word in line.split()}
    for kind, names in (
        ("receiver", ["otlp"]),
        ("connector", ["ml_monitor"]),
        ("exporter", ["otlp_grpc", "otlp_http", "prometheus", "debug"]),
        ("extension", ["health_check", "file_storage"]),
        ("monitor", [monitor.name for monitor in MONITOR_TYPES]),
        ("drift method", [method.name for method in DRIFT_METHODS]),
    ):
        assert {(kind, name) for name in names} <= found
    assert not any("`" in line or ":func:" in line for line in lines)


@pytest.mark.parametrize("arguments", [(), ("nonsense",), ("reference",), ("validate",), ("reference", "build")])
def test_wrong_usage_is_told_with_the_usage(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: otel-ml" in capsys.readouterr().err


def test_help_tells_each_command_on_a_line_of_its_own(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        main(["--help"])
    told = capsys.readouterr().out
    listed = [line.split(maxsplit=1) for line in told.partition("COMMAND\n")[2].partition("\n\n")[0].splitlines()]
    commands = ["serve", "validate", "components", "reference", "label", "verify", "relearn", "dashboards", "rules"]
    commands.extend(("alerts", "doctor", "demo", "completion"))
    assert [line[0] for line in listed] == commands
    assert all(len(line) == 2 for line in listed)
    assert "Exit codes: 0 success, 1 failure, 2 invalid usage" in " ".join(told.split())


def test_every_command_says_what_it_does_without_signs_of_formatting() -> None:
    root = parser_of(None)
    for command in root.commands:
        told = command.format_help()
        assert command.description, command.prog
        assert "%%" not in told, command.prog


@pytest.mark.parametrize("arguments", [("--help",), ("serve",)])
def test_where_only_the_instrumentation_is_installed_the_command_says_what_to_install(
    tmp_path: Path, arguments: Sequence[str]
) -> None:
    # An interpreter without site-packages, as far as the command can see: the package itself and nothing else.
    for package in (collector_processor, otel_ml):
        (tmp_path / package.__name__).symlink_to(Path(package.__path__[0]))
    line = [sys.executable, "-S", "-m", "collector_processor", *arguments]
    told = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (told.returncode, told.stdout) == (1, "")
    assert told.stderr.startswith("error: only the instrumentation is installed (no rich, yaml, pydantic, ")
    # Without site-packages, nothing says where the package came from.
    assert told.stderr.endswith("; for this command: pip install 'otel-ml[processor]'\n")


def test_the_installed_command_starts_where_it_can_say_what_is_missing() -> None:
    [command_line] = re.findall(r'^otel-ml = "(.*)"', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    assert EntryPoint("otel-ml", command_line, "console_scripts").load() is collector_processor.__main__.main
    assert collector_processor.__main__.main(["components"]) == 0


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["validat"], "validate"),
        (["validate", "--confg", "x"], "--config"),
        (["validate", "--confg=x"], "--config"),
        (["rules", "--out", "x", "--format", "promtheus"], "prometheus"),
        (["reference", "sow"], "show"),
        (["reference", "build", "x", "--out", "y", "--model", "m", "--lable", "z"], "--label"),
    ],
)
def test_a_misspelt_word_is_met_with_the_one_that_was_meant(
    arguments: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().err.endswith(f"; did you mean {meant}?\n")


def test_the_version_and_the_help_import_nothing_that_takes_time() -> None:
    for flag in ("--version", "--help"):
        line = [sys.executable, "-X", "importtime", "-m", "collector_processor", flag]
        imported = subprocess.run(line, capture_output=True, text=True, timeout=60, check=True).stderr
        modules = {line.rpartition("|")[2].strip() for line in imported.splitlines()}
        assert "collector_processor.cli.main" in modules
        assert not modules & {"numpy", "grpc", "pydantic", "scipy", "pyarrow", "rich.console", "otel_ml.model"}


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("otel-ml val", ["validate"]),
        ("otel-ml reference b", ["build"]),
        ("otel-ml rules --form", ["--format"]),
        ("otel-ml rules --format p", ["prometheus"]),
        ("otel-ml validate otel-ml.ya", ["otel-ml.yaml"]),
    ],
)
def test_bash_completes_commands_flags_choices_and_files(line: str, offered: list[str], tmp_path: Path) -> None:
    (tmp_path / "otel-ml.yaml").touch()
    script = tmp_path / "completion.bash"
    script.write_text(command("completion", "bash").stdout)
    words = line.split()
    ask = (
        f"source {script}; COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; COMP_LINE='{line}'; "
        f"COMP_POINT={len(line)}; _shtab_otel_ml; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    )
    answer = subprocess.run(["bash", "-c", ask], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert answer.stdout.split() == offered, answer.stderr


def test_validate_takes_its_file_with_or_without_the_option(
    config_file: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = config_file()
    assert main(["validate", path]) == 0
    with_file = capsys.readouterr().out
    assert main(["validate", "--config", path]) == 0
    assert capsys.readouterr().out == with_file
    with pytest.raises(SystemExit):
        main(["validate", path, "--config", path])
    assert "otel-ml validate FILE" in capsys.readouterr().err


# --- validate ------------------------------------------------------------------------------------------------
def test_a_valid_file_is_shown_by_its_pipelines_and_what_it_does_not_use(
    config_file: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = config_file({"exporters": {"debug/spare": None}})
    assert main(["validate", "--config", path]) == 0
    shown = capsys.readouterr().out
    assert f"{path}: valid" in shown
    assert "traces: otlp → ml_monitor" in shown
    assert "metrics: ml_monitor → prometheus" in shown
    assert "exporters.debug/spare: configured but not used" in shown


def test_a_valid_file_is_shown_with_what_its_references_were_built_from(
    config_file: Callable[..., str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert build(tmp_path, "csv", *OUTPUTS, "--positive-class", "leaves", "--segments", "plan")[0] == 0
    model = {"reference": "churn.json", "positive_class": "leaves", "segments": ["plan"]}
    assert (
        main(["validate", "--config", config_file({"connectors": {"ml_monitor": {"models": {"churn": model}}}})]) == 0
    )
    assert "model 'churn': reference of 500 rows from customers.csv" in capsys.readouterr().out


def test_a_missing_file_and_one_that_is_no_yaml_are_told_with_their_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere, broken = tmp_path / "nowhere.yaml", tmp_path / "broken.yaml"
    broken.write_text("receivers: [")
    for path, reason in ((nowhere, "No such file"), (broken, "line 1"), (tmp_path, "Is a directory")):
        assert main(["validate", "--config", str(path)]) == 2
        told = capsys.readouterr().err
        assert str(path) in told
        assert reason in told


def test_every_mistake_of_a_file_is_told_at_once_with_path_and_choices_and_nothing_that_is_none(
    config_file: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = config_file(
        {
            "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": "nowhere"}}}},
            "connectors": {
                "ml_monitor": {"window": {"size": "1h", "evry": "1m"}, "drift": {"numeric": ["psi", "kss"]}}
            },
            "exporters": {"prometheus": {"metric_expiration": 5}, "influx": None},
        }
    )
    assert main(["validate", "--config", path]) == 2
    problems = [line for line in capsys.readouterr().err.splitlines() if line.startswith("  - ")]
    expected = (
        "receivers.otlp.protocols.grpc.endpoint: 'nowhere' is not an address",
        "connectors.ml_monitor.window.evry: unknown key; allowed: size, every",
        "connectors.ml_monitor.drift.numeric: unknown method 'kss'; allowed: psi",
        "exporters.prometheus.metric_expiration: 5 is not a duration",
        "exporters.influx: unknown type 'influx'; allowed: otlp_grpc, otlp_http, prometheus, debug",
    )
    assert len(problems) == len(expected)
    assert all(any(text in problem for problem in problems) for text in expected)


def test_validate_finds_what_serve_would_certificates_references_and_loops(
    config_file: Callable[..., str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    back = {"endpoint": "localhost:4317", "tls": {"ca_file": str(tmp_path / "ca.pem")}}
    tls = {"cert_file": str(tmp_path / "cert.pem"), "key_file": str(tmp_path / "key.pem")}
    protocols = {"grpc": {"endpoint": "127.0.0.1:4317"}, "http": {"endpoint": "localhost:0", "tls": tls}}
    path = config_file(
        {
            "receivers": {"otlp": {"protocols": protocols}},
            "exporters": {"otlp_grpc": back},
            "service": {"pipelines": {"traces": {"exporters": ["ml_monitor", "otlp_grpc"]}}},
        }
    )
    assert main(["validate", "--config", path]) == 2
    told = capsys.readouterr().err
    assert f"exporters.otlp_grpc.tls.ca_file: cannot read {tmp_path}/ca.pem" in told
    assert f"receivers.otlp.protocols.http.tls: cannot read {tmp_path}/cert.pem" in told
    assert re.search(r"exporters.otlp_grpc.endpoint: \S+ is receivers.otlp.protocols.grpc of this same service", told)

    path = config_file({"connectors": {"ml_monitor": {"models": {"fraud": {"reference": "nowhere.json"}}}}})
    assert main(["validate", "--config", path]) == 2
    assert f"models.fraud.reference: {tmp_path}/nowhere.json cannot be read" in capsys.readouterr().err


def test_a_reference_that_says_something_else_than_the_file_is_told(
    config_file: Callable[..., str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert build(tmp_path, "csv", *OUTPUTS, "--segments", "plan")[0] == 0
    model = {"reference": "churn.json", "task": "regression", "segments": ["plan", "shop"]}
    assert (
        main(["validate", "--config", config_file({"connectors": {"ml_monitor": {"models": {"churn": model}}}})]) == 2
    )
    told = capsys.readouterr().err
    assert "models.churn.task: regression, but its reference was built for binary_classification" in told
    assert "models.churn.segments: shop not in its reference, which has: plan" in told


# --- serve ---------------------------------------------------------------------------------------------------
def test_serve_refuses_a_bad_file_and_a_used_address_with_the_key(
    config_file: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    bad = command("serve", "--config", config_file({"exporters": {"prometheus": {"endpont": "x"}}}))
    assert bad.returncode == 2
    assert "exporters.prometheus.endpont: unknown key; allowed: endpoint" in bad.stderr
    assert "Traceback" not in bad.stderr
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        for changes, key in (
            ({"receivers": {"otlp": {"protocols": {"http": {"endpoint": address}}}}}, "receivers.otlp.protocols.http"),
            ({"exporters": {"prometheus": {"endpoint": address}}}, "exporters.prometheus.endpoint"),
            ({"extensions": {"health_check": {"endpoint": address}}}, "extensions.health_check.endpoint"),
            ({"service": {"telemetry": {"metrics": {"endpoint": address}}}}, "service.telemetry.metrics.endpoint"),
        ):
            assert main(["serve", "--config", config_file(changes)]) == 1
            assert (
                capsys.readouterr().err.lower() == f"error: {key}: cannot listen on {address}: address already in use\n"
            )


# --- demo ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("duration", "told"),
    [
        ("5s", "--duration: 5s is too short for a year; allowed: at least 10s"),
        ("5x", "--duration: '5x' is not a duration"),
    ],
)
def test_a_demo_that_cannot_be_as_long_as_asked_is_refused(
    duration: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--no-live", "--duration", duration]) == 2
    assert told in capsys.readouterr().err


def test_a_demo_whose_port_is_taken_says_so_before_it_trains(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["demo", "--no-live", "--port", str(port)]) == 1
    told = capsys.readouterr()
    assert told.err.lower() == f"error: --port: cannot listen on localhost:{port}: address already in use\n"
    assert told.out == ""


# --- reference -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["csv", "parquet", "arrow"])
def test_a_reference_is_built_from_a_table_with_labels_and_segments_and_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    options = (*OUTPUTS, "--positive-class", "leaves", "--segments", "region", "--categorical", "age")
    code, out = build(tmp_path, kind, *options)
    assert code == 0
    assert f"{out}: 500 rows, 6 columns" in capsys.readouterr().err
    reference = load_reference(out)
    schema, table = reference.schema, customers().to_pydict()
    assert (schema.task, schema.positive_class) == ("binary_classification", "leaves")
    assert [(spec.role, spec.name) for spec in schema.columns] == [
        ("score", "score"), ("feature", "age"), ("feature", "plan"), ("feature", "region"),
        ("prediction", "prediction"), ("label", "label"),
    ]  # fmt: skip
    assert schema.groups.names(0) == sorted({*table["region"]}, key=lambda name: (-table["region"].count(name), name))
    right = sum(said == true for said, true in zip(table["predicted"], table["left"], strict=True))
    assert reference.pane.outcomes.by_class[0, 0].sum() == right
    assert "north" in json.dumps(json.loads(out.read_text())["segments"])

    assert main(["reference", "show", str(out)]) == 0
    shown = capsys.readouterr().out
    for text in ("churn", "binary_classification", "leaves", "region", "500", f"customers.{kind}", "basic"):
        assert text in shown
    # Piped, a column is a line, however long.
    assert re.search(
        r"^region +feature +categorical +0.00% +\w+ [\d.]+%, \w+ [\d.]+%, \w+ [\d.]+%", shown, re.MULTILINE
    )


@pytest.mark.parametrize(
    ("columns", "options", "said"),
    [
        (
            {"target": [0, 1] * 100},
            (),
            ["'target' became a feature, but looks", "no labels:", "no pred"],
        ),
        ({"Y": [0, 1] * 100}, (), ["'Y' became a feature, but looks like the label: if it is, pass --label Y"]),
        ({"proba": [0.5] * 200}, (), ["'proba' became a feature, but looks like the score"]),
        ({"y_pred": [0, 1] * 100, "y": [0, 1] * 100}, ("--label", "y"), ["'y_pred' became a feature, but looks like"]),
        ({"customer": [f"c{row}" for row in range(200)]}, (), ["a different text in every row", "'customer'"]),
        ({"p": [0, 1] * 100, "t": [0, 1] * 100}, ("--label", "t", "--prediction", "p"), []),
    ],
)
def test_what_a_table_seems_to_miss_is_said_when_the_reference_is_built(
    tmp_path: Path,
    columns: dict[str, Any],
    options: Sequence[str],
    said: Sequence[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = tmp_path / "table.parquet"
    pa.parquet.write_table(pa.table({"age": list(range(200)), **columns}), data)
    arguments = ["reference", "build", str(data), "--model", "m", "--out", str(tmp_path / "m.json"), *options]
    assert main(arguments) == 0
    shown = capsys.readouterr().err
    assert all(text in shown for text in said)
    assert len(shown.splitlines()) == 1 or said


def test_a_regression_is_told_by_its_values(tmp_path: Path) -> None:
    data, out = tmp_path / "flats.csv", tmp_path / "price.json"
    data.write_text("rooms,price,paid\n" + "\n".join(f"{row % 5},{row}.5,{row}.25" for row in range(200)))
    options = ("--prediction", "price", "--label", "paid", "--out", str(out))
    assert main(["reference", "build", str(data), "--model", "price", *options]) == 0
    reference = load_reference(out)
    assert reference.schema.task == "regression"
    count, absolute = reference.pane.outcomes.errors[0, :2]
    assert absolute / count == 0.25


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--label", "lef"), "no column 'lef' for label; it has: age, plan, region, probability, predicted, left"),
        (("--segments", "area"), "no column 'area' for segments; it has: age, plan"),
        (("--features", "age,height"), "no column 'height' for features; it has: age, plan"),
        (("--score", "plan"), "score must be numbers, has texts such as"),
        ((*OUTPUTS, "--positive-class", "gone"), "no class 'gone'; available: leaves, stays"),
        ((*OUTPUTS, "--categorical", "weight"), "no feature 'weight'; available: age, plan, region"),
    ],
)
def test_a_reference_that_cannot_be_built_is_told_in_the_users_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: Sequence[str], told: str
) -> None:
    code, out = build(tmp_path, "csv", *options)
    assert code == 2
    assert told in capsys.readouterr().err
    assert not out.exists()


def test_a_table_that_is_not_there_and_a_place_to_write_that_is_none_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = str(tmp_path / "nowhere.csv")
    assert main(["reference", "build", missing, "--model", "m", "--out", str(tmp_path / "m.json")]) == 1
    assert capsys.readouterr().err == f"error: {missing}: No such file or directory\n"
    assert build(tmp_path, "csv", "--out", str(tmp_path / "nowhere" / "m.json"))[0] == 1
    assert f"--out: folder {tmp_path / 'nowhere'} does not exist" in capsys.readouterr().err
    (tmp_path / "table.xlsx").write_text("x")
    assert main(["reference", "build", str(tmp_path / "table.xlsx"), "--model", "m", "--out", missing]) == 2
    assert "unknown format; allowed: .parquet" in capsys.readouterr().err


def test_showing_what_is_no_reference_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "other.json").write_text('{"format": "other"}')
    assert main(["reference", "show", str(tmp_path / "other.json")]) == 2
    assert f"{tmp_path / 'other.json'}" in capsys.readouterr().err
    assert main(["reference", "show", str(tmp_path / "nowhere.json")]) == 1
    assert capsys.readouterr().err == f"error: {tmp_path / 'nowhere.json'}: No such file or directory\n"


# --- docs ----------------------------------------------------------------------------------------------------
def test_the_reference_pages_are_those_of_the_code() -> None:
    line = [sys.executable, str(ROOT / "docs" / "build.py"), "--check"]
    answer = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert (answer.returncode, answer.stdout) == (0, "up to date\n")


# --- verify ----------------------------------------------------------------------------------------------------
VERIFY = ("--years", "1", "--runs", "2", "--rows", "50")


@pytest.fixture(scope="module")
def profile(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verify")
    pa.parquet.write_table(customers(2000), str(folder / "t.parquet"))
    out = str(folder / "churn.json")
    assert main(["reference", "build", str(folder / "t.parquet"), "--model", "churn", "--out", out, *OUTPUTS]) == 0
    return out


def test_verify_says_in_one_sentence_whether_the_promise_holds(profile, capsys):
    assert main(["verify", "--reference", profile, *VERIFY]) == 0
    text = capsys.readouterr().out
    assert re.match(r"Promised 1 false alarm a year; measured [01] in 1 simulated year of 6 columns at 50 rows", text)
    assert re.search(r"mean \+ 1 standard deviation +2 of 2 +[\d.]+ min +\d+", text)
    assert "2 % of rows in a new category" in text


def test_verify_prints_json(profile, capsys):
    assert main(["verify", "--reference", profile, "--json", "--false-alarms", "2 per month", *VERIFY]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["model"], found["years"], found["kept"]) == ("churn", 1, True)
    assert found["promised_per_year"] == pytest.approx(24.0, rel=0.02)
    assert {each["runs"] for each in found["delays"]} == {2}


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--false-alarms", "often", "--false-alarms: 'often' is not a rate; write a number per day, week"),
        ("--false-alarms", "0", "--false-alarms is 0, which raises no alarms; there is nothing to verify"),
        ("--tolerance", "2", "--tolerance: Input should be less than 0.5"),
        ("--years", "0", "argument --years: 0 is not from 1 to 100"),
        ("--rows", "nan", "argument --rows: nan is not above 0 and at most 1,000,000"),
    ],
)
def test_verify_refuses_what_it_cannot_do(profile, capsys, option, value, message):
    try:
        code = main(["verify", "--reference", profile, option, value])
    except SystemExit as exit_:
        code = exit_.code
    assert code == 2
    assert message in capsys.readouterr().err


def test_verify_names_a_profile_that_is_none(tmp_path, capsys):
    path = tmp_path / "bad.json"
    assert main(["verify", "--reference", str(path)]) == 1
    assert "bad.json: No such file or directory" in capsys.readouterr().err
    path.write_text("{")
    assert main(["verify", "--reference", str(path)]) == 2
    assert "bad.json: not JSON" in capsys.readouterr().err


def test_validate_says_nothing_of_models_without_a_reference_where_each_has_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m.csv").write_text("a,y\n" + "".join(f"{i},{i % 2}\n" for i in range(200)))
    build = ["reference", "build", str(tmp_path / "m.csv"), "--model", "m", "--out", str(tmp_path / "m.json")]
    assert main([*build, "--prediction", "y", "--label", "y"]) == 0
    traces, metrics = "receivers: [otlp], exporters: [ml_monitor]", "receivers: [ml_monitor], exporters: [prometheus]"
    for others, learned in (("", False), (", n: { task: regression }", True)):
        (tmp_path / "c.yaml").write_text(
            f"receivers: {{ otlp: {{ protocols: {{ grpc: }} }} }}\nexporters: {{ prometheus: }}\n"
            f"connectors: {{ ml_monitor: {{ models: {{ m: {{ reference: m.json }}{others} }} }} }}\n"
            f"service: {{ pipelines: {{ traces: {{ {traces} }}, metrics: {{ {metrics} }} }} }}\n"
        )
        capsys.readouterr()
        assert main(["validate", str(tmp_path / "c.yaml")]) == 0
        assert ("without a reference file" in capsys.readouterr().out) == learned
