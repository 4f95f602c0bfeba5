"""Realised performance against scikit-learn, on sums that add."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from collector_processor.monitors.performance import METRICS, LeastLabels, PerformanceMonitor, roc_auc
from collector_processor.reference.profile import Reference
from collector_processor.statistics.pane import Pane
from collector_processor.window.closed import Window
from otel_ml import semconv
from support.performance import MODEL, binary_rows, outcomes_of, pane_of, schema_of

EXACT = {"abs": 1e-9, "rel": 1e-9}


def measured(schema, pane, min_labels=1):
    """All measurements by (metric, average, segment value)."""
    reference = Reference(MODEL.name, schema, pane, np.zeros(len(schema.numeric)), "test", "")
    found = {}
    for item in PerformanceMonitor(LeastLabels(min_labels=min_labels)).evaluate(
        Window(MODEL, 0, 1000, schema, pane), reference
    ):
        pairs = dict(item.attributes)
        assert item.attributes[:2] == ((semconv.MODEL_NAME, "fraud"), (semconv.MODEL_VERSION, "7"))
        assert pairs[semconv.PERFORMANCE_SOURCE] == "labels"
        assert item.time_ns == 1000
        assert np.isfinite(item.value)
        if item.name == semconv.PERFORMANCE_DROP:
            assert item.value == 0.0  # the window is the reference
            continue
        key = item.name.removeprefix(semconv.PERFORMANCE)
        average, segment = pairs.get(semconv.PERFORMANCE_AVERAGE), pairs.get(semconv.SEGMENT_VALUE)
        found[" ".join(part for part in (key, average, segment) if part)] = item.value
    return found


def binary_oracle(truth, scores, decided, weights=None):
    kwargs = {"sample_weight": weights}
    edges = np.minimum((scores * 10).astype(int), 9)
    weight = np.ones(len(scores)) if weights is None else weights
    gaps = [abs((weight * (scores - truth))[edges == bin_].sum()) for bin_ in range(10)]
    return {
        "accuracy": sk.accuracy_score(truth, decided, **kwargs),
        "precision": sk.precision_score(truth, decided, **kwargs),
        "recall": sk.recall_score(truth, decided, **kwargs),
        "f1": sk.f1_score(truth, decided, **kwargs),
        "brier": sk.brier_score_loss(truth, scores, **kwargs),
        "log_loss": sk.log_loss(truth, scores, **kwargs),
        "calibration_error": sum(gaps) / weight.sum(),
    }


@pytest.mark.parametrize(
    ("rate", "concentrated", "weighted"),
    [(0.3, False, False), (0.3, False, True), (0.01, False, False), (0.02, True, False), (0.02, True, True)],
)
def test_binary_metrics_equal_scikit_learn(rate, concentrated, weighted):
    truth, scores, decided = binary_rows(1, 100_000, rate, concentrated)
    weights = np.random.default_rng(2).choice([1.0, 2.5, 10.0], len(truth)) if weighted else None
    schema = schema_of("binary_classification", numeric=[("score", binary_rows(3, 50_000, rate, concentrated)[1])])
    batch = outcomes_of(labels=1 + truth, predicted=1 + decided, scores=scores, weights=weights)
    found = measured(schema, pane_of(schema, batch))
    area = found.pop("roc_auc")
    assert found == pytest.approx(binary_oracle(truth, scores, decided, weights), **EXACT)
    assert area == pytest.approx(sk.roc_auc_score(truth, scores, sample_weight=weights), abs=1e-3)


def test_roc_auc_of_few_distinct_scores_is_exact():
    rng = np.random.default_rng(0)
    scores = rng.choice([0.0, 0.01, 0.1, 0.25, 1.0], 100_000, p=[0.1, 0.7, 0.1, 0.05, 0.05])
    truth = rng.random(len(scores)) < scores
    schema = schema_of("binary_classification", numeric=[("score", scores[:1000])])
    batch = outcomes_of(labels=1 + truth, predicted=1 + (scores > 0.5), scores=scores)
    assert measured(schema, pane_of(schema, batch))["roc_auc"] == pytest.approx(
        sk.roc_auc_score(truth, scores), **EXACT
    )


def test_roc_auc_is_left_out_where_scores_have_left_the_bins():
    truth, scores, _ = binary_rows(1, 5000, 0.5)
    schema = schema_of("binary_classification", numeric=[("score", np.linspace(0.0, 0.1, 1000))])
    found = measured(schema, pane_of(schema, outcomes_of(labels=1 + truth, predicted=1 + truth, scores=scores)))
    assert "roc_auc" not in found
    assert found["brier"] == pytest.approx(sk.brier_score_loss(truth, scores), **EXACT)


def test_roc_auc_needs_a_score_column():
    truth, scores, decided = binary_rows(1, 1000, 0.5)
    schema = schema_of("binary_classification")
    found = measured(schema, pane_of(schema, outcomes_of(labels=1 + truth, predicted=1 + decided, scores=scores)))
    assert "roc_auc" not in found
    assert found["log_loss"] == pytest.approx(sk.log_loss(truth, scores), **EXACT)


@pytest.mark.parametrize("scale", [1.0, 100.0, -3.0])
def test_scores_that_are_no_probabilities_rank_and_do_not_calibrate(scale):
    rng = np.random.default_rng(0)
    truth = rng.random(20_000) < 0.4
    scores = (rng.normal(truth, 1.0) + 5.0) * scale + 1.1 * np.sign(scale) * 10
    schema = schema_of("binary_classification", numeric=[("score", scores)])
    found = measured(schema, pane_of(schema, outcomes_of(labels=1 + truth, predicted=1 + truth, scores=scores)))
    assert found["roc_auc"] == pytest.approx(sk.roc_auc_score(truth, scores), abs=1e-3)
    assert not {"brier", "log_loss", "calibration_error"} & set(found)


def test_certain_scores_are_clipped_as_scikit_learn_clips_them():
    truth, scores = np.array([True, False, True, False]), np.array([1.0, 0.0, 0.0, 1.0])
    schema = schema_of("binary_classification", numeric=[("score", scores)])
    found = measured(
        schema, pane_of(schema, outcomes_of(labels=1 + truth, predicted=1 + (scores > 0.5), scores=scores))
    )
    assert found["log_loss"] == pytest.approx(sk.log_loss(truth, scores), **EXACT)


@pytest.mark.parametrize("slot", [1, 2])
def test_one_class_alone_has_no_roc_auc(slot):
    _, scores, _ = binary_rows(1, 500, 0.5)
    schema = schema_of("binary_classification", numeric=[("score", scores)])
    batch = outcomes_of(labels=np.full(500, slot), predicted=np.full(500, 1), scores=scores)
    found = measured(schema, pane_of(schema, batch))
    assert "roc_auc" not in found
    assert "precision" not in found  # nothing was predicted positive
    assert ("recall" in found) == (slot == 2)
    assert found["accuracy"] == float(slot == 1)


def test_every_class_but_the_positive_one_is_negative_in_a_binary_task_but_right_only_if_it_is_the_same():
    schema = schema_of("binary_classification", classes=("no", "yes", "perhaps"))
    batch = outcomes_of(labels=[1, 3, 2, 2, 0], predicted=[3, 1, 2, 0, 1])
    assert measured(schema, pane_of(schema, batch)) == pytest.approx(
        {"accuracy": 0.2, "precision": 1.0, "recall": 0.5, "f1": 2 / 3}
    )


def test_positive_class_that_never_came_leaves_only_negatives():
    schema = schema_of("binary_classification", positive="maybe")
    assert measured(schema, pane_of(schema, outcomes_of(labels=[1, 2], predicted=[1, 1]))) == {"accuracy": 0.5}


def test_without_a_positive_class_there_is_only_accuracy():
    schema = schema_of("binary_classification", positive="", numeric=[("score", [0.1, 0.9])])
    batch = outcomes_of(labels=[1, 2, 2], predicted=[1, 1, 2], scores=[0.1, 0.2, 0.9])
    assert measured(schema, pane_of(schema, batch)) == pytest.approx({"accuracy": 2 / 3})


@pytest.mark.parametrize("weighted", [False, True])
def test_multiclass_metrics_equal_scikit_learn(weighted):
    rng = np.random.default_rng(5)
    rows, classes = 20_000, 6
    truth = rng.choice(classes - 1, rows, p=[0.6, 0.3, 0.07, 0.02, 0.01])  # class 5 is predicted, never true
    logits = rng.normal(size=(rows, classes)) + 2.0 * np.eye(classes)[truth]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    logits[:, 4] = -np.inf  # class 4 is true, never predicted
    decided = logits.argmax(axis=1)
    weights = rng.choice([1.0, 3.0], rows) if weighted else None
    schema = schema_of("multiclass_classification", classes="abcdef", positive="")
    batch = outcomes_of(
        labels=1 + truth,
        predicted=1 + decided,
        weights=weights,
        label_probability=probabilities[np.arange(rows), truth],
    )
    expected = {
        "accuracy": sk.accuracy_score(truth, decided, sample_weight=weights),
        "log_loss": sk.log_loss(truth, probabilities, labels=range(classes), sample_weight=weights),
    }
    for average in ("macro", "weighted"):
        scores = sk.precision_recall_fscore_support(
            truth, decided, average=average, sample_weight=weights, zero_division=0
        )
        expected |= {f"{n} {average}": v for n, v in zip(("precision", "recall", "f1"), scores[:3], strict=True)}
    assert measured(schema, pane_of(schema, batch)) == pytest.approx(expected, **EXACT)


def test_unknown_probabilities_do_not_count_in_the_log_loss():
    schema = schema_of("multiclass_classification", classes="abc", positive="")
    batch = outcomes_of(labels=[1, 2, 3], predicted=[1, 2, 1], label_probability=[0.5, np.nan, 0.25])
    assert measured(schema, pane_of(schema, batch))["log_loss"] == pytest.approx(-np.log([0.5, 0.25]).mean())


@pytest.mark.parametrize("offset", [0.0, 1e9, -1e9])
@pytest.mark.parametrize("weighted", [False, True])
def test_regression_metrics_equal_scikit_learn(offset, weighted):
    rng = np.random.default_rng(7)
    truth = rng.normal(offset, 10.0, 50_000)
    predicted = truth + rng.normal(1.0, 5.0, len(truth))
    weights = rng.choice([1.0, 4.0], len(truth)) if weighted else None
    schema = schema_of("regression", numeric=[("prediction", rng.normal(offset, 10.0, 1000))])
    pane = pane_of(schema, outcomes_of(label_values=truth, predicted_values=predicted, weights=weights))
    kwargs = {"sample_weight": weights}
    assert measured(schema, pane) == pytest.approx(
        {
            "mae": sk.mean_absolute_error(truth, predicted, **kwargs),
            "rmse": sk.root_mean_squared_error(truth, predicted, **kwargs),
            "mape": sk.mean_absolute_percentage_error(truth, predicted, **kwargs),
            "r2": sk.r2_score(truth, predicted, **kwargs),
        },
        **EXACT,
    )


def test_errors_have_the_unit_of_the_value():
    schema = schema_of("regression")
    pane = pane_of(schema, outcomes_of(label_values=np.arange(3.0), predicted_values=np.zeros(3)))
    reference = Reference("m", schema, pane, np.zeros(0), "test", "")
    found = PerformanceMonitor(LeastLabels(min_labels=1)).evaluate(Window(MODEL, 0, 1, schema, pane), reference)
    assert {item.name.rpartition(".")[2]: item.unit for item in found} == {
        "mae": "min", "rmse": "min", "mape": "1", "r2": "1",
    }  # fmt: skip


def test_mape_leaves_labels_of_zero_out():
    truth, predicted = np.array([0.0, 1.0, 1e-17, 5.0, 1e-8, 2.0]), np.array([0.5, 1.5, 0.0, 5.0, 3.0, 2.5])
    schema = schema_of("regression", numeric=[("label", [1.0, 50.0])])
    pane = pane_of(schema, outcomes_of(label_values=truth, predicted_values=predicted))
    kept = np.abs(truth) > 1e-9 * 50.0
    expected = sk.mean_absolute_percentage_error(truth[kept], predicted[kept])
    assert measured(schema, pane)["mape"] == pytest.approx(expected, rel=1e-12)


def test_a_corrected_label_of_zero_counts_no_more():
    schema, truth = schema_of("regression"), np.array([0.0, 1.0, 4.0])
    pane = pane_of(
        schema,
        outcomes_of(label_values=truth, predicted_values=truth + 1.0),
        outcomes_of(label_values=truth[:1], predicted_values=truth[:1] + 1.0, weights=-np.ones(1)),
        outcomes_of(label_values=np.array([2.0]), predicted_values=truth[:1] + 1.0),
    )
    assert measured(schema, pane)["mape"] == pytest.approx((1.0 + 0.25 + 0.5) / 3)


def test_mape_is_left_out_where_version_0_1_0_counted_errors_of_zeros():
    schema, truth = schema_of("regression"), np.array([1.0, 4.0])
    pane = pane_of(schema, outcomes_of(label_values=truth, predicted_values=truth + 1.0))
    pane.outcomes.errors[0, 7] = 0.5
    assert "mape" not in measured(schema, pane)


@pytest.mark.parametrize("value", [5.0, 1e9, 0.0])
def test_constant_labels_have_no_r2(value):
    schema = schema_of("regression")
    truth = np.full(1000, value)
    pane = pane_of(schema, outcomes_of(label_values=truth, predicted_values=truth + 1.0))
    assert set(measured(schema, pane)) == {"mae", "rmse"} | ({"mape"} if value else set())


def test_absurd_and_infinite_values_do_not_count_as_errors():
    schema = schema_of("regression")
    truth = np.array([1.0, 2.0, 1e300, 3.0, np.inf, np.nan, 4.0])
    predicted = np.array([1.0, 3.0, 1.0, np.inf, 1.0, 1.0, np.nan])
    pane = pane_of(schema, outcomes_of(label_values=truth, predicted_values=predicted))
    assert pane.outcomes.labels[0] == 5.0
    assert pane.outcomes.errors[0, 0] == 2.0
    assert measured(schema, pane)["mae"] == 0.5


def test_each_segment_equals_scikit_learn_on_its_rows():
    truth, scores, decided = binary_rows(1, 30_000, 0.3)
    rng = np.random.default_rng(2)
    region, age = rng.integers(0, 3, len(truth)), rng.integers(-1, 2, len(truth))
    schema = schema_of("binary_classification", numeric=[("score", scores)], segments=("region", "age"))
    regions = schema.groups.slots(0, ("north", "south", "west")) + 1
    ages = schema.groups.slots(1, ("old", "young")) + 1
    groups = np.stack([regions[region], np.where(age < 0, -1, ages[age])], axis=1).astype(np.int32)
    batch = outcomes_of(labels=1 + truth, predicted=1 + decided, scores=scores, groups=groups)
    found = measured(schema, pane_of(schema, batch))
    masks = {"north": region == 0, "south": region == 1, "west": region == 2, "old": age == 0, "young": age == 1}
    for name, mask in masks.items():
        area = found[f"roc_auc {name}"]
        assert area == pytest.approx(sk.roc_auc_score(truth[mask], scores[mask]), abs=1e-3)
        for metric, value in binary_oracle(truth[mask], scores[mask], decided[mask]).items():
            assert found[f"{metric} {name}"] == pytest.approx(value, **EXACT)
    for metric, value in binary_oracle(truth, scores, decided).items():
        assert found[metric] == pytest.approx(value, **EXACT)


def test_segment_values_beyond_the_limit_are_other():
    schema = schema_of("binary_classification", segments=("region",))
    batch = outcomes_of(labels=[1, 2], predicted=[1, 1], groups=np.array([[1], [-1]], np.int32))
    assert measured(schema, pane_of(schema, batch))["accuracy other"] == 1.0


def test_multiclass_segments_equal_scikit_learn_on_their_rows():
    rng = np.random.default_rng(3)
    truth, decided, part = rng.integers(0, 4, 5000), rng.integers(0, 4, 5000), rng.integers(0, 2, 5000)
    truth[part == 1] %= 2  # the second segment has two classes only
    decided[part == 1] %= 2
    schema = schema_of("multiclass_classification", classes="abcd", positive="", segments=("part",))
    rows = schema.groups.slots(0, ("x", "y")) + 1
    batch = outcomes_of(labels=1 + truth, predicted=1 + decided, groups=rows[part][:, None])
    found = measured(schema, pane_of(schema, batch))
    for value, name in enumerate("xy"):
        mask = part == value
        assert found[f"f1 macro {name}"] == pytest.approx(sk.f1_score(truth[mask], decided[mask], average="macro"))


def test_too_few_labels_say_nothing_and_small_segments_are_left_out():
    schema = schema_of("binary_classification", segments=("region",))
    rows = schema.groups.slots(0, ("big", "small")) + 1
    groups = np.repeat(rows, [40, 9])[:, None]
    pane = pane_of(schema, outcomes_of(labels=np.ones(49), predicted=np.ones(49), groups=groups))
    assert measured(schema, pane, min_labels=50) == {}
    assert set(measured(schema, pane, min_labels=10)) == {"accuracy", "accuracy big"}


def test_no_labels_say_nothing():
    schema = schema_of("binary_classification")
    assert measured(schema, Pane.empty(schema)) == {}


def test_labels_without_predictions_have_no_performance():
    schema = schema_of("binary_classification")
    pane = pane_of(schema, outcomes_of(labels=[1, 2], predicted=[-1, -1]), outcomes_of(labels=[1]))
    assert pane.outcomes.labels[0] == 3.0
    assert measured(schema, pane) == {}


def test_a_window_older_than_the_newest_classes_and_groups_is_measured():
    schema = schema_of("multiclass_classification", classes="ab", positive="", segments=("region",))
    pane = pane_of(schema, outcomes_of(labels=[1, 2], predicted=[1, 1]))
    schema.classes.slots(0, ("c", "d"))
    schema.groups.slots(0, ("north",))
    assert measured(schema, pane)["accuracy"] == 0.5


def test_rounding_that_retractions_leave_is_no_class():
    schema = schema_of("multiclass_classification", classes="abc", positive="")
    kept = outcomes_of(labels=[1, 2], predicted=[1, 2])
    weights = np.array([0.1, 0.2, -0.3])
    undone = outcomes_of(labels=[3, 3, 3], predicted=[3, 3, 3], weights=weights)
    pane = pane_of(schema, kept, undone)
    assert 0.0 < abs(pane.outcomes.by_class[0, 0, 3]) < 1e-9
    assert measured(schema, pane)["f1 macro"] == 1.0


def test_min_labels_below_one_is_refused():
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        LeastLabels(min_labels=0)


def test_every_metric_given_is_announced():
    names = [semconv.PERFORMANCE + name for name in METRICS]
    assert [metric.name for metric in PerformanceMonitor(LeastLabels()).metrics] == [*names, semconv.PERFORMANCE_DROP]


def test_roc_auc_of_all_groups_at_once_equals_each_alone():
    rng = np.random.default_rng(0)
    hits, edges = rng.integers(0, 5, (4, 2, 201)).astype(float), np.linspace(0, 1, 200)
    alone = [roc_auc(hits[group : group + 1], edges)[0] for group in range(4)]
    assert roc_auc(hits, edges).tolist() == alone
