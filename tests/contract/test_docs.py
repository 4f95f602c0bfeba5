"""What the pages say is true: code runs, commands parse, links lead somewhere, and every name in them exists."""

from __future__ import annotations

import ast
import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import pytest
import yaml
from opentelemetry.sdk.trace import TracerProvider
from scipy.stats import norm

import collector_processor
import otel_ml
from collector_processor.cli import main as cli
from collector_processor.components import ENTRY_POINTS
from collector_processor.config import parse_config
from collector_processor.config.load import DEFAULT, SECTIONS
from collector_processor.drift import drift_method
from collector_processor.drift.method import Comparison
from collector_processor.exporters.naming import prometheus_name
from collector_processor.generate.catalog import Catalog
from collector_processor.labels.join import Fate
from collector_processor.monitors import monitor_metrics
from collector_processor.monitors.predictions import PREDICTIONS
from collector_processor.own.drops import DROPS
from collector_processor.own.telemetry import Telemetry
from otel_ml import config, semconv
from otel_ml.frameworks.sklearn import ENV_METHODS, SklearnInstrumentor
from otel_ml.testing import capture

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [
        *(
            page
            for folder in (".", "docs", "docs/adr", "docs/frameworks", "docs/methods", "docs/runbooks", "examples")
            for page in (ROOT / folder).glob("*.md")
        ),
        ROOT / "changes" / "README.md",
    ]
)
EACH_PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
RUNNING_PAGES = [
    ROOT / "docs" / f"{name}.md"
    for name in (
        "instrumentation",
        "labels",
        "troubleshooting",
        "dashboards",
        "alerts",
        "methods/attributions",
        "frameworks/README",
    )
]
REFERENCES = ROOT / "docs" / "references.md"
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ANSWERING = ("reference", "components", "dashboards", "rules")
"""Commands of ours that end by themselves and need no file that is not on the page."""
TO_COME = ("ml.fairness.", "ml.multivariate.", "ml.concept.")
"""Families that the contract reserves and nothing derives yet."""


class Block(NamedTuple):
    """One fenced block of a page; ``follows`` says whether nothing but blank lines stands before it."""

    page: Path
    line: int
    language: str
    text: str
    follows: bool


def blocks(page: Path) -> Iterator[Block]:
    text, end = page.read_text(encoding="utf-8"), 0
    for found in FENCE.finditer(text):
        follows = end > 0 and not text[end : found.start()].strip()
        yield Block(page, text.count("\n", 0, found.start()) + 2, found[1], found[2], follows)
        end = found.end()


def commands(block: Block) -> Iterator[list[str]]:
    """The commands of a block of shell, variables before them and comments behind them left out."""
    for line in block.text.replace("\\\n", " ").splitlines():
        for part in line.split(" | "):
            words = shlex.split(part, comments=True)
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                words = words[1:]
            if words:
                yield words


# --- what the pages show runs --------------------------------------------------------------------------------


def run_page(page: Path, folder: Path) -> None:
    """Runs Python and our own commands in order in a folder, and compares what follows them with what they print."""
    namespace: dict[str, Any] = {"__name__": page.stem}
    with working_in(folder), capture():
        printed = ""
        for block in blocks(page):
            if block.language == "text" and block.follows:
                assert tidy(printed) == tidy(block.text), f"{page}:{block.line}"
            elif block.language in ("python", "sh"):
                printed = output(block, namespace)
        for name, value in namespace.items():
            if name.startswith("test_"):
                value()
    for value in namespace.values():
        if isinstance(value, TracerProvider):
            value.shutdown()


@contextlib.contextmanager
def working_in(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def output(block: Block, namespace: dict[str, Any]) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        if block.language == "python":
            exec(compile("\n" * (block.line - 1) + block.text, str(block.page), "exec"), namespace)
        else:
            for words in commands(block):
                if words[0] == "mkdir":
                    Path(words[-1]).mkdir(exist_ok=True)
                elif words[:1] == ["otel-ml"] and words[1] in ANSWERING:
                    assert cli.main(words[1:]) == 0, printed.getvalue()
    return printed.getvalue()


def tidy(text: str) -> list[str]:
    """Lines with every time the same, and without what only aligns them."""
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", "<time>", text)
    return [re.sub(r" {2,}", "  ", line.strip()) for line in text.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def surroundings() -> Iterator[None]:
    """No variable of the machine's own, a terminal of 110 columns, and scikit-learn as it was."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith("OTEL_"):
                patch.delenv(name)
        patch.setenv("COLUMNS", "110")
        yield
    if SklearnInstrumentor().is_instrumented_by_opentelemetry:
        SklearnInstrumentor().uninstrument()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, surroundings: None) -> Path:
    """Where the page on references was followed: with its table and the profile that it builds."""
    folder = tmp_path_factory.mktemp("pages")
    run_page(REFERENCES, folder)
    return folder


def test_the_page_on_references_runs_and_prints_what_it_says(folder: Path) -> None:
    assert {file.name for file in folder.iterdir()} == {"train.parquet", "references"}


@pytest.mark.parametrize("page", RUNNING_PAGES, ids=lambda page: page.stem)
def test_the_page_runs_and_prints_what_it_says(page: Path, folder: Path) -> None:
    if page.stem in ("dashboards", "alerts"):
        pytest.importorskip("grafana_foundation_sdk")  # it needs Python 3.11
    run_page(page, folder)


@pytest.mark.parametrize(
    "untrue",
    [
        "```python\nprint(1)\n```\n\n```text\n2\n```\n",
        "```python\nnowhere\n```\n",
        "```python\ndef test_it():\n    assert not True\n```\n",
        "```sh\notel-ml reference show nowhere.json\n```\n",
    ],
    ids=["output", "name", "test", "command"],
)
def test_a_page_that_is_not_true_is_found(tmp_path: Path, untrue: str, surroundings: None) -> None:
    page = tmp_path / "page.md"
    page.write_text(untrue, encoding="utf-8")
    with pytest.raises((AssertionError, NameError)):
        run_page(page, tmp_path)


def test_no_page_with_python_is_left_out() -> None:
    with_python = {page for page in PAGES if any(block.language == "python" for block in blocks(page))}
    # The README has a test of its own, and each framework's page runs where the framework is installed.
    frameworks = set((ROOT / "docs" / "frameworks").glob("*.md"))
    assert with_python <= {*RUNNING_PAGES, REFERENCES, ROOT / "README.md", *frameworks}


def merged(base: Any, part: Any) -> Any:
    if not isinstance(base, Mapping) or not isinstance(part, Mapping):
        return part
    return {**base, **{key: merged(base.get(key), value) for key, value in part.items()}}


@EACH_PAGE
def test_yaml_is_accepted_whole_or_as_a_part_of_the_default(page: Path) -> None:
    for block in blocks(page):
        if block.language != "yaml":
            continue
        document = yaml.safe_load(block.text)
        if block.text.startswith("# in the Collector's file"):
            continue
        assert set(document) <= set(SECTIONS), f"{page}:{block.line}"
        whole = block.text if "service" in document else yaml.safe_dump(merged(yaml.safe_load(DEFAULT), document))
        parse_config(whole, source=f"{page}:{block.line}")


@EACH_PAGE
def test_commands_parse_and_name_what_is_there(page: Path) -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    extras = set(re.findall(r"^([\w-]+) = \[", (ROOT / "pyproject.toml").read_text(), re.MULTILINE))
    for block in blocks(page):
        for words in commands(block) if block.language == "sh" else ():
            where = f"{page}:{block.line}: {shlex.join(words)}"
            if words[0] == "otel-ml":
                assert cli.parser_of(None).parse_args(words[1:]), where
            elif words[0] == "make":
                assert words[1] in targets, where
            elif words[0] == "pip":
                wanted = re.findall(r"otel-ml\[(.*)]", shlex.join(words))
                assert {name for names in wanted for name in names.split(",")} <= extras, where
            for word in words:
                assert not word.startswith("examples/") or (ROOT / word).exists(), where


# --- links and names -----------------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@EACH_PAGE
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", page.read_text(encoding="utf-8"))):
        if link.startswith(("http://", "https://")):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), f"{page.name}: {link}"
        assert not anchor or anchor in anchors(target), f"{page.name}: {link}"


def derived() -> dict[str, str]:
    """Prometheus names of the metrics that the service derives, by their own."""
    metrics = [*monitor_metrics(), PREDICTIONS]
    return {metric.name: prometheus_name(metric.name, metric.unit, metric.kind) for metric in metrics}


def own_metrics() -> set[str]:
    """Names of the service's own metrics as Prometheus shows them."""
    families = Telemetry().registry.collect()
    return {family.name + ("_total" if family.type == "counter" else "") for family in families}


CONTRACT = {value for value in vars(semconv).values() if isinstance(value, str) and value.startswith("ml.")}
TEMPLATES = tuple(name if name.endswith(".") else f"{name}." for name in (
    semconv.FEATURE, semconv.SEGMENT, semconv.ATTRIBUTION, semconv.PREDICTION_SCORES,
))  # fmt: skip


@EACH_PAGE
def test_attributes_and_metrics_exist(page: Path) -> None:
    known = CONTRACT | derived().keys()
    for name in set(re.findall(r"(?<![\w.-])ml\.[a-z0-9_.]*", page.read_text(encoding="utf-8"))):
        if name.startswith((*TEMPLATES, *TO_COME)):
            continue
        family = name.endswith(".") and any(each.startswith(name) for each in known)
        assert family or name in known, f"{page.name}: {name}"


@EACH_PAGE
def test_prometheus_names_exist(page: Path) -> None:
    labels = {name.replace(".", "_") for name in CONTRACT | {semconv.ERROR_TYPE}}
    registered = set(re.findall(r"^(otel_ml_\w+) = ", (ROOT / "pyproject.toml").read_text(), re.MULTILINE))
    stored = {name for series in Catalog.of_registries() for name in (series.name, *series.names)}
    known = own_metrics() | set(derived().values()) | stored | labels | registered | {"ml_monitor", ENTRY_POINTS}
    text = re.sub(r'__name__=~".*?"', "", page.read_text(encoding="utf-8"))  # test_runbooks reads patterns of names
    for name in set(re.findall(r"(?<![\w.])(?:otel_ml|otelcol|ml)_[a-z0-9_]*", text)):
        family = any(each.startswith(f"{name.rstrip('_')}_") for each in known)
        assert name in known or family, f"{page.name}: {name}"


@EACH_PAGE
def test_variables_exist(page: Path) -> None:
    known = {value for name, value in vars(config).items() if name.startswith("ENV_")} | {ENV_METHODS}
    for name in set(re.findall(r"OTEL_ML_[A-Z_]*[A-Z]", page.read_text(encoding="utf-8"))):
        assert name in known or any(each.startswith(f"{name}_") for each in known), f"{page.name}: {name}"


def test_every_variable_option_and_default_is_on_the_page_about_privacy() -> None:
    page = (ROOT / "docs" / "instrumentation.md").read_text(encoding="utf-8")
    variables = {value for name, value in vars(config).items() if name.startswith("ENV_")} | {ENV_METHODS}
    options = {option.name for option in fields(otel_ml.Config)}
    sizes = (config.DEFAULT_MAX_SPAN_BYTES, config.DEFAULT_MAX_STRING_CHARS, config.DEFAULT_MAX_FLAT_FEATURES)
    for name in (*variables, *options, *sizes):
        assert f"`{name}`" in page


# --- what is counted, and the figures ------------------------------------------------------------------------


def counted(*verbs: str) -> Iterator[tuple[str | None, str]]:
    """Stage or store (None where it is no literal) and reason of every such count in the code."""
    for file in Path(collector_processor.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Attribute(attr=verb), args=[first, ast.Constant(value=str(reason)), *_]):
                    if verb in verbs:
                        yield (str(first.value) if isinstance(first, ast.Constant) else None), reason


def test_every_reason_and_outcome_is_on_the_page_about_trouble() -> None:
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    reasons = {reason for _, reason in counted("evicted", "clamped")}
    assert {"forgotten", "limit", "clock_ahead"} <= reasons, "the search finds them"
    for word in (*reasons, *get_args(Fate)):
        assert f"`{word}`" in page or f'"{word}"' in page, word


@EACH_PAGE
def test_reasons_on_pages_are_in_the_code(page: Path) -> None:
    known = {*DROPS} | {("pending_predictions", reason) for reason in ("expired", "capacity", "forgotten")}
    found = set(counted("evicted", "clamped"))
    known |= {(stage, reason) for stage, reason in found if stage is not None}
    elsewhere = {reason for stage, reason in found if stage is None}
    text = page.read_text(encoding="utf-8")
    for stage, reason in re.findall(r'(?:stage|store)="(\w+)", reason="(\w+)"', text):
        assert (stage, reason) in known or reason in elsewhere, f"{page.name}: {stage}, {reason}"


def test_the_table_of_thresholds_of_small_references_is_what_js_says() -> None:
    lines = REFERENCES.read_text(encoding="utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("| a window of |"))
    method = drift_method("js")
    for line in lines[start + 2 : start + 6]:
        size, *shown = (float(cell.replace(",", "")) for cell in re.findall(r"[\d.,]+", line))
        for rows, threshold in zip((200, 1000, 5000), shown, strict=True):
            even = Comparison("numeric", np.full((1, 10), rows / 10), np.full((1, 10), size / 10))
            assert max(method.threshold, float(method.noise(even, 0.001)[0])) == pytest.approx(threshold, abs=0.0006)


def test_the_table_of_thresholds_is_what_the_methods_say() -> None:
    lines = REFERENCES.read_text(encoding="utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("| rows in the window |"))
    names = re.findall(r"`(\w+)`", lines[start])
    rows = [re.findall(r"[\d.,]+", line) for line in lines[start + 2 : start + 6]]
    edges = np.linspace(-8, 8, 100_001)
    bridge = float(np.sqrt(norm.cdf(edges) * norm.sf(edges)).sum() * (edges[1] - edges[0]))
    for row in rows:
        size = float(row[0].replace(",", ""))
        even = Comparison("numeric", np.full((1, 10), 500.0), np.full((1, 10), size / 10))
        for name, shown in zip(names, row[1:], strict=True):
            method = drift_method(name)
            if name == "wasserstein":
                noise = np.sqrt(1 / 5000 + 1 / size) * (np.sqrt(2 / np.pi) * bridge + norm.isf(0.001))
            else:
                noise = float(method.noise(even, 0.001)[0])
            assert max(method.threshold, noise) == pytest.approx(float(shown), abs=0.0006), (name, size)


def test_every_method_is_in_the_list_of_methods() -> None:
    folder = ROOT / "docs" / "methods"
    listed = re.findall(r"\]\((\w+\.md)\)", (folder / "README.md").read_text())
    assert sorted(listed) == sorted(page.name for page in folder.glob("*.md") if page.name != "README.md")


def test_the_generated_pages_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "build.py", "--check"], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "up to date", done.stdout + done.stderr
