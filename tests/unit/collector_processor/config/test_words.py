"""The settings class is found in any annotation, on each version of Python."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from collector_processor.config import ConfigError, parse_config, words


class Inner(BaseModel):
    """One key."""

    known: int = 0


class Outer(BaseModel):
    """Every way to name the inner settings."""

    plain: Inner = Inner()
    perhaps: Inner | None = None
    mapping: dict[str, Inner] = {}
    perhaps_mapping: dict[str, Inner | None] | None = None
    numbers: list[int] = []


@pytest.mark.parametrize(
    ("location", "allowed"),
    [
        ([], "plain, perhaps, mapping, perhaps_mapping, numbers"),
        (["plain"], "known"),
        (["perhaps"], "known"),
        (["mapping", "any name"], "known"),
        (["perhaps_mapping", "any name"], "known"),
        (["numbers"], ""),
    ],
)
def test_an_unknown_key_lists_the_keys_of_its_place(location: list[str], allowed: str) -> None:
    item: dict[str, Any] = {"type": "extra_forbidden", "loc": (*location, "other"), "msg": ""}
    path = ".".join(["section", *location, "other"])
    assert words.problem("section", Outer, item) == f"{path}: unknown key; allowed: {allowed}"


def test_a_choice_of_true_false_and_a_word_has_one_line() -> None:
    with pytest.raises(ConfigError) as refused:
        parse_config("connectors: { ml_monitor: { performance: { intervals: always } } }")
    [line] = [line for line in str(refused.value).splitlines() if "intervals" in line]
    assert line.strip().endswith("connectors.ml_monitor.performance.intervals: must be true, false or 'anytime'")
