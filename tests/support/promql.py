"""PromQL as its own grammar reads it: which metrics an expression names, and how it asks for them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import promql_parser as promql

from collector_processor.generate.catalog import Catalog

_VARIABLES = {"$__rate_interval": "5m"}
"""What Grafana fills in where PromQL wants a duration; its other variables stand in strings."""
PROMETHEUS_ADDS = {"up", "ALERTS"}
PROMETHEUS_LABELS = {"job", "instance", "le", "alertname", "alertstate"}
_NAME = "__name__"
_OF_GRAFANA = re.compile(r"label_values\((.*), (\w+)\)")


@dataclass(frozen=True)
class Asked:
    """One selector of an expression: its metric, the labels that it matches, the call and the range that it is in."""

    metric: str
    labels: frozenset[str]
    function: str = ""
    range_s: float = 0.0


def selectors(expression: str) -> Iterator[Asked]:
    """Every selector of an expression, or of Grafana's ``label_values(SELECTOR, LABEL)``; ValueError if it is none."""
    yield from _selectors(promql.parse(_plain(expression)), "")


def _plain(expression: str) -> str:
    asked = _OF_GRAFANA.fullmatch(expression)
    text = asked[1] if asked else expression
    for variable, value in _VARIABLES.items():
        text = text.replace(variable, value)
    return text


def _selectors(node: promql.Expr, function: str) -> Iterator[Asked]:
    match node:
        case promql.VectorSelector():
            yield from _asked(node, function, 0.0)
        case promql.MatrixSelector():
            yield from _asked(node.vector_selector, function, node.range.total_seconds())
        case promql.Call():
            for argument in node.args:
                yield from _selectors(argument, node.func.name)
        case promql.BinaryExpr():
            yield from _selectors(node.lhs, "")
            yield from _selectors(node.rhs, "")
        case promql.AggregateExpr() | promql.ParenExpr() | promql.UnaryExpr() | promql.SubqueryExpr():
            yield from _selectors(node.expr, "")
        case _:
            return


def _asked(selector: promql.VectorSelector, function: str, range_s: float) -> Iterator[Asked]:
    values = {matcher.name: matcher.value for matcher in selector.matchers.matchers}
    for name in _alternatives(selector.name or values.get(_NAME, "")):
        yield Asked(name, frozenset(values) - {_NAME}, function, range_s)


def _alternatives(pattern: str) -> list[str]:
    """Every name of ``{__name__=~"PATTERN"}``, of which only ``|``, groups and ``?`` behind them are understood.

    >>> _alternatives("a|b_(c_)?d")
    ['a', 'b_c_d', 'a', 'b_d']
    """
    group = re.search(r"\(([^()]*)\)(\??)", pattern)
    if group is None:
        return pattern.split("|")
    choices = [*group[1].split("|"), *([""] if group[2] else [])]
    before, after = pattern[: group.start()], pattern[group.end() :]
    return [name for choice in choices for name in _alternatives(before + choice + after)]


def labels_named(expression: str) -> set[str]:
    """Every label that the matchers, aggregations and vector matchings of an expression name."""
    found = {label for asked in selectors(expression) for label in asked.labels}

    def visit(node: promql.Expr) -> None:
        modifier = getattr(node, "modifier", None)
        for part in (modifier, getattr(modifier, "matching", None)):
            found.update(getattr(part, "labels", ()))

    promql.walk(promql.parse(_plain(expression)), visit)
    return found


def hidden(expression: str) -> set[str]:
    """Metrics of which ``or`` hides what another one has: it compares labels, and the name of a metric is none of them.

    An operand with other labels than the first, as after ``sum by``, is not hidden; numbers and ``vector()`` neither.
    """
    found = set[str]()

    def visit(node: promql.Expr) -> None:
        if isinstance(node, promql.BinaryExpr) and str(node.op) == "or":
            left, right = ({asked.metric for asked in _selectors(side, "")} for side in (node.lhs, node.rhs))
            if left != right and _grouped(node.lhs) == _grouped(node.rhs):
                found.update(right - left)

    promql.walk(promql.parse(_plain(expression)), visit)
    return found


def _grouped(node: promql.Expr) -> frozenset[str] | None:
    """The labels that an aggregation keeps; None where a metric keeps its own."""
    if not isinstance(node, promql.AggregateExpr):
        return None
    return frozenset(getattr(node.modifier, "labels", ()))


def metrics_named(catalog: Catalog, expression: str) -> set[str]:
    """The OTLP names of the catalog's metrics that an expression asks for."""
    names = {asked.metric for asked in selectors(expression)}
    return {series.metric for series in catalog if not names.isdisjoint(series.names)}


def assert_names_exist(catalog: Catalog, expression: str) -> None:
    """Asserts that the expression is PromQL, and names only metrics and labels that exist."""
    stored = {name for series in catalog for name in series.names} | PROMETHEUS_ADDS
    labels = {label for series in catalog for label in series.labels} | PROMETHEUS_LABELS
    names = {asked.metric for asked in selectors(expression)}
    assert names, expression
    assert names <= stored, f"{expression}: {names - stored}"
    assert labels_named(expression) <= labels, f"{expression}: {labels_named(expression) - labels}"
