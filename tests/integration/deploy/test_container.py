"""The Dockerfile and the compose file: what their own tools say, and that they fit what they refer to."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from collector_processor.cli import main as cli
from collector_processor.config import load_config
from collector_processor.extensions.health_check.server import HealthServer

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
DOCKERFILE = DEPLOY / "Dockerfile"
TOOLS = ROOT / ".tools" / "bin"
OURS = sorted(DEPLOY.rglob("otel-ml.yaml"))
PINNED = re.compile(r"[\w./-]+:v?\d+(\.\d+)+[\w.-]*")


def instructions(name: str) -> Iterator[str]:
    """The arguments of every such instruction, continued lines joined."""
    text = re.sub(r"\\\n", " ", re.sub(r"(?m)^\s*#.*\n", "", DOCKERFILE.read_text(encoding="utf-8")))
    for line in text.splitlines():
        if line.startswith(f"{name} "):
            yield line.removeprefix(f"{name} ").strip()


def tool(name: str) -> str:
    """The path of a tool of ``make tools`` or of this machine; skips where there is neither."""
    found = shutil.which(name, path=f"{TOOLS}{os.pathsep}{os.environ['PATH']}")
    if found is None:
        pytest.skip(f"{name} is neither built (make tools) nor on this machine")
    return found


def checked(*command: str, **more: Any) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **more)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("file", OURS, ids=lambda file: str(file.relative_to(DEPLOY)))
def test_our_configurations_are_accepted_and_reachable_from_outside(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = load_config(file)
    if not any(name.startswith("bearertokenauth") for name in config.extensions):  # their files are elsewhere
        assert cli.main(["validate", "--config", str(file)]) == 0
        assert "not used" not in capsys.readouterr().out
    assert not config.unused
    protocols = config.receivers["otlp"].protocols
    assert protocols.grpc is not None
    assert protocols.http is not None
    assert str(config.extensions["file_storage"].directory) == "/var/lib/otel-ml"
    addresses = (
        protocols.grpc.endpoint,
        protocols.http.endpoint,
        config.extensions["health_check"].endpoint,
        config.admin.endpoint,
    )
    assert addresses == ("0.0.0.0:4317", "0.0.0.0:4318", "0.0.0.0:13133", "0.0.0.0:8888")


def test_hadolint_finds_nothing() -> None:
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert hadolint is not None
    assert checked(hadolint, str(DOCKERFILE)) == ""


def test_the_image_has_pinned_bases_a_user_by_number_and_commands_without_a_shell() -> None:
    [python] = [argument for argument in instructions("ARG") if argument.startswith("PYTHON=")]
    assert PINNED.fullmatch(f"python:{python.removeprefix('PYTHON=')}")
    assert [base.partition(" ")[0] for base in instructions("FROM")] == ["python:${PYTHON}"] * 2
    assert list(instructions("USER")) == ["10001:10001"]
    assert list(instructions("STOPSIGNAL")) == ["SIGTERM"]
    [entrypoint], [command] = instructions("ENTRYPOINT"), instructions("CMD")
    arguments = json.loads(entrypoint) + json.loads(command)
    assert arguments[0] == "otel-ml"
    assert cli.parser_of(None).parse_args(arguments[1:]).config == Path("/etc/otel-ml/otel-ml.yaml")


def test_every_port_of_the_configuration_is_exposed() -> None:
    [exposed] = instructions("EXPOSE")
    listened = re.findall(r"0\.0\.0\.0:(\d+)", (DEPLOY / "otel-ml.yaml").read_text(encoding="utf-8"))
    assert sorted(exposed.split()) == sorted(listened)


def test_the_health_check_tells_well_from_ill_without_curl() -> None:
    [check] = [argument.partition("CMD ")[2] for argument in instructions("HEALTHCHECK")]
    command = json.loads(check)
    assert command[0] == "/opt/otel-ml/bin/python"
    status = "the statistics thread has stopped"
    health = HealthServer("localhost:0", lambda: status)
    health.start()

    def code() -> int:
        asked = [part.replace("13133", str(health.port)) for part in command[1:]]
        return subprocess.run([sys.executable, *asked], stderr=subprocess.DEVNULL, timeout=30, check=False).returncode

    assert code() != 0
    status = ""
    assert code() == 0
    health.stop()
    assert subprocess.run([sys.executable, *command[1:]], stderr=subprocess.DEVNULL, timeout=30, check=False).returncode


def test_what_is_copied_exists_and_is_not_ignored() -> None:
    kept = [
        line.removeprefix("!")
        for line in (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
        if line.startswith("!")
    ]
    sources = [
        source
        for arguments in instructions("COPY")
        if not arguments.startswith("--from")
        for source in arguments.split()[:-1]
    ]
    assert set(sources) == set(kept)
    for source in sources:
        assert (ROOT / source).exists(), source


def test_what_the_package_is_built_from_is_not_ignored() -> None:
    ignored = [
        line
        for line in (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
        if line.startswith("**/")
    ]
    for file in (ROOT / "collector_processor").rglob("*.p[yx][xi]"):
        assert not any(fnmatch(file.name, pattern.removeprefix("**/")) for pattern in ignored), file


def test_versions_are_pinned_for_everything_that_the_extras_need() -> None:
    lines = (DEPLOY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = {Requirement(line).name.lower().replace("_", "-"): line for line in lines if not line.startswith("#")}
    assert all("==" in line for line in pins.values())
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    [extras] = [argument.removeprefix("EXTRAS=") for argument in instructions("ARG") if argument.startswith("EXTRAS=")]
    for extra in extras.split(","):
        listed = re.search(rf"(?ms)^{extra} = \[(.*?)\]\s*$", pyproject)
        assert listed is not None, extra
        for text in re.findall(r'"([^"]+)"', listed[1]):
            wanted = Requirement(text)
            if wanted.name != "otel-ml":
                assert wanted.name.lower() in pins, wanted
                assert wanted.specifier.contains(Requirement(pins[wanted.name.lower()]).specifier.__str__()[2:]), wanted


# --- compose -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))


def test_the_compose_file_fits_the_specification() -> None:
    project = json.loads(checked(tool("compose-spec"), "-format", "json", str(DEPLOY / "compose.yaml")))
    assert len(project["services"]) == 8


def test_images_are_pinned_and_nothing_listens_beyond_this_machine(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert PINNED.fullmatch(service["image"]), name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), name
        assert service["read_only"], name


def test_files_services_and_volumes_that_are_named_exist(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert set(service.get("depends_on", ())) <= set(compose["services"]), name
        for mount in service.get("volumes", ()):
            source = mount["source"] if isinstance(mount, dict) else mount.partition(":")[0]
            there = (DEPLOY / source).exists() if source.startswith(".") else source in compose["volumes"]
            assert there, f"{name}: {source}"


def test_only_the_service_itself_is_asked_whether_it_is_well(compose: dict[str, Any]) -> None:
    """The image's own check would call every other container of it unhealthy."""
    ours = {name: service for name, service in compose["services"].items() if service["image"].startswith("otel-ml:")}
    checked_ones = {name for name, service in ours.items() if not service.get("healthcheck", {}).get("disable")}
    assert checked_ones == {"otel-ml"}


def test_addresses_between_the_services_meet(compose: dict[str, Any]) -> None:
    listened = {
        "otel-ml": {4317, 4318, 8888, 13133},
        "collector": {4317, 4318, 4517, 8888},
        "jaeger": {4317, 16686},
        "prometheus": {9090},
        "alertmanager": {9093},
        "grafana": {3000},
    }
    texts = [(DEPLOY / "compose.yaml").read_text(encoding="utf-8")]
    texts += [file.read_text(encoding="utf-8") for file in (DEPLOY / "compose").iterdir()]
    found = re.findall(rf"\b({'|'.join(compose['services'])}):(\d{{4,5}})\b", "\n".join(texts))
    assert len(found) >= 8
    for host, port in found:
        assert int(port) in listened[host], f"{host}:{port}"
    environment = compose["services"]["collector"]["environment"]
    asked = re.findall(r"\$\{env:(\w+)", (ROOT / "otel-collector.yaml").read_text(encoding="utf-8"))
    assert set(environment) == set(asked)
    assert environment["OTEL_ML_ENDPOINT"] == "otel-ml:4317"


def test_commands_of_ours_in_the_compose_file_parse(compose: dict[str, Any]) -> None:
    [script] = compose["services"]["generate"]["command"]
    lines = [line.split() for line in script.strip().splitlines()]
    assert [line[1] for line in lines] == ["dashboards", "rules"]
    for words in lines:
        assert words[0] == "otel-ml"
        assert cli.parser_of(None).parse_args(words[1:]).config == Path("/etc/otel-ml/otel-ml.yaml")


def test_dashboards_and_rules_are_generated_where_they_are_looked_for(compose: dict[str, Any], tmp_path: Path) -> None:
    [script] = compose["services"]["generate"]["command"]
    for line in script.strip().splitlines():
        here = line.replace("/etc/otel-ml/", f"{DEPLOY}/compose/").replace("/generated", str(tmp_path))
        assert cli.main(here.split()[1:]) == 0
    grafana = compose["services"]["grafana"]
    assert grafana["environment"]["GF_PATHS_PROVISIONING"] == "/generated/dashboards/provisioning"
    provisioning = tmp_path / "dashboards" / "provisioning"
    [provider] = yaml.safe_load((provisioning / "dashboards" / "otel-ml.yaml").read_text())["providers"]
    [mount] = [volume for volume in grafana["volumes"] if isinstance(volume, dict)]
    assert mount["target"] == provider["options"]["path"]
    home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (tmp_path / "dashboards" / Path(home).name).exists()
    sources = (provisioning / "datasources" / "otel-ml.yaml").read_text()
    assert set(re.findall(r"\$(\w+)", sources)) <= set(grafana["environment"])
    rules = yaml.safe_load((DEPLOY / "compose" / "prometheus.yaml").read_text())["rule_files"]
    assert [(tmp_path / Path(rule).relative_to("/generated")).exists() for rule in rules] == [True]


def test_promtool_accepts_the_configuration_of_prometheus(tmp_path: Path) -> None:
    if not (TOOLS / "promtool").exists():
        pytest.skip("promtool of Prometheus 3 is not built (make tools)")
    text = (DEPLOY / "compose" / "prometheus.yaml").read_text(encoding="utf-8")
    rules = tmp_path / "rules.yaml"
    assert cli.main(["rules", "--config", str(DEPLOY / "compose" / "otel-ml.yaml"), "--out", str(rules)]) == 0
    config = tmp_path / "prometheus.yaml"
    config.write_text(text.replace("/generated/rules.yaml", str(rules)))
    checked(str(TOOLS / "promtool"), "check", "config", str(config))


def test_amtool_accepts_the_configuration_of_alertmanager() -> None:
    checked(tool("amtool"), "check-config", str(DEPLOY / "compose" / "alertmanager.yaml"))


def test_the_collector_accepts_its_files_laid_over_each_other(compose: dict[str, Any]) -> None:
    files = [ROOT / "otel-collector.yaml", DEPLOY / "compose" / "collector.yaml"]
    mounted = [volume.partition(":")[0] for volume in compose["services"]["collector"]["volumes"]]
    assert [(DEPLOY / name).resolve() for name in mounted] == files
    environment = os.environ | compose["services"]["collector"]["environment"]
    checked(tool("otelcol"), "validate", *(f"--config={file}" for file in files), env=environment)
