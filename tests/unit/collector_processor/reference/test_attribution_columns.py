"""Attributions in the columns of a table: chosen by a prefix, and the same profile as that of received rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest

from collector_processor.cli.main import main
from collector_processor.reference.build import build_reference
from collector_processor.reference.file import load_reference
from collector_processor.reference.read_table import ColumnMapping, read_frame, read_table
from collector_processor.statistics.fits.attribution_baseline import AttributionBaseline
from collector_processor.statistics.parts.attribution_sums import AttributionSums, mean_abs
from tests.support.scored_rows import rows_of

ROWS = 400
RNG = np.random.default_rng(1)
FEATURES = {"age": RNG.normal(40, 10, ROWS), "income": RNG.normal(3, 1, ROWS)}
PHI = {name: RNG.normal(0, size, ROWS) for name, size in (("age", 2.0), ("income", 1.0))}
COLUMNS = {**FEATURES, **{f"shap_{name}": phi for name, phi in PHI.items()}}
SHAP = ColumnMapping(attributions="shap_")


def written(folder: Path, columns, name: str = "t.parquet") -> Path:
    path, table = folder / name, pa.table(columns)
    pc.write_csv(table, path) if name.endswith("csv") else pq.write_table(table, path)
    return path


@pytest.mark.parametrize("name", ["t.parquet", "t.csv"])
def test_a_profile_from_a_table_is_that_of_received_rows(tmp_path, name):
    table = read_table(written(tmp_path, COLUMNS, name), SHAP)
    assert list(table.predictions.features) == ["age", "income"]
    built = build_reference("loans", table.predictions)
    received = build_reference("loans", rows_of(FEATURES, attributions=PHI))
    for key, sums in received.pane.further[AttributionSums].arrays().items():
        np.testing.assert_array_equal(built.pane.further[AttributionSums].arrays()[key], sums)
    means = mean_abs(built.pane.further[AttributionSums].sums).tolist()
    assert means == pytest.approx([np.abs(PHI[name]).mean() for name in ("age", "income")], rel=1e-12)


def test_names_of_the_contract_and_of_a_prefix_are_the_same(tmp_path):
    contract = {f"ml.feature.{name}": cells for name, cells in FEATURES.items()}
    contract |= {f"ml.attribution.{name}": cells for name, cells in PHI.items()}
    for mapping in (None, ColumnMapping(attributions="ml.attribution.")):
        batch = read_table(written(tmp_path, contract), mapping).predictions
        assert list(batch.features) == ["age", "income"]
        assert {name: phi.tolist() for name, phi in batch.attributions.items()} == {
            name: phi.tolist() for name, phi in PHI.items()
        }


def test_a_sample_of_explained_rows_has_its_weight(tmp_path):
    explained = np.arange(ROWS) % 2 == 0
    columns = {**FEATURES, "shap_age": np.where(explained, 1.0, np.nan), "ml.attributions.weight": np.full(ROWS, 2.0)}
    batch = read_frame(columns, SHAP).predictions
    assert list(batch.features) == ["age", "income"]
    sums = build_reference("loans", batch).pane.further[AttributionSums].sums
    assert sums[0].tolist() == [ROWS, 2 * ROWS, ROWS, ROWS, ROWS]


@pytest.mark.parametrize(
    ("mapping", "columns", "message"),
    [
        (SHAP, FEATURES, "no column begins with 'shap_' for attributions; it has: age, income"),
        (ColumnMapping(attributions=""), COLUMNS, "attributions need a prefix, such as 'shap_' for"),
        (SHAP, {**COLUMNS, "shap_": np.ones(ROWS)}, "column 'shap_' has the prefix of attributions, and no"),
        (SHAP, {**COLUMNS, "shap_age": ["a"] * ROWS}, "attribution of 'age' must be numbers, has texts such as 'a'"),
        (
            ColumnMapping(attributions="shap_", features=("age", "shap_age")), COLUMNS,
            "column 'shap_age' is a feature and the attribution of 'age'",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_attributions_is_refused_in_the_words_of_the_table(mapping, columns, message):
    with pytest.raises(ValueError, match=f"frame: {message}"):
        read_frame(columns, mapping)


def test_columns_that_are_mapped_otherwise_are_not_attributions():
    batch = read_frame(
        {**COLUMNS, "shap_base": np.full(ROWS, 0.3)}, ColumnMapping(attributions="shap_", id="shap_base")
    )
    assert sorted(batch.predictions.attributions) == ["age", "income"]


def test_missing_and_constant_attributions():
    phi = {"shap_age": np.full(ROWS, np.nan), "shap_income": np.zeros(ROWS)}
    reference = build_reference("loans", read_frame({**FEATURES, **phi}, SHAP).predictions)
    baseline = reference.schema.fit(AttributionBaseline)
    assert baseline is not None
    assert baseline.names == ("income",)
    assert reference.notes == ("fewer than 100 attributions, so they are left out, of 'age'",)
    few = {name: cells[:99] for name, cells in COLUMNS.items()}
    reference = build_reference("loans", read_frame(few, SHAP).predictions)
    assert reference.schema.fit(AttributionBaseline) is None
    assert reference.notes == ("fewer than 100 attributions, so they are left out, of 'age', 'income'",)


def test_the_command_reads_them_and_says_what_lacks_some(tmp_path, capsys):
    path, out = written(tmp_path, {name: cells for name, cells in COLUMNS.items() if name != "shap_income"}), "p.json"
    build = ["reference", "build", str(path), "--model", "loans", "--out", str(tmp_path / out)]
    assert main([*build, "--attributions", "shap_"]) == 0
    said = capsys.readouterr().err
    assert "features without attributions in its reference do not count in ml.drift.weighted_share: income" in said
    reference = load_reference(tmp_path / out)
    assert reference.pane.further[AttributionSums].sums[0, 0] == ROWS
    assert main(["reference", "show", str(tmp_path / out)]) == 0
    assert "attributions" in capsys.readouterr().out
    assert main([*build, "--attributions", "phi"]) != 0
    assert "no column begins with 'phi' for attributions; it has: age, income, shap_age" in capsys.readouterr().err
