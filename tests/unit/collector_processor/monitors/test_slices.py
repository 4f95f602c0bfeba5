"""Slices from sums: those of the rows, the planted one is found, and equal treatment raises no alarm."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from collector_processor.columns.batch import Column, LabelBatch
from collector_processor.labels.join import LabelJoin
from collector_processor.monitors.slices import SliceMonitor, SliceSettings, found_slices, slice_text
from collector_processor.reference.build import build_reference
from collector_processor.reference.columns import Labels
from collector_processor.reference.file import load_reference, reference_text, save_reference
from collector_processor.reference.outcomes import reference_outcomes, reference_slices
from collector_processor.statistics import built
from collector_processor.statistics.fits.slice_cells import SliceCells
from collector_processor.statistics.outcomes import accumulate_outcomes
from collector_processor.statistics.pane import Pane
from collector_processor.statistics.parts.slice_sums import SliceSums, place
from collector_processor.statistics.sample import Arrivals
from collector_processor.window.closed import Window
from otel_ml import semconv
from tests.support.scored_rows import MODEL, rows_of, window_of

MONITOR = SliceMonitor(SliceSettings())
CITIES = ("oslo", "rome", "lima", "kyiv", "bern", "doha", "york", "nice", "cork")


def rows(count: int, seed: int = 1, bad: float = 0.1, task: str = "binary_classification"):
    """Rows with one error in ten; in one slice of about 2 %, as many as ``bad`` says."""
    rng = np.random.default_rng(seed)
    city = np.array(CITIES)[rng.choice(9, count, p=[0.3, 0.2, 0.15, 0.1, 0.1, 0.05, 0.04, 0.03, 0.03])]
    columns = {"age": rng.normal(40, 10, count), "city": city, "flag": (rng.random(count) < 0.3) * 1.0}
    columns |= {f"f{j}": rng.standard_normal(count) for j in range(5)}
    columns["gap"] = np.where(rng.random(count) < 0.2, np.nan, rng.random(count))
    planted = (columns["age"] > 48.4) & (city == "kyiv")
    wrong = rng.random(count) < np.where(planted, bad, 0.1)
    labels = rng.integers(0, 2, count)
    if task == "regression":
        value = labels + np.where(wrong, 3.0, 0.1 * rng.random(count))
        return rows_of(columns, value=value, task=task), {"label_values": labels.astype(np.float64)}
    predicted = Column(None, np.where(wrong, 1 - labels, labels).astype(np.int32), ("no", "yes"))
    batch = rows_of(columns, prediction=predicted, task=task)
    return batch, {"label_classes": Column(None, labels.astype(np.int32), ("no", "yes"))}


def reference_of(count: int = 20_000, **more):
    batch, labels = rows(count, **more)
    return build_reference("loans", batch, positive_class="" if "task" in more else "yes", **labels)


REFERENCE = reference_of()


def outcomes_of(reference, batch, labels, weights=None):
    found = reference_outcomes(reference.schema, batch, Labels(labels.get("label_classes"), labels.get("label_values")))
    found = replace(found, slices=reference_slices(reference.schema, batch))
    return found if weights is None else replace(found, weights=weights)


def labeled(reference, *sides) -> Window:
    schema = reference.schema.fork()
    pane = Pane.empty(schema)
    for outcomes in sides:
        accumulate_outcomes(pane, schema, outcomes)
    return Window(MODEL, 0, 60 * 10**9, schema, pane)


def measured(window, reference=REFERENCE) -> dict[str, list]:
    found: dict[str, list] = {}
    for each in MONITOR.evaluate(window, reference):
        assert np.isfinite(each.value)
        found.setdefault(each.name, []).append(each)
    return found


def test_a_planted_slice_is_found_and_named():
    found = measured(labeled(REFERENCE, outcomes_of(REFERENCE, *rows(40_000, seed=2, bad=0.25))))
    assert found[semconv.SLICE_WORSE][0].value >= 1.0
    worst = dict(found[semconv.SLICE_LOSS][0].attributes)[semconv.SLICE]
    assert worst.startswith("age from 48.")
    assert worst.endswith(", city kyiv")
    assert found[semconv.SLICE_LOSS][0].value == pytest.approx(0.25, abs=0.05)
    assert found[semconv.SLICE_LIFT][0].value > 2.0
    assert worst in found[semconv.SLICE_WORSE][0].words


def test_equal_treatment_raises_no_alarm():
    for seed in range(3, 13):
        found = measured(labeled(REFERENCE, outcomes_of(REFERENCE, *rows(10_000, seed=seed))))
        assert found[semconv.SLICE_WORSE][0].value == 0.0


def test_a_slice_that_was_always_bad_has_not_become_worse():
    before = reference_of(bad=0.3)
    now = labeled(before, outcomes_of(before, *rows(40_000, seed=4, bad=0.3)))
    assert measured(now, before)[semconv.SLICE_WORSE][0].value == 0.0
    assert measured(now)[semconv.SLICE_WORSE][0].value >= 1.0


def test_counts_and_errors_are_those_of_the_rows():
    batch, labels = rows(5000, seed=5)
    part = labeled(REFERENCE, outcomes_of(REFERENCE, batch, labels)).pane.further[SliceSums]
    fit = REFERENCE.schema.fit(SliceCells)
    assert fit is not None
    codes = fit.of(REFERENCE.schema, batch)
    assert batch.prediction is not None
    true = labels["label_classes"]
    assert isinstance(true, Column)
    wrong = batch.prediction.codes != true.codes
    total = int(fit.starts[-1])
    for one, other in ((0, 1), (1, 2), (3, 3), (0, codes.shape[1] - 1)):
        for first in range(fit.sizes[one]):
            for second in range(fit.sizes[other]):
                at = place(np.array(fit.starts[one] + first), np.array(fit.starts[other] + second), total)
                here = (codes[:, one] == first) & (codes[:, other] == second)
                if one != other or first == second:
                    assert (part.counts[at], part.losses[at]) == (here.sum(), (here & wrong).sum())
    assert part.rows.tolist() == [5000, wrong.sum(), 5000]


def test_what_is_taken_back_leaves_nothing():
    outcomes = outcomes_of(REFERENCE, *rows(3000, seed=6))
    back = outcomes_of(REFERENCE, *rows(3000, seed=6), weights=np.full(3000, -1.0))
    window = labeled(REFERENCE, outcomes, back)
    assert not any(values.any() for values in window.pane.further[SliceSums].arrays().values())
    assert measured(window) == {}


def test_panes_add_up_whatever_the_split():
    outcomes = outcomes_of(REFERENCE, *rows(3000, seed=7))
    whole, first, second = (
        labeled(REFERENCE, outcomes.take(part)).pane for part in (slice(None), slice(0, 700), slice(700, None))
    )
    first.add(second)
    for name, values in first.further[SliceSums].arrays().items():
        np.testing.assert_array_equal(values, whole.further[SliceSums].arrays()[name])


def test_weights_count_but_make_no_rows():
    batch, labels = rows(20_000, seed=8, bad=0.25)
    one, ten = (
        measured(labeled(REFERENCE, outcomes_of(REFERENCE, batch, labels, np.full(20_000, weight))))
        for weight in (1.0, 10.0)
    )
    for name, group in one.items():
        assert [each.value for each in group] == pytest.approx([each.value for each in ten[name]])


def test_tiny_faultless_and_unlabeled_windows_say_nothing():
    assert measured(labeled(REFERENCE, outcomes_of(REFERENCE, *rows(50)))) == {}
    batch, labels = rows(2000)
    labels = {"label_classes": batch.prediction}
    assert measured(labeled(REFERENCE, outcomes_of(REFERENCE, batch, labels))) == {}
    assert measured(window_of(REFERENCE, [batch])) == {}


def test_one_value_of_everything_and_missing_cells_are_slices_like_others():
    batch, labels = rows(3000, seed=9)
    for features in ({}, {name: Column(np.ones(3000)) for name in batch.features}):
        found = measured(labeled(REFERENCE, outcomes_of(REFERENCE, replace(batch, features=features), labels)))
        assert found[semconv.SLICE_WORSE][0].value == 0.0


def test_errors_of_a_regression_are_scaled():
    before = reference_of(task="regression")
    now = labeled(before, outcomes_of(before, *rows(40_000, seed=2, bad=0.3, task="regression")))
    found = measured(now, before)
    assert found[semconv.SLICE_WORSE][0].value >= 1.0
    assert "city kyiv" in found[semconv.SLICE_WORSE][0].words


def test_a_reference_without_labels_compares_with_the_rest():
    batch, _ = rows(5000)
    reference = build_reference("loans", batch, positive_class="yes")
    found = measured(labeled(reference, outcomes_of(reference, *rows(40_000, seed=2, bad=0.3))), reference)
    assert found[semconv.SLICE_WORSE][0].value >= 1.0


def test_cells_ride_with_the_pending_prediction_and_come_back_with_the_label():
    batch, labels = rows(9000, seed=10, bad=0.3)
    Arrivals().number(batch, 0)
    join = LabelJoin()
    schema = REFERENCE.schema.fork()
    assert join.predictions(MODEL, schema, batch.take(slice(0, 5000))) is None
    assert join.predictions(MODEL, schema, batch.take(slice(5000, None))) is None
    for one in (join, LabelJoin.from_state(join.state())):
        sent = LabelBatch(MODEL.name, batch.time_ns, batch.ids, labels["label_classes"])
        ((_, outcomes),) = one.labels(sent, {MODEL: schema}, {MODEL: 0})
        codes = REFERENCE.schema.fit(SliceCells).of(schema, batch)
        kept = outcomes.slices[:, 0] > 0
        np.testing.assert_array_equal(outcomes.slices[kept, 1:], codes[kept])
        assert kept[:4096].all()
        assert 0.4 < kept[4096:8192].mean() < 0.6
        assert (outcomes.slices[8192:, 0][kept[8192:]] == 3).all()
        part = labeled(REFERENCE, outcomes).pane.further[SliceSums]
        assert part.rows[0] == pytest.approx(9000, rel=0.05)


def test_cells_of_another_reference_are_not_taken_for_those_of_this_one():
    batch, labels = rows(1000, seed=10)
    other = reference_of(5000, seed=77).schema
    join = LabelJoin()
    join.predictions(MODEL, REFERENCE.schema, batch)
    sent = LabelBatch(MODEL.name, batch.time_ns, batch.ids, labels["label_classes"])
    ((_, outcomes),) = join.labels(sent, {MODEL: other}, {MODEL: 0})
    assert outcomes.slices is None


def test_the_profile_keeps_the_cells(tmp_path):
    path = tmp_path / "loans.json"
    save_reference(REFERENCE, path)
    loaded = load_reference(path)
    window = labeled(REFERENCE, outcomes_of(REFERENCE, *rows(40_000, seed=2, bad=0.25)))
    assert measured(window, loaded) == measured(window)
    assert reference_text(loaded) == reference_text(REFERENCE)


@pytest.mark.parametrize("cuts", [{}, {"99": [1]}, {"0": [3, 2]}, {"0": []}, {"0": [0]}])
def test_damaged_cells_are_refused(tmp_path, cuts):
    document = json.loads(reference_text(REFERENCE))
    document["estimator"]["slice_cells"]["cuts"] = cuts
    path = tmp_path / "loans.json"
    path.write_text(json.dumps(document))
    with pytest.raises(ValueError, match=r"loans.json: estimator.slice_cells.cuts"):
        load_reference(path)


@pytest.mark.skipif(built.sums is None, reason="not compiled")
def test_sums_are_the_same_without_the_compiled_part(monkeypatch):
    outcomes = outcomes_of(REFERENCE, *rows(3000, seed=11))
    compiled = labeled(REFERENCE, outcomes).pane.further[SliceSums].arrays()
    monkeypatch.setattr(built, "sums", None)
    for name, values in labeled(REFERENCE, outcomes).pane.further[SliceSums].arrays().items():
        np.testing.assert_array_equal(values, compiled[name])


def test_every_slice_has_a_text():
    fit = REFERENCE.schema.fit(SliceCells)
    texts = [slice_text(REFERENCE, fit, cell, cell) for cell in range(int(fit.starts[-1]))]
    assert len({*texts}) == len(texts)
    assert {"city oslo", "city other", "city missing", "gap missing"} <= {*texts}


def test_the_slices_are_large_enough():
    window = labeled(REFERENCE, outcomes_of(REFERENCE, *rows(40_000, seed=2)))
    fit, part = REFERENCE.schema.fit(SliceCells), window.pane.further[SliceSums]
    found = found_slices(fit, part, REFERENCE.pane.further[SliceSums], SliceSettings())
    assert found.rows.min() >= 400
