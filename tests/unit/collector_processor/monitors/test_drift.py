"""The drift monitor: what it says, of what, and when it says nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector_processor.columns.batch import Column, ModelKey, PredictionBatch
from collector_processor.drift import DRIFT_METHODS
from collector_processor.monitors import comparisons
from collector_processor.monitors.base import Measurement
from collector_processor.monitors.drift import DriftMonitor, DriftSettings, LeastRows
from collector_processor.reference.build import build_reference
from collector_processor.reference.profile import Reference
from collector_processor.statistics.accumulate import accumulate, accumulate_column
from collector_processor.statistics.pane import Pane
from collector_processor.window.closed import Window
from otel_ml import semconv

MODEL = ModelKey("fraud", "7")
EVERYTHING = {
    "numeric": [method.name for method in DRIFT_METHODS if "numeric" in method.kinds],
    "categorical": [method.name for method in DRIFT_METHODS if "categorical" in method.kinds],
}


def drift_monitor(*, min_rows: int = 500, **settings: Any) -> DriftMonitor:
    return DriftMonitor(DriftSettings(**settings), LeastRows(min_rows=min_rows))


def texts(values: Iterable[str | None]) -> Column:
    cells = list(values)
    names = tuple(dict.fromkeys(cell for cell in cells if cell is not None))
    return Column(None, np.array([-1 if cell is None else names.index(cell) for cell in cells], np.int32), names)


def rows(features: dict[str, Column], weight: float | np.ndarray = 1.0, **outputs) -> PredictionBatch:
    count = len(next(iter(features.values())))
    return PredictionBatch(
        MODEL,
        np.zeros(count, np.int64),
        np.zeros((count, 2), np.uint64),
        np.full(count, weight) if np.isscalar(weight) else np.asarray(weight, float),
        np.full(count, np.nan),
        features,
        **outputs,
    )


def window(reference: Reference, *batches: PredictionBatch) -> Window:
    schema = reference.schema.fork()
    pane = Pane.empty(schema)
    for batch in batches:
        accumulate(pane, schema, batch)
    return Window(MODEL, 0, 60, schema, pane)


def normal(count: int, shift: float = 0.0, seed: int = 0) -> Column:
    return Column(np.random.default_rng(seed).normal(shift, 1.0, count))


def choice(count: int, share: list[float], seed: int = 0) -> Column:
    names = tuple("abcdefghij"[: len(share)])
    return Column(None, np.random.default_rng(seed).choice(len(share), count, p=share).astype(np.int32), names)


def values(found: list[Measurement], name: str) -> dict[tuple[str, str], float]:
    """Values of one metric by (feature or role, method)."""
    selected = {}
    for measurement in found:
        pairs = dict(measurement.attributes)
        if measurement.name == name:
            column = pairs.get(semconv.FEATURE_NAME, pairs.get(semconv.COLUMN_ROLE, ""))
            selected[column, pairs.get(semconv.DRIFT_METHOD, "")] = measurement.value
    return selected


@pytest.fixture
def reference() -> Reference:
    return build_reference("fraud", rows({"age": normal(5000), "kind": choice(5000, [0.5, 0.3, 0.2])}))


def test_no_drift_is_scored_and_not_in_breach(reference):
    found = drift_monitor().evaluate(
        window(reference, rows({"age": normal(1000, seed=1), "kind": choice(1000, [0.5, 0.3, 0.2], 1)})), reference
    )
    scores, thresholds = values(found, semconv.DRIFT_SCORE), values(found, semconv.DRIFT_THRESHOLD)
    assert set(scores) == {
        *(("age", method) for method in ("psi", "js", "ks", "wasserstein")),
        *(("kind", method) for method in ("psi", "js", "l_infinity", "cohen_h")),
    }
    assert set(thresholds) == set(scores)
    assert all(scores[key] <= thresholds[key] for key in scores)
    assert set(values(found, semconv.DRIFT_BREACHED).values()) == {0.0}
    assert set(values(found, semconv.DRIFT_P_VALUE)) == {("age", "ks"), ("kind", "cohen_h")}
    assert values(found, semconv.DRIFT_SHARE) == {("", ""): 0.0}


def test_drift_is_in_breach_under_every_method(reference):
    current = rows({"age": normal(1000, shift=0.8), "kind": choice(1000, [0.1, 0.3, 0.4, 0.2])})
    found = drift_monitor(**EVERYTHING).evaluate(window(reference, current), reference)
    breached = values(found, semconv.DRIFT_BREACHED)
    assert set(breached) == {
        *(("age", method) for method in EVERYTHING["numeric"]),
        *(("kind", method) for method in EVERYTHING["categorical"]),
    }
    assert set(breached.values()) == {1.0}
    assert values(found, semconv.DRIFT_SHARE) == {("", ""): 1.0}
    assert max(values(found, semconv.DRIFT_P_VALUE).values()) < 1e-6


def test_share_counts_features_by_the_methods_that_decide(reference):
    current = rows({"age": normal(1000, shift=0.8), "kind": choice(1000, [0.5, 0.3, 0.2], 1)})
    found = drift_monitor().evaluate(window(reference, current), reference)
    assert values(found, semconv.DRIFT_SHARE) == {("", ""): 0.5}
    assert values(found, semconv.DRIFT_DRIFTED) == {("age", ""): 1.0, ("kind", ""): 0.0}
    blunt = drift_monitor(numeric=("psi", "ks"), thresholds={"psi": 50.0})  # neither decides: the first one does
    assert values(blunt.evaluate(window(reference, current), reference), semconv.DRIFT_SHARE) == {("", ""): 0.0}
    chosen = drift_monitor(numeric=("psi", "ks"), thresholds={"psi": 50.0}, features_by=("ks", "js"))
    assert values(chosen.evaluate(window(reference, current), reference), semconv.DRIFT_SHARE) == {("", ""): 0.5}


@pytest.mark.parametrize("numeric", [("psi", "js", "wasserstein"), ("js", "psi"), ("wasserstein", "js")])
def test_the_order_of_the_methods_does_not_matter(reference, numeric):
    """A shift of 0.4 standard deviations: psi is about 0.16, below its threshold of 0.2, and js is above its own."""
    current = rows({"age": normal(3000, shift=0.4), "kind": choice(3000, [0.5, 0.3, 0.2], 1)})
    found = drift_monitor(numeric=numeric).evaluate(window(reference, current), reference)
    assert values(found, semconv.DRIFT_BREACHED).get(("age", "psi"), 0.0) == 0.0
    assert values(found, semconv.DRIFT_SHARE) == {("", ""): 0.5}


OUTLIERS = st.one_of(st.floats(allow_nan=True), st.sampled_from([1e9, -1e300, math.inf]))


@given(value=OUTLIERS, text=st.text(min_size=1, max_size=3), rows_=st.sampled_from([600, 2400]))
@settings(max_examples=40, deadline=None)
def test_no_single_row_makes_a_column_drift(value, text, rows_):
    """Whatever is in it: feature, score and predicted class."""

    def batch(count: int, seed: int, last: float | None = None) -> PredictionBatch:
        score = np.random.default_rng(seed + 5).random(count)
        number, kind = normal(count, seed=seed), choice(count, [0.5, 0.3, 0.2], seed)
        prediction = choice(count, [0.99, 0.01], seed)
        if last is not None:
            number.numbers[-1] = score[-1] = last
            kind, prediction = (
                Column(None, np.append(column.codes[:-1], len(column.categories)).astype(np.int32),
                       (*column.categories, f"{text}!"))
                for column in (kind, prediction)
            )  # fmt: skip
        return rows({"age": number, "kind": kind}, prediction=prediction, score=score)

    reference = build_reference("fraud", batch(5000, 0))
    found = drift_monitor().evaluate(window(reference, batch(rows_, 1, value)), reference)
    drifted = [item for item in found if item.name == semconv.DRIFT_DRIFTED]
    assert len(drifted) == 4
    assert [item.attributes for item in drifted if item.value] == []


@pytest.mark.parametrize("base", [0.002, 0.01, 0.05])
def test_a_class_that_becomes_ten_times_as_frequent_is_drift(base):
    """A distance of shares does not see it: 0.2 % to 2 % is 0.018 of L∞."""

    def predicted(count: int, share: float, seed: int) -> PredictionBatch:
        return rows(
            {"age": normal(count, seed=seed)}, prediction=choice(count, [1 - share, share], seed), score=np.zeros(count)
        )

    def drifted(share: float, seed: int) -> tuple[float, float]:
        found = drift_monitor().evaluate(window(reference, predicted(2400, share, seed)), reference)
        (decided,) = [
            item.value
            for item in found
            if item.name == semconv.DRIFT_DRIFTED and (semconv.COLUMN_ROLE, "prediction") in item.attributes
        ]
        (p_value,) = [
            item.value
            for item in found
            if item.name == semconv.DRIFT_P_VALUE and (semconv.COLUMN_ROLE, "prediction") in item.attributes
        ]
        return decided, p_value

    reference = build_reference("fraud", predicted(20_000, base, 0))
    decided, p_value = drifted(10 * base, 1)
    assert decided == 1.0
    assert p_value < 1e-6
    assert [drifted(base, seed)[0] for seed in range(2, 12)] == [0.0] * 10


def test_threshold_is_the_larger_of_setting_and_noise(reference):
    current = rows({"age": normal(600, seed=1), "kind": choice(600, [0.5, 0.3, 0.2], 1)})
    monitor = drift_monitor(categorical=("chi2",), thresholds={"psi": 0.5, "ks": 1e-9}, alpha=0.01)
    thresholds = values(monitor.evaluate(window(reference, current), reference), semconv.DRIFT_THRESHOLD)
    assert thresholds["age", "psi"] == 0.5
    assert thresholds["age", "ks"] == pytest.approx(np.sqrt(-0.5 * np.log(0.005)) * np.sqrt(1 / 5000 + 1 / 600))
    assert thresholds["kind", "chi2"] == pytest.approx(9.21034, abs=1e-4)  # χ² with 2 degrees of freedom at 0.01


def test_small_windows_ring_no_false_alarms():
    columns, alarms, judged = 40, 0, 0
    reference = build_reference("m", rows({f"f{i}": normal(3000, seed=i) for i in range(columns)}))
    monitor = drift_monitor(**EVERYTHING, min_rows=100, thresholds={m.name: 1e-300 for m in DRIFT_METHODS})
    for trial in range(10):
        current = rows({f"f{i}": normal(150, seed=1000 * (trial + 1) + i) for i in range(columns)})
        breached = values(monitor.evaluate(window(reference, current), reference), semconv.DRIFT_BREACHED)
        alarms, judged = alarms + int(sum(breached.values())), judged + len(breached)
    assert judged == columns * 8 * 10
    assert alarms <= 0.005 * judged  # alpha is 0.001, thresholds are nothing but noise


def test_nothing_is_said_below_min_rows(reference):
    current = rows({"age": normal(499, shift=3.0), "kind": choice(499, [0.0, 0.0, 1.0])})
    assert drift_monitor().evaluate(window(reference, current), reference) == []
    assert drift_monitor(min_rows=499).evaluate(window(reference, current), reference)


def test_min_rows_counts_rows_and_not_weights(reference):
    current = rows({"age": normal(100, shift=3.0), "kind": choice(100, [0.0, 0.0, 1.0])}, weight=10.0)
    assert drift_monitor().evaluate(window(reference, current), reference) == []


def test_sampled_rows_score_as_unsampled_and_are_as_noisy_as_their_number(reference):
    current = {"age": normal(800, shift=0.2), "kind": choice(800, [0.4, 0.4, 0.2], 1)}
    monitor = drift_monitor(**EVERYTHING, thresholds={m.name: 1e-300 for m in DRIFT_METHODS})
    plain, sampled = (monitor.evaluate(window(reference, rows(current, weight)), reference) for weight in (1.0, 16.0))
    assert [m.value for m in sampled] == pytest.approx([m.value for m in plain], rel=1e-9, abs=1e-12)


def test_weights_decide_the_shares(reference):
    kinds = texts(["a"] * 500 + ["b"] * 300 + ["c"] * 100)
    weights = np.where(np.arange(900) < 800, 1.0, 2.0)
    current = rows({"age": normal(900, seed=1), "kind": kinds}, weights)
    scores = values(drift_monitor().evaluate(window(reference, current), reference), semconv.DRIFT_SCORE)
    assert scores["kind", "js"] == pytest.approx(0.0, abs=0.02)


def test_outputs_are_told_apart_by_role_and_have_no_feature_name():
    random = np.random.default_rng(0)
    score = random.random(2000)
    batch = rows(
        {"age": normal(2000)}, score=score, prediction=Column(None, (score > 0.5).astype(np.int32), ("no", "yes"))
    )
    labels = Column(None, (score > random.random(2000)).astype(np.int32), ("no", "yes"))
    reference = build_reference("fraud", batch, label_classes=labels)
    found = drift_monitor().evaluate(Window(MODEL, 0, 60, reference.schema, reference.pane), reference)
    assert {dict(m.attributes).get(semconv.COLUMN_ROLE) for m in found if m.name == semconv.DRIFT_SCORE} == set(
        semconv.COLUMN_ROLES
    )
    for measurement in found:
        pairs = dict(measurement.attributes)
        assert (semconv.FEATURE_NAME in pairs) == (pairs.get(semconv.COLUMN_ROLE) == "feature")
    assert values(found, semconv.DRIFT_SHARE) == {("", ""): 0.0}


def test_label_columns_go_by_the_count_of_labels():
    batch = rows({"age": normal(2000)}, prediction=choice(2000, [0.5, 0.5]))
    reference = build_reference("m", batch, label_classes=choice(2000, [0.5, 0.5], 1))
    position = [column.role for column in reference.schema.columns].index("label")
    few_rows = window(reference, rows({"age": normal(10)}, prediction=choice(10, [0.5, 0.5])))
    accumulate_column(few_rows.pane, few_rows.schema, position, choice(499, [0.9, 0.1]), np.ones(499))
    assert drift_monitor().evaluate(few_rows, reference) == []
    accumulate_column(few_rows.pane, few_rows.schema, position, choice(1, [1.0]), np.ones(1))
    found = drift_monitor().evaluate(few_rows, reference)
    assert {column for column, _ in values(found, semconv.DRIFT_BREACHED)} == {"label"}
    assert not values(found, semconv.DRIFT_SHARE)


def test_labels_taken_back_leave_no_drift_score():
    batch = rows({"age": normal(2000)}, prediction=choice(2000, [0.5, 0.5]))
    reference = build_reference("m", batch, label_classes=choice(2000, [0.5, 0.5], 1))
    position = [column.role for column in reference.schema.columns].index("label")
    current = window(reference, rows({"age": normal(600)}, prediction=choice(600, [0.5, 0.5])))
    for weight in (0.1, 0.2, -0.3):
        accumulate_column(current.pane, current.schema, position, choice(700, [0.5, 0.5]), np.full(700, weight))
    found = drift_monitor(min_rows=1).evaluate(current, reference)
    assert "label" not in {column for column, _ in values(found, semconv.DRIFT_SCORE)}


def test_a_column_without_cells_is_left_out_and_not_zero(reference):
    missing = rows({"age": Column(np.full(600, np.nan)), "kind": choice(600, [0.5, 0.3, 0.2])})
    found = drift_monitor().evaluate(window(reference, missing), reference)
    assert {column for column, _ in values(found, semconv.DRIFT_SCORE)} == {"kind"}
    absent = rows({"age": normal(600)})
    found = drift_monitor().evaluate(window(reference, absent), reference)
    assert {column for column, _ in values(found, semconv.DRIFT_SCORE)} == {"age"}
    assert values(found, semconv.DRIFT_SHARE) == {("", ""): 0.0}


def test_a_column_that_the_reference_never_saw_filled_is_left_out():
    empty = rows({"age": Column(np.full(1000, np.nan)), "size": normal(1000)})
    reference = build_reference("m", empty)
    found = drift_monitor(**EVERYTHING).evaluate(
        window(reference, rows({"age": normal(600), "size": normal(600)})), reference
    )
    assert {column for column, _ in values(found, semconv.DRIFT_SCORE)} == {"size"}


@pytest.mark.parametrize("spoiler", [np.inf, -np.inf, 1e308, -1e308, 5e-324])
def test_absurd_numbers_keep_every_measurement_finite(reference, spoiler):
    ages = np.random.default_rng(1).normal(size=1000)
    ages[:100] = spoiler
    current = rows({"age": Column(ages), "kind": choice(1000, [0.5, 0.3, 0.2])})
    found = drift_monitor(**EVERYTHING).evaluate(window(reference, current), reference)
    assert np.isfinite([m.value for m in found]).all()
    assert len(values(found, semconv.DRIFT_SCORE)) == sum(map(len, EVERYTHING.values()))


def test_a_reference_of_absurd_numbers_keeps_every_measurement_finite():
    random = np.random.default_rng(1)
    absurd = Column(random.choice([1.7e308, -1.7e308, 0.0, np.inf, 1.0], 1000))
    reference = build_reference("m", rows({"age": absurd}))
    for current in (absurd, normal(1000)):
        found = drift_monitor(**EVERYTHING).evaluate(window(reference, rows({"age": current})), reference)
        assert found
        assert np.isfinite([m.value for m in found]).all()


def test_a_constant_and_a_lone_category_do_not_drift_from_themselves():
    same = {"age": Column(np.full(1000, 7.0)), "kind": texts(["only"] * 1000)}
    reference = build_reference("m", rows(same))
    found = drift_monitor(**EVERYTHING).evaluate(window(reference, rows(same)), reference)
    assert set(values(found, semconv.DRIFT_BREACHED).values()) == {0.0}
    assert set(values(found, semconv.DRIFT_SCORE).values()) == {0.0}


def test_new_categories_are_drift(reference):
    current = rows({"age": normal(1000), "kind": texts(["new"] * 500 + ["a"] * 500)})
    breached = values(drift_monitor().evaluate(window(reference, current), reference), semconv.DRIFT_BREACHED)
    assert all(breached["kind", method] == 1.0 for method in ("psi", "js", "l_infinity"))


def test_few_and_very_many_categories_are_compared_as_each_column_alone():
    def features(seed: int) -> dict[str, Column]:
        random = np.random.default_rng(seed)
        sizes = {"one": 1, "two": 2, "five": 5, "many": 900, "more": 700}
        return {
            name: Column(None, random.integers(0, size, 4000).astype(np.int32), tuple(f"c{i}" for i in range(size)))
            for name, size in sizes.items()
        }

    together = build_reference("m", rows(features(1)))
    scores = values(drift_monitor().evaluate(window(together, rows(features(2))), together), semconv.DRIFT_SCORE)
    for name in features(1):
        alone = build_reference("m", rows({name: features(1)[name]}))
        single = values(
            drift_monitor().evaluate(window(alone, rows({name: features(2)[name]})), alone), semconv.DRIFT_SCORE
        )
        assert single == pytest.approx({key: value for key, value in scores.items() if key[0] == name}, rel=1e-9)
    all_of_them = np.ones(len(together.schema.columns))
    found = comparisons.categorical_comparisons(window(together), together, all_of_them)
    tables = [each.reference.size for _, each in found]
    assert sum(tables) <= 2 * len(together.schema.categories)


def test_more_columns_than_a_block_are_each_scored_as_alone():
    count = comparisons.BLOCK + 7
    reference = build_reference("m", rows({f"f{i}": normal(1000, seed=i) for i in range(count)}))
    current = {f"f{i}": normal(600, shift=i / count, seed=5000 + i) for i in range(count)}
    found = drift_monitor(**EVERYTHING).evaluate(window(reference, rows(current)), reference)
    scores = values(found, semconv.DRIFT_SCORE)
    for name in ("f0", f"f{comparisons.BLOCK - 1}", f"f{comparisons.BLOCK}", f"f{count - 1}"):
        alone = build_reference("m", rows({name: normal(1000, seed=int(name[1:]))}))
        single = drift_monitor(**EVERYTHING).evaluate(window(alone, rows({name: current[name]})), alone)
        for key, value in values(single, semconv.DRIFT_SCORE).items():
            assert scores[key] == pytest.approx(value, rel=1e-9, abs=1e-12)


def test_another_reference_is_not_mistaken_for_the_prepared_one(reference):
    current = rows({"age": normal(1000, seed=9), "kind": choice(1000, [0.5, 0.3, 0.2])})
    monitor = drift_monitor()
    first = monitor.evaluate(window(reference, current), reference)
    for shift in range(1, 7):
        other = build_reference(
            "fraud", rows({"age": normal(3000, shift=shift), "kind": choice(3000, [0.5, 0.3, 0.2])})
        )
        assert values(monitor.evaluate(window(other, current), other), semconv.DRIFT_BREACHED)["age", "ks"] == 1.0
    assert monitor.evaluate(window(reference, current), reference) == first


def test_no_methods_for_a_kind_means_silence_about_it(reference):
    current = rows({"age": normal(1000), "kind": choice(1000, [0.5, 0.3, 0.2])})
    found = drift_monitor(numeric=(), categorical=("js", "js")).evaluate(window(reference, current), reference)
    assert set(values(found, semconv.DRIFT_SCORE)) == {("kind", "js")}
    assert drift_monitor(numeric=(), categorical=()).evaluate(window(reference, current), reference) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"numeric": ("kl",)}, "unknown method 'kl'; allowed: psi, js"),
        ({"numeric": ("kl", "psi", "xy")}, "unknown method 'kl', 'xy'; allowed: psi, js"),
        ({"categorical": ("ks",)}, "unknown method 'ks'; allowed: psi, js, hellinger, l_infinity, tvd, cohen_h, chi2"),
        ({"thresholds": {"kl": 0.1}}, "unknown method 'kl'; allowed: chi2, cohen_h, hellinger, js, ks"),
        ({"thresholds": {"js": -0.1}}, "must be a number above 0, not -0.1"),
        ({"thresholds": {"js": float("nan")}}, "must be a number above 0, not nan"),
        ({"alpha": 0.0}, "greater than 0"),
        ({"alpha": 1.0}, "less than 1"),
        ({"min_rows": 0}, "greater than or equal to 1"),
    ],
)
def test_wrong_settings_are_refused_in_the_users_words(settings, message):
    with pytest.raises(ValueError, match=message):
        drift_monitor(**settings)
