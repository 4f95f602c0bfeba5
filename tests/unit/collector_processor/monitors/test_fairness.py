"""Fairness between groups, from the sums of a pane, beside plain numpy on the rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector_processor.columns.batch import Column, ModelKey, PredictionBatch
from collector_processor.monitors.fairness import SMALL_GROUPS, FairnessMonitor
from collector_processor.monitors.fairness_settings import FairnessSettings
from collector_processor.reference.build import build_reference
from collector_processor.reference.columns import Labels
from collector_processor.reference.outcomes import reference_outcomes
from collector_processor.statistics.accumulate import accumulate
from collector_processor.statistics.outcomes import accumulate_outcomes
from collector_processor.statistics.pane import Pane
from collector_processor.statistics.parts.selections import Selections
from collector_processor.window.closed import Window
from otel_ml import semconv

MODEL = ModelKey("hiring", "1")
SEXES = ("female", "male")
DEFAULTS = FairnessSettings()


def texts(codes, names) -> Column:
    return Column(None, np.asarray(codes).astype(np.int32), tuple(names))


def rows(said, group, names=SEXES, classes=("no", "yes"), **more) -> PredictionBatch:
    size = len(group)
    fields = {
        "weights": np.ones(size),
        "duration_s": np.full(size, np.nan),
        "time_ns": np.zeros(size, np.int64),
        "segments": {"sex": texts(group, names)},
        "prediction": None if said is None else texts(said, classes),
    } | more
    return PredictionBatch(
        MODEL, ids=np.zeros((size, 2), np.uint64), features={"x": Column(np.arange(size, dtype=float))}, **fields
    )


def hired(size: int, rates=(0.3, 0.5), seed: int = 0, sizes=(1, 1)) -> tuple[PredictionBatch, np.ndarray]:
    random = np.random.default_rng(seed)
    group = np.repeat(np.arange(len(rates)), np.array(sizes) * size)
    names = SEXES if len(rates) == 2 else tuple(f"g{place}" for place in range(len(rates)))
    said = random.random(len(group)) < np.array(rates)[group]
    truth = np.where(random.random(len(group)) < 0.8, said, ~said)
    return rows(said, group, names), truth


def figures(batch, truth=None, options: FairnessSettings = DEFAULTS, classes=("no", "yes"), **more):
    """The monitor's measurements by (name, segment value, metric), and their words."""
    more = {"segments": ["sex"], "positive_class": "yes"} | more
    labels = Labels() if truth is None else Labels(texts(truth, classes))
    if truth is not None and np.asarray(truth).dtype == np.float64:
        labels = Labels(values=np.asarray(truth))
    reference = build_reference("hiring", batch, label_classes=labels.classes, label_values=labels.values, **more)
    schema, pane = reference.schema, reference.pane
    found = FairnessMonitor(options).evaluate(Window(MODEL, 0, 60, schema, pane), reference)
    return Found(found)


class Found:
    def __init__(self, measurements) -> None:
        self.values, self.words = {}, {}
        for each in measurements:
            keys = dict(each.attributes)
            key = (
                each.name.removeprefix(semconv.FAIRNESS),
                keys.get(semconv.SEGMENT_VALUE, ""),
                keys.get(semconv.FAIRNESS_METRIC, ""),
            )
            assert key not in self.values
            self.values[key], self.words[key] = each.value, each.words

    def get(self, name, value="", metric="") -> Any:
        return self.values.get((name, value, metric))

    @property
    def breached(self) -> set[str]:
        return {metric for (name, _, metric), value in self.values.items() if name == "breached" and value}


def test_every_figure_equals_plain_numpy():
    batch, truth = hired(2000, sizes=(1, 2))
    said, group = batch.prediction.codes == 1, batch.segments["sex"].codes
    found = figures(batch, truth, DEFAULTS)

    def rate(hit, of):
        return np.array([(hit & of & (group == place)).sum() / (of & (group == place)).sum() for place in (0, 1)])

    everything = np.ones(len(said), bool)
    selection, tpr, false_rate = rate(said, everything), rate(said, truth), rate(said, ~truth)
    precision, accuracy = rate(truth, said), rate(said == truth, everything)
    expected = {
        "demographic_parity_difference": np.ptp(selection),
        "demographic_parity_ratio": selection.min() / selection.max(),
        "equal_opportunity_difference": np.ptp(tpr),
        "equalized_odds_difference": max(np.ptp(tpr), np.ptp(false_rate)),
        "predictive_parity_difference": np.ptp(precision),
        "accuracy_difference": np.ptp(accuracy),
    }
    for name, value in expected.items():
        assert found.get(name) == pytest.approx(value, abs=1e-12), name
    assert found.get("demographic_parity_difference", "female") == pytest.approx(selection[0] - selection[1], abs=1e-12)
    assert found.get("demographic_parity_ratio", "female") == pytest.approx(selection[0] / selection[1], abs=1e-12)
    assert found.get("selection_rate", "male") == pytest.approx(selection[1], abs=1e-12)
    benefit = said.astype(float) - truth + 1.0
    entropy = ((benefit / benefit.mean()) ** 2 - 1.0).mean() / 2.0
    assert found.get("generalized_entropy") == pytest.approx(entropy, abs=1e-12)


def test_a_gap_is_in_breach_and_says_who_is_selected_less_often():
    found = figures(*hired(2000))
    assert "demographic_parity_difference" in found.breached
    words = found.words["breached", "", "demographic_parity_difference"]
    assert words.startswith("sex 'female' is selected ")
    assert "points less often than sex 'male'" in words
    assert words.endswith("chance explains 3.1 points")
    assert found.get("excess", metric="demographic_parity_difference") > 1.0


def test_equal_groups_are_not_in_breach_although_the_four_fifths_rule_is_broken():
    """One breach in twenty windows is what alpha allows; `verification` measures it."""
    found = [figures(hired(150, rates=(0.2,) * 10, seed=seed, sizes=(1,) * 10)[0]) for seed in range(20)]
    assert sum(each.get("demographic_parity_ratio") < 0.8 for each in found) > 18
    assert sum(bool(each.breached) for each in found) <= 3
    assert all(each.get("excess", metric="demographic_parity_ratio") < 1.0 for each in found)


def test_small_groups_are_compared_together_and_counted():
    batch, truth = hired(1, rates=(0.3, 0.5, 0.5, 0.5), sizes=(500, 500, 60, 60))
    found = figures(batch, truth)
    assert found.get("small_groups", metric="demographic_parity_difference") == 2
    assert found.get("selection_rate", SMALL_GROUPS) is not None
    assert found.get("selection_rate", "g2") is None
    said, group = batch.prediction.codes == 1, batch.segments["sex"].codes
    assert found.get("selection_rate", SMALL_GROUPS) == pytest.approx(said[group >= 2].mean())


def test_small_groups_that_are_too_few_together_are_still_counted():
    batch, truth = hired(1, rates=(0.3, 0.5, 0.5), sizes=(500, 500, 60))
    found = figures(batch, truth)
    assert found.get("small_groups", metric="demographic_parity_difference") == 1
    assert found.get("selection_rate", SMALL_GROUPS) is None
    assert found.get("demographic_parity_difference") is not None


def test_if_all_groups_are_small_nothing_is_compared_and_that_is_counted():
    found = figures(*hired(40))
    assert found.get("small_groups", metric="demographic_parity_difference") == 2
    assert found.get("demographic_parity_difference") is None


def test_one_group_has_no_figures():
    said = np.arange(400) % 2
    found = figures(rows(said, np.zeros(400, int)), said == 1)
    assert found.get("demographic_parity_difference") is None
    assert found.get("selection_rate", "female") == 0.5


def test_a_constant_prediction_has_too_few_of_the_other_outcome_to_compare():
    batch = rows(np.zeros(1000, int), np.arange(1000) % 2)
    found = figures(batch, np.arange(1000) % 3 == 0)
    assert found.get("demographic_parity_difference") is None
    assert found.get("small_groups", metric="demographic_parity_difference") == 2


def test_rows_without_the_segment_are_in_no_group():
    batch, truth = hired(1000)
    group = batch.segments["sex"].codes.copy()
    group[::3] = -1
    found = figures(replace(batch, segments={"sex": texts(group, SEXES)}), truth)
    said = batch.prediction.codes == 1
    assert found.get("selection_rate", "female") == pytest.approx(said[group == 0].mean(), abs=1e-12)


def test_values_beyond_the_limit_are_small_groups():
    batch, truth = hired(1, rates=(0.3, 0.5, 0.4, 0.4), sizes=(500, 500, 300, 300))
    found = figures(batch, truth, max_segment_values=2)
    assert found.get("selection_rate", SMALL_GROUPS) is not None
    assert found.get("selection_rate", "other") is None
    assert found.get("small_groups", metric="demographic_parity_difference") == 1


def test_the_favorable_outcome_of_a_binary_model_can_be_the_negative_class():
    batch, truth = hired(2000)
    found = figures(batch, truth, FairnessSettings(favorable="no"))
    mine = figures(batch, truth)
    assert found.get("selection_rate", "male") == pytest.approx(1.0 - mine.get("selection_rate", "male"))
    assert found.get("true_positive_rate", "male") == pytest.approx(1.0 - mine.get("false_positive_rate", "male"))
    assert found.get("accuracy_difference") == pytest.approx(mine.get("accuracy_difference"))


def test_a_multiclass_model_needs_a_favorable_class_for_all_but_accuracy():
    random = np.random.default_rng(0)
    group = np.arange(3000) % 2
    said = random.integers(0, 3, 3000)
    truth = np.where(random.random(3000) < 0.8 - 0.2 * group, said, (said + 1) % 3)
    classes = ("low", "middle", "high")
    batch = rows(said, group, classes=classes)
    options = {"positive_class": "", "classes": classes}
    without = figures(batch, truth, **options)
    assert without.get("demographic_parity_difference") is None
    gap = (said == truth)[group == 0].mean() - (said == truth)[group == 1].mean()
    assert without.get("accuracy_difference") == pytest.approx(gap, abs=1e-12)
    assert without.breached == {"accuracy_difference"}
    found = figures(batch, truth, FairnessSettings(favorable="high"), **options)
    shares = [(said == 2)[group == place].mean() for place in (0, 1)]
    assert found.get("demographic_parity_difference") == pytest.approx(abs(shares[0] - shares[1]), abs=1e-12)
    hits = [((said == 2) & (truth == 2))[group == place].sum() for place in (0, 1)]
    tpr = [hit / (truth == 2)[group == place].sum() for place, hit in enumerate(hits)]
    assert found.get("true_positive_rate", "male") == pytest.approx(tpr[1], abs=1e-12)


def test_a_class_that_never_came_is_no_outcome():
    assert figures(*hired(500), FairnessSettings(favorable="maybe")).get("demographic_parity_difference") is None


def test_errors_of_a_regression_are_compared_in_standard_deviations_of_the_label():
    random = np.random.default_rng(0)
    group = np.arange(2000) % 2
    truth = random.normal(100.0, 20.0, 2000)
    error = random.normal(np.where(group == 0, -5.0, 0.0), 4.0)
    batch = rows(None, group, value=truth + error)
    found = figures(batch, truth, positive_class="")
    gap = error[group == 1].mean() - error[group == 0].mean()
    assert found.get("mean_error_difference") == pytest.approx(gap / truth.std(), rel=1e-9)
    mae = [np.abs(error[group == place]).mean() for place in (0, 1)]
    assert found.get("mae_ratio") == pytest.approx(min(mae) / max(mae), rel=1e-9)
    assert found.breached == {"mean_error_difference", "mae_ratio"}
    assert found.words["breached", "", "mae_ratio"].startswith("mean absolute error of sex 'female' is")


def test_rows_of_a_weight_count_as_one_row_each():
    batch, _ = hired(300)
    light, heavy = figures(batch), figures(replace(batch, weights=np.full(len(batch), 10.0)))
    assert heavy.values == pytest.approx(light.values)
    few, _ = hired(40)
    assert figures(replace(few, weights=np.full(len(few), 10.0))).get("demographic_parity_difference") is None


def test_rows_of_one_call_are_not_independent():
    """Ten rows of one call have one answer: chance explains more."""
    random = np.random.default_rng(0)
    calls = 2000
    said = np.repeat(random.random(calls) < 0.4, 10)
    group = np.repeat(np.arange(calls) % 2, 10)
    duration = np.where(np.arange(10 * calls) % 10 == 0, 0.01, np.nan)
    time_ns = np.repeat(np.arange(calls, dtype=np.int64), 10)
    alone, together = figures(rows(said, group)), figures(rows(said, group, duration_s=duration, time_ns=time_ns))
    limits = [found.get("noise_limit", metric="demographic_parity_difference") for found in (alone, together)]
    assert limits[1] / limits[0] == pytest.approx(np.sqrt(10.0), rel=0.1)


def test_rows_of_a_call_that_differ_as_those_of_several_calls_count_fully():
    random = np.random.default_rng(0)
    said, group = random.random(4000) < 0.4, random.integers(0, 2, 4000)
    duration = np.where(np.arange(4000) % 10 == 0, 0.01, np.nan)
    alone, together = figures(rows(said, group)), figures(rows(said, group, duration_s=duration))
    limits = [found.get("noise_limit", metric="demographic_parity_difference") for found in (alone, together)]
    assert limits[1] / limits[0] == pytest.approx(1.0, abs=0.07)


def test_segments_with_other_names_are_compared_only_if_asked_for():
    batch, truth = hired(1000)
    batch = replace(batch, segments={"shop": batch.segments["sex"]})
    assert not figures(batch, truth, segments=["shop"]).values
    found = figures(batch, truth, FairnessSettings(segments=("shop",)), segments=["shop"])
    assert found.get("demographic_parity_difference") is not None


def test_the_reference_group_is_the_privileged_one_or_the_largest():
    batch, truth = hired(500, sizes=(1, 2))
    assert figures(batch, truth).get("demographic_parity_difference", "female") < 0.0
    found = figures(batch, truth, FairnessSettings(privileged={"sex": "female"}))
    assert found.get("demographic_parity_difference", "male") > 0.0
    assert found.get("demographic_parity_difference", "female") is None


def test_disparity_within_another_segment_is_that_of_the_rows():
    random = np.random.default_rng(1)
    group, team = random.integers(0, 2, 3000), random.integers(0, 3, 3000)
    said = random.random(3000) < 0.2 + 0.1 * group + 0.1 * team
    batch = rows(said, group)
    batch = replace(batch, segments={**batch.segments, "team": texts(team, ("a", "b", "c"))})
    found = figures(batch, segments=["sex", "team"])
    expected = 0.0
    for place in range(3):
        inside = team == place
        rejected, accepted = inside & ~said, inside & said
        gap = (rejected & (group == 0)).sum() / rejected.sum() - (accepted & (group == 0)).sum() / accepted.sum()
        expected += inside.mean() * gap
    largest = "male" if (group == 1).sum() >= 1500 else "female"
    other = "female" if largest == "male" else "male"
    sign = 1.0 if other == "female" else -1.0
    assert found.get("conditional_demographic_disparity", other) == pytest.approx(sign * expected, abs=1e-12)


@pytest.mark.parametrize("names", ["clarify", "aif360"])
def test_names_of_other_tools_come_beside_ours(names):
    found = figures(*hired(500, sizes=(1, 2)), FairnessSettings(names=names))
    metric, sign = ("DPPL", -1.0) if names == "clarify" else ("statistical_parity_difference", 1.0)
    ours = found.get("demographic_parity_difference", "female")
    assert found.get("alias", "female", metric) == pytest.approx(sign * ours)


def test_an_unknown_figure_names_the_choices():
    with pytest.raises(ValueError, match=r"unknown figure 'parity'; choose from: demographic_parity_difference, "):
        FairnessSettings(metrics=("parity",))


def pane_of(reference, batch, truth) -> Pane:
    pane = Pane.empty(reference.schema)
    accumulate(pane, reference.schema, batch)
    outcomes = reference_outcomes(reference.schema, batch, Labels(texts(truth, ("no", "yes"))))
    accumulate_outcomes(pane, reference.schema, outcomes)
    return pane


@given(cut=st.integers(1, 399), seed=st.integers(0, 5))
@settings(max_examples=20, deadline=None)
def test_parts_of_the_rows_add_up_to_all_and_taken_back_labels_leave_nothing(cut, seed):
    batch, truth = hired(200, seed=seed)
    reference = build_reference("hiring", batch, segments=["sex"], label_classes=texts(truth, ("no", "yes")))
    whole = pane_of(reference, batch, truth)
    first, second = (pane_of(reference, batch.take(part), truth[part]) for part in (slice(cut), slice(cut, None)))
    first.add(second)
    for name, values in whole.further[Selections].arrays().items():
        np.testing.assert_allclose(first.further[Selections].arrays()[name], values)
    outcomes = reference_outcomes(reference.schema, batch, Labels(texts(truth, ("no", "yes"))))
    assert outcomes is not None
    accumulate_outcomes(whole, reference.schema, replace(outcomes, weights=-outcomes.weights))
    assert not whole.further[Selections].weights[:, 1].any()


# --- before the labels ---------------------------------------------------------------------------------------------


def scored(size: int, seed: int, off: float = 0.0) -> tuple[PredictionBatch, np.ndarray]:
    """Scores that are right for men, and ``off`` too high for women."""
    random = np.random.default_rng(seed)
    group = random.integers(0, 2, size)
    p = random.beta(2.0, 2.0, size)
    truth = random.random(size) < np.where(group == 0, np.clip(p - off, 0.0, 1.0), p)
    return rows(p >= 0.5, group, score=p), truth


def estimated(reference_rows, window_rows, options=DEFAULTS) -> tuple[dict, dict]:
    batch, truth = reference_rows
    names = ("no", "yes")
    reference = build_reference(
        "hiring", batch, segments=["sex"], positive_class="yes", label_classes=texts(truth, names)
    )
    pane = pane_of(reference, *window_rows)
    found = FairnessMonitor(options).evaluate(Window(MODEL, 0, 60, reference.schema, pane), reference)
    by_source: dict[str, dict] = {"labels": {}, "estimated": {}}
    for each in found:
        keys = dict(each.attributes)
        key = (each.name.removeprefix(semconv.FAIRNESS), keys.get(semconv.SEGMENT_VALUE, ""))
        if semconv.FAIRNESS_METRIC not in keys and semconv.PERFORMANCE_SOURCE in keys:
            by_source[keys[semconv.PERFORMANCE_SOURCE]][key] = each.value
    return by_source["labels"], by_source["estimated"]


@pytest.mark.parametrize("off", [0.0, 0.2])
def test_gaps_are_estimated_before_the_labels_come_although_scores_of_one_group_are_off(off):
    realized, expected = estimated(scored(20_000, 0, off), scored(20_000, 1, off))
    for name in ("true_positive_rate", "false_positive_rate"):
        for sex in SEXES:
            assert expected[name, sex] == pytest.approx(realized[name, sex], abs=0.02), (name, sex)
    for name in ("equal_opportunity_difference", "predictive_parity_difference", "accuracy_difference"):
        assert expected[name, ""] == pytest.approx(realized[name, ""], abs=0.025), name
    assert ("calibration_difference", "") not in expected
    assert ("demographic_parity_difference", "") not in expected


def test_a_group_without_labels_in_the_reference_has_no_estimate():
    batch, truth = scored(4000, 0)
    men = batch.segments["sex"].codes == 1
    realized, expected = estimated((batch.take(men), truth[men]), scored(4000, 1))
    assert ("equal_opportunity_difference", "") in realized
    assert ("equal_opportunity_difference", "") not in expected


def test_estimates_turn_around_with_the_favorable_outcome():
    sides = [estimated(scored(5000, 0), scored(5000, 1), FairnessSettings(favorable=name))[1] for name in ("yes", "no")]
    assert sides[0]["true_positive_rate", "male"] == pytest.approx(1.0 - sides[1]["false_positive_rate", "male"])


def test_a_window_of_three_rows_has_no_gap():
    found = figures(rows(np.array([0, 1, 1]), np.array([0, 1, 1])), np.array([0, 1, 0]))
    assert found.get("demographic_parity_difference") is None
    assert found.get("small_groups", metric="demographic_parity_difference") == 2
    assert not found.breached


def test_labels_of_one_class_leave_the_rates_of_the_other_unknown():
    batch, _ = hired(1000)
    found = figures(batch, np.ones(len(batch), np.int64))
    assert found.get("false_positive_rate", "male") is None
    assert found.get("equalized_odds_difference") is None
    assert found.get("demographic_parity_difference") is not None


def test_rows_that_all_lack_the_segment_have_no_figures_of_groups():
    batch, truth = hired(500)
    nobody = replace(batch, segments={"sex": texts(np.full(len(batch), -1), SEXES)})
    found = figures(nobody, truth)
    assert {name for name, _, _ in found.values} <= {"generalized_entropy"}
