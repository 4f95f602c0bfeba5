from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest

from collector_processor.columns.batch import Column, ModelKey, PredictionBatch
from collector_processor.reference.build import build_reference
from collector_processor.statistics.schema import ColumnSpec
from support.columns import NAN, mixed, numbers, texts


def batch(rows, weights=None, **columns):
    return PredictionBatch(
        ModelKey("m"), np.zeros(rows, np.int64), np.zeros((rows, 2), np.uint64),
        np.ones(rows) if weights is None else np.array(weights, np.float64), np.full(rows, NAN), **columns,
    )  # fmt: skip


def kinds(reference):
    return {spec.name: "numeric" for spec in reference.schema.numeric} | {
        spec.name: "categorical" for spec in reference.schema.categorical
    }


def category_shares(reference, name):
    position = [spec.name for spec in reference.schema.categorical].index(name)
    table = reference.schema.categories
    counts = reference.pane.category_counts[table.column_slots(position)].tolist()
    return dict(zip(["other", *table.names(position)], counts, strict=True))


class TestKinds:
    def test_the_majority_of_cells_decides(self):
        found = build_reference(
            "m",
            batch(3, features={"a": mixed(1.0, 2.0, "x"), "b": mixed(1.0, "x", "y"), "c": numbers(NAN, NAN, NAN),
                               "d": texts(None, None, None), "e": mixed(1.0, "x", None)}),
        )  # fmt: skip
        assert kinds(found) == {"a": "numeric", "b": "categorical", "c": "numeric", "d": "categorical", "e": "numeric"}

    def test_names_make_exceptions(self):
        rows = batch(4, features={"month": numbers(1, 2, 2, NAN), "code": texts("1", "2", None, "x")})
        found = build_reference("m", rows, categorical=["month"], numeric=["code"])
        assert kinds(found) == {"month": "categorical", "code": "numeric"}
        assert category_shares(found, "month") == {"other": 0.0, "2": 2.0, "1": 1.0}
        assert found.pane.wrong_type[0] == 3.0

    @pytest.mark.parametrize("kind", ["categorical", "numeric"])
    def test_an_unknown_name_is_refused_with_the_features_there_are(self, kind):
        with pytest.raises(ValueError, match=r"model 'm': no feature 'aeg'; available: age, plan"):
            build_reference("m", batch(1, features={"age": numbers(1), "plan": texts("a")}), **{kind: ["aeg"]})

    def test_one_feature_has_one_kind(self):
        with pytest.raises(ValueError, match="feature 'age' cannot be both"):
            build_reference("m", batch(1, features={"age": numbers(1)}), categorical=["age"], numeric=["age"])


class TestTask:
    @pytest.mark.parametrize(
        ("columns", "task", "positive"),
        [
            ({"prediction": texts("0", "1", "1")}, "binary_classification", "1"),
            ({"prediction": texts("No", "Yes", "No")}, "binary_classification", "Yes"),
            ({"prediction": texts("spam", "ham", "ham")}, "binary_classification", "spam"),
            ({"prediction": texts("a", "b", "c")}, "multiclass_classification", ""),
            ({"prediction": numbers(0, 1, 2)}, "multiclass_classification", ""),
            ({"prediction": texts("only", "only", "only")}, "binary_classification", ""),
            ({"prediction": texts("0", "0", "0")}, "binary_classification", ""),
            ({"prediction": texts("True", "True", "True")}, "binary_classification", "1"),
            ({"prediction": texts("legit", "fraud", "legit")}, "binary_classification", "fraud"),
            ({"prediction": texts("0", "0", "0"), "positive_class": "true"}, "binary_classification", "1"),
            (
                {"prediction": texts("0", "0", "0"), "scores": {"0": np.ones(3), "1": np.zeros(3)}},
                "binary_classification",
                "1",
            ),
            ({"score": np.array([0.1, 0.2, 0.3])}, "binary_classification", ""),
            ({"value": np.array([1.0, 2.0, 3.0])}, "regression", ""),
            ({}, "", ""),
            (
                {"prediction": texts("a", "b", "a"), "task": "multiclass_classification"},
                "multiclass_classification",
                "",
            ),
            ({"prediction": texts("a", "b", "c"), "task": "binary_classification"}, "multiclass_classification", ""),
            ({"prediction": texts("a", "b", "a"), "task": "clustering"}, "binary_classification", "b"),
        ],
    )
    def test_outputs_tell_task_and_positive_class(self, columns, task, positive):
        schema = build_reference("m", batch(3, **columns)).schema
        assert (schema.task, schema.positive_class) == (task, positive)

    def test_a_positive_class_must_be_among_the_classes(self):
        with pytest.raises(ValueError, match="model 'm': no class 'late'; available: delayed, on time"):
            build_reference("m", batch(2, prediction=texts("on time", "delayed")), positive_class="late")

    def test_a_positive_class_needs_a_binary_task(self):
        with pytest.raises(ValueError, match="positive class 'a' given, but the task is multiclass_classification"):
            build_reference("m", batch(3, prediction=texts("a", "b", "c")), positive_class="a")

    @pytest.mark.parametrize(
        ("task", "columns", "message"),
        [
            ("binary_classification", {"prediction": texts("a", "b", "c")}, "but there are 3 classes: a, b, c"),
            ("regression", {"prediction": texts("a", "b", "c")}, "but there are classes instead of values: a, b, c"),
            ("binary_classification", {"value": np.ones(3)}, "but there are values instead of classes"),
            ("clustering", {"value": np.ones(3)}, "unknown task 'clustering'; allowed: binary_classification"),
        ],
    )
    def test_a_task_that_the_rows_contradict_is_refused(self, task, columns, message):
        with pytest.raises(ValueError, match=message):
            build_reference("m", batch(3, **columns), task=task)

    def test_labels_bring_classes_that_were_never_predicted(self):
        schema = build_reference(
            "m", batch(3, prediction=texts("a", "a", "b")), label_classes=texts("a", "c", "b")
        ).schema
        assert schema.task == "multiclass_classification"
        assert schema.classes.names(0) == ["a", "b", "c"]

    def test_while_serving_the_rows_win(self):
        rows = batch(3, features={"age": numbers(1, 2, 3)}, prediction=texts("a", "b", "c"))
        schema = build_reference(
            "m",
            rows,
            task="binary_classification",
            positive_class="x",
            categorical=["gone"],
            segments=["gone"],
            strict=False,
        ).schema
        assert (schema.task, schema.positive_class) == ("multiclass_classification", "")

    def test_while_serving_a_positive_class_may_not_have_come_yet(self):
        schema = build_reference(
            "m", batch(2, prediction=texts("ok", "ok")), positive_class="fraud", strict=False
        ).schema
        assert (schema.positive_class, schema.classes.names(0)) == ("fraud", ["fraud", "ok"])
        schema = build_reference("m", batch(2, prediction=texts("a", "b")), positive_class="c", strict=False).schema
        assert schema.positive_class == "b"


class TestColumns:
    def test_outputs_and_labels_are_columns(self):
        rows = batch(
            4, features={"x": numbers(1, 2, 3, 4)}, prediction=texts("0", "1", "0", "1"), score=np.linspace(0, 1, 4)
        )
        schema = build_reference("m", rows, label_classes=texts("0", "1", None, "1")).schema
        assert schema.columns == (
            ColumnSpec("feature", "x"),
            ColumnSpec("score", "score"),
            ColumnSpec("prediction", "prediction"),
            ColumnSpec("label", "label"),
        )

    def test_a_regression_has_numeric_prediction_and_label(self):
        found = build_reference("m", batch(3, value=np.array([1.0, 2.0, 4.0])), label_values=np.array([1.0, NAN, 5.0]))
        assert found.schema.numeric == (ColumnSpec("prediction", "prediction"), ColumnSpec("label", "label"))
        assert found.pane.counts.sum(axis=1).tolist() == [3.0, 2.0]
        assert found.pane.missing.tolist() == [0.0, 0.0]
        assert found.pane.outcomes.errors[0, :2].tolist() == [2.0, 1.0]

    def test_the_score_has_an_edge_at_one_half(self):
        score = np.random.default_rng(0).random(1000)
        found = build_reference("m", batch(1000, score=score))
        assert 0.5 in found.schema.edges[0]

    def test_a_score_is_looked_up_in_the_scores(self):
        scores = {"no": np.array([0.9, 0.2]), "yes": np.array([0.1, 0.8])}
        found = build_reference("m", batch(2, prediction=texts("no", "yes"), scores=scores))
        assert (found.schema.low[0], found.schema.high[0]) == (0.1, 0.8)

    def test_failed_rows_are_no_reference_for_outputs(self):
        rows = batch(
            3, score=np.array([0.1, 0.2, 99.0]), prediction=texts("0", "1", None), error=texts(None, None, "E")
        )
        found = build_reference("m", rows)
        assert found.schema.high[0] == 0.2
        assert found.pane.group_rows.tolist() == [[3.0, 1.0]]

    def test_ragged_columns_are_padded(self):
        random = np.random.default_rng(1)
        features = {
            "many": Column(random.normal(size=500)),
            "one": numbers(*[7.0] * 500),
            "none": numbers(*[NAN] * 500),
        }
        schema = build_reference("m", batch(500, features=features)).schema
        finite = np.isfinite(schema.edges).sum(axis=1)
        assert finite[1:].tolist() == [4, 0]  # as far as rounding to float32 reaches, and to float16
        assert (np.diff(schema.edges[0]) > 0).all()
        assert schema.drift_edges[1].tolist() == [0] + [3] * 8
        assert np.isnan(schema.low[2])

    def test_no_numeric_columns_are_no_error(self):
        found = build_reference("m", batch(2, features={"a": texts("x", "y")}))
        assert found.schema.edges.shape[0] == 0
        assert found.spread.shape == (0,)

    def test_the_pane_holds_the_reference_rows_themselves(self):
        found = build_reference("m", batch(3, weights=[1, 2, 3], features={"a": numbers(1, 2, NAN)}))
        assert found.pane.rows.tolist() == [6.0, 3.0]
        assert (found.pane.counts.sum(), found.pane.missing[0]) == (3.0, 3.0)


class TestSpread:
    @pytest.mark.parametrize(
        "values",
        [[1.0, 2.0, 4.0], [1e9 + 1, 1e9 + 2, 1e9 + 4], [5.0, 5.0], [1e-310, 3e-310], [-3.0, NAN, np.inf, 3.0, 9.0]],
    )
    def test_it_is_the_standard_deviation_of_the_finite_values(self, values):
        values = np.array(values)
        found = build_reference("m", batch(len(values), features={"a": Column(values)}))
        assert found.spread[0] == pytest.approx(np.std(values[np.isfinite(values)]), rel=1e-9)

    def test_it_never_overflows_and_is_zero_without_values(self):
        found = build_reference("m", batch(2, features={"a": numbers(1e308, -1e308), "b": numbers(NAN, np.inf)}))
        assert found.spread.tolist() == [1e308, 0.0]

    def test_it_goes_by_weight(self):
        found = build_reference("m", batch(2, weights=[3, 1], features={"a": numbers(0.0, 1.0)}))
        assert found.spread[0] == pytest.approx(np.std([0, 0, 0, 1]))


class TestLimits:
    def test_the_most_frequent_categories_stay(self):
        cells = ["x", "y", "y", "z", "z", "z"] * 100
        found = build_reference("m", batch(600, features={"a": texts(*cells)}), max_categories=2)
        counts = category_shares(found, "a")
        assert list(counts) == ["other", "z", "y"]
        # One half of the rows chose, the other is counted.
        assert sum(counts.values()) == pytest.approx(300, abs=50)
        assert counts["z"] / sum(counts.values()) == pytest.approx(0.5, abs=0.1)
        assert found.schema.fork().categories.slots(0, ["new"]).tolist() == [0]

    def test_features_beyond_the_limit_are_left_out(self):
        rows = batch(1, features={f"f{i}": numbers(1) for i in range(10)})
        assert len(build_reference("m", rows, max_features=3).schema.columns) == 3

    def test_the_most_frequent_classes_stay_in_sorted_order(self):
        found = build_reference("m", batch(6, prediction=texts("c", "c", "b", "a", "a", "a")), max_classes=2)
        assert found.schema.classes.names(0) == ["a", "c"]
        assert found.schema.classes.slots(0, ["b"]).tolist() == [0]

    def test_ten_thousand_categories_are_cut(self):
        codes = np.arange(10_000, dtype=np.int32)
        column = Column(None, codes, tuple(map(str, range(10_000))))
        found = build_reference("m", batch(10_000, features={"id": column}))
        assert len(found.schema.categories) == 1001
        counts = category_shares(found, "id")
        assert counts["other"] == sum(counts.values())  # a category that was in one half is not in the other


class TestRefusals:
    def test_no_rows(self):
        with pytest.raises(ValueError, match="model 'm': no rows to build a reference from"):
            build_reference("m", batch(0))

    def test_labels_of_another_length(self):
        with pytest.raises(ValueError, match="model 'm': 2 labels for 3 rows"):
            build_reference("m", batch(3), label_values=np.ones(2))

    def test_an_unknown_segment(self):
        with pytest.raises(ValueError, match="no segment or feature 'carier'; available: region, carrier"):
            build_reference(
                "m", batch(1, features={"carrier": texts("UA")}, segments={"region": texts("n")}), segments=["carier"]
            )


class TestOutcomes:
    ROWS = batch(4, prediction=texts("0", "1", "0", "1"), score=np.array([0.1, 0.9, 0.4, 0.6]),
                 features={"plan": texts("a", "a", "b", "b")})  # fmt: skip

    def test_labels_fill_the_outcomes_by_group(self):
        found = build_reference("m", self.ROWS, label_classes=texts("0", "1", "1", None), segments=["plan"])
        outcomes, classes = found.pane.outcomes, found.schema.classes
        zero, one = classes.find(0, "0"), classes.find(0, "1")
        assert outcomes.labels[0] == 3.0
        right, labeled, predicted = outcomes.by_class[0][:, [zero, one]].tolist()
        assert (right, labeled, predicted) == ([1.0, 1.0], [1.0, 2.0], [2.0, 1.0])
        assert outcomes.labels[found.schema.groups.find(0, "b") + 1] == 1.0
        assert outcomes.score_hits[0].sum(axis=1).tolist() == [1.0, 2.0]
        assert outcomes.delay.sum() == 0.0
        assert category_shares(found, "label") == {"other": 0.0, "1": 2.0, "0": 1.0}

    def test_failed_rows_have_a_label_but_no_prediction(self):
        rows = replace(self.ROWS, error=texts("E", None, None, None))
        outcomes = build_reference("m", rows, label_classes=texts("0", "1", "1", "0")).pane.outcomes
        assert (outcomes.labels[0], outcomes.by_class[0, 1].sum(), outcomes.scored[0, 0]) == (4.0, 3.0, 3.0)

    def test_multiclass_probabilities_are_those_of_the_label(self):
        scores = {"a": np.array([0.5, 0.2, 0.1]), "b": np.array([0.3, 0.6, 0.1]), "c": np.array([0.2, 0.2, 0.8])}
        rows = batch(3, prediction=texts("a", "b", "c"), scores=scores)
        scored = build_reference("m", rows, label_classes=texts("a", "a", "c")).pane.outcomes.scored[0]
        assert scored[[0, 2]].tolist() == pytest.approx([3.0, -np.log(0.5) - np.log(0.2) - np.log(0.8)])

    def test_integer_labels_match_text_predictions(self):
        found = build_reference("m", self.ROWS, label_classes=numbers(0, 1, 1, NAN))
        assert found.schema.classes.names(0) == ["0", "1"]
        assert found.pane.outcomes.labels[0] == 3.0


def test_source_and_time_are_told():
    found = build_reference("m", batch(1), source="train.parquet")
    assert (found.model_name, found.source) == ("m", "train.parquet")
    assert datetime.fromisoformat(found.built_at).utcoffset().total_seconds() == 0.0
    assert build_reference("m", batch(1), built_at="2013-01-01T00:00:00+00:00").built_at.startswith("2013")


def test_progress_goes_column_by_column():
    seen = []
    build_reference(
        "m", batch(2, features={"a": numbers(1, 2), "b": numbers(1, 2)}), progress=lambda *step: seen.append(step)
    )
    assert seen == [(0, 2, "binning a"), (1, 2, "binning b")]
