"""Each rule has a runbook that follows one plan, and its queries are PromQL over metrics that exist."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from collector_processor.alerts.rules import OPTIONAL_RULES
from collector_processor.config import parse_config
from collector_processor.config.load import DEFAULT
from collector_processor.generate.catalog import Catalog
from collector_processor.generate.dashboards import boards
from collector_processor.generate.rules import Rule, rules_of
from support.promql import assert_names_exist, hidden

ROOT = Path(__file__).parents[2]
RUNBOOKS = {path.stem: path for path in sorted((ROOT / "docs" / "runbooks").glob("*.md"))}
PAGES_WITH_QUERIES = [page for page in sorted(ROOT.glob("docs/**/*.md")) if "```promql" in page.read_text()]
EACH_RUNBOOK = pytest.mark.parametrize("name", sorted(RUNBOOKS))
HEADINGS = ["Look first", "Usual causes", "What to do", "Tune or silence"]
QUERY = re.compile(r"^```promql\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def all_rules() -> tuple[Rule, ...]:
    """Every rule that is built in, those included that need a limit or are off unless they are named."""
    more = {
        "connectors": {"ml_monitor": {"limits": {"memory": "1GiB"}}},
        "alerts": {"rules": {rule.name: None for rule in OPTIONAL_RULES}},
    }
    return rules_of(parse_config(yaml.safe_dump({**yaml.safe_load(DEFAULT), **more})))


def queries(name: str) -> list[str]:
    return [found.strip() for found in QUERY.findall(RUNBOOKS[name].read_text(encoding="utf-8"))]


def test_every_rule_has_a_runbook_and_every_runbook_a_rule() -> None:
    assert set(RUNBOOKS) == {rule.name for rule in all_rules()}


def test_rules_name_their_runbook() -> None:
    for rule in all_rules():
        assert (ROOT / rule.runbook).resolve() == RUNBOOKS[rule.name].resolve()


@EACH_RUNBOOK
def test_a_runbook_says_what_it_means_where_to_look_and_what_to_do(name: str) -> None:
    text = RUNBOOKS[name].read_text(encoding="utf-8")
    assert text.startswith(f"# `{name}`: ")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == HEADINGS
    assert queries(name)
    assert "*Models: " in text or name == "service_down"


@EACH_RUNBOOK
def test_a_runbook_names_metrics_and_labels_that_exist(name: str) -> None:
    catalog = Catalog.of_registries()
    for query in queries(name):
        assert_names_exist(catalog, query)


@pytest.mark.parametrize("page", PAGES_WITH_QUERIES, ids=lambda page: page.stem)
def test_no_query_hides_a_metric_behind_or(page: Path) -> None:
    for query in QUERY.findall(page.read_text(encoding="utf-8")):
        assert not hidden(query), query


@pytest.mark.parametrize(
    ("query", "lost"),
    [
        ('ml_latency_p50_seconds{a="b"} or ml_latency_p99_seconds{a="b"}', {"ml_latency_p99_seconds"}),
        ("topk(10, up or ALERTS)", {"ALERTS"}),
        ("sum by (stage) (rate(up[5m])) or sum by (stage) (ALERTS)", {"ALERTS"}),
        ("sum by (stage) (rate(up[5m])) or sum by (transport) (ALERTS)", set()),
        ("sum(up) or vector(0)", set()),
        ('rate(up{a="b"}[5m]) or up{a="b"}', set()),
    ],
)
def test_what_or_hides(query: str, lost: set[str]) -> None:
    assert hidden(query) == lost


@EACH_RUNBOOK
def test_boards_rows_and_panels_that_a_runbook_names_exist(name: str) -> None:
    titles = {board.title for board in boards()}
    parts = {row.title for board in boards() for row, _ in board.panels()}
    parts |= {panel.title for board in boards() for _, panel in board.panels()}
    parts |= {link.title for board in boards() for _, panel in board.panels() for link in panel.links}
    for word in re.findall(r"(?<!\*)\*([A-Z][^*]+)\*(?!\*)", RUNBOOKS[name].read_text(encoding="utf-8")):
        assert word in titles | parts, word


def test_every_rule_is_on_the_page_on_alerts_with_its_threshold() -> None:
    page = (ROOT / "docs" / "alerts.md").read_text(encoding="utf-8")
    for rule in all_rules():
        [line] = [line for line in page.splitlines() if line.startswith(f"| [`{rule.name}`](runbooks/{rule.name}.md)")]
        assert line.endswith(f"| {rule.severity} |"), rule.name
        if rule.group == "models" and rule.threshold and rule.name != "prediction_drift":
            assert f" {rule.threshold:g}" in line, rule.name


@pytest.mark.prometheus
def test_queries_of_runbooks_are_promql(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed: apt-get install --no-install-recommends prometheus")
    rules = [
        {"record": f"runbook:{name}:{place}", "expr": query}
        for name in RUNBOOKS
        for place, query in enumerate(queries(name))
    ]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "runbooks", "rules": rules}]}), encoding="utf-8")
    done = subprocess.run([promtool, "check", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(rules)} rules found" in done.stdout
