"""``python -m benchmarks.alarms``: how often the built-in rules are in breach without a reason, and with one.

Windows are drawn from the distribution of the reference, whole windows without an overlap, and judged by the rules'
thresholds alone: the hold time of ten minutes, which only makes false alarms rarer, is left out.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from collector_processor.alerts.rules import BUILT_IN_RULES, AlertRule
from collector_processor.columns.batch import Column, ModelKey, PredictionBatch
from collector_processor.monitors import configured_monitors
from collector_processor.monitors.base import Monitor, Sequential
from collector_processor.pipeline.settings import MlMonitor, ModelConfig
from collector_processor.reference.build import build_reference
from collector_processor.reference.columns import Labels
from collector_processor.reference.outcomes import reference_outcomes
from collector_processor.reference.profile import Reference
from collector_processor.statistics.accumulate import accumulate
from collector_processor.statistics.outcomes import accumulate_outcomes
from collector_processor.statistics.pane import Pane
from collector_processor.window.closed import Window

MODEL = ModelKey("m", "1")
SIZES = (100, 500, 2000, 10_000)
NUMERIC, CATEGORICAL = 8, 4
Draw = Callable[[np.random.Generator, int], tuple[PredictionBatch, Labels]]
NAMES = {
    "regression": (),
    "binary": ("no", "yes"),
    "rare": ("no", "yes"),
    "multiclass": tuple("abcdefghij"),
}


@dataclass(frozen=True)
class World:
    """What rows look like; a change of a field is a drift."""

    kind: str = "binary"
    base: float = 0.3
    shift: float = 0.0
    shifted: int = 0
    flipped: float = 0.0
    missing: float = 0.0001
    outlier: bool = False


def texts(codes: np.ndarray, names: Sequence[str]) -> Column:
    return Column(None, codes.astype(np.int32), tuple(names))


def draw(world: World, random: np.random.Generator, rows: int) -> tuple[PredictionBatch, Labels]:
    """Rows and their labels."""
    features: dict[str, Column] = {}
    for number in range(NUMERIC):
        moved = world.shift if number < world.shifted else 0.0
        values = random.lognormal(moved, 1.0, rows) if number % 2 else random.normal(moved, 1.0, rows)
        values[random.random(rows) < world.missing] = np.nan
        features[f"n{number}"] = Column(values)
    share = 1.0 / np.arange(1, 51) ** 1.2
    for number in range(CATEGORICAL):
        chances = share[::-1] if number < world.shifted - NUMERIC else share
        codes = random.choice(50, rows, p=chances / chances.sum())
        features[f"c{number}"] = texts(codes, [f"k{code}" for code in range(50)])
    blank = (MODEL, np.zeros(rows, np.int64), np.zeros((rows, 2), np.uint64), np.ones(rows), np.full(rows, 0.001))
    if world.kind == "regression":
        truth = random.normal(100.0, 20.0, rows)
        error = random.standard_t(4, rows) * (5.0 + 50.0 * world.flipped)
        if world.outlier:
            error[0] = 1e9
        return PredictionBatch(*blank, features, value=truth + error), Labels(values=truth)
    names = NAMES[world.kind]
    if world.kind == "multiclass":
        truth = random.choice(10, rows, p=share[:10] / share[:10].sum())
        wrong = random.random(rows) < np.where(truth == 9, 0.1 + world.flipped, 0.1)
        predicted = np.where(wrong, (truth + random.integers(1, 10, rows)) % 10, truth)
        return PredictionBatch(*blank, features, prediction=texts(predicted, names)), Labels(texts(truth, names))
    truth = random.random(rows) < world.base
    score = np.where(truth, random.beta(5, 2, rows), random.beta(1, 12, rows))
    score = np.where(truth & (random.random(rows) < world.flipped), random.beta(1, 12, rows), score)
    if world.outlier:
        score[0] = 1e9
    predicted = texts(score > 0.5, names)
    return PredictionBatch(*blank, features, prediction=predicted, score=score), Labels(texts(truth, names))


def window(reference: Reference, batch: PredictionBatch, labels: Labels) -> Window:
    """One window that holds these rows."""
    schema = reference.schema.fork()
    pane = Pane.empty(schema)
    accumulate(pane, schema, batch)
    outcomes = reference_outcomes(schema, batch, labels)
    if outcomes is not None:
        accumulate_outcomes(pane, schema, outcomes)
    return Window(MODEL, 0, 60, schema, pane)


def monitors(**drift: object) -> list[Monitor]:
    """The monitors of a service without a configuration, with other drift settings if any."""
    config = MlMonitor.model_validate({"drift": drift})
    every = configured_monitors(lambda name: config.section(name, ModelConfig()))
    return [monitor for monitor in every if not isinstance(monitor, Sequential)]


def breaches(rules: Sequence[AlertRule], running: Sequence[Monitor], reference: Reference, seen: Window) -> set[str]:
    """Return the rules that are in breach in a window, ``min_rows`` respected."""
    rows = seen.pane.rows[1]
    found: set[str] = set()
    for monitor in running:
        for item in monitor.evaluate(seen, reference):
            for rule in rules:
                judged = item.name == rule.measurement and rule.condition == "above" and rows >= rule.min_rows
                if judged and rule.matches(item.attributes) and rule.breached(item.value):
                    found.add(rule.name)
    return found


def rates(
    world: World,
    now: World,
    rows: int,
    windows: int,
    seed: int = 0,
    running: Sequence[Monitor] | None = None,
    learned_from: int = 20_000,
) -> Counter[str]:
    """Return in how many windows each rule is in breach, when the reference is one world and the windows another."""
    random = np.random.default_rng(seed)
    batch, labels = draw(world, random, learned_from)
    positive = "yes" if world.kind in {"binary", "rare"} else ""
    reference = build_reference(
        "m", batch, label_classes=labels.classes, label_values=labels.values, positive_class=positive, strict=False
    )
    rules = [rule for rule in BUILT_IN_RULES if rule.condition == "above"]
    counts: Counter[str] = Counter()
    for _ in range(windows):
        counts.update(breaches(rules, running or monitors(), reference, window(reference, *draw(now, random, rows))))
    return counts


WORLDS = {
    "binary": World("binary", 0.3),
    "rare": World("rare", 0.002),
    "multiclass": World("multiclass"),
    "regression": World("regression"),
}
CHANGES = (
    ("a value of 1e9 in a score", "binary", {"outlier": True}),
    ("an error of 1e9", "regression", {"outlier": True}),
    ("half of the features moved by 0.4 σ", "binary", {"shift": 0.4, "shifted": 6}),
    ("ten times more positives at 0.2 %", "rare", {"base": 0.02}),
    ("80 % of the positives scored as negatives", "binary", {"flipped": 0.8}),
    ("the same at 0.2 %", "rare", {"flipped": 0.8}),
    ("the rarest of ten classes always wrong", "multiclass", {"flipped": 0.9}),
    ("errors twice as large", "regression", {"flipped": 0.1}),
    ("missing cells from 0.01 % to 1 %", "binary", {"missing": 0.01}),
)


def stationary(
    windows: int, progress: Callable[[str], None], references: int = 3, learned_from: int = 20_000
) -> Iterator[str]:
    """Yield the table of false alarms, for windows against several references of one size."""
    names = [rule.name for rule in BUILT_IN_RULES if rule.condition == "above"]
    yield "| model | rows in the window | windows | " + " | ".join(f"`{name}`" for name in names) + " |"
    yield "|---" * (3 + len(names)) + "|"
    for kind, world in WORLDS.items():
        for rows in SIZES:
            progress(f"{kind} {rows}")
            counts: Counter[str] = Counter()
            for seed in range(references):
                counts += rates(world, world, rows, windows // references, seed, learned_from=learned_from)
            drawn = windows // references * references
            yield f"| {kind} | {rows:,} | {drawn:,} | " + " | ".join(str(counts[n]) for n in names) + " |"


def changed(windows: int, progress: Callable[[str], None]) -> Iterator[str]:
    """Yield the table of what fires when something changed."""
    yield "| change | model | rows in the window | in breach, of " + f"{windows} windows |"
    yield "|---|---|---|---|"
    for text, kind, fields in CHANGES:
        for rows in (500, 2000, 10_000):
            progress(f"{text} {rows}")
            counts = rates(WORLDS[kind], replace(WORLDS[kind], **fields), rows, windows)
            fired = ", ".join(f"`{name}` {count}" for name, count in sorted(counts.items())) or "nothing"
            yield f"| {text} | {kind} | {rows:,} | {fired} |"


def deciding(windows: int, progress: Callable[[str], None]) -> Iterator[str]:
    """Yield the table of the methods that could decide what ``ml.drift.share`` counts."""
    yield f"| decides | half moved by 0.3 σ | by 0.4 σ | by 0.5 σ | not at all (of {20 * windows}) |"
    yield "|---|---|---|---|---|"
    world = WORLDS["binary"]
    for method in ("psi", "js", "ks", "wasserstein"):
        progress(f"deciding {method}")
        kinds = {"categorical": ["psi", "js", "cohen_h"], "numeric": ["psi", "js", "ks", "wasserstein"]}
        running = monitors(features_by=[method], **kinds)
        cells = [
            rates(world, replace(world, shift=by, shifted=6), 2000, windows, running=running)["feature_drift"]
            for by in (0.3, 0.4, 0.5)
        ]
        none = rates(world, world, 2000, 20 * windows, running=running)["feature_drift"]
        yield f"| `{method}` | {' | '.join(map(str, cells))} | {none} |"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.alarms", description=__doc__)
    parser.add_argument("--windows", type=int, default=600, help="stationary windows of each kind and size")
    parser.add_argument("--reference", type=int, help="rows of a reference; only the table of false alarms, then")
    options = parser.parse_args(arguments)
    if options.reference:
        # Windows share the error of a small reference, so there are many references instead of many windows.
        table = stationary(options.windows, _progress, max(options.windows // 5, 1), options.reference)
        print(*table, sep="\n", flush=True)
        return 0
    for table in (
        deciding(max(options.windows // 20, 1), _progress),
        stationary(options.windows, _progress),
        changed(max(options.windows // 12, 1), _progress),
    ):
        print(*table, sep="\n", end="\n\n", flush=True)
    return 0


def _progress(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
