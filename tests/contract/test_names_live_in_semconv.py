"""Names that cross the wire are spelled out in ``otel_ml/semconv.py`` and nowhere else."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_ml import semconv

ROOT = Path(__file__).parents[2]
PACKAGES = ("otel_ml", "collector_processor")
HOME = Path(semconv.__file__).name
NAME = re.compile(r"(?<![\w.-])ml\.[a-z_]+")
"""A name of the contract anywhere in a text: ``ml.`` and a word, not the end of a longer name."""


def sources() -> list[Path]:
    files = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    return [path for path in files if path != ROOT / "otel_ml" / HOME]


def literals(tree: ast.AST) -> Iterator[ast.Constant]:
    """String and bytes constants that are no docstrings, those of attributes and modules among these."""
    documentation = {id(statement.value) for statement in ast.walk(tree) if isinstance(statement, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes)) and id(node) not in documentation:
            yield node


def spelled_out(source: str) -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []
    for node in literals(ast.parse(source)):
        text = node.value.decode("latin-1") if isinstance(node.value, bytes) else str(node.value)
        found += [(node.lineno, match.group()) for match in NAME.finditer(text)]
    return found


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_name_of_the_contract_is_spelled_out(path: Path) -> None:
    assert spelled_out(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('x = "ml.model.name"', ["ml.model"]),
        ('x = b"ml.batch"', ["ml.batch"]),
        ('x = f"{y} ml.feature.{z}"', ["ml.feature"]),
        ('raise ValueError("ml.model.name is missing")', ["ml.model"]),
        ('"""Docstring with ml.model.name."""', []),
        ('x = 1\n"""What x is: ml.model.name."""', []),
        ('x = "html.parser", "otel_ml.semconv", "a.ml.b", "ml", "sample.xml.gz", "otel-ml.yaml", "ml."', []),
        ("from otel_ml.semconv import MODEL_NAME", []),
    ],
)
def test_the_search_finds_names_and_nothing_else(source: str, found: list[str]) -> None:
    assert [name for _, name in spelled_out(source)] == found
