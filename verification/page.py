"""The page ``docs/verification.md``: a section for each topic, each with the day on which it was written."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Final

from verification.topic import Findings, Table, Topic

PAGE: Final = Path(__file__).parents[1] / "docs" / "verification.md"
_TOP: Final = """\
<!-- Written by `make verify`; a section alone by `python -m verification TOPIC --write`. -->
# Verification

What these pages promise, beside what was measured: on simulated streams, on real rows, and against other tools, which
run in their own environments. `make verify` repeats all of it and writes this page. Cheap versions of the same
measurements are among the tests.
"""
_BEGIN, _END = "<!-- topic: {name} -->", "<!-- end of {name} -->"
_SECTION = re.compile(r"<!-- topic: (?P<name>\w+) -->\n(?P<text>.*?)<!-- end of (?P=name) -->", re.DOTALL)


def lines(topic: Topic, findings: Findings, seconds: float) -> list[str]:
    """Return the section of a topic."""
    kept = sum(check.held for check in findings.checks)
    where = f" Method: [{topic.page}]({topic.page})." if topic.page else ""
    found = [
        f"## {topic.title}",
        "",
        f"{kept} of {len(findings.checks)} promises kept. Data: {findings.data}.{where}",
        "",
    ]
    rows = [(check.what, check.goal, check.measured, "yes" if check.held else "**no**") for check in findings.checks]
    for table in (Table("", ("what", "promised", "measured", "kept"), rows), *findings.tables):
        found += [*table.lines()[0 if table.text else 2 :], ""]
    used = ", ".join(f"{name} {number}" for name, number in findings.versions.items())
    return [
        *found,
        f"*Measured on {date.today().isoformat()} in {seconds:,.0f} s{', with ' + used if used else ''}.*",
        "",
    ]


def written(sections: Mapping[str, Sequence[str]], known: Sequence[str], page: Path = PAGE) -> Path:
    """Write these sections; the sections of other known topics stay as they are."""
    text = page.read_text(encoding="utf-8") if page.exists() else ""
    kept = {found["name"]: found["text"] for found in _SECTION.finditer(text)}
    kept |= {name: "\n".join(section) + "\n" for name, section in sections.items()}
    parts = [f"{_BEGIN.format(name=name)}\n{kept[name]}{_END.format(name=name)}\n" for name in known if name in kept]
    page.write_text("\n".join([_TOP, *parts]), encoding="utf-8")
    return page
