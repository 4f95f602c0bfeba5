"""Numbers that are finite and absurd, weights from tiny to huge, references of a few rows: every monitor stands them.

No exception leaves a monitor (warnings are errors here), no figure is infinite or out of its range, and what is left
out is said.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from collector_processor.columns.batch import Column, Decoded, LabelBatch, ModelKey, PredictionBatch
from collector_processor.monitors.base import Measurement
from collector_processor.own.telemetry import Telemetry
from collector_processor.pipeline.pipeline import Pipeline
from collector_processor.pipeline.settings import MlMonitor
from collector_processor.reference.build import build_reference

SECOND = 10**9
NOW = 1_750_000_000 * SECOND
KEY = ModelKey("m", "1")
TASKS = ("binary_classification", "multiclass_classification", "regression")
SETTINGS: dict[str, Any] = {
    "window": {"size": "60s", "every": "10s", "allowed_lateness": "20s", "min_rows": 1, "min_labels": 1},
    "missing_shift": {"enabled": True},
    "fairness": {"segments": ["city"]},
}
SHARES = {"accuracy", "precision", "recall", "f1", "roc_auc", "brier", "average_precision", "ks", "js", "hellinger"}
HUGE = 1.7e308


def texts(codes, names) -> Column:
    return Column(None, np.asarray(codes).astype(np.int32), tuple(names))


def traffic(task: str, rows: int, seed: int, second: int = 0) -> tuple[PredictionBatch, LabelBatch]:
    """Rows in calls of seven, with every part that a batch can have, and their labels."""
    random = np.random.default_rng(seed)
    age, plan, city = random.normal(size=rows), random.integers(0, 3, rows), random.integers(0, 2, rows)
    parts: dict[str, Any]
    if task == "regression":
        value = 10.0 + 3.0 * age
        parts, truth = {"value": value}, {"values": value + random.normal(size=rows)}
    elif task == "binary_classification":
        score = 1.0 / (1.0 + np.exp(-age - random.normal(size=rows)))
        label = texts(random.random(rows) < score, ("no", "yes"))
        parts, truth = {"score": score, "prediction": texts(score >= 0.5, ("no", "yes"))}, {"classes": label}
    else:
        odds = np.exp(random.normal(size=(rows, 3)) + np.stack([age, -age, 0.0 * age], axis=1))
        odds /= odds.sum(axis=1, keepdims=True)
        label = texts((odds.cumsum(axis=1) < random.random((rows, 1))).sum(axis=1).clip(0, 2), "abc")
        parts = {
            "scores": dict(zip("abc", odds.T.copy(), strict=True)),
            "prediction": texts(odds.argmax(axis=1), "abc"),
        }
        truth = {"classes": label}
    duration = np.full(rows, np.nan)
    duration[::7] = 0.01
    batch = PredictionBatch(
        KEY,
        np.full(rows, NOW + second * SECOND),
        random.integers(1, 2**63, (rows, 2)).astype(np.uint64),
        np.ones(rows),
        duration,
        {
            "age": Column(age),
            "twice": Column(2.0 * age),
            "same": Column(np.full(rows, 3.0)),
            "plan": texts(plan, "xyz"),
        },
        segments={"city": texts(city, ("berlin", "paris"))},
        attributions={"age": 0.3 * age, "plan": random.normal(size=rows)},
        **parts,
    )
    return batch, LabelBatch(KEY.name, batch.time_ns, batch.ids, **truth)


def some(value: float, rows: int) -> np.ndarray[Any, Any]:
    return np.where(np.arange(rows) % 3 == 0, value, 1.0)


def weighted(*values: float):
    return lambda batch, labels: (replace(batch, weights=np.resize(np.array(values), len(batch))), labels)


def features(low: float, high: float):
    def disturb(batch: PredictionBatch, labels: LabelBatch):
        cells = np.where(np.arange(len(batch)) % 2, low, high)
        return replace(batch, features={**batch.features, "age": Column(cells), "twice": Column(-cells)}), labels

    return disturb


def outputs(value: float):
    def disturb(batch: PredictionBatch, labels: LabelBatch):
        third = np.arange(len(batch)) % 3 == 0
        changed: dict[str, Any] = {"scores": {name: np.where(third, value, x) for name, x in batch.scores.items()}}
        for name in ("score", "value"):
            if getattr(batch, name) is not None:
                changed[name] = np.where(third, value, getattr(batch, name))
        return replace(batch, **changed), labels

    return disturb


def attributions(value: float):
    def disturb(batch: PredictionBatch, labels: LabelBatch):
        size = len(batch)
        return replace(batch, attributions={name: some(value, size) for name in batch.attributions}), labels

    return disturb


def explained(weight: float, phi: float):
    """Rows that stand for as many as they can, in a sample of as many as it can have."""

    def disturb(batch: PredictionBatch, labels: LabelBatch):
        size = len(batch)
        heavy = replace(batch, weights=np.full(size, weight), attribution_weights=np.full(size, weight))
        return replace(heavy, attributions={name: some(phi, size) for name in batch.attributions}), labels

    return disturb


def labeled(value: float):
    def disturb(batch: PredictionBatch, labels: LabelBatch):
        return batch, labels if labels.values is None else replace(labels, values=some(value, len(labels)))

    return disturb


DISTURBED = {
    "as usual": lambda batch, labels: (batch, labels),
    "huge weights": weighted(2.0**56),
    "a few huge weights": weighted(2.0**56, 1.0, 1.0),
    "tiny weights": weighted(2.0**-56),
    "a few tiny weights": weighted(2.0**-56, 1.0),
    "weights from end to end": weighted(2.0**-56, 2.0**56, 1.0),
    "no weights": weighted(0.0),
    "some without weight": weighted(0.0, 1.0),
    "broken weights": weighted(0.3, 1.0 / 3.0, 7.7),
    "huge features": features(-HUGE, HUGE),
    "tiny features": features(5e-324, -5e-324),
    "infinite features": features(-np.inf, np.inf),
    "close features": features(1e300, np.nextafter(1e300, np.inf)),
    "huge outputs": outputs(HUGE),
    "large outputs": outputs(1e150),
    "infinite outputs": outputs(-np.inf),
    "tiny outputs": outputs(5e-324),
    "outputs beyond one": outputs(2.0),
    "huge attributions": attributions(HUGE),
    "large attributions": attributions(-1e150),
    "infinite attributions": attributions(np.inf),
    "attributions of huge weight": explained(2.0**56, 1e139),
    "huge labels": labeled(-HUGE),
    "large labels": labeled(1e150),
}


def measured(task: str, rows: int, in_reference: str, in_window: str, seed: int = 0):
    """What is measured, what the service counted as its errors, and what the model says of itself."""
    batch, labels = DISTURBED[in_reference](*traffic(task, rows, seed))
    positive = {"positive_class": "yes"} if task == "binary_classification" and (rows > 20) else {}
    reference = build_reference(
        "m", batch, task=task, segments=["city"], label_classes=labels.classes, label_values=labels.values, **positive
    )
    telemetry = Telemetry()
    pipeline = Pipeline(MlMonitor.model_validate(SETTINGS), {"m": reference}, telemetry, NOW)
    out: list[Measurement] = []
    for step in range(3):
        batch, labels = DISTURBED[in_window](*traffic(task, 40, seed + step + 1, 10 * step))
        pipeline.process([Decoded(predictions=(batch,)), Decoded(labels=(labels,))], NOW + 10 * step * SECOND)
        out += pipeline.tick(NOW + 10 * step * SECOND)
    out += pipeline.tick(NOW + 3600 * SECOND)
    wrong = {
        (sample.name, *sample.labels.values()): sample.value
        for metric in telemetry.registry.collect()
        if metric.name in ("otel_ml_errors", "otel_ml_dropped")
        for sample in metric.samples
        if sample.name.endswith("_total")
        and sample.value
        and {"unknown_feature", "figures"}.isdisjoint(sample.labels.values())
    }
    return out, wrong, pipeline.models[KEY].problems, reference


def absurd(out: list[Measurement]) -> list[Measurement]:
    """What is not a number, or a share that is not from 0 to 1."""

    def is_share(item: Measurement) -> bool:
        of_drift = item.name == "ml.drift.score" and any(value in SHARES for _, value in item.attributes)
        return of_drift or item.name.removeprefix("ml.performance.") in SHARES

    return [x for x in out if not np.isfinite(x.value) or (is_share(x) and not -1e-9 <= x.value <= 1.0 + 1e-9)]


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(TASKS),
    st.sampled_from([1, 2, 3, 120, 600]),
    st.sampled_from(sorted(DISTURBED)),
    st.sampled_from(sorted(DISTURBED)),
    st.integers(0, 3),
)
@example("binary_classification", 2, "a few huge weights", "as usual", 0)
@example("multiclass_classification", 120, "a few huge weights", "as usual", 0)
@example("regression", 600, "large outputs", "as usual", 0)
@example("regression", 600, "huge labels", "huge labels", 0)
@example("binary_classification", 1, "close features", "a few huge weights", 0)
@example("binary_classification", 120, "huge attributions", "huge attributions", 0)
def test_extreme_numbers_harm_no_monitor(task, rows, in_reference, in_window, seed):
    out, wrong, _, _ = measured(task, rows, in_reference, in_window, seed)
    assert not wrong
    assert out, "nothing was measured"
    assert not absurd(out)


def built(task: str, disturbed: str):
    batch, labels = DISTURBED[disturbed](*traffic(task, 600, 0))
    return build_reference("m", batch, task=task, label_classes=labels.classes, label_values=labels.values)


@pytest.mark.parametrize("kind", ["huge", "large", "infinite"])
def test_extreme_attributions_are_left_out_and_said(kind):
    _, _, problems, usual = measured("regression", 600, "as usual", f"{kind} attributions")
    assert "attributions beyond ±1e+140 are left out" in problems.values()
    assert not any("±" in note for note in usual.notes)
    assert "attributions of age beyond ±1e+140 are left out" in built("regression", f"{kind} attributions").notes


@pytest.mark.parametrize("kind", ["huge", "large", "infinite"])
def test_extreme_values_have_no_errors_and_it_is_said(kind):
    out, _, problems, _ = measured("regression", 600, "as usual", f"{kind} outputs")
    assert "predicted values beyond ±1e+140 are left out of errors" in problems.values()
    assert max(item.value for item in out if item.name == "ml.performance.mae") < 5.0
    assert "predicted values beyond ±1e+140 are left out" in built("regression", f"{kind} outputs").notes


def test_every_note_of_a_reference_is_shown():
    notes = ("100 % of one thing", "another")
    reference = replace(built("regression", "as usual"), notes=notes)
    telemetry = Telemetry()
    pipeline = Pipeline(MlMonitor.model_validate(SETTINGS), {"m": reference}, telemetry, NOW)
    model = pipeline.model(KEY, NOW)
    assert model is not None
    assert set(notes) <= set(model.problems.values())
