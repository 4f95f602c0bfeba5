"""Fairness from sums beside fairlearn, AIF360 and SageMaker Clarify on the rows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from collector_processor.columns.batch import Column, ModelKey, PredictionBatch
from collector_processor.fairness.counts import Counts, Favorable, counts, joint_counts
from collector_processor.fairness.figures import FIGURES, RATES, conditional_disparity, figure_of, spread
from collector_processor.fairness.names import Group, aif360, clarify
from collector_processor.reference.build import build_reference
from collector_processor.statistics.parts.selections import joint_ranks
from collector_processor.statistics.schema import Schema
from verification.oracle import Oracle
from verification.topic import Check, Findings, Progress, Table, Topic, largest

SAME = ("selection_rate", "true_positive_rate", "false_positive_rate", "precision", "accuracy")


def rows(size: int, random: np.random.Generator) -> dict[str, np.ndarray]:
    """Return rows of three groups, of which the first two are compared with each other."""
    group = random.choice(3, size, p=(0.3, 0.5, 0.2))
    given = random.integers(0, 4, size)
    truth = random.random(size) < 0.3 + 0.1 * group + 0.05 * given
    said = np.where(random.random(size) < 0.75 + 0.05 * group, truth, ~truth)
    return {"group": group, "given": given, "truth": truth.astype(int), "said": said.astype(int)}


def table(data: Mapping[str, np.ndarray]) -> tuple[Counts, dict[str, float]]:
    """Return our sums of the groups in order, and the conditional disparity of the first of two groups."""
    size = len(data["said"])

    def texts(name: str, names: tuple[str, ...]) -> Column:
        return Column(None, data[name].astype(np.int32), names)

    groups, strata = ("a", "b", "c"), ("p", "q", "r", "s")
    batch = PredictionBatch(
        ModelKey("m"), np.zeros(size, np.int64), np.zeros((size, 2), np.uint64), np.ones(size), np.full(size, np.nan),
        features={"x": Column(np.arange(float(size)))}, prediction=texts("said", ("no", "yes")),
        segments={"sex": texts("group", groups), "team": texts("given", strata)},
    )  # fmt: skip
    reference = build_reference(
        "m", batch, positive_class="yes", segments=["sex", "team"], label_classes=texts("truth", ("no", "yes"))
    )
    schema = reference.schema
    slot = schema.classes.find(0, "yes")
    assert slot is not None
    found = [_group(schema, name) for name in groups[: int(data["group"].max()) + 1]]
    sums = counts(schema, reference.pane, np.array(found), Favorable(slot))
    selected, total = joint_counts(reference.pane, 0, Favorable(slot))
    row = int(joint_ranks(schema)[_group(schema, "a")])
    sides = [np.stack((part[row], part.sum(axis=0) - part[row])) for part in (selected, total)]
    return sums, {"CDDPL": conditional_disparity(*sides)}


def _group(schema: Schema, name: str) -> int:
    slot = schema.groups.find(0, name)
    assert slot is not None
    return slot + 1


def ours(sums: Counts) -> dict[str, float]:
    """Return our figures by fairlearn's names."""
    values = {name: rate(sums).value for name, rate in RATES.items()}
    names = (
        "demographic_parity_difference", "demographic_parity_ratio", "equalized_odds_difference",
        "equalized_odds_ratio", "equalized_odds_mean_difference", "equal_opportunity_difference",
        "equal_opportunity_ratio",
    )  # fmt: skip
    found = {name: figure_of(FIGURES[name], values) for name in names}
    for name in (*SAME, "false_negative_rate", "true_negative_rate"):
        found[f"{name}|difference"] = spread(values[name], "difference")
        found[f"{name}|ratio"] = spread(values[name], "ratio")
    return found


def group(sums: Counts, place: int) -> Group:
    """Return one group as the figures of other tools take it."""
    columns = (sums.selected, sums.predicted, sums.tp, sums.fp, sums.fn, sums.tn)
    return Group(*(float(column[place]) for column in columns))


def run(quick: bool, progress: Progress) -> Findings:
    """Compare every figure of every tool."""
    random, worst = np.random.default_rng(7), dict[str, dict[str, float]]()
    oracle, used = Oracle("fairness", ("3.11",)), dict[str, str]()
    sizes = (500,) if quick else (500, 5000, 50_000)
    for size in sizes:
        progress(f"{size} rows")
        data = rows(size, random)
        asked = oracle.ask({name: values.tolist() for name, values in data.items()})
        used = dict(asked.versions)
        two = {name: values[data["group"] < 2] for name, values in data.items()}
        (three, _), (pair, disparity) = table(data), table(two)
        first, second = group(pair, 0), group(pair, 1)
        theirs_and_ours = {
            "fairlearn": (asked.value["fairlearn"], ours(three)),
            "clarify": (asked.value["clarify"], clarify(first, second) | disparity),
            "aif360": (
                asked.value["aif360"],
                aif360(first, second) | {"generalized_entropy_index": clarify(first, second)["GE"]},
            ),
        }
        for tool, (theirs, mine) in theirs_and_ours.items():
            off = worst.setdefault(tool, {})
            for name, value in theirs.items():
                off[name] = largest((off.get(name, 0.0), abs(value - mine[name])))
    return Findings(
        data=f"simulated rows of three groups, {', '.join(f'{size:,}' for size in sizes)}",
        checks=[
            Check.at_most(f"{len(off)} figures of {tool}, largest difference", largest(off.values()), 1e-12)
            for tool, off in worst.items()
        ],
        tables=[
            Table(
                "The largest difference of each figure:",
                ("tool", "figure", "difference"),
                [(tool, name.replace("|", ", "), value) for tool, off in worst.items() for name, value in off.items()],
            )
        ],
        versions=used,
    )


TOPIC = Topic("Fairness: the figures of other tools", run, oracles=("fairness",), page="methods/fairness.md")
