from __future__ import annotations

import bz2
import datetime as dt
import decimal
import gzip

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from collector_processor.reference.build import build_reference
from collector_processor.reference.read_table import ColumnMapping, read_table


def cells(column):
    found = []
    for row in range(len(column)):
        if column.codes is not None and column.codes[row] >= 0:
            found.append(column.categories[column.codes[row]])
        else:
            number = np.nan if column.numbers is None else column.numbers[row]
            found.append(None if np.isnan(number) else float(number))
    return found


def feature_cells(table):
    return {name: cells(column) for name, column in table.predictions.features.items()}


ROWS = pa.table({"age": [30, None, 50], "plan": ["a", None, "b"], "ok": [True, False, None], "late": ["n", "y", "n"]})
EXPECTED = {"age": [30.0, None, 50.0], "plan": ["a", None, "b"], "ok": ["true", "false", None]}


def write_csv(path, text, how=None):
    if how is None:
        path.write_text(text)
    else:
        path.write_bytes(how(text.encode()))
    return path


def written(folder, name):
    path = folder / name
    text = "age,plan,ok,late\n30,a,true,n\n,,false,y\n50,b,,n\n"
    match name:
        case "t.parquet":
            pq.write_table(ROWS, path, row_group_size=2)
        case "t.feather":
            pyarrow.feather.write_feather(ROWS, path, compression="zstd")
        case "t.arrow":
            with pa.ipc.new_stream(path, ROWS.schema) as stream:
                stream.write_table(ROWS, max_chunksize=1)
        case "t.tsv":
            write_csv(path, text.replace(",", "\t"))
        case "t.csv.gz":
            write_csv(path, text, gzip.compress)
        case "t.CSV.bz2":
            write_csv(path, text, bz2.compress)
        case _:
            write_csv(path, text)
    return path


@pytest.mark.parametrize("name", ["t.parquet", "t.feather", "t.arrow", "t.csv", "t.tsv", "t.csv.gz"])
def test_every_format_gives_the_same_columns(tmp_path, name):
    table = read_table(written(tmp_path, name), ColumnMapping(label="late"))
    assert feature_cells(table) == EXPECTED
    assert cells(table.label_classes) == ["n", "y", "n"]
    assert table.label_values is None
    assert len(table.predictions) == 3
    assert table.predictions.weights.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array([1, None], pa.int8()), [1.0, None]),
        (pa.array([1.5, float("nan")], pa.float32()), [1.5, None]),
        (pa.array([np.float16(0.5), None], pa.float16()), [0.5, None]),
        (pa.array([2**64 - 1], pa.uint64()), [2.0**64]),
        (pa.array([decimal.Decimal("1.25"), None]), [1.25, None]),
        (pa.array([dt.datetime(1970, 1, 2), None], pa.timestamp("ms")), [86400.0, None]),
        (pa.array([dt.datetime(1970, 1, 2, tzinfo=dt.timezone.utc)], pa.timestamp("ns", "Europe/Berlin")), [86400.0]),
        (pa.array([dt.date(1970, 1, 3)], pa.date32()), [172800.0]),
        (pa.array([dt.date(1970, 1, 3)], pa.date64()), [172800.0]),
        (pa.array([dt.time(1, 0, 0)], pa.time32("s")), [3600.0]),
        (pa.array([dt.time(1, 0, 0)], pa.time64("us")), [3600.0]),
        (pa.array([dt.timedelta(minutes=1)], pa.duration("us")), [60.0]),
        (pa.array(["x", None, "x"], pa.large_string()), ["x", None, "x"]),
        (pa.array(["x", None, "x"], pa.string_view()), ["x", None, "x"]),
        (pa.array(["", "x"]), ["", "x"]),
        (pa.array(["b", None, "b"]).dictionary_encode(), ["b", None, "b"]),
        (pa.DictionaryArray.from_arrays(pa.array([0, 1, None], pa.int8()), pa.array(["a", None])), ["a", None, None]),
        (pa.DictionaryArray.from_arrays(pa.array([1, 0, None]), pa.array([5, 7])), [7.0, 5.0, None]),
        (pa.nulls(2), [None, None]),
    ],
)  # fmt: skip
def test_arrow_types_become_cells(tmp_path, values, expected):
    path = tmp_path / "t.arrow"
    with pa.ipc.new_file(path, pa.schema([("x", values.type)])) as file:
        file.write_table(pa.table({"x": values}))
    assert feature_cells(read_table(path)) == {"x": expected}


def test_dictionaries_that_differ_by_chunk_are_one_column(tmp_path):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"x": ["a", "b", "b", "c", None, "a"]}), path, row_group_size=2, use_dictionary=True)
    column = read_table(path).predictions.features["x"]
    assert cells(column) == ["a", "b", "b", "c", None, "a"]
    assert sorted(column.categories) == ["a", "b", "c"]


@pytest.mark.parametrize("kind", [pa.list_(pa.float64()), pa.struct([("a", pa.int64())]), pa.binary()])
def test_nested_columns_are_refused(tmp_path, kind):
    pq.write_table(pa.table({"x": pa.nulls(1, kind)}), tmp_path / "t.parquet")
    with pytest.raises(ValueError, match=r"t\.parquet: column 'x': holds .*; allowed: numbers, texts, booleans, dates"):
        read_table(tmp_path / "t.parquet")


def test_a_dotted_column_is_not_taken_for_its_prefix(tmp_path):
    pq.write_table(pa.table({"a": [1.0], "a.b": [2.0]}), tmp_path / "t.parquet")
    assert feature_cells(read_table(tmp_path / "t.parquet")) == {"a": [1.0], "a.b": [2.0]}


class TestMapping:
    CSV = "id,when,age,plan,region,score,pred,truth,w\nx,2013-01-01,30,a,n,0.2,0,0,1\ny,2013-01-02,40,b,s,0.7,1,1,2.5\n"

    def read(self, tmp_path, **options):
        path = write_csv(tmp_path / "t.csv", self.CSV)
        task = options.pop("task", "")
        return read_table(path, ColumnMapping(**options), model="m", task=task)

    def test_all_other_columns_are_features(self, tmp_path):
        table = self.read(
            tmp_path,
            id="id",
            time="when",
            segments=("region",),
            score="score",
            prediction="pred",
            label="truth",
            weight="w",
        )
        rows = table.predictions
        assert list(rows.features) == ["age", "plan", "region"]  # a segment is a feature as well
        assert cells(rows.segments["region"]) == ["n", "s"]
        assert (rows.score.tolist(), cells(rows.prediction), rows.value) == ([0.2, 0.7], [0.0, 1.0], None)
        assert cells(table.label_classes) == [0.0, 1.0]
        assert rows.weights.tolist() == [1.0, 2.5]
        assert rows.time_ns.tolist() == [1_356_998_400 * 10**9, 1_357_084_800 * 10**9]
        assert rows.model.name == "m"

    def test_the_index_that_pandas_wrote_is_no_feature(self, tmp_path):
        frame = pa.table({"age": [30.0, 40.0], "__index_level_0__": [7, 9]})
        pq.write_table(frame, tmp_path / "t.parquet")
        assert list(read_table(tmp_path / "t.parquet").predictions.features) == ["age"]

    def test_features_may_be_chosen_and_be_segments_too(self, tmp_path):
        table = self.read(tmp_path, features=("plan", "region"), segments=("region",))
        assert list(table.predictions.features) == ["plan", "region"]
        assert list(table.predictions.segments) == ["region"]

    @pytest.mark.parametrize("part", ["prediction", "score", "value", "label", "weight", "id", "time"])
    def test_a_missing_column_is_named_with_those_there_are(self, tmp_path, part):
        with pytest.raises(ValueError, match=rf"t\.csv: no column 'gone' for {part}; it has: id, when, age, plan"):
            self.read(tmp_path, **{part: "gone"})

    @pytest.mark.parametrize("part", ["features", "segments"])
    def test_missing_features_and_segments_are_named(self, tmp_path, part):
        with pytest.raises(ValueError, match=f"no column 'gone' for {part}; it has: id"):
            self.read(tmp_path, **{part: ("age", "gone")})

    @pytest.mark.parametrize("part", ["weight", "score"])
    def test_texts_for_numbers_are_refused(self, tmp_path, part):
        with pytest.raises(ValueError, match=f"{part} must be numbers, has texts such as 'a'"):
            self.read(tmp_path, **{part: "plan"})

    def test_regression_takes_numbers_for_values(self, tmp_path):
        table = self.read(tmp_path, prediction="pred", label="truth", task="regression")
        assert table.predictions.value.tolist() == [0.0, 1.0]
        assert table.label_values.tolist() == [0.0, 1.0]
        assert table.predictions.prediction is None
        assert table.label_classes is None

    def test_a_regression_of_texts_is_refused(self, tmp_path):
        with pytest.raises(ValueError, match="label must be numbers, has texts such as 'a'"):
            self.read(tmp_path, label="plan", task="regression")


@pytest.mark.parametrize(
    ("numbers", "regression"),
    [([0.0, 1.0], False), ([0.5, 1.0], True), (list(range(50)), True), (list(range(20)), False), (["a", "b"], False)],
)
def test_without_a_task_numbers_are_classes_when_few_and_integral(tmp_path, numbers, regression):
    pq.write_table(pa.table({"p": numbers, "x": numbers}), tmp_path / "t.parquet")
    table = read_table(tmp_path / "t.parquet", ColumnMapping(label="p"))
    assert (table.label_values is not None) == regression


def test_contract_names_need_no_mapping(tmp_path):
    rows = pa.table(
        {
            "ml.feature.age": [30.0, 40.0],
            "ml.feature.home.city": ["x", "y"],
            "ml.segment.region": ["n", "s"],
            "ml.prediction.class": ["no", "yes"],
            "ml.prediction.score": [0.2, 0.7],
            "ml.prediction.id": ["1", "2"],
            "ml.attribution.age": [0.1, 0.2],
            "ml.label.class": ["no", "no"],
            "error.type": [None, "E"],
            "note": ["left", "out"],
        }
    )
    pq.write_table(rows, tmp_path / "t.parquet")
    table = read_table(tmp_path / "t.parquet", ColumnMapping(segments=("region",)))
    assert feature_cells(table) == {"age": [30.0, 40.0], "home.city": ["x", "y"]}
    assert list(table.predictions.segments) == ["region"]
    assert {name: each.tolist() for name, each in table.predictions.attributions.items()} == {"age": [0.1, 0.2]}
    assert cells(table.predictions.prediction) == ["no", "yes"]
    assert table.predictions.score.tolist() == [0.2, 0.7]
    assert cells(table.predictions.error) == [None, "E"]
    assert cells(table.label_classes) == ["no", "no"]
    chosen = read_table(tmp_path / "t.parquet", ColumnMapping(features=("age", "note")))
    assert list(chosen.predictions.features) == ["age", "note"]


def test_contract_values_are_a_regression(tmp_path):
    pq.write_table(pa.table({"ml.prediction.value": [1, 2], "ml.label.value": [1, 3]}), tmp_path / "t.parquet")
    table = read_table(tmp_path / "t.parquet")
    assert table.predictions.value.tolist() == [1.0, 2.0]
    assert table.label_values.tolist() == [1.0, 3.0]


def test_csv_cells_of_one_column_keep_one_type_over_the_whole_file(tmp_path):
    """A text far down makes the column texts; empty cells stay missing and 'NA' in a text column is a text."""
    lines = ["x,y"] + ["1,NA"] * 200_000 + ["n/a?,z", '"",""']
    table = read_table(write_csv(tmp_path / "t.csv", "\n".join(lines)))
    x, y = (table.predictions.features[name] for name in "xy")
    assert (x.categories, y.categories) == (("1", "n/a?"), ("NA", "z"))
    assert (x.codes[-1], y.codes[-1]) == (-1, -1)


def test_quoted_cells_may_hold_newlines(tmp_path):
    assert feature_cells(read_table(write_csv(tmp_path / "t.csv", 'x\n"a\nb"\n'))) == {"x": ["a\nb"]}


class TestRefusals:
    def test_an_unknown_format(self, tmp_path):
        with pytest.raises(ValueError, match=r"t\.xlsx: unknown format; allowed: \.parquet, \.pq, \.csv"):
            read_table(tmp_path / "t.xlsx")
        with pytest.raises(ValueError, match="unknown format"):
            read_table(tmp_path / "t.parquet.gz")
        with pytest.raises(ValueError, match="unknown format"):
            read_table(tmp_path / "noend")

    def test_a_missing_file(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            read_table(tmp_path / "t.csv")

    @pytest.mark.parametrize(("name", "what"), [("t.parquet", "Parquet"), ("t.arrow", "Arrow"), ("t.csv.gz", "CSV")])
    @pytest.mark.parametrize(
        "content", [b"", b"PAR1 not really", b"ARROW1 not really", b"\xff\xff\xff\xff\x00\x00\x00\x10"]
    )
    def test_a_file_that_is_not_what_it_says(self, tmp_path, name, what, content):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"not a readable {what} file"):
            read_table(tmp_path / name)

    def test_ragged_csv(self, tmp_path):
        with pytest.raises(ValueError, match=r"t\.csv: not a readable CSV file: .*Expected 2 columns"):
            read_table(write_csv(tmp_path / "t.csv", "a,b\n1\n"))

    def test_a_truncated_parquet_file(self, tmp_path):
        whole = tmp_path / "whole.parquet"
        pq.write_table(pa.table({"x": np.arange(10_000.0)}), whole)
        data = bytearray(whole.read_bytes())
        data[20:2000] = bytes(1980)
        (tmp_path / "t.parquet").write_bytes(data)
        with pytest.raises(ValueError, match=r"t\.parquet: column 'x': cannot be read: Corrupt"):
            read_table(tmp_path / "t.parquet")

    def test_two_columns_of_one_name(self, tmp_path):
        with pytest.raises(ValueError, match="has more than one column 'a'"):
            read_table(write_csv(tmp_path / "t.csv", "a,a\n1,2\n"))

    def test_a_table_without_rows(self, tmp_path):
        with pytest.raises(ValueError, match="has no rows"):
            read_table(write_csv(tmp_path / "t.csv", "a,b\n"))

    @pytest.mark.parametrize("weight", ["-1", "inf", "", "1e-300", "1e300"])
    def test_a_weight_that_is_none(self, tmp_path, weight):
        path = write_csv(tmp_path / "t.csv", f"a,w\n1,2.0\n1,{weight}\n")
        with pytest.raises(ValueError, match=r"weight must be 0, or from 1.4e-17 to 7.2e\+16 in every row"):
            read_table(path, ColumnMapping(weight="w"))


def test_progress_counts_each_column_once(tmp_path):
    seen = []
    path = write_csv(tmp_path / "t.csv", "a,s\n1,x\n")
    read_table(path, ColumnMapping(features=("a", "s"), segments=("s",)), progress=lambda *step: seen.append(step))
    assert seen == [(0, 2, "reading a"), (1, 2, "reading s"), (2, 2, "read")]


def test_a_table_becomes_a_reference(tmp_path):
    table = read_table(written(tmp_path, "t.parquet"), ColumnMapping(label="late"))
    reference = build_reference("flights", table.predictions, label_classes=table.label_classes)
    assert [spec.name for spec in reference.schema.columns] == ["age", "plan", "ok", "label"]
    assert reference.pane.outcomes.labels[0] == 3.0


@pytest.mark.parametrize("column", ["ml.prediction.value", "ml.prediction.class", "ml.label.value"])
def test_several_outputs_of_a_row_are_refused(tmp_path, column):
    rows = pa.table({"ml.feature.a": [1.0, 2.0], column: [[1.0, 2.0], [3.0]]})
    pq.write_table(rows, tmp_path / "rows.parquet")
    with pytest.raises(ValueError, match=rf"column '{column}': holds list<element: double>; allowed: numbers, texts"):
        read_table(tmp_path / "rows.parquet", model="m")
