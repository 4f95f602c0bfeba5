"""Reports turns of phrase that docs/STYLE.md rules out: in Markdown, docstrings, messages and comments.

Run: ``python tools/words.py [FILE_OR_FOLDER …]``; without arguments it checks what is enforced (``make check``), and
``--list`` prints that.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]

ENFORCED = (
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "CODE_OF_CONDUCT.md",
    "changes",
    "collector_processor/alerts",
    "collector_processor/cli",
    "collector_processor/components",
    "collector_processor/config",
    "collector_processor/demo",
    "collector_processor/detectors",
    "collector_processor/exporters",
    "collector_processor/fairness",
    "collector_processor/extensions",
    "collector_processor/generate",
    "collector_processor/own",
    "collector_processor/security",
    "collector_processor/settings",
    "docs/STYLE.md",
    "docs/adr",
    "docs/alerts.md",
    "docs/architecture.md",
    "docs/benchmarks.md",
    "docs/build.py",
    "docs/configuration.md",
    "docs/dashboards.md",
    "docs/deployment.md",
    "docs/instrumentation.md",
    "docs/exemplars.md",
    "docs/methods",
    "docs/metrics.md",
    "docs/mutation.md",
    "docs/references.md",
    "docs/releasing.md",
    "docs/roadmap.md",
    "docs/runbooks",
    "docs/semantic-conventions.md",
    "docs/troubleshooting.md",
    "docs/verification.md",
    "collector_processor/monitors",
    "examples",
    "collector_processor/pipeline",
    "collector_processor/receivers",
    "collector_processor/reference",
    "collector_processor/service",
    "collector_processor/serving",
    "collector_processor/status",
    "otel_ml",
    "collector_processor/columns",
    "collector_processor/decode",
    "collector_processor/drift",
    "collector_processor/journal",
    "collector_processor/labels",
    "collector_processor/statistics",
    "collector_processor/storage",
    "collector_processor/window",
    "verification",
)
"""Files and folders that are clean, and stay so. Add to it what you clean."""

TURNS: tuple[tuple[str, str], ...] = (
    (r"told|tells?|telling", "report, log, say, show or infer"),
    (r"(?:go|goes|went|going|gone) on", "continue"),
    (r"anew", "again, or rebuild, restart, …"),
    (
        r"(?<!there )(?:is|are|was|were) no(?! (?:longer|more|less|fewer|later|earlier|such|faster|slower|better))",
        "is not a …, has no …",
    ),
    (r"so (?:many|much|few|large|small|long|often)(?! as)(?! that)", "this many, that large, or leave it out"),
    (r"of (?:its|their|our|your|his|her|my) own", "its own …, separate"),
    (r"for ever", "forever, or indefinitely"),
    (r"lest", "so that … does not"),
    (r"(?:nobody|somebody|everybody)'s", "name whose it is"),
    (r"r(?:ing|ings|ang|ung)(?: a bell| false| with| when)", "raise an alarm, fire"),
    (r"in turns", "alternately, one after another"),
    (r"what (?:\w+ ){1,5}is what", "which … means which"),
    (r"otherwise than", "differently from"),
    (r"but for", "except for"),
    (r"as ever", "as before"),
    (r"is due", "is expected"),
    (r"(?:has|have) not been seen to", "has shown no …"),
)
"""What is out, as a regular expression, and what to write instead."""

_CODE = re.compile(r"```.*?^ *```|``[^`\n]+``|`[^`\n]+`|\]\([^)\s]*\)", re.MULTILINE | re.DOTALL)


def turns() -> list[tuple[re.Pattern[str], str]]:
    """Patterns of what is out as whole words, and what to write instead."""
    return [(re.compile(rf"(?<![\w-])(?:{turn})(?![\w-])", re.IGNORECASE), instead) for turn, instead in TURNS]


class Passage(NamedTuple):
    """Text of a file, and the line on which it begins."""

    line: int
    text: str


class Finding(NamedTuple):
    """A turn of phrase, its place, and the replacement."""

    file: Path
    line: int
    phrase: str
    instead: str


def findings(file: Path) -> Iterator[Finding]:
    """Find every turn of phrase in a file that is out."""
    source = file.read_text(encoding="utf-8")
    passages = python_passages(source) if file.suffix == ".py" else [Passage(1, source)]
    for line, text in passages:
        prose = _CODE.sub(lambda code: re.sub(r"[^\n]", "#", code[0]), text)
        flat = re.sub(r"\s", " ", prose)
        for turn, instead in turns():
            for match in turn.finditer(flat):
                yield Finding(file, line + text.count("\n", 0, match.start()), match[0], instead)


def python_passages(source: str) -> Iterator[Passage]:
    """Docstrings, other texts of more than one word, and comments; neighboring comments are one passage."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield Passage(node.lineno, node.value)
    comments: list[str] = []
    start = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            if comments and token.start[0] != start + len(comments):
                yield Passage(start, "\n".join(comments))
                comments = []
            start = start if comments else token.start[0]
            comments.append(token.string.lstrip("# "))
    if comments:
        yield Passage(start, "\n".join(comments))


def files(paths: Sequence[Path]) -> Iterator[Path]:
    """The Markdown and Python files among some files and folders."""
    for path in paths:
        if path.is_dir():
            yield from sorted(file for file in path.rglob("*") if file.suffix in {".md", ".py"})
        else:
            yield path


def main(arguments: Sequence[str]) -> int:
    """Print what is out and return 1 if there is anything."""
    if list(arguments) == ["--list"]:
        sys.stdout.write("\n".join(ENFORCED) + "\n")
        return 0
    paths = [Path(argument) for argument in arguments] or [ROOT / name for name in ENFORCED]
    count = 0
    for file in files(paths):
        for finding in sorted(findings(file), key=lambda each: each.line):
            name = file.resolve().relative_to(ROOT) if file.resolve().is_relative_to(ROOT) else file
            sys.stdout.write(f"{name}:{finding.line}: '{finding.phrase}': write {finding.instead}\n")
            count += 1
    if count:
        sys.stdout.write(f"{count} turns of phrase that docs/STYLE.md rules out\n")
    return int(bool(count))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
