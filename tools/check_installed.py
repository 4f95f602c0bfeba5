"""Checks an installed otel-ml: every part is compiled, the command runs, and the README's Python example emits.

Run it with the Python of the environment, from anywhere: ``python tools/check_installed.py``. It needs the extra
``processor``. cibuildwheel runs it for each wheel, and tests/e2e/test_wheel.py for what ``make wheel`` builds.
"""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("otel_ml", "collector_processor")


def main() -> None:
    """Exit with what is wrong, or print that it works."""
    for package in PACKAGES:
        spec = find_spec(package)
        home = None if spec is None or spec.origin is None else Path(spec.origin).parent
        require(home is not None and not home.is_relative_to(ROOT), f"{package} is not installed, or is the tree's")
        require(home is not None and (home / "py.typed").exists(), f"{package} lacks py.typed")
    require(run("--version") == f"otel-ml {version('otel-ml')}\n", "otel-ml --version does not print the version")
    components = run("components")
    require("compiled part" in components and "not built" not in components, f"parts are missing:\n{components}")
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)
    exec(compile(blocks[0], "README.md", "exec"), {})  # noqa: S102 - our own page
    sys.stdout.write(f"otel-ml {version('otel-ml')} works\n")


def require(condition: bool, message: str) -> None:
    """Exit with a message unless the condition holds."""
    if not condition:
        sys.exit(message)


def run(*arguments: str) -> str:
    """Return what the installed ``otel-ml`` prints."""
    command = Path(sysconfig.get_path("scripts")) / "otel-ml"
    return subprocess.run([str(command), *arguments], check=True, capture_output=True, text=True).stdout  # noqa: S603


if __name__ == "__main__":
    main()
