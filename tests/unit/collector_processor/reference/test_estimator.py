"""Rules of a profile's estimator part: kept unchanged, and refused with its place where it is anything but numbers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector_processor.columns.batch import Column, ModelKey, PredictionBatch
from collector_processor.reference import estimator as module
from collector_processor.reference.build import build_reference
from collector_processor.reference.file import load_reference, parse_reference, reference_text, save_reference

ROWS = PredictionBatch(
    ModelKey("fraud"), np.zeros(10, np.int64), np.zeros((10, 2), np.uint64), np.ones(10), np.ones(10),
    features={"age": Column(np.arange(10.0))},
)  # fmt: skip
PLAIN = build_reference("fraud", ROWS)


def read(part: object) -> Any:
    """The estimator part of a file that holds this."""
    document = json.loads(reference_text(PLAIN))
    document["estimator"] = part
    return parse_reference(json.dumps(document), "x.json").estimator


numbers = st.one_of(st.integers(-(2**60), 2**60), st.floats(allow_nan=False, allow_infinity=False))
names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
values = st.recursive(
    st.one_of(numbers, st.lists(numbers, max_size=5), st.text(st.characters(codec="utf-8"), max_size=30)),
    lambda inner: st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)


@given(part=st.dictionaries(names, values, max_size=4))
@settings(deadline=None)
def test_any_plain_numbers_come_back_unchanged_and_are_written_alike(part: dict[str, Any]) -> None:
    part = {**part, "version": 1}
    if depth(part) > module.MAX_DEPTH:
        return
    text = reference_text(replace(PLAIN, estimator=part))
    again = parse_reference(text, "x.json")
    assert again.estimator == part
    assert reference_text(again) == text


def depth(value: object) -> int:
    return 1 + max(map(depth, value.values()), default=0) if isinstance(value, dict) else 0


def test_a_file_keeps_the_part_and_one_without_has_none(tmp_path: Path) -> None:
    part = {"version": 1, "knots": {"x": [0.25, 1], "y": [0.125, 0.5]}, "kind": "isotonic"}
    save_reference(replace(PLAIN, estimator=part), tmp_path / "with.json")
    save_reference(PLAIN, tmp_path / "without.json")
    assert load_reference(tmp_path / "with.json").estimator == part
    assert load_reference(tmp_path / "without.json").estimator is None
    assert "estimator" not in json.loads((tmp_path / "without.json").read_text())


def test_a_profile_of_version_0_1_0_has_none() -> None:
    for name in ("loans", "rents"):
        path = Path(__file__).parents[3] / "fixtures" / "v0_1_0" / f"{name}.json"
        assert load_reference(path).estimator is None


def nested(levels: int) -> dict[str, Any]:
    part: dict[str, Any] = {"x": 1}
    for _ in range(levels - 1):
        part = {"x": part}
    return part


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ([1, 2], "x.json: estimator: must be an object"),
        ({}, "x.json: estimator: has no 'version'"),
        ({"version": 2}, "x.json: estimator.version: must be an integer from 1 to 1"),
        ({"version": True}, "x.json: estimator.version: must be an integer from 1 to 1"),
        ({"version": 1, "a": {"b": float("nan")}}, "x.json: estimator.a.b: must be a finite number"),
        ({"version": 1, "a": [1.0, float("inf")]}, "x.json: estimator.a: must contain only finite numbers"),
        ({"version": 1, "a": ["NaN"]}, "x.json: estimator.a: must contain only finite numbers"),
        ({"version": 1, "a": [[1.0]]}, "x.json: estimator.a: must contain only finite numbers"),
        ({"version": 1, "a": [{"b": 1}]}, "x.json: estimator.a: must contain only finite numbers"),
        ({"version": 1, "a": None}, "x.json: estimator.a: must be a finite number"),
        ({"version": 1, "a": False}, "x.json: estimator.a: must be a finite number"),
        ({"version": 1, "a": 10**400}, "x.json: estimator.a: must be a finite number"),
        ({"version": 1, "a": "x" * 257}, "x.json: estimator.a: has 257 bytes; allowed: 256"),
        ({"version": 1, "a": "\ud800"}, "x.json: estimator.a: has an incomplete character"),
        ({"version": 1, "é" * 129: 1}, "x.json: estimator: has a name of 258 bytes; allowed: 1 to 256"),
        ({"version": 1, "": 1}, "x.json: estimator: has a name of 0 bytes"),
        ({"version": 1, **nested(9)}, "x.x.x.x.x.x.x.x: is nested more than 8 levels deep"),
    ],
)
def test_what_is_not_plain_numbers_is_refused_with_its_place(part: object, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("[", r"\[")):
        read(part)


def test_as_deep_as_allowed_is_read() -> None:
    part = {"version": 1, **nested(module.MAX_DEPTH)}
    assert read(part) == part


def test_too_many_values_and_too_many_bytes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    part = {"version": 1, "a": [0.5] * 100, "b": {"c": [0.5] * 100}}
    assert read(part) == part
    monkeypatch.setattr(module, "MAX_VALUES", 150)
    with pytest.raises(ValueError, match=r"x\.json: estimator: has more than 150 values"):
        read(part)
    monkeypatch.undo()
    monkeypatch.setattr(module, "MAX_BYTES", 500)
    with pytest.raises(ValueError, match=r"x\.json: estimator: has \d+ bytes; allowed: 500"):
        read(part)


def test_what_could_not_be_read_again_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"the reference: estimator\.knots: must contain only finite"):
        save_reference(replace(PLAIN, estimator={"version": 1, "knots": [float("nan")]}), tmp_path / "x.json")
    assert list(tmp_path.iterdir()) == []
