"""Trees of the reference rows: what they are fitted on, when there are none, and how a profile holds them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from collector_processor.columns.batch import Column, ModelKey, PredictionBatch
from collector_processor.own.install import install
from collector_processor.reference.build import build_reference
from collector_processor.reference.file import load_reference, save_reference
from collector_processor.reference.fits import adaptive as adaptive_fitter
from collector_processor.reference.fits import losses as loss_fitter
from collector_processor.statistics import estimates as expected
from collector_processor.statistics.accumulate import accumulate
from collector_processor.statistics.fits.adaptive import AdaptiveTrees
from collector_processor.statistics.fits.losses import LOSSES, LossTrees
from collector_processor.statistics.pane import Pane
from collector_processor.statistics.parts.adaptive import AdaptiveSums
from collector_processor.statistics.parts.estimated import EstimatedSums
from collector_processor.statistics.parts.harm import HarmSums
from collector_processor.statistics.parts.losses import LossSums

pytest.importorskip("lightgbm")
KINDS = ("a", "b", "rare")


def batch_of(features, **outputs) -> PredictionBatch:
    rows = len(next(iter(features.values())))
    ids = np.random.default_rng(rows).integers(0, 2**63, (rows, 2)).astype(np.uint64)
    return PredictionBatch(
        ModelKey("m", "1"), np.zeros(rows, np.int64), ids, outputs.pop("weights", np.ones(rows)), np.full(rows, np.nan),
        features, **outputs,
    )  # fmt: skip


def classified(rows: int = 4000, seed: int = 0, **more):
    """A score that is calibrated on the whole, too high for kind "a" and too low for "b"."""
    rng = np.random.default_rng(seed)
    x, kind = rng.normal(size=rows), rng.integers(0, 2, rows)
    kind[:: rows // 10 or 1] = 2
    score = rng.uniform(0.05, 0.95, rows)
    truth = rng.random(rows) < np.clip(score + np.where(kind == 0, -0.3, 0.3), 0.0, 1.0)
    features = {"x": Column(x), "kind": Column(None, kind.astype(np.int32), KINDS)}
    return batch_of(features, score=score, positive_class="yes", **more), truth


def labels_of(truth) -> Column:
    return Column(None, np.asarray(truth, np.int32), ("no", "yes"))


def reference_of(batch, truth, **more):
    return build_reference(
        "m", batch, task="binary_classification", positive_class="yes", label_classes=labels_of(truth), **more
    )


def regressed(rows: int = 3000, seed: int = 0, **more):
    """Errors that grow with x, and are twice as large for kind "b"."""
    rng = np.random.default_rng(seed)
    x, kind = rng.uniform(0.0, 1.0, rows), rng.integers(0, 2, rows)
    value = 10.0 + 5.0 * x
    label = value + rng.normal(size=rows) * (0.1 + x) * (1 + kind)
    features = {"x": Column(x), "kind": Column(None, kind.astype(np.int32), KINDS)}
    return batch_of(features, value=value, **more), label


def test_the_adaptive_estimate_follows_a_shift_that_the_calibrated_one_does_not_see():
    reference = reference_of(*classified())
    trees = reference.schema.fit(AdaptiveTrees)
    assert trees is not None
    batch, truth = classified(seed=1)
    shifted = batch.take(np.flatnonzero(batch.features["kind"].codes == 0))
    wanted = truth[batch.features["kind"].codes == 0].mean()
    p = expected.calibrated(reference.schema, shifted)
    corrected, unsupported = trees.evaluate(shifted, p)
    assert abs(p.mean() - wanted) > 0.2
    assert abs(corrected.mean() - wanted) < 0.02
    assert unsupported.mean() < 0.1


def test_features_that_say_nothing_leave_the_calibrated_estimate():
    rng = np.random.default_rng(3)
    score = rng.uniform(0.05, 0.95, 4000)
    batch = batch_of({"x": Column(rng.normal(size=4000))}, score=score, positive_class="yes")
    reference = reference_of(batch, rng.random(4000) < score)
    assert reference.schema.fit(AdaptiveTrees) is None
    assert reference.notes == ()
    assert expected.estimates(reference.schema, batch) is expected.calibrated(reference.schema, batch)


def test_too_few_rows_are_said():
    reference = reference_of(*classified(1500))
    assert reference.schema.fit(AdaptiveTrees) is None
    assert "2,000 labeled rows" in reference.notes[0]
    few, label = regressed(900)
    reference = build_reference("m", few, label_values=label)
    assert reference.schema.fit(LossTrees) is None
    assert "1,000 rows" in reference.notes[0]


def test_a_class_with_few_rows_is_said():
    batch, truth = classified()
    truth = truth & (np.arange(len(truth)) < 150)
    assert 10 < truth.sum() < 100
    reference = reference_of(batch, truth)
    assert reference.schema.fit(AdaptiveTrees) is None
    assert "100 of each class" in reference.notes[0]


def test_without_lightgbm_the_build_goes_on_and_says_what_is_lost(monkeypatch):
    monkeypatch.setattr(adaptive_fitter, "lightgbm", lambda: None)
    monkeypatch.setattr(loss_fitter, "lightgbm", lambda: None)
    reference = reference_of(*classified())
    assert reference.schema.fit(AdaptiveTrees) is None
    assert install("estimate") in reference.notes[0]
    batch, label = regressed()
    reference = build_reference("m", batch, label_values=label)
    assert reference.schema.fit(LossTrees) is None
    assert f"no errors are estimated: LightGBM is not installed ({install('estimate')})" in reference.notes[0]


def test_a_reference_that_is_learned_has_no_trees():
    assert reference_of(*classified(), strict=False).schema.fit(AdaptiveTrees) is None


@pytest.mark.parametrize("kind", ["constant", "missing", "one class"])
def test_rows_that_say_nothing_have_no_trees(kind):
    batch, truth = classified()
    if kind == "one class":
        truth = np.ones(len(truth), bool)
    else:
        value = 3.0 if kind == "constant" else np.nan
        column = Column(np.full(len(batch), value))
        batch = batch_of({"x": column}, score=np.full(len(batch), 0.4), positive_class="yes")
    assert reference_of(batch, truth, numeric=("x",)).schema.fit(AdaptiveTrees) is None


def test_weights_count_as_repeated_rows():
    batch, truth = classified(3000)
    weights = np.where(batch.features["kind"].codes == 0, 4.0, 1.0)
    weighted, _ = classified(3000, weights=weights)
    trees = reference_of(weighted, truth).schema.fit(AdaptiveTrees)
    assert trees is not None
    further = reference_of(weighted, truth).pane.further
    weight, moved = further[AdaptiveSums].by_class[0].sum(axis=0)
    assert weight == pytest.approx(weights.sum())
    assert further[EstimatedSums].by_class[0, :, 1:].sum() + moved == pytest.approx((truth * weights).sum(), rel=0.03)


def test_unseen_and_rare_categories_and_numbers_beyond_the_reference_are_unsupported():
    reference = reference_of(*classified())
    trees = reference.schema.fit(AdaptiveTrees)
    batch, _ = classified(100, seed=2)
    kinds = Column(None, np.zeros(100, np.int32), ("something else",))
    p = np.full(100, 0.5)
    for kind in (kinds, Column(None, np.full(100, -1, np.int32)), Column(None, np.full(100, 2, np.int32), KINDS)):
        other = batch_of({**batch.features, "kind": kind}, score=p, positive_class="yes")
        corrected, unsupported = trees.evaluate(other, p)
        assert unsupported.all()
        assert ((corrected > 0.0) & (corrected < 1.0)).all()


def test_expected_errors_are_those_of_lightgbm_and_follow_a_shift():
    batch, label = regressed()
    reference = build_reference("m", batch, label_values=label)
    fit = reference.schema.fit(LossTrees)
    assert set(fit.trees) == set(LOSSES)
    other, truth = regressed(seed=1)
    losses = fit.evaluate(other)
    assert other.value is not None
    error = np.abs(truth - other.value)
    wide = np.flatnonzero(other.features["kind"].codes == 1)
    assert losses[wide, 0].mean() == pytest.approx(error[wide].mean(), rel=0.1)
    assert np.sqrt(losses[wide, 1].mean()) == pytest.approx(np.sqrt((error[wide] ** 2).mean()), rel=0.1)
    assert losses[:, 2].mean() == pytest.approx((error / np.abs(truth)).mean(), rel=0.1)
    assert (losses >= 0.0).all()


def test_negative_values_have_no_logarithms_and_zeros_no_relative_error():
    batch, label = regressed()
    label = np.where(np.arange(len(label)) % 2 == 0, 0.0, label)
    label[1] = -1.0
    fit = build_reference("m", batch, label_values=label).schema.fit(LossTrees)
    assert set(fit.trees) == {"absolute", "squared", "relative"}
    assert np.nanmax(fit.evaluate(batch)[:, 2]) < 20.0


def test_rows_without_a_prediction_have_no_expected_error():
    batch, label = regressed()
    reference = build_reference("m", batch, label_values=label)
    batch.value[:5] = np.nan
    batch.derived.clear()
    pane = Pane.empty(reference.schema)
    few = batch.take(slice(0, 16))
    accumulate(pane, reference.schema, few)
    assert pane.further[LossSums].sums[0, :, 0].tolist() == [11.0] * 4
    assert pane.further[HarmSums].sums[0] == 11.0


def test_a_perfect_model_has_an_error_of_zero():
    batch, _ = regressed()
    reference = build_reference("m", batch, label_values=batch.value)
    sums = reference.pane.further[LossSums].sums
    assert sums[0, 0].tolist() == [len(batch), 0.0, 0.0, len(batch)]
    assert reference.pane.further[HarmSums].sums.tolist() == [len(batch), len(batch), 0.0, len(batch), 0.0, 0.0]


def test_an_older_part_without_trees_is_empty():
    batch, truth = classified(200)
    pane = reference_of(batch, truth).pane
    assert pane.further[LossSums].sums.shape == (0, 4, 4)
    assert pane.further[AdaptiveSums].by_class.shape == (0, 2, 2)


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("profiles")
    batch, label = regressed()
    references = {
        "adaptive": reference_of(*classified()),
        "losses": build_reference("m", batch, label_values=label),
    }
    for name, reference in references.items():
        save_reference(reference, folder / f"{name}.json")
    return {name: folder / f"{name}.json" for name in references}


def test_a_profile_with_trees_gives_the_same_estimates_without_lightgbm(written, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "lightgbm", None)
    read = {name: load_reference(path) for name, path in written.items()}
    few, sixteen = classified(120, seed=5)[0], regressed(16, seed=5)[0]
    found = expected.estimates(read["adaptive"].schema, few), expected.estimates(read["losses"].schema, sixteen)
    monkeypatch.undo()
    batch, label = regressed()
    few.derived.clear()
    sixteen.derived.clear()
    made = reference_of(*classified()).schema, build_reference("m", batch, label_values=label).schema
    assert np.array_equal(found[0], expected.estimates(made[0], few))
    assert np.array_equal(found[1], expected.estimates(made[1], sixteen))


def test_a_profile_that_is_read_and_written_is_the_same(written, tmp_path):
    for path in written.values():
        save_reference(load_reference(path), tmp_path / path.name)
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("kind", "change", "problem"),
    [
        ("adaptive", lambda e: e["trees"]["left"].__setitem__(0, 0), "estimator.adaptive.trees: has a child"),
        ("adaptive", lambda e: e["trees"]["right"].__setitem__(0, 4000), "estimator.adaptive.trees: has a child"),
        ("adaptive", lambda e: e["trees"]["feature"].__setitem__(0, 9), "estimator.adaptive.trees.feature: must be"),
        ("adaptive", lambda e: e["trees"]["roots"].clear(), "estimator.adaptive.trees.roots: must have"),
        ("adaptive", lambda e: e["trees"]["values"].pop(), "estimator.adaptive.trees: has a child"),
        ("adaptive", lambda e: e["trees"]["threshold"].pop(), "lists of different lengths"),
        ("adaptive", lambda e: e["trees"]["set_starts"].append(7), "set_starts: must ascend"),
        ("adaptive", lambda e: e["inputs"]["features"].__setitem__(0, 99), "inputs.features: must be"),
        ("adaptive", lambda e: e["inputs"]["features"].reverse(), "inputs.features: must ascend"),
        ("adaptive", lambda e: e["inputs"]["low"].append(1), "inputs.low: must have shape"),
        ("adaptive", lambda e: e.__setitem__("class", 77), "adaptive.class: must be an integer"),
        ("adaptive", lambda e: e["cells"].reverse(), "adaptive.cells: must ascend"),
        ("losses", lambda e: e["trees"].__setitem__("cubic", {}), "trees.cubic: is not a loss"),
        ("losses", lambda e: e["trees"].pop("absolute"), "trees: has no 'absolute'"),
        ("losses", lambda e: e["trees"]["squared"]["sets"].__setitem__(0, 40000), "squared: has a set"),
        ("losses", lambda e: [v.append(1) for key, v in e["inputs"].items() if "codes" in key], "at most 3 codes"),
    ],
)
def test_a_hostile_profile_is_refused_with_the_path(written, tmp_path, kind, change, problem):
    document = json.loads(written[kind].read_text())
    part = document["estimator"][kind]
    change(part)
    path = tmp_path / "hostile.json"
    path.write_text(json.dumps(document))
    with pytest.raises(ValueError, match=r"hostile\.json: estimator\.") as raised:
        load_reference(path)
    assert problem in str(raised.value)
