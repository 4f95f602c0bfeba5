"""Expected errors of a regression beside NannyML's DLE: its own trees in our walk, and our trees on its data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from collector_processor.columns.batch import Column, ModelKey, PredictionBatch
from collector_processor.reference.build import build_reference
from collector_processor.reference.fits.boosting import dumped
from collector_processor.statistics.fits.losses import LOSSES, LossTrees
from verification.oracle import Oracle
from verification.topic import Check, Findings, Progress, Table, Topic, largest, versions

CATEGORICAL = ("fuel", "transmission")
LOSS_OF = {"mae": "absolute", "rmse": "squared", "mape": "relative", "rmsle": "squared_log"}


def batch(columns: Mapping[str, Sequence[Any]]) -> PredictionBatch:
    """Return rows as NannyML had them."""
    rows = len(columns["y_pred"])
    features: dict[str, Column] = {}
    for name, cells in columns.items():
        if name in CATEGORICAL:
            names = sorted({cell for cell in cells if cell is not None})
            codes = {None: -1, **{each: code for code, each in enumerate(names)}}
            features[name] = Column(None, np.array([codes[cell] for cell in cells], np.int32), tuple(names))
        elif not name.startswith("y_"):
            features[name] = Column(numbers(cells))
    return PredictionBatch(
        ModelKey("cars", "1"), np.zeros(rows, np.int64), np.zeros((rows, 2), np.uint64), np.ones(rows),
        np.full(rows, np.nan), features, value=numbers(columns["y_pred"]),
    )  # fmt: skip


def numbers(cells: Sequence[Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([np.nan if cell is None else cell for cell in cells], np.float64)


def figures(losses: np.ndarray[Any, Any], ends: Sequence[int], metric: str) -> list[float]:
    """Return a metric of each chunk from expected losses ``[n]``."""
    chunks = np.split(losses, ends[:-1])
    return [float(np.sqrt(chunk.mean()) if metric.startswith("rms") else chunk.mean()) for chunk in chunks]


def compared(found: Mapping[str, Any]) -> dict[str, tuple[float, list[float]]]:
    """Return, by metric, how far NannyML's trees in our walk are from its estimates, relatively, and our estimates."""
    reference = build_reference("cars", batch(found["reference"]), label_values=numbers(found["reference"]["y_true"]))
    fit = reference.schema.fit(LossTrees)
    assert fit is not None
    analysis = batch(found["analysis"])
    matrix = fit.inputs.matrix(analysis, [analysis.value])
    order = np.array([(*fit.inputs.names, "y_pred").index(name) for name in found["features"]])
    ours = fit.evaluate(analysis)
    result: dict[str, tuple[float, list[float]]] = {}
    for metric, loss in LOSS_OF.items():
        trees = dumped(found["trees"][metric])
        walked = np.maximum(replace(trees, feature=order[trees.feature].astype(np.int32)).sums(matrix), 0.0)
        theirs = found["estimates"][metric]
        off = largest(
            abs(mine / other - 1.0)
            for mine, other in zip(figures(walked, found["chunks"], metric), theirs, strict=True)
        )
        result[metric] = off, figures(ours[:, LOSSES.index(loss)], found["chunks"], metric)
    return result


def run(quick: bool, progress: Progress) -> Findings:
    """Ask NannyML about its car prices, as they are and with missing cells and categories that the reference lacks."""
    checks: list[Check] = []
    tables: list[Table] = []
    packages: dict[str, str] = {}
    for changed in (False, True):
        what = "with missing cells and unseen categories" if changed else "as they are"
        progress(what)
        answer = Oracle("nannyml").ask({"rows": 5000 if quick else 60000, "changed": changed}, "dle")
        found, packages = answer.value, dict(answer.versions)
        results = compared(found)
        checks += [
            Check.at_most(f"{metric}, NannyML's trees walked here, {what}", off, 1e-9)
            for metric, (off, _) in results.items()
        ]
        if changed:
            continue
        rows: list[tuple[object, ...]] = []
        mine, theirs, real = results["mae"][1], found["estimates"]["mae"], found["realized_mae"]
        for chunk, values in enumerate(zip(mine, theirs, real, strict=True)):
            rows.append((chunk, *map(float, values)))
        error, other = (float(np.mean(np.abs(np.array(each) - np.array(real)))) for each in (mine, theirs))
        checks.append(Check.at_most("mean error of the estimated MAE, as a multiple of NannyML's", error / other, 1.1))
        tables.append(Table("MAE of each chunk of 6,000 rows:", ("chunk", "here", "NannyML", "realized"), rows))
    return Findings(
        data="60,000 synthetic used cars that come with NannyML, 60,000 more to estimate",
        checks=checks,
        tables=tables,
        versions={**versions("numpy", "lightgbm"), **packages},
    )


TOPIC = Topic("Expected errors of a regression (DLE)", run, oracles=["nannyml"], page="methods/dle.md")
