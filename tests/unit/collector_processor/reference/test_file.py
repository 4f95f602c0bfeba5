from __future__ import annotations

import json
import os
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from collector_processor.columns.batch import Column, ModelKey, PredictionBatch
from collector_processor.reference import file
from collector_processor.reference.build import build_reference
from collector_processor.reference.file import load_reference, parse_reference, reference_text, save_reference
from collector_processor.reference.fits.registry import written_fits
from collector_processor.statistics.accumulate import accumulate
from collector_processor.statistics.pane import Pane
from collector_processor.statistics.schema import Schema

CELLS = st.floats(allow_nan=True, allow_infinity=True, allow_subnormal=True) | st.integers(-3, 3).map(float)


def batch(rows, weights=None, **columns):
    return PredictionBatch(
        ModelKey("m"), np.zeros(rows, np.int64), np.zeros((rows, 2), np.uint64),
        np.ones(rows) if weights is None else weights, np.full(rows, 0.02), **columns,
    )  # fmt: skip


def assert_same(left, right):
    for name, values in left.pane.arrays().items():
        np.testing.assert_array_equal(right.pane.arrays()[name], values, err_msg=name)
    np.testing.assert_array_equal(left.spread, right.spread)
    assert (left.model_name, left.source, left.built_at) == (right.model_name, right.source, right.built_at)
    for name in Schema.__slots__:
        mine, theirs = getattr(left.schema, name), getattr(right.schema, name)
        if isinstance(mine, np.ndarray):
            np.testing.assert_array_equal(mine, theirs, err_msg=name)
        elif name in ("categories", "classes", "groups"):
            assert (mine.columns, mine.limit, mine.pairs()) == (theirs.columns, theirs.limit, theirs.pairs())
        elif name == "fits":
            assert mine.keys() == theirs.keys()
            assert written_fits(left.schema, None) == written_fits(right.schema, None)
        else:
            assert mine == theirs


def example(rows=300):
    random = np.random.default_rng(0)
    classes = Column(None, random.integers(0, 2, rows).astype(np.int32), ("no", "yes"))
    return build_reference(
        "churn",
        batch(
            rows,
            random.random(rows) + 0.1,
            features={
                "age": Column(random.normal(40, 10, rows)),
                "score": Column(random.lognormal(size=rows)),
                "plan": Column(None, random.integers(-1, 3, rows).astype(np.int32), ("ü", 'quo"te\n', "")),
                "none": Column(np.full(rows, np.nan)),
            },
            prediction=classes,
            score=random.random(rows),
        ),
        label_classes=classes,
        segments=["plan"],
        source="train.parquet",
    )


EXAMPLE = example()
DOCUMENT = json.loads(reference_text(EXAMPLE))


def test_a_reference_comes_back_exactly(tmp_path):
    save_reference(EXAMPLE, tmp_path / "churn.json")
    assert_same(EXAMPLE, load_reference(tmp_path / "churn.json"))


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(np.float64, 20, elements=CELLS),
    hnp.arrays(np.float64, 20, elements=CELLS),
    hnp.arrays(np.int32, 20, elements=st.integers(-1, 2)),
    st.lists(st.text(max_size=5), min_size=3, max_size=3, unique=True),
    hnp.arrays(np.float64, 20, elements=st.floats(0.001, 1e6)),
)
def test_any_reference_comes_back_exactly(numbers, values, codes, names, weights):
    texts = Column(
        None, codes, tuple(name.encode("utf-8", "replace").decode() + str(i) for i, name in enumerate(names))
    )
    rows = batch(20, weights, features={"a": Column(numbers), names[0]: texts}, value=values)
    reference = build_reference(
        "m", rows, label_values=np.where(np.abs(values) < 1e100, values, np.nan), segments=[names[0]]
    )
    assert_same(reference, parse_reference(reference_text(reference), "m.json"))


def test_tables_that_grew_after_the_build_come_back_in_slot_order():
    reference = example()
    rows = batch(
        4,
        features={"plan": Column(None, np.array([0, 1, 2, 0], np.int32), ("new", "newer", "ü"))},
        prediction=Column(None, np.array([0, 1, 0, 1], np.int32), ("maybe", "no")),
    )
    shorter = reference.pane.copy()
    accumulate(reference.pane, reference.schema, rows)
    whole = Pane.empty(reference.schema)
    whole.add(reference.pane)
    assert_same(replace(reference, pane=whole), parse_reference(reference_text(reference), "m.json"))
    loaded = parse_reference(reference_text(replace(reference, pane=shorter)), "m.json")
    assert loaded.pane.category_counts.shape == (len(reference.schema.categories),)
    assert loaded.pane.category_counts.sum() == shorter.category_counts.sum()


def test_the_file_says_what_it_is_and_what_buckets_to_count_by():
    assert list(DOCUMENT)[:3] == ["format", "model", "task"]
    assert DOCUMENT["format"] == "otel-ml-reference/1"
    assert (DOCUMENT["model"], DOCUMENT["task"], DOCUMENT["positive_class"]) == (
        "churn",
        "binary_classification",
        "yes",
    )
    assert (DOCUMENT["rows"], DOCUMENT["source"]) == (300, "train.parquet")
    schema = EXAMPLE.schema
    assert DOCUMENT["buckets"]["age"] == {"kind": "numeric", "edges": schema.edges[0][schema.drift_edges[0]].tolist()}
    assert DOCUMENT["buckets"]["none"] == {"kind": "numeric", "edges": []}
    assert sorted(DOCUMENT["buckets"]["plan"]["categories"]) == ["", 'quo"te\n', "ü"]
    assert sorted(DOCUMENT["buckets"]) == ["age", "none", "plan", "score"], "outputs have no buckets"


def test_a_feature_may_be_called_like_an_output():
    assert DOCUMENT["columns"]["score"]["high"] != DOCUMENT["outputs"]["score"]["high"]


def test_summaries_are_there_to_be_read():
    rows = batch(4, features={"a": Column(np.array([1.0, 2.0, 3.0, np.nan]))})
    document = json.loads(reference_text(build_reference("m", rows)))
    assert document["columns"]["a"]["summary"] == {
        "missing": 0.25,
        "min": 1.0,
        "max": 3.0,
        "mean": 2.0,
        "std": 0.816497,
    }


def test_each_array_is_one_line_and_nothing_else_is_not_json():
    text = reference_text(EXAMPLE)
    json.loads(text, parse_constant=pytest.fail)
    assert max(text.count(f'"{key}": ') for key in ("spread",)) == 4
    lines = [line for line in text.splitlines() if '"edges": ' in line]
    assert all(line.rstrip(",").endswith("]") for line in lines)


def test_saving_replaces_the_file_whole_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "r.json"
    path.write_text("old")
    save_reference(EXAMPLE, path)
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]
    assert load_reference(path).model_name == "churn"


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "r.json"
    path.write_text("old")

    def full(_handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save_reference(EXAMPLE, path)
    assert path.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]


def test_a_missing_folder_or_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        save_reference(EXAMPLE, tmp_path / "none" / "r.json")
    with pytest.raises(FileNotFoundError):
        load_reference(tmp_path / "r.json")


def test_a_huge_file_is_not_even_read(tmp_path, monkeypatch):
    monkeypatch.setattr(file, "MAX_BYTES", 10)
    (tmp_path / "r.json").write_text("x" * 11)
    with pytest.raises(ValueError, match=r"r\.json: has 11 bytes, which is too many for a reference; allowed: 10"):
        load_reference(tmp_path / "r.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "x.json: not JSON"),
        ("{", "x.json: not JSON"),
        ("[" * 100_000, "x.json: not JSON"),
        ("[]", "x.json: must be an object"),
        ("{}", "x.json: has no 'format'"),
        ('{"format": 1}', "x.json: format: must be a string"),
        ('{"format": "otel-ml-reference/2"}', "x.json: format: is 'otel-ml-reference/2'; allowed: otel-ml-reference/1"),
        ('{"format": "otel-ml-reference/1"}', "x.json: has no 'task'"),
    ],
)
def test_what_is_no_reference_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_reference(text, "x.json")


def test_bytes_that_are_no_text_are_refused():
    with pytest.raises(ValueError, match=r"x\.json: not JSON"):
        parse_reference(b"\xff\xfe\x00", "x.json")


REMOVED = object()


def changed(path, value):
    """The document with another value in one place (keys with dots are joined by '/')."""
    document = deepcopy(DOCUMENT)
    *parents, last = path.split("/")
    place = document
    for key in parents:
        place = place[key]
    if value is REMOVED:
        del place[last]
    else:
        place[last] = value(place.get(last)) if callable(value) else value
    return json.dumps(document)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("columns/age/edges", REMOVED, "columns.age: has no 'edges'"),
        ("columns/age/edges", "x", "columns.age.edges: must be an array"),
        ("columns/age/edges", lambda edges: [*edges[1:], edges[0]], "columns.age.edges: must ascend"),
        ("columns/age/edges", lambda edges: [edges[0], *edges], "columns.age.edges: must ascend"),
        ("columns/age/edges", lambda edges: [*edges, "NaN"], "columns.age.edges: must be finite"),
        ("columns/age/edges", lambda edges: [*edges, "Infinity"], "columns.age.edges: must be finite"),
        ("columns/age/edges", lambda edges: [*edges, None], "columns.age.edges: must be numbers"),
        ("columns/age/edges", lambda edges: [*edges, True], "columns.age.edges: must be numbers"),
        ("columns/age/edges", lambda edges: [*edges, []], "columns.age.edges: must be numbers"),
        ("columns/age/edges", lambda edges: [*edges, 10**400], "columns.age.edges: has a number that is too large"),
        ("columns/age/edges", list(range(5000)), "columns.age.edges: are 5000; allowed: 4096"),
        ("columns/age/edges", lambda edges: edges[:-1], r"estimator.pair_scores.scores.0: must have \d+ numbers"),
        ("columns/age/drift_edges", [5] * 9 + [4], "columns.age.drift_edges: must ascend"),
        ("columns/age/drift_edges", [99999] * 10, "columns.age.drift_edges: must be an array of integers from 0 to"),
        ("columns/age/drift_edges", [], "columns.age.drift_edges: must ascend"),
        ("columns/score/drift_edges", [0], "columns.score.drift_edges: must ascend, and every numeric column"),
        ("columns/age/counts", {"shape": [1], "at": [], "values": []}, "columns.age.counts.shape: must be"),
        ("columns/age/spread", "x", "columns.age.spread: must be a number"),
        ("columns/age/kind", "odd", "columns.age.kind: is 'odd'; allowed: numeric, categorical"),
        ("columns/age/position", 1, "columns.age.position: must be 0: positions number all columns from 0"),
        ("columns/age/position", -1, "columns.age.position: must be an integer from 0 to 6"),
        ("columns/plan/slots", lambda slots: slots[:-1], "columns.plan.slots: must be 0, then one slot for"),
        ("columns/plan/slots", lambda slots: [*slots[:-1], slots[1]], "columns.plan.slots: has 3, which is taken"),
        ("columns/plan/categories", ["a", "a", "b"], "columns.plan.categories: has a string twice"),
        ("columns/plan/categories", [1, 2, 3], "columns.plan.categories: must be an array of strings"),
        ("outputs/odd", {}, "outputs.odd: is not an output; allowed: prediction, score, label"),
        ("columns", [], "columns: must be an object"),
        ("categories/slots", 99, "categories.slots: must be the number of categories plus columns"),
        ("categories/slots", 10**12, "categories.slots: must be an integer from 3 to"),
        ("task", "clustering", "task: is 'clustering'; allowed: binary_classification"),
        ("positive_class", "x", "positive_class: is 'x', which is not among classes.names"),
        ("classes/names", lambda names: [*names, "third"], r"vectors.outcomes.by_class"),
        ("segments/values", [[5, "x"]], "segments: has a value twice, or a value of an unknown segment"),
        ("segments/values", [[0, "x"], [0, "x"]], "segments: has a value twice"),
        ("segments/values", ["x"], "segments.values: must be pairs"),
        ("vectors/rows", REMOVED, "vectors: has no 'rows'"),
        ("vectors/rows", [1], r"vectors.rows: must have shape \[2\], has \[1\]"),
        ("vectors/latency/at", [0, 0], "vectors.latency.at: must give each value a different position"),
        ("vectors/latency/at", [10**9], "vectors.latency.at: must be an array of integers from 0"),
        ("model", 5, "model: must be a string"),
    ],
)  # fmt: skip
def test_a_bad_place_is_named_with_file_and_key(path, value, message):
    with pytest.raises(ValueError, match=rf"^references/x\.json: {message}"):
        parse_reference(changed(path, value), "references/x.json")


def test_more_classes_and_groups_than_fit_into_memory_are_refused():
    document = deepcopy(DOCUMENT)
    document["classes"]["names"] = [*map(str, range(100_000)), "yes"]
    document["segments"]["values"] = [[0, str(number)] for number in range(500)]
    with pytest.raises(ValueError, match=r"^x\.json: vectors: would have 502 groups of 100002 classes"):
        parse_reference(json.dumps(document), "x.json")


def test_numeric_columns_come_first():
    document = deepcopy(DOCUMENT)
    document["columns"]["age"]["position"], document["columns"]["plan"]["position"] = (
        document["columns"]["plan"]["position"],
        document["columns"]["age"]["position"],
    )
    with pytest.raises(ValueError, match="must come after all numeric columns"):
        parse_reference(json.dumps(document), "x.json")


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_document_with_any_value_replaced_is_refused_or_read(data):
    """Hostile files end in a ValueError, never in another exception."""
    document = deepcopy(DOCUMENT)
    place = document
    while True:
        key = data.draw(st.sampled_from(sorted(place)))
        if not isinstance(place[key], dict) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = data.draw(
        st.sampled_from([None, True, -1, 10**30, "x", [], {}, [[]], [None], [-1], {"shape": [9]}, 0.5])
    )
    message = ""
    try:
        parse_reference(json.dumps(document), "x.json")
    except ValueError as error:
        message = str(error)
    assert message.startswith("x.json: ") or not message
