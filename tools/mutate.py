"""Mutation testing where arithmetic decides: changes one operator or number at a time, and sees whether a test fails.

Run: ``python tools/mutate.py [--rooms statistics window labels alerts] [--sample 25] [--seed 0]``. It works on a copy
of the tree in a temporary folder. Each mutant runs the unit tests of its room until one fails; a mutant that none
notices survives and is printed. Some survivors have the same effect as the original. docs/mutation.md has the score.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "collector_processor"
ROOMS = ("statistics", "window", "labels", "alerts")
ELSEWHERE = {"alerts": ("config/test_alerts.py",)}
"""Tests of a room that are in another folder."""

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}


@dataclass(frozen=True, slots=True)
class Mutant:
    """One changed place of one file."""

    file: Path
    line: int
    before: str
    after: str
    source: str


def mutants(file: Path) -> Iterator[Mutant]:
    """Every mutant of a file."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    quiet = _annotations(tree)
    for node in ast.walk(tree):
        if id(node) in quiet:
            continue
        for field, value in _changes(node):
            kept = getattr(node, field)
            before = _first_line(node)
            setattr(node, field, value)
            yield Mutant(file, getattr(node, "lineno", 0), before, _first_line(node), ast.unparse(tree))
            setattr(node, field, kept)


def _first_line(node: ast.AST) -> str:
    return ast.unparse(node).partition("\n")[0]


def _changes(node: ast.AST) -> Iterator[tuple[str, Any]]:
    """The field to change, and what to put there."""
    match node:
        case ast.Compare(ops=[op, *others]) if type(op) in _COMPARISONS:
            yield "ops", [_COMPARISONS[type(op)](), *others]
        case ast.BinOp(op=op) if type(op) in _ARITHMETIC:
            yield "op", _ARITHMETIC[type(op)]()
        case ast.AugAssign(op=op) if type(op) in _ARITHMETIC:
            yield "op", _ARITHMETIC[type(op)]()
        case ast.BoolOp(op=op):
            yield "op", ast.Or() if isinstance(op, ast.And) else ast.And()
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield "operand", ast.UnaryOp(ast.Not(), copy.deepcopy(operand))
        case ast.Constant(value=bool() as value):
            yield "value", not value
        case ast.Constant(value=int() | float() as value):
            yield "value", value + 1
        case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test):
            yield "test", ast.UnaryOp(ast.Not(), copy.deepcopy(test))
        case ast.Return(value=ast.expr() as value) if ast.unparse(value) != "None":
            yield "value", ast.Constant(None)
        case _:
            pass


def _annotations(tree: ast.AST) -> set[int]:
    """Nodes whose change tests cannot notice: annotations."""
    roots: list[ast.AST | None] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.arg | ast.AnnAssign):
            roots.append(node.annotation)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            roots.append(node.returns)
    return {id(node) for root in roots if root is not None for node in ast.walk(root)}


def passes(home: Path, room: str, timeout_s: float | None) -> bool:
    """Run the unit tests of a room until one fails."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    try:
        done = subprocess.run(  # noqa: S603 - our own tests
            [*command, *(f"tests/unit/{PACKAGE}/{place}" for place in (room, *ELSEWHERE.get(room, ())))],
            cwd=home,
            env={**os.environ, "PYTHONPATH": str(home), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def main() -> int:
    """Print each survivor, and the share of mutants of each room that a test noticed."""
    parser = argparse.ArgumentParser(description="Mutation testing of the rooms where arithmetic decides.")
    parser.add_argument("--rooms", nargs="+", default=ROOMS, help=f"rooms of {PACKAGE} (default: %(default)s)")
    parser.add_argument("--sample", type=int, default=25, help="mutants of each room (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="which sample (default: %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="otel-ml-mutants-") as folder:
        home = Path(folder)
        for name in ("otel_ml", PACKAGE, "tests", "docs", "examples"):
            shutil.copytree(ROOT / name, home / name, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
        for name in ("pyproject.toml", "conftest.py", "README.md"):
            shutil.copy(ROOT / name, home)
        for room in options.rooms:
            started = time.monotonic()
            if not passes(home, room, None):
                sys.exit(f"{room}: the tests fail without a mutant")
            timeout_s = 30 + 4 * (time.monotonic() - started)
            every = [mutant for file in sorted((home / PACKAGE / room).rglob("*.py")) for mutant in mutants(file)]
            sample = random.Random(options.seed).sample(every, min(options.sample, len(every)))  # noqa: S311
            survivors = [mutant for mutant in sample if survives(mutant, home, room, timeout_s)]
            killed = len(sample) - len(survivors)
            sys.stdout.write(
                f"{room}: {killed} of {len(sample)} noticed ({killed / len(sample):.0%}) of {len(every)}\n"
            )
            sys.stdout.flush()
    return 0


def survives(mutant: Mutant, home: Path, room: str, timeout_s: float) -> bool:
    """Whether the tests of its room pass with a mutant; prints it if so."""
    original = mutant.file.read_text(encoding="utf-8")
    mutant.file.write_text(mutant.source, encoding="utf-8")
    try:
        passed = passes(home, room, timeout_s)
    finally:
        mutant.file.write_text(original, encoding="utf-8")
    if passed:
        place = f"{mutant.file.relative_to(home)}:{mutant.line}"
        sys.stdout.write(f"  survived: {place}: {mutant.before}  ->  {mutant.after}\n")
        sys.stdout.flush()
    return passed


if __name__ == "__main__":
    sys.exit(main())
