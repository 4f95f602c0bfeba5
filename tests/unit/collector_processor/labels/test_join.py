"""The join: a label before, after, twice, corrected, too late, or never."""

from __future__ import annotations

import numpy as np
import pytest

from collector_processor.columns.batch import Column, LabelBatch, ModelKey, PredictionBatch
from collector_processor.columns.codec import pack, unpack
from collector_processor.decode.rules.ids import hash_ids
from collector_processor.labels.join import NAMES_LIMIT, LabelJoin
from collector_processor.own.telemetry import Telemetry
from collector_processor.statistics.outcomes import accumulate_outcomes
from collector_processor.statistics.pane import Pane
from collector_processor.statistics.schema import Categories, ColumnSpec, Schema

SECOND, DAY = 10**9, 86_400 * 10**9
T0 = 20_000 * DAY
KEY, OTHER_VERSION = ModelKey("fraud", "1"), ModelKey("fraud", "2")
FATES = ("joined", "early", "joined_early", "corrected", "duplicate", "expired", "evicted", "wrong_kind")


def schema_of(task="binary_classification", limit=100, segments=("region",)):
    return Schema(
        task=task,
        positive_class="yes" if task == "binary_classification" else "",
        numeric=(ColumnSpec("score", "score"),),
        edges=np.linspace(0.0, 1.0, 11)[None],
        drift_edges=np.zeros((1, 1), np.int32),
        low=np.zeros(1),
        high=np.ones(1),
        categorical=(),
        categories=Categories([], 10),
        classes=Categories.from_pairs(("class",), limit, [(0, "no"), (0, "yes")]),
        groups=Categories(segments, 50),
    )


def texts(cells):
    names = tuple(dict.fromkeys(cell for cell in cells if cell is not None))
    return Column(None, np.array([-1 if cell is None else names.index(cell) for cell in cells], np.int32), names)


class Fixture:
    """A join with its own schemas and telemetry, fed by names instead of columns."""

    def __init__(self, *, capacity=8000, wait_ns=7 * DAY, tasks=None):
        self.telemetry = Telemetry()
        self.join = LabelJoin(wait_ns=wait_ns, capacity=capacity, telemetry=self.telemetry)
        self.schemas = {key: schema_of(task) for key, task in (tasks or {KEY: "binary_classification"}).items()}
        self.not_before = {}

    def predict(self, ids, classes=None, *, key=KEY, time_ns=T0, not_before_ns=0, **columns):
        """Predictions; classes are "yes" unless given."""
        schema, rows = self.schemas[key], len(ids)
        classes = ["yes"] * rows if classes is None else classes
        columns.setdefault("weights", np.ones(rows))
        columns.setdefault("prediction", texts(classes))
        batch = PredictionBatch(
            key, np.full(rows, time_ns), hash_ids(ids), columns.pop("weights"), np.full(rows, np.nan), **columns
        )
        return self.join.predictions(key, schema, batch, not_before_ns)

    def label(self, ids, classes=None, *, values=None, time_ns=T0 + SECOND, name="fraud"):
        """Labels; returns the outcomes by model version."""
        column = None if classes is None else texts(classes)
        batch = LabelBatch(name, np.full(len(ids), time_ns), hash_ids(ids), column, values)
        return dict(self.join.labels(batch, self.schemas, self.not_before))

    def counts(self, name="fraud"):
        """The counter of every fate that is not zero."""
        read = self.telemetry.registry.get_sample_value
        found = {fate: read("otel_ml_labels_total", {"model": name, "outcome": fate}) for fate in FATES}
        return {fate: count for fate, count in found.items() if count}

    def evicted(self, store, reason):
        """How many entries a limit pushed out."""
        labels = {"store": store, "reason": reason}
        return self.telemetry.registry.get_sample_value("otel_ml_evicted_total", labels) or 0.0

    def gauge(self, name, model):
        """A gauge's value."""
        return self.telemetry.registry.get_sample_value(name, {"model": model})


def described(outcomes, schema):
    """Outcomes as readable rows: time since T0 in seconds, weight, label, prediction."""
    names = [schema.classes.name(slot) for slot in range(len(schema.classes))]
    return [
        ((time_ns - T0) / SECOND, weight, names[label], names[predicted] if predicted >= 0 else None)
        for time_ns, weight, label, predicted in zip(
            outcomes.time_ns.tolist(), outcomes.weights.tolist(), outcomes.labels, outcomes.predicted, strict=True
        )
    ]


def test_a_label_after_its_prediction_joins_it():
    fixture = Fixture()
    batch = {
        "score": np.array([0.9, 0.2]),
        "segments": {"region": texts(["north", None])},
        "weights": np.array([1, 10.0]),
    }
    assert fixture.predict(["a", "b"], ["yes", "no"], **batch) is None
    outcomes = fixture.label(["b", "a"], ["yes", "yes"], time_ns=T0 + 60 * SECOND)[KEY]
    assert described(outcomes, fixture.schemas[KEY]) == [(60.0, 10.0, "yes", "no"), (60.0, 1.0, "yes", "yes")]
    assert outcomes.scores.tolist() == [0.2, 0.9]
    assert outcomes.label_probability.tolist() == [0.2, 0.9]
    assert outcomes.groups.tolist() == [[-1], [fixture.schemas[KEY].groups.find(0, "north") + 1]]
    assert outcomes.delay_s.tolist() == [60.0, 60.0]
    assert fixture.counts() == {"joined": 2}


def test_a_label_before_its_prediction_waits_for_it():
    fixture = Fixture()
    assert fixture.label(["a", "b"], ["yes", "no"], time_ns=T0 - 5 * SECOND) == {}
    assert fixture.gauge("otel_ml_early_labels", "fraud") == 2
    outcomes = fixture.predict(["a", "c"], time_ns=T0)
    assert described(outcomes, fixture.schemas[KEY]) == [(0.0, 1.0, "yes", "yes")]
    assert outcomes.delay_s.tolist() == [0.0]
    assert fixture.counts() == {"early": 2, "joined_early": 1}
    assert fixture.gauge("otel_ml_early_labels", "fraud") == 1
    assert fixture.gauge("otel_ml_pending_predictions", "fraud@1") == 1


def test_the_truth_becomes_known_when_label_prediction_and_window_are_there():
    fixture = Fixture()
    fixture.predict(["a"], time_ns=T0)
    fixture.not_before[KEY] = T0 + 30 * SECOND
    assert fixture.label(["a"], ["yes"], time_ns=T0 + SECOND)[KEY].time_ns.tolist() == [T0 + 30 * SECOND]
    fixture.label(["b"], ["yes"], time_ns=T0 + SECOND)
    assert fixture.predict(["b"], time_ns=T0 + 2 * SECOND).time_ns.tolist() == [T0 + 2 * SECOND]
    fixture.label(["c"], ["yes"], time_ns=T0 + SECOND)
    outcomes = fixture.predict(["c"], time_ns=T0, not_before_ns=T0 + 3 * SECOND)
    assert outcomes.time_ns.tolist() == [T0 + 3 * SECOND]


def test_an_equal_label_again_changes_nothing():
    fixture = Fixture()
    fixture.predict(["a"])
    fixture.label(["a"], ["yes"])
    assert fixture.label(["a"], ["yes"], time_ns=T0 + DAY) == {}
    assert fixture.counts() == {"joined": 1, "duplicate": 1}


def test_a_correction_takes_the_outcome_back_at_its_own_time():
    fixture = Fixture()
    fixture.predict(["a", "b"], weights=np.array([3.0, 1.0]), score=np.array([0.75, 0.5]))
    fixture.label(["a", "b"], ["no", "no"], time_ns=T0 + 10 * SECOND)
    fixture.not_before[KEY] = T0 + 100 * SECOND
    outcomes = fixture.label(["a", "b"], ["yes", "no"], time_ns=T0 + 60 * SECOND)[KEY]
    assert described(outcomes, fixture.schemas[KEY]) == [(10.0, -3.0, "no", "yes"), (100.0, 3.0, "yes", "yes")]
    assert outcomes.delay_s.tolist() == [10.0, 60.0]
    assert outcomes.label_probability.tolist() == [0.25, 0.75]
    again = fixture.label(["a"], ["no"], time_ns=T0 + 61 * SECOND)[KEY]
    assert described(again, fixture.schemas[KEY]) == [(100.0, -3.0, "yes", "yes"), (100.0, 3.0, "no", "yes")]
    assert fixture.counts() == {"joined": 2, "corrected": 2, "duplicate": 1}


def test_the_last_label_to_arrive_wins_whatever_its_event_time():
    fixture = Fixture()
    fixture.predict(["a"])
    fixture.label(["a"], ["no"], time_ns=T0 + 60 * SECOND)
    outcomes = fixture.label(["a"], ["yes"], time_ns=T0 + SECOND)[KEY]
    assert described(outcomes, fixture.schemas[KEY])[1] == (1.0, 1.0, "yes", "yes")


def test_a_correction_across_panes_leaves_each_pane_as_if_it_had_known():
    fixture = Fixture()
    schema = fixture.schemas[KEY]
    panes = {0: Pane.empty(schema), 1: Pane.empty(schema)}

    def add(outcomes):
        for number in panes:
            accumulate_outcomes(
                panes[number], schema, outcomes.take((outcomes.time_ns - T0) // (60 * SECOND) == number)
            )

    fixture.predict(["a", "b"], score=np.array([0.8, 0.3]))
    add(fixture.label(["a", "b"], ["no", "yes"], time_ns=T0 + SECOND)[KEY])
    add(fixture.label(["a"], ["yes"], time_ns=T0 + 61 * SECOND)[KEY])
    untouched = Fixture()
    untouched.predict(["a", "b"], score=np.array([0.8, 0.3]))
    expected = {0: Pane.empty(schema), 1: Pane.empty(schema)}
    for number, (id_, time_ns) in enumerate((("b", T0 + SECOND), ("a", T0 + 61 * SECOND))):
        accumulate_outcomes(expected[number], schema, untouched.label([id_], ["yes"], time_ns=time_ns)[KEY])
    for number in panes:
        for name, values in expected[number].arrays().items():
            np.testing.assert_allclose(panes[number].arrays()[name], values, atol=1e-12, err_msg=name)


def test_a_label_for_nobody_expires_and_is_counted():
    fixture = Fixture()
    fixture.label(["a", "b"], ["yes", "yes"], time_ns=T0)
    fixture.join.expire(T0)
    fixture.join.expire(T0 + 7 * DAY + 1)
    assert fixture.predict(["a"]) is None
    assert fixture.counts() == {"early": 2, "expired": 2}
    assert fixture.evicted("early_labels", "expired") == 2
    assert fixture.gauge("otel_ml_early_labels", "fraud") == 0


def test_a_prediction_without_a_label_expires_and_is_counted():
    fixture = Fixture()
    fixture.predict(["a", "b", "c"])
    fixture.label(["c"], ["yes"])
    fixture.join.expire(T0)
    fixture.join.expire(T0 + 7 * DAY + 1)
    assert fixture.label(["a"], ["yes"]) == {}
    assert fixture.evicted("pending_predictions", "expired") == 2
    assert fixture.evicted("pending_predictions", "expired_labelled") == 1
    assert len(fixture.join) == 0
    assert fixture.gauge("otel_ml_pending_predictions", "fraud@1") == 0
    assert fixture.counts() == {"joined": 1, "early": 1}


def test_the_last_prediction_before_the_label_is_the_one_joined():
    fixture = Fixture()
    fixture.predict(["a", "a"], ["no", "no"])
    fixture.predict(["a"], ["yes"])
    outcomes = fixture.label(["a"], ["yes"])[KEY]
    assert described(outcomes, fixture.schemas[KEY]) == [(1.0, 1.0, "yes", "yes")]


def test_a_prediction_repeated_after_its_label_does_not_count_twice():
    fixture = Fixture(capacity=16)  # generations of two, so that the repetition lies in another one
    fixture.predict(["a", "b"], ["no", "no"])
    fixture.label(["a"], ["yes"])
    assert fixture.predict(["c", "d", "a"]) is None
    assert fixture.label(["a"], ["yes"]) == {}
    outcomes = fixture.label(["a"], ["no"])[KEY]
    assert described(outcomes, fixture.schemas[KEY]) == [(1.0, -1.0, "yes", "no"), (1.0, 1.0, "no", "no")]


def test_a_prediction_repeated_after_its_early_label_does_not_count_twice():
    fixture = Fixture()
    fixture.label(["a"], ["yes"])
    assert len(fixture.predict(["a", "a"])) == 1
    assert fixture.predict(["a"]) is None
    assert fixture.label(["a"], ["yes"]) == {}
    assert fixture.counts() == {"early": 1, "joined_early": 1, "duplicate": 1}


def test_every_version_that_predicted_an_id_gets_its_label():
    fixture = Fixture(tasks={KEY: "binary_classification", OTHER_VERSION: "binary_classification"})
    fixture.predict(["a", "b"], ["yes", "yes"])
    fixture.predict(["a"], ["no"], key=OTHER_VERSION)
    outcomes = fixture.label(["a", "b"], ["yes", "yes"])
    assert described(outcomes[KEY], fixture.schemas[KEY]) == [(1.0, 1.0, "yes", "yes")] * 2
    assert described(outcomes[OTHER_VERSION], fixture.schemas[OTHER_VERSION]) == [(1.0, 1.0, "yes", "no")]
    assert fixture.counts() == {"joined": 2}


def test_an_early_label_joins_every_version_that_predicts_later():
    fixture = Fixture(tasks={KEY: "binary_classification", OTHER_VERSION: "binary_classification"})
    fixture.label(["a"], ["no"])
    assert len(fixture.predict(["a"])) == 1
    assert len(fixture.predict(["a"], key=OTHER_VERSION)) == 1
    assert fixture.counts() == {"early": 1, "joined_early": 1}
    fixture.join.expire(T0)
    fixture.join.expire(T0 + 8 * DAY)
    assert fixture.counts() == {"early": 1, "joined_early": 1}  # it was of use: it did not expire


def test_a_correction_reaches_versions_that_predict_later():
    fixture = Fixture(tasks={KEY: "binary_classification", OTHER_VERSION: "binary_classification"})
    fixture.label(["a"], ["no"])
    fixture.predict(["a"])
    assert len(fixture.label(["a"], ["yes"])[KEY]) == 2
    outcomes = fixture.predict(["a"], key=OTHER_VERSION)
    assert described(outcomes, fixture.schemas[OTHER_VERSION]) == [(1.0, 1.0, "yes", "yes")]
    assert fixture.counts() == {"early": 1, "joined_early": 1, "corrected": 1}


def test_an_early_label_can_be_repeated_and_corrected_before_its_prediction():
    fixture = Fixture()
    fixture.label(["a"], ["no"])
    fixture.label(["a"], ["no"])
    fixture.label(["a"], ["yes"], time_ns=T0 + 9 * SECOND)
    assert described(fixture.predict(["a"]), fixture.schemas[KEY]) == [(9.0, 1.0, "yes", "yes")]
    assert fixture.counts() == {"early": 1, "duplicate": 1, "corrected": 1, "joined_early": 1}


def test_equal_ids_of_different_models_have_nothing_to_do_with_each_other():
    other = ModelKey("spam", "1")
    fixture = Fixture(tasks={KEY: "binary_classification", other: "binary_classification"})
    fixture.predict(["a"], key=KEY)
    assert fixture.label(["a"], ["yes"], name="spam") == {}
    outcomes = fixture.predict(["a"], ["no"], key=other)
    assert described(outcomes, fixture.schemas[other]) == [(1.0, 1.0, "yes", "no")]
    assert list(fixture.label(["a"], ["yes"])) == [KEY]


def test_within_one_batch_the_last_label_of_an_id_wins():
    fixture = Fixture()
    fixture.predict(["a", "b"])
    outcomes = fixture.label(["a", "b", "a", "a", "b"], ["yes", "no", "no", "no", "no"])[KEY]
    assert sorted(described(outcomes, fixture.schemas[KEY])) == [(1.0, 1.0, "no", "yes")] * 2
    assert fixture.counts() == {"joined": 2, "corrected": 1, "duplicate": 2}


def test_failed_predictions_wait_for_no_label():
    fixture = Fixture()
    fixture.predict(["a", "b"], error=texts(["ValueError", None]))
    assert len(fixture.join) == 1
    assert fixture.label(["a"], ["yes"]) == {}
    assert fixture.predict(["c"], error=texts(["ValueError"])) is None


def test_unknown_classes_are_appended_up_to_the_limit():
    fixture = Fixture()
    fixture.schemas[KEY] = schema_of("multiclass_classification", limit=3)
    fixture.predict(["a", "b", "c"])
    outcomes = fixture.label(["a", "b", "c"], ["maybe", "never", "no"])[KEY]
    names, (maybe, never, no) = fixture.schemas[KEY].classes, outcomes.labels.tolist()
    assert (names.name(maybe), names.name(no)) == ("maybe", "no")
    assert never < -1


def test_classes_of_labels_without_a_prediction_do_not_fill_the_model_s_table():
    fixture = Fixture()
    fixture.label([f"id {number}" for number in range(50)], [f"class {number}" for number in range(50)])
    fixture.predict(["a"])
    assert fixture.schemas[KEY].classes.names(0) == ["no", "yes"]


def test_a_class_that_is_no_number_is_of_the_wrong_kind_for_a_regression():
    fixture = Fixture(tasks={KEY: "regression"})
    fixture.predict(["a", "b"], value=np.array([1.0, 2.0]))
    outcomes = fixture.label(["a", "b"], ["2.5", "late"])[KEY]
    assert outcomes.label_values.tolist() == [2.5]
    assert outcomes.predicted_values.tolist() == [1.0]
    assert fixture.counts() == {"joined": 1, "wrong_kind": 1}


def test_a_fraction_is_of_the_wrong_kind_for_a_classification():
    fixture = Fixture()
    fixture.predict(["a", "b"])
    outcomes = fixture.label(["a", "b"], values=np.array([1.0, 0.5]))[KEY]
    assert [label for _, _, label, _ in described(outcomes, fixture.schemas[KEY])] == ["1"]
    assert fixture.counts() == {"joined": 1, "wrong_kind": 1}


def test_an_early_label_of_the_wrong_kind_is_counted_once():
    fixture = Fixture(tasks={KEY: "regression", OTHER_VERSION: "regression"})
    fixture.label(["a", "b"], ["late", "3"])
    outcomes = fixture.predict(["a", "b"], value=np.ones(2))
    assert outcomes.label_values.tolist() == [3.0]
    fixture.predict(["a"], key=OTHER_VERSION, value=np.ones(1))
    assert fixture.counts() == {"early": 2, "joined_early": 1, "wrong_kind": 1}


def test_empty_labels_are_of_the_wrong_kind_and_do_not_wait():
    fixture = Fixture()
    fixture.label(["a", "b"], [None, None], values=np.array([np.nan, np.inf]))
    assert fixture.counts() == {"wrong_kind": 2}
    assert fixture.gauge("otel_ml_early_labels", "fraud") == 0


def test_regression_corrections_compare_values():
    fixture = Fixture(tasks={KEY: "regression"})
    fixture.predict(["a"], value=np.array([1.0]))
    fixture.label(["a"], values=np.array([2.0]))
    assert fixture.label(["a"], values=np.array([2.0])) == {}
    outcomes = fixture.label(["a"], values=np.array([3.0]))[KEY]
    assert (outcomes.weights.tolist(), outcomes.label_values.tolist()) == ([-1.0, 1.0], [2.0, 3.0])


def test_labels_for_a_model_that_nobody_watches_wait():
    fixture = Fixture()
    fixture.schemas.clear()
    assert fixture.label(["a"], ["yes"]) == {}
    fixture.schemas[KEY] = schema_of()
    assert len(fixture.predict(["a"])) == 1


def test_nothing_in_nothing_out():
    fixture = Fixture()
    assert fixture.predict([], []) is None
    assert fixture.label([], []) == {}
    fixture.join.expire(T0)
    assert (len(fixture.join), fixture.join.nbytes, fixture.counts()) == (0, 0, {})


def test_the_capacity_is_shared_and_the_oldest_of_all_models_leave_first():
    other = ModelKey("spam")
    fixture = Fixture(capacity=100, tasks={KEY: "binary_classification", other: "binary_classification"})
    fixture.predict([f"old {number}" for number in range(10)], key=other, time_ns=T0 - DAY)
    for batch in range(10):
        fixture.predict([f"{batch} {number}" for number in range(10)], time_ns=T0 + batch)
        assert len(fixture.join) <= 100
    assert fixture.evicted("pending_predictions", "capacity") == 10
    assert fixture.label(["old 1"], ["yes"], name="spam") == {}
    assert len(fixture.label(["0 1", "9 9"], ["yes", "yes"])[KEY]) == 2
    assert fixture.gauge("otel_ml_pending_predictions", "spam") == 0


def test_eviction_tells_the_labelled_from_the_rest():
    fixture = Fixture(capacity=80)
    fixture.predict([str(number) for number in range(80)])
    fixture.label(["0", "1"], ["yes", "yes"])
    fixture.predict(["new"])
    assert fixture.evicted("pending_predictions", "capacity") == 8
    assert fixture.evicted("pending_predictions", "capacity_labelled") == 2


def test_a_batch_larger_than_the_capacity_keeps_its_last_rows():
    fixture = Fixture(capacity=80)
    fixture.label(["5", "299"], ["yes", "yes"])
    outcomes = fixture.predict([str(number) for number in range(300)])
    assert len(outcomes) == 1  # the prediction of "5" had to go before its label could join it
    assert len(fixture.join) <= 80


def test_early_labels_have_a_limit_of_their_own():
    fixture = Fixture(capacity=800)
    fixture.label(["old"], ["yes"], time_ns=T0 - DAY, name="spam")
    for batch in range(20):
        fixture.label([f"{batch} {number}" for number in range(10)], ["yes"] * 10, time_ns=T0 + batch)
    assert fixture.counts("spam") == {"early": 1, "evicted": 1}
    waiting = fixture.gauge("otel_ml_early_labels", "fraud")
    assert waiting <= 100
    assert fixture.counts() == {"early": 200, "evicted": 200 - waiting}
    assert fixture.evicted("early_labels", "capacity") == 201 - waiting
    assert len(fixture.predict(["19 9"])) == 1


def test_labels_of_ever_new_model_names_are_bounded():
    fixture = Fixture(capacity=10**6)
    for number in range(NAMES_LIMIT + 50):
        fixture.label(["a"], ["yes"], name=f"model {number}", time_ns=T0 + number)
    assert len(fixture.join._early) <= NAMES_LIMIT
    assert fixture.counts("model 7") == {"early": 1, "evicted": 1}
    assert fixture.counts(f"model {NAMES_LIMIT + 7}") == {}
    assert fixture.counts("other")["early"] == 50


def test_a_forgotten_version_has_no_predictions_left():
    fixture = Fixture()
    fixture.predict(["a", "b"])
    fixture.join.forget(KEY)
    fixture.join.forget(KEY)
    assert fixture.label(["a"], ["yes"]) == {}
    assert fixture.gauge("otel_ml_pending_predictions", "fraud@1") is None
    assert fixture.evicted("pending_predictions", "forgotten") == 2


def through_a_file(state):
    """What comes out of a snapshot."""
    head, pieces = pack(state)
    return unpack(head, bytearray(b"".join(pieces)))


def test_snapshot_brings_back_predictions_labels_and_early_labels():
    fixture = Fixture()
    fixture.predict(["a", "b"], ["yes", "no"], score=np.array([0.9, 0.1]))
    fixture.label(["a"], ["no"])
    fixture.label(["early", "odd"], ["yes", None], values=np.array([np.nan, 7.0]))
    state = through_a_file(fixture.join.state())
    fixture.join = LabelJoin.from_state(state, wait_ns=7 * DAY, capacity=8000, telemetry=fixture.telemetry)
    assert fixture.label(["a"], ["no"]) == {}
    outcomes = fixture.label(["a", "b"], ["yes", "yes"])[KEY]
    assert described(outcomes, fixture.schemas[KEY]) == [
        (1.0, -1.0, "no", "yes"), (1.0, 1.0, "yes", "yes"), (1.0, 1.0, "yes", "no"),
    ]  # fmt: skip
    early = fixture.predict(["odd", "early"])
    assert [label for _, _, label, _ in described(early, fixture.schemas[KEY])] == ["7", "yes"]


def test_snapshot_of_many_names_of_any_text_comes_back():
    names = ["model/1", "mödel", "", "a.b.c", "nul\0"]
    fixture = Fixture(tasks={ModelKey(name, version): "regression" for name in names for version in ("", "1")})
    for key in fixture.schemas:
        fixture.predict(["a"], key=key, value=np.ones(1))
    for name in names:
        fixture.label(["b"], values=np.ones(1), name=name)
    fixture.join = LabelJoin.from_state(through_a_file(fixture.join.state()), capacity=8000)
    for key in fixture.schemas:
        assert len(fixture.predict(["b"], key=key, value=np.ones(1))) == 1
        assert key in fixture.label(["a"], values=np.ones(1), name=key.name) or key.version == "1"


def test_snapshot_into_a_smaller_capacity_drops_and_counts_the_oldest():
    fixture = Fixture(capacity=80)
    fixture.predict([str(number) for number in range(80)])
    fixture.label([f"early {number}" for number in range(10)], ["yes"] * 10)
    telemetry = fixture.telemetry = Telemetry()
    fixture.join = LabelJoin.from_state(through_a_file(fixture.join.state()), capacity=16, telemetry=telemetry)
    assert len(fixture.join) <= 16
    assert fixture.evicted("pending_predictions", "capacity") == 80 - len(fixture.join)
    assert fixture.counts()["evicted"] == 8
    assert len(fixture.label(["79"], ["yes"])[KEY]) == 1


def test_snapshot_without_a_room_is_an_error():
    with pytest.raises(KeyError, match="early"):
        LabelJoin.from_state({"pending": []})


def test_a_million_predictions_find_their_labels():
    rows = 1_000_000
    fixture = Fixture(capacity=rows)
    schema, ids = fixture.schemas[KEY], np.random.default_rng(0).integers(0, 2**64, (rows, 2), np.uint64)
    classes = np.arange(rows, dtype=np.int32) % 2
    for part in np.split(np.arange(rows), 20):
        column = Column(None, classes[part], ("no", "yes"))
        batch = PredictionBatch(
            KEY, np.full(len(part), T0), ids[part], np.ones(len(part)), np.full(len(part), np.nan), prediction=column
        )
        fixture.join.predictions(KEY, schema, batch)
    assert len(fixture.join) == rows
    order = np.random.default_rng(1).permutation(rows)[:200_000]
    labels = LabelBatch("fraud", np.full(len(order), T0), ids[order], Column(None, classes[order], ("no", "yes")))
    outcomes = dict(fixture.join.labels(labels, fixture.schemas, {}))[KEY]
    assert len(outcomes) == len(order)
    assert (outcomes.labels == outcomes.predicted).all()
    assert (outcomes.labels == classes[order] + 1).all()
    absent = LabelBatch(
        "fraud", np.full(1000, T0), ids[:1000] + np.uint64(1), Column(None, classes[:1000], ("no", "yes"))
    )
    assert fixture.join.labels(absent, fixture.schemas, {}) == []
