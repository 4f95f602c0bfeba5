"""Evidence over time: equal to the sum over all possible times of a change."""

from __future__ import annotations

import numpy as np

from collector_processor.detectors.promise import log_threshold
from collector_processor.detectors.shiryaev_roberts import log_mean, mean_age, selected, updated


def test_evidence_equals_the_sum_over_possible_times_and_the_age_their_mean() -> None:
    random = np.random.default_rng(0)
    e, weight = np.exp(random.normal(-0.1, 0.6, 40)), 0.5
    log_m, age = np.array([-np.inf]), np.array([0.0])
    for now in range(40):
        age = mean_age(age + 1.0, log_m, weight)
        log_m = updated(log_m, np.array([np.log(e[now])]), weight)
        starts = np.array([weight * np.prod(e[start : now + 1]) for start in range(now + 1)])
        np.testing.assert_allclose(np.exp(log_m), starts.sum(), rtol=1e-12)
        np.testing.assert_allclose(age[0], (starts * (now - np.arange(now + 1))).sum() / starts.sum(), atol=1e-9)


def test_log_mean_is_exact_for_large_and_for_no_evidence() -> None:
    log_m = np.array([[800.0, 790.0], [-np.inf, -np.inf], [-np.inf, 3.0]])
    valid = np.ones((3, 2), np.bool_)
    np.testing.assert_allclose(
        log_mean(log_m, valid), [800.0 + np.log((1 + np.exp(-10)) / 2), -np.inf, 3.0 - np.log(2)], rtol=1e-12
    )


def test_selection_of_one_column_needs_as_much_as_an_alarm() -> None:
    threshold = log_threshold(1e-3, 5)
    alone = np.array([threshold, 0.0, 0.0, -np.inf, 1.0])
    assert selected(alone, 1e-3).tolist() == [True, False, False, False, False]
    assert not selected(alone - 1e-9, 1e-3).any()


def test_no_rate_needs_infinite_evidence() -> None:
    assert log_threshold(0.0, 3) == np.inf
