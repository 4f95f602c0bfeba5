"""Where the world differs: e-values that keep their promise, and places that are found, or not named by chance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from collector_processor.monitors.world_cells import NAMED, evidence_of_errors, evidence_of_means
from collector_processor.statistics.accumulate import accumulate
from otel_ml import semconv
from tests.unit.collector_processor.monitors.test_causes import (
    MONITOR,
    REFERENCE,
    labeled,
    outcomes_of,
    reference_of,
    rows,
    window_of,
)


def words(window, reference=REFERENCE) -> list[str]:
    said = [each.words for each in MONITOR.evaluate(window, reference) if each.name == semconv.CAUSE_CONCEPT]
    return said[0].split("; ") if said and said[0] else []


@given(st.integers(2, 40), st.integers(2, 40), st.integers(0, 60), st.integers(0, 100))
@settings(max_examples=60, deadline=None)
def test_the_mean_of_an_e_value_is_at_most_one_unless_errors_became_more_frequent(before, after, percent, less):
    rate = percent / 100.0
    chance = np.outer(
        binom.pmf(range(before + 1), before, rate), binom.pmf(range(after + 1), after, rate * less / 100.0)
    )
    evidence = [
        [evidence_of_errors(before, wrong, after, now) for now in range(after + 1)] for wrong in range(before + 1)
    ]
    assert (chance * np.exp(evidence)).sum() <= 1.0 + 1e-9
    if less == 100:
        assert (chance * np.exp(evidence)).sum() == pytest.approx(1.0)


def test_the_mean_of_the_e_value_of_a_normal_mean_is_one():
    z = np.linspace(-12.0, 20.0, 200_001)
    density = np.exp(-(z**2) / 2.0) / np.sqrt(2.0 * np.pi)
    mean = np.trapezoid(density * np.exp(evidence_of_means(z, np.ones_like(z))), z)
    assert mean == pytest.approx(1.0, abs=1e-6)


def test_extremes_have_evidence_that_is_a_number_or_none():
    assert evidence_of_errors(100, 0, 100, 0) == pytest.approx(0.0, abs=1e-9)  # no errors at all
    assert evidence_of_errors(100, 100, 100, 100) == pytest.approx(0.0, abs=1e-9)  # nothing else
    assert evidence_of_errors(1000.4, 0, 50.3, 50.2) > 70.0
    assert evidence_of_errors(1e6, 3e5, 1e6, 3.1e5) > 50.0
    assert evidence_of_means(np.array([1.0, -1.0, 0.0]), np.zeros(3)).tolist()[0] > 1e5


@pytest.mark.parametrize("task", ["binary_classification", "regression"])
def test_the_changed_city_is_named_as_segment_and_as_leaf_and_no_other(task):
    reference = REFERENCE if task != "regression" else reference_of(task=task)
    found = words(window_of(reference, 20_000, seed=5, wrong=0.4, task=task), reference)
    assert found[0].startswith("city lima: +")
    assert not any("oslo:" in each or "rome:" in each for each in found)
    assert any("'lima'" in each and "of the rows" in each for each in found)
    assert len(found) <= 2 * NAMED


def test_other_people_are_not_another_world():
    """They come, and their errors are those that such people have always had."""
    named = sum(bool(words(window_of(REFERENCE, 2000, seed=100 + seed, young=0.5))) for seed in range(60))
    assert named <= 6  # 5 % of 60 windows, for segments and for leaves, would be 6


def test_chance_names_nothing_with_other_references_either():
    named = 0
    for seed in range(8):
        reference = reference_of(5000, seed=500 + seed)
        named += sum(
            bool(words(window_of(reference, 2000, seed=600 + 8 * seed + each), reference)) for each in range(8)
        )
    assert named <= 6


def test_rows_that_stand_for_others_are_no_more_evidence():
    batch, labels = rows(2000, seed=9, wrong=0.15)
    found = []
    for weight in (1.0, 7.0):
        weights = np.full(2000, weight)
        window = labeled(REFERENCE, outcomes_of(REFERENCE, batch, labels, weights))
        accumulate(window.pane, window.schema, replace(batch, weights=weights))
        found.append(words(window))
    assert found[0]
    assert found[0] == found[1]


def test_few_labels_name_nothing():
    assert words(window_of(REFERENCE, 190, seed=5, wrong=1.0)) == []
