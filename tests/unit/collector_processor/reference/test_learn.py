from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector_processor.columns.batch import Column, ModelKey, PredictionBatch
from collector_processor.columns.concatenate import concatenate
from collector_processor.columns.parts import bytes_of
from collector_processor.reference.learn import LEAST_ROWS, Learner

DAY_NS = 86_400 * 10**9


def texts(*values):
    names = tuple(dict.fromkeys(value for value in values if value is not None))
    return Column(None, np.array([-1 if v is None else names.index(v) for v in values], np.int32), names)


def cells(column):
    """Each cell as a number, a text, or None."""
    found = []
    for row in range(len(column)):
        if column.codes is not None and column.codes[row] >= 0:
            found.append(column.categories[column.codes[row]])
        else:
            number = np.nan if column.numbers is None else column.numbers[row]
            found.append(None if np.isnan(number) else float(number))
    return found


def batch(rows, start=0, **columns):
    return PredictionBatch(
        ModelKey("m", "2"), np.arange(start, start + rows), np.full((rows, 2), start, np.uint64),
        np.ones(rows), np.full(rows, 0.5), **columns,
    )  # fmt: skip


class TestConcat:
    LEFT = batch(2, features={"a": Column(np.array([1.0, 2.0])), "b": texts("x", "y")}, score=np.array([0.1, 0.2]),
                 scores={"1": np.array([0.1, 0.2])}, task="binary_classification")  # fmt: skip
    RIGHT = batch(3, 2, features={"b": texts("y", None, "z"), "a": texts("n/a", None, "n/a"), "c": Column(np.ones(3))},
                  segments={"s": texts("q", "q", "r")}, error=texts(None, "E", None), role="shadow",
                  attributions={"a": np.array([1.0, 2.0, 3.0])})  # fmt: skip

    def test_columns_are_united_and_absent_cells_missing(self):
        both = concatenate([self.LEFT, self.RIGHT])
        assert len(both) == 5
        assert {name: cells(column) for name, column in both.features.items()} == {
            "a": [1.0, 2.0, "n/a", None, "n/a"],
            "b": ["x", "y", "y", None, "z"],
            "c": [None, None, 1.0, 1.0, 1.0],
        }
        assert cells(both.segments["s"]) == [None, None, "q", "q", "r"]
        assert cells(both.error) == [None, None, None, "E", None]
        np.testing.assert_array_equal(both.score, [0.1, 0.2, np.nan, np.nan, np.nan])
        np.testing.assert_array_equal(both.scores["1"], [0.1, 0.2, np.nan, np.nan, np.nan])
        np.testing.assert_array_equal(both.attributions["a"], [np.nan, np.nan, 1.0, 2.0, 3.0])
        assert both.time_ns.tolist() == [0, 1, 2, 3, 4]
        assert both.ids[:, 0].tolist() == [0, 0, 2, 2, 2]

    def test_what_no_batch_has_stays_absent(self):
        both = concatenate([self.LEFT, self.RIGHT])
        assert both.prediction is None
        assert both.value is None
        assert (both.task, both.role, both.model) == ("binary_classification", "shadow", ModelKey("m", "2"))

    def test_equal_categories_share_one_code(self):
        column = concatenate([self.LEFT, self.RIGHT]).features["b"]
        assert column.categories == ("x", "y", "z")
        assert column.numbers is None

    def test_one_batch_is_itself_and_none_is_refused(self):
        assert concatenate([self.LEFT]) is self.LEFT
        with pytest.raises(ValueError, match="at least one batch"):
            concatenate([])


class TestLearner:
    @staticmethod
    def rows(count, start=0):
        return batch(count, start, features={"a": Column(np.arange(start, start + count, dtype=float))})

    def test_it_is_ready_with_the_rows_that_it_wants(self):
        learner = Learner(rows=10)
        assert learner.add(self.rows(9))
        assert not learner.ready
        assert learner.add(self.rows(1, 9))
        assert learner.ready

    def test_the_reference_is_of_the_first_rows_and_all_are_given_back(self):
        learner = Learner(rows=10)
        for start in (0, 6):
            learner.add(self.rows(6, start))
        reference = learner.finish("m", task="", segments=())
        assert reference.source == "the first 10 rows"
        assert (reference.pane.rows[1], reference.schema.high[0]) == (10.0, 9.0)
        assert [len(each) for each in learner.batches] == [6, 6]

    def test_memory_bounds_it_before_rows_do(self):
        learner = Learner(rows=10**9, max_bytes=10_000)
        while learner.add(self.rows(100)):
            pass
        assert learner.ready
        assert learner.nbytes < 20_000
        assert learner.finish("m").source == f"the first {learner.rows} rows"

    @settings(max_examples=30)
    @given(a_day=st.integers(1, 20_000), at_once=st.sampled_from([1, 7, 300]))
    def test_few_rows_are_enough_after_a_time_by_their_own_clocks(self, a_day, at_once):
        learner = Learner(rows=5000, span_ns=DAY_NS)
        gap_ns, sent = DAY_NS * at_once // a_day, 0
        while not learner.ready:
            assert learner.progress < 1.0
            before = learner.rows, learner.span_ns
            learner.add(replace(self.rows(at_once), time_ns=np.full(at_once, sent * gap_ns)))
            sent += 1
        assert learner.progress == 1.0
        assert before[0] < LEAST_ROWS or before[1] < DAY_NS
        if learner.rows < 5000:
            assert learner.rows >= LEAST_ROWS
            assert learner.span_ns >= DAY_NS
            assert (sent - 1) * gap_ns >= DAY_NS
            # A row cannot move the time by more than a tenth, so ten batches at most come too late.
            assert sent <= max(DAY_NS // gap_ns, LEAST_ROWS // at_once) + 11

    @pytest.mark.parametrize("wrong_ns", [-(10**18), 0, 4 * 10**18])
    @pytest.mark.parametrize("first", [True, False])
    def test_a_clock_that_is_wrong_neither_ends_the_learning_nor_prevents_its_end(self, wrong_ns, first):
        now_ns = 1_750_000_000 * 10**9
        learner = Learner(rows=5000, span_ns=DAY_NS)
        times = [now_ns] * 300
        times.insert(0 if first else 150, wrong_ns)
        for time_ns in times:
            learner.add(replace(self.rows(1), time_ns=np.array([time_ns])), now_ns)
        assert not learner.ready
        for hour in range(30):
            later_ns = now_ns + hour * 3600 * 10**9
            learner.add(replace(self.rows(10), time_ns=np.full(10, later_ns)), later_ns)
        assert learner.ready

    def test_without_a_time_only_rows_end_it(self):
        learner = Learner(rows=1000)
        learner.add(replace(self.rows(999), time_ns=np.linspace(0, 100 * DAY_NS, 999).astype(np.int64)))
        assert (learner.ready, learner.progress) == (False, 0.999)

    def test_when_ready_it_refuses_more(self):
        learner = Learner(rows=1)
        learner.add(self.rows(1))
        assert not learner.add(self.rows(1))
        assert learner.rows == 1

    def test_settings_that_the_rows_contradict_do_not_stop_it(self):
        learner = Learner(rows=2)
        learner.add(batch(2, prediction=texts("ok", "ok")))
        reference = learner.finish(
            "m", task="regression", positive_class="fraud", segments=["region"], categorical=["x"]
        )
        assert reference.schema.positive_class == "fraud"
        assert reference.schema.groups.columns == ("region",)

    def test_without_rows_there_is_nothing_to_learn(self):
        with pytest.raises(ValueError, match="at least one batch"):
            Learner().finish("m")
        with pytest.raises(ValueError, match="must be at least 1"):
            Learner(rows=0)

    def test_the_bytes_of_texts_count(self):
        long = Column(None, np.zeros(1, np.int32), ("x" * 10_000,))
        assert bytes_of(batch(1, features={"a": long})) > 10_000


@pytest.mark.parametrize("said", [("a", "b"), ("", "c"), ("b", "")])
def test_scores_of_more_than_two_classes_stay_whatever_their_senders_call_positive(said):
    learner = Learner(rows=120)
    for number, name in enumerate(said):
        prediction = texts(*"abc" * 20)
        learner.add(batch(60, 60 * number, prediction=prediction, score=np.full(60, 0.9), positive_class=name), 0)
    schema = learner.finish("m").schema
    [row] = [row for row, spec in enumerate(schema.numeric) if spec.role == "score"]
    assert (schema.positive_class, schema.low[row], schema.high[row]) == ("", 0.9, 0.9)
