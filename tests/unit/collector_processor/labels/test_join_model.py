"""Any history of predictions and labels, against a join made of dicts."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector_processor.columns.batch import Column, LabelBatch, ModelKey, PredictionBatch
from collector_processor.labels.join import LabelJoin
from collector_processor.own.telemetry import Telemetry
from collector_processor.statistics.schema import Categories, Schema

KEYS = (ModelKey("fraud", "1"), ModelKey("fraud", "2"), ModelKey("spam", "1"))
CLASSES = ("no", "yes", "perhaps")
CAPACITY = 3200
"""Enough for every row and, an eighth of it, for every early label."""
STEP_NS = 1000
IDS = st.integers(0, 11)

predictions = st.tuples(
    st.just("predict"),
    st.sampled_from(KEYS),
    st.lists(st.tuples(IDS, st.integers(0, 2), st.integers(0, 4), st.booleans()), min_size=1, max_size=8),
)
labels = st.tuples(
    st.just("label"),
    st.sampled_from(["fraud", "spam"]),
    st.lists(st.tuples(IDS, st.integers(0, 2)), min_size=1, max_size=8),
)
scripts = st.lists(st.one_of(predictions, labels, st.just(("restart",)), st.just(("expire",))), max_size=25)


class Dicts:
    """The same join, one row at a time: totals of weight by everything that an outcome says."""

    def __init__(self):
        self.pending = {key: {} for key in KEYS}
        self.early = {"fraud": {}, "spam": {}}
        self.totals = Counter()
        self.labels = Counter()

    def predict(self, key, rows, time_ns):
        """Keeps the rows that did not fail; a label that waits joins the last one of its id."""
        pending = self.pending[key]
        for id_, class_, score, failed in rows:
            if not failed and (id_ not in pending or pending[id_]["label"] is None):
                pending[id_] = {"time": time_ns, "class": class_, "score": score / 4, "label": None}
        for id_ in {id_ for id_, *_, failed in rows if not failed}:
            if id_ in self.early[key.name] and pending[id_]["label"] is None:
                self._settle(key, id_, *self.early[key.name][id_])

    def label(self, name, rows, time_ns):
        """Joins labels one after the other, of one batch the last of each id."""
        self.labels[name] += len(rows)
        for id_, class_ in dict(rows).items():
            found = False
            for key in KEYS:
                entry = self.pending[key].get(id_) if key.name == name else None
                if entry is None:
                    continue
                found = True
                if entry["label"] != class_:
                    self._take_back(key, entry)
                    self._settle(key, id_, class_, time_ns)
            # A repetition of what waits already does not make it newer.
            if not found or id_ in self.early[name]:
                waiting = self.early[name].get(id_)
                if waiting is None or waiting[0] != class_:
                    self.early[name][id_] = (class_, time_ns)

    def _take_back(self, key, entry):
        if entry["label"] is not None:
            self.totals[self._said(key, entry)] -= 1

    def _settle(self, key, id_, class_, time_ns):
        entry = self.pending[key][id_]
        entry["label"], entry["known"] = class_, max(time_ns, entry["time"])
        entry["delay"] = max(time_ns - entry["time"], 0)
        self.totals[self._said(key, entry)] += 1

    @staticmethod
    def _said(key, entry):
        return key, entry["known"], entry["label"], entry["class"], entry["score"], entry["delay"]


class Joined:
    """The join under test with what its outcomes add up to."""

    def __init__(self, wait_ns):
        self.wait_ns = wait_ns
        self.telemetry = Telemetry()
        self.join = LabelJoin(wait_ns=wait_ns, capacity=CAPACITY, telemetry=self.telemetry)
        self.totals = Counter()
        self.schemas = {
            key: Schema(
                "multiclass_classification", "", (), np.zeros((0, 1)), np.zeros((0, 1), np.int32), np.zeros(0),
                np.zeros(0), (), Categories([], 1),
                Categories.from_pairs(("class",), 10, [(0, name) for name in CLASSES]), Categories([], 1),
            )
            for key in KEYS
        }  # fmt: skip

    def predict(self, key, rows, time_ns):
        """One batch."""
        ids, classes, scores, failed = zip(*rows, strict=True)
        batch = PredictionBatch(
            key, np.full(len(rows), time_ns), _ids(ids), np.ones(len(rows)), np.full(len(rows), np.nan),
            prediction=Column(None, np.array(classes, np.int32), CLASSES), score=np.array(scores) / 4,
            error=Column(None, np.where(failed, 0, -1).astype(np.int32), ("ValueError",)),
        )  # fmt: skip
        outcomes = self.join.predictions(key, self.schemas[key], batch)
        if outcomes is not None:
            self._add(key, outcomes)

    def label(self, name, rows, time_ns):
        """One batch."""
        ids, classes = zip(*rows, strict=True)
        column = Column(None, np.array(classes, np.int32), CLASSES)
        batch = LabelBatch(name, np.full(len(rows), time_ns), _ids(ids), column)
        for key, outcomes in self.join.labels(batch, self.schemas, {}):
            assert key.name == name
            self._add(key, outcomes)

    def restart(self):
        """Saves and loads."""
        state, telemetry = self.join.state(), self.telemetry
        self.join = LabelJoin.from_state(state, wait_ns=self.wait_ns, capacity=CAPACITY, telemetry=telemetry)

    def _add(self, key, outcomes):
        assert len(outcomes)
        for time_ns, weight, label, class_, score, delay_s in zip(
            outcomes.time_ns.tolist(), outcomes.weights.tolist(), (outcomes.labels - 1).tolist(),
            (outcomes.predicted - 1).tolist(), outcomes.scores.tolist(), outcomes.delay_s.tolist(), strict=True,
        ):  # fmt: skip
            self.totals[key, time_ns, label, class_, score, round(delay_s * 1e9)] += weight


def _ids(numbers):
    numbers = np.array(numbers, np.uint64)
    return np.stack([numbers % np.uint64(3), numbers], axis=1)  # many share their first word


def run(script, wait_ns):
    """Both joins after the script, compared after every step."""
    model, joined = Dicts(), Joined(wait_ns)
    for step, (what, *arguments) in enumerate(script):
        if what == "restart":
            joined.restart()
        elif what == "expire":
            joined.join.expire(step * STEP_NS)
        else:
            getattr(model, what)(*arguments, step * STEP_NS)
            getattr(joined, what)(*arguments, step * STEP_NS)
        assert +joined.totals == +model.totals
        assert min(joined.totals.values(), default=0) >= 0
    return model, joined


@settings(max_examples=150, deadline=None)
@given(script=scripts)
def test_any_history_adds_up_to_what_dicts_say(script):
    model, joined = run(script, 10**9)
    counts = Counter()
    for metric in joined.telemetry.labels.collect():
        for sample in metric.samples:
            if sample.name.endswith("_total"):
                counts[sample.labels["model"], sample.labels["outcome"]] += int(sample.value)
    for name, total in model.labels.items():
        arrived = ("joined", "early", "corrected", "duplicate", "wrong_kind")
        assert sum(counts[name, fate] for fate in arrived) == total
        assert counts[name, "early"] == len(model.early[name])
        assert counts[name, "joined_early"] <= counts[name, "early"]
        assert (counts[name, "expired"], counts[name, "evicted"], counts[name, "wrong_kind"]) == (0, 0, 0)


@pytest.mark.parametrize("seed", range(8))
def test_long_histories_over_many_generations_add_up_to_what_dicts_say(seed):
    rng = np.random.default_rng(seed)
    script = []
    for _ in range(200):
        ids, what = rng.integers(0, 190, rng.integers(1, 30)).tolist(), rng.random()
        if what < 0.03:
            script.append(("restart",))
        elif what < 0.5:
            rows = [(id_, int(rng.integers(0, 3)), int(rng.integers(0, 5)), bool(rng.random() < 0.1)) for id_ in ids]
            script.append(("predict", KEYS[rng.integers(0, 3)], rows))
        else:
            name = ("fraud", "spam")[rng.integers(0, 2)]
            script.append(("label", name, [(id_, int(rng.integers(0, 3))) for id_ in ids]))
    _, joined = run(script, 8 * 20 * STEP_NS)  # a new generation every twenty steps; nothing is told to expire
    assert max(len(pending.store._generations) for pending in joined.join._pending.values()) > 5
    assert sum(joined.totals.values()) > 200
