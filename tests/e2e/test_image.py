"""The Dockerfile without Docker: its commands in a prefix of their own, and the result as its container would run it.

No engine builds images here, so the steps of the builder run on this machine's Python, and the last stage is played
with namespaces: another user than root, no capability but to read, a read-only root, the first process of its own.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests
import yaml
from stack import ROOT, free_port, samples, wait
from traffic import make_rows, model, send_rows

DOCKERFILE = ROOT / "deploy" / "Dockerfile"
PREFIX = "/opt/otel-ml"
USER = 10001
BUILD_S = 600


def lines() -> list[str]:
    text = re.sub(r"(?m)^\s*#.*\n", "", DOCKERFILE.read_text(encoding="utf-8"))
    return re.sub(r"\\\n", " ", text).splitlines()


def copied(sources: list[str], to: Path) -> None:
    """What COPY does, without what .dockerignore leaves out."""
    for source in sources:
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, to / source, ignore=shutil.ignore_patterns("*.so", "*.c", "__pycache__"))
        else:
            shutil.copy(ROOT / source, to)


def built(folder: Path) -> Path:
    """Runs the builder's stage but for apt, the compiler in a hurry; gives the prefix."""
    prefix, source = folder / "otel-ml", folder / "src"
    source.mkdir()
    arguments: dict[str, str] = {}
    for line in lines()[: lines().index("FROM python:${PYTHON}")]:
        word, _, rest = line.partition(" ")
        if word == "ARG":
            arguments |= dict([rest.split("=", 1)])
        elif word == "COPY":
            copied(rest.split()[:-1], source)
        elif word == "RUN" and "apt-get" not in rest:
            command = rest.replace(PREFIX, str(prefix))
            command = re.sub(r"^python |^pip ", lambda found: f"{sys.executable} {_module(found[0])}", command)
            done = subprocess.run(
                ["sh", "-ec", command], cwd=source, env=os.environ | arguments | {"CFLAGS": "-O0", "PIP_QUIET": "1"},
                capture_output=True, text=True, timeout=BUILD_S, check=False,
            )  # fmt: skip
            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return prefix


def _module(word: str) -> str:
    return "-m pip " if word == "pip " else ""


class Contained:
    """``otel-ml serve`` as PID 1 of namespaces of its own; ``state`` is all that it may write to."""

    def __init__(self, folder: Path, prefix: Path, config: Path) -> None:
        self._state = folder / "state"
        self._state.mkdir()
        os.chown(self._state, USER, USER)
        self._log = folder / "log.txt"
        # The state is bound before the root turns read-only, and stays writable.
        root = f"mount --make-rprivate / && mount --bind {self._state} {self._state} && mount -o remount,bind,ro /"
        user = (
            f"setpriv --reuid={USER} --regid={USER} --clear-groups --no-new-privs --bounding-set=-all,+dac_read_search "
            "--inh-caps=-all,+dac_read_search --ambient-caps=-all,+dac_read_search"
        )
        self._prefix = [
            "unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-ec", f'{root} && exec {user} "$@"', "sh",
        ]  # fmt: skip
        command = [str(prefix / "bin" / "otel-ml"), "serve", "--config", str(config)]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*self._prefix, *command], stdout=log, stderr=log, cwd=self._state,
                env={"PATH": f"{prefix}/bin:/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"},
            )  # fmt: skip

    def run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        """Another command under the same conditions."""
        return subprocess.run([*self._prefix, *command], capture_output=True, text=True, timeout=60, check=False)

    @property
    def service(self) -> psutil.Process:
        [child] = psutil.Process(self._process.pid).children()
        return child

    def alive(self) -> bool:
        assert self._process.poll() is None, self.log_text()
        return True

    def log_text(self) -> str:
        return self._log.read_text(errors="replace")

    def terminate(self) -> int:
        self.service.send_signal(signal.SIGTERM)
        return self._process.wait(60)

    def close(self) -> None:
        self._process.kill()
        self._process.wait(10)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    if os.geteuid() != 0 or not (shutil.which("unshare") and shutil.which("setpriv")):
        pytest.skip("playing a container needs root, unshare and setpriv")
    # Not pytest's own folder, which nobody but its owner may enter.
    folder = Path(tempfile.mkdtemp(prefix="otel-ml-image-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.timeout(2 * BUILD_S)
def test_what_the_dockerfile_builds_runs_confined_and_drains_as_the_first_process(folder: Path) -> None:
    prefix = built(folder)
    assert not list(prefix.glob("bin/pip*"))
    ports = {number: str(free_port()) for number in ("4317", "4318", "8888", "9464", "13133")}
    text = re.sub(r"0\.0\.0\.0:(\d+)", lambda found: f"localhost:{ports[found[1]]}", config_text())
    config = folder / "otel-ml.yaml"
    config.write_text(text.replace("/var/lib/otel-ml", str(folder / "state")))
    contained = Contained(folder, prefix, config)
    try:
        wait(lambda: contained.alive() and requests.get(f"http://localhost:{ports['13133']}/", timeout=5).ok)
        assert contained.service.uids().effective == USER
        assert contained.run(["touch", f"{prefix}/x", "/tmp/x"]).returncode != 0
        assert contained.run(["id", "-u"]).stdout.strip() == str(USER)

        [check] = [line.partition("CMD ")[2] for line in lines() if line.startswith("HEALTHCHECK ")]
        healthy = [part.replace(PREFIX, str(prefix)).replace("13133", ports["13133"]) for part in json.loads(check)]
        assert contained.run(healthy).returncode == 0

        with model(int(ports["4317"])) as sender:
            send_rows(sender, make_rows(50, seed=1))
        rows = ("otel_ml_rows_total", {"model": "fraud@1"}, 50.0)
        wait(lambda: rows in samples(int(ports["8888"])))
        assert contained.terminate() == 0, contained.log_text()
    finally:
        contained.close()
    assert "stopped" in contained.log_text()
    kept = list((folder / "state").iterdir())
    assert kept
    assert {file.stat().st_uid for file in kept} == {USER}


def config_text() -> str:
    text = (ROOT / "deploy" / "otel-ml.yaml").read_text(encoding="utf-8")
    assert yaml.safe_load(text)
    return text
