from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector_processor.columns.batch import Column, ModelKey, PredictionBatch
from collector_processor.reference.build import build_reference
from collector_processor.statistics.accumulate import accumulate, accumulate_column
from collector_processor.statistics.cells import score_cells
from collector_processor.statistics.numbers import EXCESS_LIMIT
from collector_processor.statistics.pane import Pane
from collector_processor.statistics.schema import ColumnSpec
from support.columns import NAN, mixed, numbers, texts


def batch(rows=None, weights=None, **columns):
    first = next(iter(columns.get("features", {}).values()), None)
    rows = len(first) if rows is None else rows
    return PredictionBatch(
        ModelKey("m"),
        np.zeros(rows, np.int64),
        np.zeros((rows, 2), np.uint64),
        np.ones(rows) if weights is None else np.array(weights, np.float64),
        columns.pop("duration_s", np.full(rows, NAN)),
        **columns,
    )


REFERENCE = build_reference(
    "m",
    batch(
        features={"age": numbers(*range(100)), "plan": texts(*["a", "b"] * 50), "month": numbers(*[1, 2, 3, 4] * 25)},
        prediction=texts(*["no", "yes"] * 50),
        score=np.linspace(0, 1, 100),
    ),
    categorical=["month"],
)


class Counted:
    """One batch in an empty pane, by column name."""

    def __init__(self, *batches, reference=REFERENCE):
        self.schema = reference.schema.fork()
        self.pane = Pane.empty(self.schema)
        self.dropped = [accumulate(self.pane, self.schema, each) for each in batches]

    def position(self, name):
        return next(i for i, spec in enumerate(self.schema.columns) if spec.name == name)

    def missing(self, name):
        return self.pane.missing[self.position(name)]

    def wrong(self, name):
        return self.pane.wrong_type[self.position(name)]

    def counted(self, name):
        return self.pane.counts[self.position(name)].sum()

    def categories(self, name):
        column = self.position(name) - len(self.schema.numeric)
        slots = self.schema.categories.column_slots(column)
        names = ["other", *self.schema.categories.names(column)]
        counts = self.pane.category_counts[slots]
        return {name: count for name, count in zip(names, counts.tolist(), strict=True) if count}


def test_columns_are_numbers_first_features_first():
    assert [(spec.role, spec.name) for spec in REFERENCE.schema.columns] == [
        ("feature", "age"), ("score", "score"), ("feature", "plan"), ("feature", "month"), ("prediction", "prediction"),
    ]  # fmt: skip


def test_a_numeric_column_tells_numbers_texts_and_missing_apart():
    found = Counted(batch(features={"age": mixed(3.0, "three", None, 4.0)}, weights=[1, 2, 4, 8]))
    assert (found.counted("age"), found.wrong("age"), found.missing("age")) == (9.0, 2.0, 4.0)


def test_a_numeric_column_of_texts_only_is_of_the_wrong_type():
    found = Counted(batch(features={"age": texts("3", None)}))
    assert (found.counted("age"), found.wrong("age"), found.missing("age")) == (0.0, 1.0, 1.0)


def test_a_categorical_column_matches_integers_and_refuses_other_numbers():
    found = Counted(batch(features={"month": mixed(3.0, "3", 1.5, None, np.inf, 12.0)}))
    assert found.categories("month") == {"3": 2.0, "12": 1.0}
    assert (found.wrong("month"), found.missing("month")) == (2.0, 1.0)


def test_a_feature_that_changes_its_type_is_never_taken_for_a_value():
    found = Counted(batch(features={"age": texts("old", "young"), "plan": numbers(0.5, 0.25)}))
    assert (found.counted("age"), found.wrong("age")) == (0.0, 2.0)
    assert (found.categories("plan"), found.wrong("plan")) == ({}, 2.0)


def test_a_feature_that_the_batch_lacks_is_missing_in_every_row():
    found = Counted(batch(features={"age": numbers(1, 2)}, weights=[1, 3]))
    assert (found.missing("age"), found.missing("plan"), found.missing("month")) == (0.0, 4.0, 4.0)
    assert (found.missing("score"), found.missing("prediction")) == (4.0, 4.0)


def test_cells_of_unknown_features_are_counted_as_dropped():
    found = Counted(batch(features={"age": numbers(1, 2), "new": mixed(1.0, "x"), "newer": numbers(NAN, 5.0)}))
    assert found.dropped == [{"unknown_feature": 3}]


def test_an_unknown_feature_without_cells_drops_nothing():
    assert Counted(batch(features={"age": numbers(1), "new": numbers(NAN)})).dropped == [{}]


def test_failed_rows_have_features_and_latency_but_no_outputs():
    found = Counted(
        batch(
            features={"age": numbers(1, 2, 3), "plan": texts("a", "a", "b")},
            prediction=texts("yes", "yes", None),
            score=np.array([0.9, 0.8, NAN]),
            error=texts(None, "ValueError", "ValueError"),
            duration_s=np.array([0.1, 0.1, 0.1]),
            weights=[1, 2, 4],
        )
    )
    assert found.pane.rows.tolist() == [7.0, 3.0]
    assert found.pane.group_rows.tolist() == [[7.0, 6.0]]
    assert found.pane.latency.sum() == 7.0
    assert (found.counted("age"), found.counted("score")) == (7.0, 1.0)
    assert found.categories("prediction") == {"yes": 1.0}
    assert (found.missing("score"), found.missing("prediction")) == (0.0, 0.0)


def test_an_error_column_without_errors_changes_nothing():
    rows = batch(features={"age": numbers(1, 2)}, prediction=texts("yes", None))
    clean, marked = Counted(rows), Counted(replace(rows, error=texts(None, None)))
    for name, values in clean.pane.arrays().items():
        np.testing.assert_array_equal(marked.pane.arrays()[name], values)


def test_out_of_range_cells_fall_into_the_outer_bins():
    found = Counted(batch(features={"age": numbers(-1, 0, 99, 99.5, -np.inf, np.inf)}))
    edges = found.schema.edges[found.position("age")]
    counts, last = found.pane.counts[found.position("age")], np.count_nonzero(np.isfinite(edges))
    assert (counts[0], counts[last], counts.sum()) == (2.0, 2.0, 6.0)
    assert counts[last + 1 :].sum() == 0.0


def test_infinite_cells_do_not_enter_the_excess():
    found = Counted(batch(features={"age": numbers(np.inf, -np.inf, 100.0, -7.0)}))
    excess = found.pane.excess[found.position("age")]
    edges = found.schema.edges[found.position("age")]
    assert excess[0] == -7.0
    last = np.count_nonzero(np.isfinite(edges))
    assert 99.0 < edges[last - 1] < 100.0
    assert excess[last] == pytest.approx(100.0 - edges[last - 1])


def test_absurd_cells_keep_the_excess_finite():
    found = Counted(batch(features={"age": numbers(*[1.7e308, -1.7e308, 1e300] * 1000)}))
    excess = found.pane.excess[found.position("age")]
    assert np.isfinite(excess).all()
    assert excess.max() == pytest.approx(2000 * EXCESS_LIMIT)


def test_nothing_but_missing_cells_is_no_error():
    found = Counted(batch(features={"age": numbers(NAN, NAN), "plan": texts(None, None)}))
    assert (found.missing("age"), found.missing("plan")) == (2.0, 2.0)


def test_an_empty_batch_leaves_the_pane_as_it_is():
    found = Counted(batch(features={"age": numbers()}))
    assert not any(values.any() for values in found.pane.arrays().values())
    assert found.dropped == [{}]


def test_new_categories_grow_the_tables_and_the_vectors():
    found = Counted(
        batch(features={"plan": texts("a", "c", "d")}),
        batch(features={"plan": texts("d", "e", None)}),
    )
    assert found.categories("plan") == {"a": 1.0, "c": 1.0, "d": 2.0, "e": 1.0}
    assert len(found.pane.category_counts) == len(found.schema.categories)
    assert "e" not in REFERENCE.schema.categories.names(0), "the reference's own table stays"


def test_an_older_pane_is_grown_when_the_tables_grew_meanwhile():
    schema = REFERENCE.schema.fork()
    old = Pane.empty(schema)
    accumulate(Pane.empty(schema), schema, batch(features={"plan": texts("x", "y", "z")}))
    accumulate(old, schema, batch(features={"plan": texts("a", "z")}))
    assert len(old.category_counts) == len(schema.categories)
    assert old.category_counts[schema.categories.find(0, "z")] == 1.0


def test_categories_of_no_cell_take_no_slot():
    rows = batch(features={"plan": Column(None, np.array([1, 1], np.int32), ("unused", "c"))})
    found = Counted(rows)
    assert found.schema.categories.names(0) == ["a", "b", "c"]


def test_ten_thousand_categories_end_in_other():
    names = tuple(f"user-{i}" for i in range(10_000))
    found = Counted(batch(features={"plan": Column(None, np.arange(10_000, dtype=np.int32), names)}))
    counts = found.categories("plan")
    assert len(found.schema.categories.names(0)) == 1000
    assert counts["other"] == 10_000 - 998
    assert sum(counts.values()) == 10_000


def test_five_thousand_features_are_one_batch():
    random = np.random.default_rng(0)
    rows = batch(features={f"f{i}": Column(random.normal(size=50)) for i in range(5000)})
    reference = build_reference("m", rows, max_features=5000)
    found = Counted(rows, reference=reference)
    np.testing.assert_array_equal(found.pane.counts, reference.pane.counts)
    assert found.pane.counts.sum() == 5000 * 50


def test_labels_do_not_come_from_predictions():
    labelled = build_reference("m", batch(features={"age": numbers(1, 2)}, prediction=texts("no", "yes")),
                               label_classes=texts("no", "yes"))  # fmt: skip
    found = Counted(batch(features={"age": numbers(1)}, prediction=texts("no")), reference=labelled)
    assert found.categories("label") == {}
    assert found.missing("label") == 0.0


def test_a_retraction_takes_a_column_out_again():
    schema = REFERENCE.schema.fork()
    pane = Pane.empty(schema)
    position = schema.columns.index(ColumnSpec("feature", "plan"))
    for sign in (1.0, -1.0):
        accumulate_column(pane, schema, position, texts("a", "new", None), np.full(3, sign))
        accumulate_column(pane, schema, 0, mixed(1.0, "x", None), np.full(3, sign))
    assert not any(values.any() for values in pane.arrays().values())
    accumulate_column(pane, schema, position, texts(), np.ones(0))
    assert not pane.category_counts.any()


def test_column_and_batch_count_the_same():
    cells = mixed(1.0, "b", None, 2.5)
    found = Counted(batch(features={"age": cells, "plan": cells}, weights=[1, 2, 3, 4]))
    alone = Counted()
    for name in ("age", "plan"):
        accumulate_column(alone.pane, alone.schema, alone.position(name), cells, np.array([1.0, 2.0, 3.0, 4.0]))
    for name in ("age", "plan"):
        assert (alone.missing(name), alone.wrong(name)) == (found.missing(name), found.wrong(name))
    np.testing.assert_array_equal(alone.pane.counts, found.pane.counts)
    assert alone.categories("plan") == found.categories("plan")


CELL = st.sampled_from([None, "a", "b", "3", "new", 0.0, 3.0, 42.5, -7.0, 99.0, np.inf, -np.inf, 1e300])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(CELL, CELL, st.sampled_from([1.0, 2.5]), st.booleans()), min_size=1, max_size=30), st.booleans()
)
def test_any_batch_counts_as_its_cells_one_by_one(rows, numbers_first):
    ages, plans, weights, failures = zip(*rows, strict=True)
    edges = REFERENCE.schema.edges[0][np.isfinite(REFERENCE.schema.edges[0])]
    sent = {"age": mixed(*ages), "plan": mixed(*plans)}
    found = Counted(
        batch(
            features=sent if numbers_first else dict(reversed(sent.items())),
            score=np.full(len(rows), 0.5),
            error=texts(*("E" if failed else None for failed in failures)),
            weights=weights,
        )
    )
    counts, expected = np.zeros(found.pane.counts.shape[1]), dict.fromkeys(
        ("missing age", "wrong age", "missing plan", "wrong plan"), 0.0
    )  # fmt: skip
    categories: dict[str, float] = {}
    for age, plan, weight in zip(ages, plans, weights, strict=True):
        if isinstance(age, float):
            counts[np.count_nonzero(edges <= age)] += weight
        else:
            expected["missing age" if age is None else "wrong age"] += weight
        text = "3" if plan == 3.0 else "0" if plan == 0.0 else "-7" if plan == -7.0 else "99" if plan == 99.0 else plan
        if isinstance(text, str):
            categories[text] = categories.get(text, 0.0) + weight
        else:
            expected["missing plan" if text is None else "wrong plan"] += weight
    np.testing.assert_allclose(found.pane.counts[0], counts)
    assert found.categories("plan") == categories
    assert expected == {
        "missing age": found.missing("age"), "wrong age": found.wrong("age"),
        "missing plan": found.missing("plan"), "wrong plan": found.wrong("plan"),
    }  # fmt: skip
    answered = sum(weight for weight, failed in zip(weights, failures, strict=True) if not failed)
    assert (found.counted("score"), found.missing("score"), found.missing("prediction")) == (answered, 0.0, answered)
    assert found.pane.group_rows[0].tolist() == [sum(weights), sum(weights) - answered]


class TestScoreCells:
    PLAIN = batch(
        rows=2, prediction=texts("no", "yes"), scores={"no": np.array([0.7, 0.2]), "yes": np.array([0.3, 0.8])}
    )

    def test_the_score_is_that_of_the_positive_class(self):
        assert score_cells(self.PLAIN, "yes").tolist() == [0.3, 0.8]

    def test_without_a_positive_class_it_is_that_of_the_prediction(self):
        assert score_cells(self.PLAIN, "").tolist() == [0.7, 0.8]

    def test_a_named_class_goes_before_a_score_that_may_be_of_the_other_class(self):
        sent = replace(self.PLAIN, score=np.array([0.7, 0.2]))
        assert score_cells(sent, "yes").tolist() == [0.3, 0.8]

    def test_the_score_fills_in_where_the_class_has_none(self):
        sent = replace(self.PLAIN, scores={"yes": np.array([NAN, 0.8])}, score=np.array([0.5, NAN]))
        assert score_cells(sent, "yes").tolist() == [0.5, 0.8]

    def test_an_unknown_class_has_no_score(self):
        assert score_cells(self.PLAIN, "maybe") is None
        assert score_cells(replace(self.PLAIN, scores={}), "yes") is None
        assert score_cells(replace(self.PLAIN, prediction=None), "") is None
        assert score_cells(replace(self.PLAIN, score=np.array([0.5, NAN])), "maybe").tolist()[0] == 0.5

    def test_integer_predictions_find_their_class(self):
        rows = batch(rows=2, prediction=numbers(0, 1), scores={"0": np.array([0.7, 0.2]), "1": np.array([0.3, 0.8])})
        assert score_cells(rows, "").tolist() == [0.7, 0.8]
