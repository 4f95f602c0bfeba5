"""Every drop is in one table, which alone says whether it is intended; callers, documentation and rules follow it."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

import collector_processor
from collector_processor.decode.limits import DEFAULT_LIMITS
from collector_processor.own.drops import DROPS, DecodeReason, Drop, FigureReason, InferenceReason, StatisticsReason
from collector_processor.own.telemetry import Telemetry

PACKAGE = Path(collector_processor.__file__).parent
METRICS_PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
ANY_OF = {
    "decode": get_args(DecodeReason), "statistics": get_args(StatisticsReason), "figures": get_args(FigureReason),
    "events": get_args(InferenceReason),
}  # fmt: skip
"""Reasons of the stages that hand a reason on which they were given."""
PASSED_ON = {("own", "survive.py")}
"""Files in which a whole drop is handed on."""


def calls(*names: str) -> Iterator[tuple[Path, ast.Call]]:
    """Every call of a function or method of one of these names in the package."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if called in names:
                    yield path, node


def drops_of(path: Path, node: ast.expr) -> Iterator[tuple[str, str]]:
    """The pairs that an argument may be; fails for one that cannot be read off the source."""
    match node:
        case ast.Tuple(elts=[ast.Constant(value=str(stage)), ast.Constant(value=str(reason))]):
            yield stage, reason
        case ast.Tuple(elts=[ast.Constant(value=str(stage)), ast.Name()]) if stage in ANY_OF:
            yield from ((stage, reason) for reason in ANY_OF[stage])
        case ast.IfExp(body=body, orelse=orelse):
            yield from drops_of(path, body)
            yield from drops_of(path, orelse)
        case _:
            assert path.parts[-2:] in PASSED_ON, f"{path}:{node.lineno}: {ast.unparse(node)}"


def dropped_in_the_package() -> set[tuple[str, str]]:
    found = {pair for path, call in calls("dropped") for pair in drops_of(path, call.args[0])}
    for path, call in calls("survived"):
        found.update(*(drops_of(path, keyword.value) for keyword in call.keywords if keyword.arg == "drop"))
    return found


def test_the_table_holds_exactly_the_typed_pairs() -> None:
    typed = {pair for member in get_args(Drop) for pair in itertools.product(*map(get_args, get_args(member)))}
    assert DROPS.keys() == typed


def test_every_caller_is_in_the_table_and_every_row_has_a_caller() -> None:
    assert dropped_in_the_package() == DROPS.keys()


def test_every_reason_of_a_request_is_one_that_the_decoder_gives() -> None:
    texts = {
        node.value
        for path in (PACKAGE / "decode").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant)
    }
    assert texts.issuperset(get_args(DecodeReason))
    given = {call.args[0].value for _, call in calls("drop") if call.args and isinstance(call.args[0], ast.Constant)}
    assert {"unsupported_value", "text_truncated"} <= given <= {*get_args(DecodeReason)}


def test_nothing_else_counts_drops() -> None:
    using = [path.name for path in PACKAGE.rglob("*.py") if "otel_ml_dropped_total" in strings(path)]
    assert sorted(using) == ["metrics.py", "service.py", "service.py", "telemetry.py"], (
        "the table, rules, board, counter"
    )


def strings(path: Path) -> set[object]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}


@pytest.mark.parametrize("drop", DROPS)
def test_the_series_says_what_the_table_says(drop: Drop) -> None:
    telemetry = Telemetry()
    telemetry.dropped(drop, 2)
    labels = {"stage": drop[0], "reason": drop[1], "intentional": "true" if DROPS[drop].intentional else "false"}
    assert telemetry.registry.get_sample_value("otel_ml_dropped_total", labels) == 2


@pytest.mark.parametrize("unknown", [("window", "early"), ("nowhere", "late"), ("decode", "late")])
def test_an_unknown_pair_is_an_error(unknown: Any) -> None:
    with pytest.raises(KeyError):
        Telemetry().dropped(unknown, 0)


def test_what_an_error_drops_is_not_intended_and_what_a_limit_drops_is() -> None:
    errors = {drop for drop, meaning in DROPS.items() if not meaning.intentional}
    assert errors == {
        ("decode", "text_repaired"), ("decode", "unsupported_value"), ("decode", "label_without_id"),
        ("statistics", "observations_refused"), ("statistics", "observations_unknown"),
        ("statistics", "observations_fell"),
        ("decode", "label_without_value"), ("decode", "unknown_schema"),
        ("statistics", "failed"), ("labels", "failed"), ("labels", "no_class"), ("state", "does_not_fit"),
        ("journal", "stopped"), ("export", "name"), ("export", "kind_conflict"),
        ("events", "rows_differ"), ("events", "shape"), ("events", "feature_names"), ("events", "outputs"),
        ("events", "unreadable"), ("events", "forward_failed"),
    }  # fmt: skip
    assert not any("limit" in reason or reason == "late" for _, reason in errors)


def test_the_numbers_in_the_table_are_the_decoders_limits() -> None:
    limits: dict[str, tuple[DecodeReason, ...]] = {
        "models": ("models_over_limit",), "rows": ("rows_over_limit",), "cells": ("cells_over_limit",),
        "segments": ("segments_over_limit",), "classes": ("classes_over_limit",),
        "categories": ("categories_over_limit",), "text_length": ("name_too_long", "text_truncated"),
    }  # fmt: skip
    for name, reasons in limits.items():
        for reason in reasons:
            assert f" {getattr(DEFAULT_LIMITS, name):,} " in f"{DROPS['decode', reason].left_out} ", reason


def test_the_page_on_metrics_has_every_pair() -> None:
    lines = METRICS_PAGE.read_text(encoding="utf-8").splitlines()
    for (stage, reason), meaning in DROPS.items():
        intentional = str(meaning.intentional).lower()
        assert f"| `{stage}` | `{reason}` | `{intentional}` | {meaning.left_out} |" in lines
