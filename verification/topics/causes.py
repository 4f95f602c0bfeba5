"""Why performance changed: the parts from cells, beside those of a propensity that is fitted to the rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pandas as pd
from lightgbm import LGBMClassifier
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, SplineTransformer

from collector_processor.columns.batch import F64, Column, ModelKey, PredictionBatch
from collector_processor.monitors.causes import splits
from collector_processor.monitors.disde import TERMS, Split
from collector_processor.reference.build import build_reference
from collector_processor.reference.columns import Labels
from collector_processor.reference.outcomes import reference_outcomes
from collector_processor.reference.profile import Reference
from collector_processor.statistics.fits.cause_cells import CauseCells
from collector_processor.statistics.outcomes import accumulate_outcomes
from collector_processor.statistics.pane import Pane
from collector_processor.window.closed import Window
from verification.oracle import Oracle
from verification.topic import Check, Findings, Progress, Table, Topic, largest, versions

MODEL = ModelKey("employment")
AGE: Final = "AGEP"
CODES: Final = (
    "SCHL", "MAR", "RELP", "DIS", "ESP", "CIT", "MIG", "MIL",
    "ANC",  # codespell:ignore
    "NATIVITY", "DEAR", "DEYE", "DREM", "SEX", "RAC1P",
)  # fmt: skip
SIZE: Final = 20_000
"""Rows of a window."""
FOLDS: Final = 5
GOAL: Final = 0.3
"""Points by which a part may differ."""
POINTS: Final = " points"
PARTS: Final = TERMS[:3]
YEARS, PEOPLE, OUTCOMES, HARD = "years as they are", "other people", "other outcomes", "hard"
LEARNERS: Final[Mapping[str, Any]] = {
    "LightGBM": lambda: LGBMClassifier(verbosity=-1, n_jobs=1, random_state=0),
    "logistic regression": lambda: make_pipeline(
        make_column_transformer((SplineTransformer(), [AGE]), (OneHotEncoder(handle_unknown="ignore"), list(CODES))),
        LogisticRegression(max_iter=1000),
    ),
}


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows with features (age, and codes of categories), label, predicted class and score."""

    features: pd.DataFrame
    label: F64
    predicted: F64
    score: F64

    @classmethod
    def of(cls, columns: Mapping[str, Any]) -> Rows:
        features = pd.DataFrame({AGE: np.array(columns[AGE], float)})
        for name in CODES:
            features[name] = np.array(columns[name], str)
        numbers = (np.array(columns[name], float) for name in ("employed", "prediction", "predicted_probability"))
        return cls(features, *numbers)

    def take(self, rows: Any) -> Rows:
        return Rows(self.features.iloc[rows], self.label[rows], self.predicted[rows], self.score[rows])

    @property
    def wrong(self) -> F64:
        return (self.label != self.predicted).astype(float)


def received(rows: Rows) -> tuple[PredictionBatch, Column]:
    """Return rows as they are received, and their labels."""
    count, columns = len(rows.label), dict[str, Column]()
    for name in rows.features:
        cells = rows.features[name].to_numpy()
        if name == AGE:
            columns[AGE] = Column(cells.astype(np.float64))
        else:
            texts, codes = np.unique(cells.astype(str), return_inverse=True)
            columns[str(name)] = Column(None, codes.astype(np.int32), tuple(texts.tolist()))
    batch = PredictionBatch(
        MODEL, np.zeros(count, np.int64), np.zeros((count, 2), np.uint64), np.ones(count), np.full(count, np.nan),
        columns, prediction=Column(None, rows.predicted.astype(np.int32), ("0", "1")), score=rows.score,
        positive_class="1",
    )  # fmt: skip
    return batch, Column(None, rows.label.astype(np.int32), ("0", "1"))


def reference_of(rows: Rows) -> Reference:
    batch, labels = received(rows)
    return build_reference("employment", batch, positive_class="1", label_classes=labels)


def ours(reference: Reference, rows: Rows) -> Split:
    """Return the parts as the monitor has them."""
    schema = reference.schema
    batch, labels = received(rows)
    outcomes, cells = reference_outcomes(schema, batch, Labels(labels)), schema.fit(CauseCells)
    assert outcomes is not None
    assert cells is not None
    pane = Pane.empty(schema)
    accumulate_outcomes(pane, schema, replace(outcomes, cells=cells.of(schema, batch)))
    return splits(Window(MODEL, 0, 60, schema, pane), reference, 1.0)[0]


def fitted(before: Rows, after: Rows, make: Any) -> F64:
    """Return population, concept and unseen of rows, with a propensity π(x) that is fitted and applied to other rows.

    π is the probability that a row of these features is one of the window. With the window's share a of all rows and
    d = a (1 − π) + (1 − a) π, those of the reference have the weight (1 − a) π / d and those of the window
    a (1 − π) / d: then both sides have the shared density p q / (p + q).
    """
    both = pd.concat([before.features, after.features], ignore_index=True)
    member = np.repeat([0.0, 1.0], [len(before.label), len(after.label)])
    codes = both.assign(**{name: both[name].astype("category") for name in CODES})
    fold, share = np.random.default_rng(0).integers(0, FOLDS, len(both)), float(member.mean())
    pi = np.empty(len(both))
    for each in range(FOLDS):
        pi[fold == each] = (
            make().fit(codes[fold != each], member[fold != each]).predict_proba(codes[fold == each])[:, 1]
        )
    weight = np.where(member > 0.0, share * (1.0 - pi), (1.0 - share) * pi)
    weight /= share * (1.0 - pi) + (1.0 - share) * pi
    sides = ((before.wrong, weight[member == 0.0]), (after.wrong, weight[member == 1.0]))
    known, current = (float(np.average(wrong, weights=weights)) for wrong, weights in sides)
    return np.array([known - before.wrong.mean(), current - known, after.wrong.mean() - current])


def windows(rows: Mapping[int, Rows], size: int) -> Iterator[tuple[str, str, Rows]]:
    """Yield kind, name and rows: years as they are, and the last year with other people, other outcomes, or both."""
    random, last = np.random.default_rng(7), rows[max(rows)]
    age, school = last.features[AGE].to_numpy(), last.features["SCHL"].astype(int).to_numpy()
    young, single = (age >= 16) & (age < 30), (last.features["MAR"] == "5").to_numpy()

    def drawn(of: Rows, weight: F64) -> Rows:
        count = min(size, int(np.count_nonzero(weight)))
        return of.take(np.sort(random.choice(len(weight), count, replace=False, p=weight / weight.sum())))

    def flipped(of: Rows, low: float, high: float, chance: float) -> Rows:
        ages = of.features[AGE].to_numpy()
        which = (ages >= low) & (ages < high) & (random.random(len(ages)) < chance)
        return replace(of, label=np.where(which, 1.0 - of.label, of.label))

    for year, each in rows.items():
        yield YEARS, str(year), drawn(each, np.ones(len(each.label)))
    younger = drawn(last, 1.0 + 2.0 * young)
    yield PEOPLE, "three times as many aged 16 to 29", younger
    yield PEOPLE, "older: weights exp(age / 30)", drawn(last, np.exp(age / 30.0))
    yield PEOPLE, "half of those with some college or more", drawn(last, 1.0 - 0.5 * (school >= 20))
    yield PEOPLE, "twice as many never married", drawn(last, 1.0 + single)
    year = drawn(last, np.ones(len(age)))
    yield OUTCOMES, "a tenth of the labels flipped", flipped(year, -1.0, 200.0, 0.1)
    yield OUTCOMES, "a quarter of those of ages 30 to 49 flipped", flipped(year, 30.0, 50.0, 0.25)
    yield HARD, "both: the first of the people, the last of the labels", flipped(younger, 30.0, 50.0, 0.25)
    yield HARD, "aged 16 to 29 alone", drawn(last, 1.0 * young)


def run(quick: bool, progress: Progress) -> Findings:
    """Split the change of the share of wrong predictions since the first year in three ways."""
    more = [AGE, *(name for name in CODES if name not in ("SEX", "RAC1P"))]
    asked = Oracle("nannyml").ask({"more": more}, script="employment")
    year, whole = np.array(asked.value["year"]), Rows.of(asked.value)
    years = {each: whole.take(np.flatnonzero(year == each)) for each in sorted(set(year.tolist()))}
    first = min(years)
    before = years.pop(first)
    if quick:
        before = before.take(slice(None, None, 10))
    reference = reference_of(before)
    off: dict[str, list[float]] = {}
    apart: list[float] = []
    table: list[tuple[object, ...]] = []
    for kind, what, rows in windows(years, SIZE // 10 if quick else SIZE):
        progress(what)
        split = ours(reference, rows)
        ways = {"cells": split.terms[:3], **{name: fitted(before, rows, make) for name, make in LEARNERS.items()}}
        each = [100.0 * np.abs(ways[name] - ways["cells"]) for name in LEARNERS]
        off.setdefault(kind, []).append(largest(np.concatenate(each).tolist()))
        apart.append(100.0 * largest(np.abs(np.subtract(*(ways[name] for name in LEARNERS))).tolist()))
        table += [
            (what if name == "cells" else "", name, *(f"{100.0 * part:+.2f}" for part in (*parts, parts.sum())))
            for name, parts in ways.items()
        ]
        table.append(("", "standard errors of cells", *(f"{100.0 * error:.2f}" for error in split.errors)))
    return Findings(
        data=f"{len(year):,} census rows of Massachusetts (NannyML's data set) with 16 features; {first} is the "
        f"reference, windows have {SIZE:,} rows",
        checks=[
            Check.at_most(
                f"{kind}: largest difference of a part from either propensity", largest(off[kind]), GOAL, POINTS
            )
            for kind in (YEARS, PEOPLE, OUTCOMES)
        ],
        tables=[
            Table(
                "Parts of the change of the share of wrong predictions, in points: from cells, and with a propensity "
                f"that is fitted to all features and applied to other rows ({FOLDS} folds). The two propensities "
                f"differ by up to {largest(apart):.2f} points from each other. The last two windows are not promised: "
                f"the largest difference from cells is {off[HARD][0]:.2f} where people and outcomes change at once, "
                f"and {off[HARD][1]:.2f} where most of the reference is missing.",
                ("window", "propensity", *PARTS, "change"),
                table,
            )
        ],
        versions={**asked.versions, **versions("numpy", "scikit-learn", "lightgbm")},
    )  # fmt: skip


TOPIC = Topic("Why performance changed", run, oracles=("nannyml",), page="methods/causes.md")
