"""Every framework has a page in docs/frameworks, and what it shows runs and prints what it says, where it is installed.

This file needs nothing but otel_ml: it also runs in the environments of `make frameworks`.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import re
from pathlib import Path
from typing import Any

import pytest

from otel_ml import frameworks, problems
from otel_ml.frameworks.framework import FrameworkInstrumentor
from otel_ml.testing import capture

PAGES = Path(__file__).parents[3] / "docs" / "frameworks"
NAMES = sorted(path.parent.name for path in Path(frameworks.__file__).parent.glob("*/__init__.py"))
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def instrumentor_of(name: str) -> FrameworkInstrumentor[Any]:
    module = importlib.import_module(f"otel_ml.frameworks.{name}")
    [found] = {
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, FrameworkInstrumentor) and value is not FrameworkInstrumentor
    }
    return found()


@pytest.mark.parametrize("name", NAMES)
def test_each_framework_has_a_page_and_a_row_of_the_table(name: str) -> None:
    assert (PAGES / f"{name}.md").exists()
    assert f"]({name}.md)" in (PAGES / "README.md").read_text(encoding="utf-8")


@pytest.mark.filterwarnings("default")  # a library's own
@pytest.mark.parametrize("name", NAMES)
def test_the_page_runs_and_prints_what_it_says(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    instrumentor = instrumentor_of(name)
    pytest.importorskip(instrumentor.module.partition(".")[0], exc_type=ImportError)
    monkeypatch.chdir(tmp_path)
    problems.forget()
    page, printed, ran = PAGES / f"{name}.md", "", 0
    namespace: dict[str, Any] = {"__name__": "__main__"}
    text = page.read_text(encoding="utf-8")
    try:
        with capture():
            for block in BLOCK.finditer(text):
                language, code = block.groups()
                if language == "text" and printed:
                    assert printed.split("\n") == code.split("\n")
                elif language == "python":
                    line = text.count("\n", 0, block.start()) + 1
                    output = io.StringIO()
                    with contextlib.redirect_stdout(output):
                        exec(compile("\n" * line + code, str(page), "exec"), namespace)
                    printed, ran = output.getvalue(), ran + 1
    finally:
        for each in map(instrumentor_of, NAMES):  # a server's page has a library's, too
            if each.is_instrumented_by_opentelemetry:
                each.uninstrument()
    assert ran
