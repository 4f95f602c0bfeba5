"""Figures of other tools against their formulas on the raw rows, through a profile's file and the monitor."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.spatial.distance import jensenshannon

from collector_processor.columns.batch import Column
from collector_processor.monitors.drift import DriftMonitor, DriftSettings, LeastRows
from collector_processor.reference.build import build_reference
from collector_processor.reference.file import parse_reference, reference_text
from collector_processor.reference.profile import Reference
from collector_processor.statistics.compat import Compat
from otel_ml import semconv
from verification.tables import batch, window

ROWS = 4321


def table(rows: int = ROWS, seed: int = 0, shift: float = 0.0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "x": random.normal(shift, 1.0, rows),
            "whole": np.floor(random.exponential(3.0, rows)) + (shift > 0.0),
            "few": random.integers(0, 4, rows) * 1.5,
            "constant": 7.0,
            "city": random.choice(["a", "b", "c", "new" if shift else "b"], rows, p=[0.5, 0.3, 0.1, 0.1]),
            "flag": random.choice(["no", "yes"], rows, p=[0.7 - shift / 10.0, 0.3 + shift / 10.0]),
        }
    )
    frame.loc[random.random(rows) < 0.05, "x"] = np.nan
    return frame


def built(rows: pd.DataFrame, tool: str) -> Reference:
    return parse_reference(reference_text(build_reference("m", batch(rows), compat=tool)), "m.json")


def figures(reference: Reference, rows: pd.DataFrame, tool: str) -> dict[tuple[str, str, str], float]:
    monitor = DriftMonitor(DriftSettings(numeric=(), categorical=(), compat=tool), LeastRows(min_rows=1))
    found: dict[tuple[str, str, str], float] = {}
    for item in monitor.evaluate(window(reference, batch(rows)), reference):
        said = dict(item.attributes)
        method = said[semconv.DRIFT_METHOD].removeprefix(f"{tool}_")
        found[said[semconv.FEATURE_NAME], method, item.name.rpartition(".")[2]] = item.value
    return found


def by_doane(reference: np.ndarray, current: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    edges = np.histogram_bin_edges(reference, "doane")
    sides = [np.histogram(side, edges)[0] / len(side) for side in (reference, current)]
    return np.append(sides[0], 0.0), np.append(sides[1], max(1.0 - sides[1].sum(), 0.0))


def by_category(reference: Any, current: Any) -> np.ndarray:
    return pd.concat([reference.value_counts(), current.value_counts()], axis=1).fillna(0.0).to_numpy().T


def test_nannyml_figures_of_numbers_are_its_own():
    before, now = table(), table(999, 1, 0.3)
    found = figures(built(before, "nannyml"), now, "nannyml")
    for name in ("x", "whole", "few"):
        p, q = by_doane(before[name].dropna().to_numpy(), now[name].dropna().to_numpy())
        assert found[name, "jensen_shannon", "score"] == pytest.approx(jensenshannon(p, q, base=2), abs=1e-9)
        hellinger = np.sqrt(((np.sqrt(p) - np.sqrt(q)) ** 2).sum() / 2.0)
        assert found[name, "hellinger", "score"] == pytest.approx(hellinger, abs=1e-9)
        sides = before[name].dropna(), now[name].dropna()
        exact: Any = stats.ks_2samp(*sides)
        assert found[name, "kolmogorov_smirnov", "score"] == pytest.approx(exact.statistic, abs=1 / 512)
        assert found[name, "wasserstein", "score"] == pytest.approx(stats.wasserstein_distance(*sides), rel=0.02)


def test_nannyml_figures_of_categories_are_its_own():
    before, now = table(), table(999, 1, 0.3)
    found = figures(built(before, "nannyml"), now, "nannyml")
    for name in ("city", "flag"):
        both = by_category(before[name], now[name])
        tested: Any = stats.chi2_contingency(both)
        statistic, p_value = tested.statistic, tested.pvalue
        assert found[name, "chi2", "score"] == pytest.approx(statistic, rel=1e-9)
        assert found[name, "chi2", "p_value"] == pytest.approx(p_value, abs=1e-9)
        assert found[name, "chi2", "breached"] == (p_value < 0.05)
        p, q = both / both.sum(axis=1, keepdims=True)
        assert found[name, "jensen_shannon", "score"] == pytest.approx(jensenshannon(p, q, base=2), abs=1e-9)
        assert found[name, "l_infinity", "score"] == pytest.approx(np.abs(p - q).max(), abs=1e-12)


def test_nannyml_limits_are_mean_and_three_deviations_of_chunks_with_a_rest():
    before = table()  # ten chunks of 432 rows, and one row more
    found = figures(built(before, "nannyml"), table(999, 1), "nannyml")
    for name in ("x", "whole"):
        values = [
            jensenshannon(*by_doane(before[name].dropna().to_numpy(), part.dropna().to_numpy()), base=2)
            for part in [before[name].iloc[at : at + 432] for at in range(0, ROWS, 432)]
            if len(part.dropna())
        ]
        limit = np.mean(values) + 3.0 * np.std(values)
        assert found[name, "jensen_shannon", "threshold"] == pytest.approx(limit, abs=1e-9)
        assert found[name, "jensen_shannon", "breached"] == (found[name, "jensen_shannon", "score"] > limit)


def psi(reference: Any, current: Any) -> float:
    """Return Evidently's PSI of two columns."""
    if reference.nunique() > 20:
        edges = np.histogram_bin_edges(np.concatenate((reference, current)), "sturges")
        sides = [np.histogram(side, edges)[0] / len(side) for side in (reference, current)]
    else:
        both = by_category(reference, current)
        sides = list(both / both.sum(axis=1, keepdims=True))
    for side in sides:
        least = side[side > 0.0].min()
        side[side == 0.0] = least / 1e6 if least <= 1e-4 else 1e-4
    return float(((sides[0] - sides[1]) * np.log(sides[0] / sides[1])).sum())


def test_evidently_figures_of_a_large_reference_are_its_own():
    before, now = table(), table(999, 1, 0.3)
    now["x"] = now["x"].clip(before["x"].min(), before["x"].max())
    found = figures(built(before, "evidently"), now, "evidently")
    for name in ("x", "few", "city", "flag"):
        sides = before[name].dropna(), now[name].dropna()
        assert found[name, "psi", "score"] == pytest.approx(psi(*sides), abs=1e-9)
        assert found[name, "psi", "breached"] == (psi(*sides) >= 0.1)
    for name in ("few", "city", "flag"):
        p, q = by_category(before[name], now[name])
        assert found[name, "jensenshannon", "score"] == pytest.approx(jensenshannon(p, q), abs=1e-9)
    x = before["x"].dropna(), now["x"].dropna()
    distance = stats.wasserstein_distance(*x) / np.std(x[0])
    assert found["x", "wasserstein", "score"] == pytest.approx(distance, rel=0.02)


def test_evidently_tests_a_small_reference():
    before, now = table(900), table(300, 1, 0.3)
    found = figures(built(before, "evidently"), now, "evidently")
    both = by_category(before["few"], now["few"])
    tested: Any = stats.chisquare(both[1], both[0] * (both[1].sum() / both[0].sum()))
    assert found["few", "chisquare", "p_value"] == pytest.approx(tested.pvalue, abs=1e-9)
    n, m = (len(side) for side in (before, now))
    p, q = (side["flag"].eq("yes").mean() for side in (before, now))
    pooled = (n * p + m * q) / (n + m)
    z = abs(p - q) / np.sqrt(pooled * (1.0 - pooled) * (1.0 / n + 1.0 / m))
    assert found["flag", "z", "p_value"] == pytest.approx(2.0 * stats.norm.sf(z), abs=1e-9)
    exact: Any = stats.ks_2samp(before["x"].dropna(), now["x"].dropna())
    assert found["x", "ks", "p_value"] == pytest.approx(exact.pvalue, abs=0.1)
    assert found["city", "chisquare", "p_value"] == 0.0  # the reference has no 'new': it expects none


def test_psi_of_numbers_is_left_out_where_a_window_is_outside_the_reference():
    before, now = table(), table(999, 1)
    now["x"] = now["x"].clip(-1.0, 1.0)
    now["whole"] = now["whole"].clip(0.0, 3.0)
    now.loc[0, "x"] = 1e6
    found = figures(built(before, "evidently"), now, "evidently")
    assert ("x", "psi", "score") not in found
    assert found["x", "wasserstein", "score"] > 100.0
    assert ("whole", "psi", "score") in found


@pytest.mark.parametrize("tool", ["nannyml", "evidently"])
@pytest.mark.parametrize("rows", [1, 2, 999])
def test_windows_of_few_rows_and_of_nothing_have_finite_figures_or_none(tool: str, rows: int):
    reference, now = built(table(), tool), table(rows, 1)
    now["few"] = np.nan
    now["city"] = None
    found = figures(reference, now, tool)
    assert all(np.isfinite(value) for value in found.values())
    assert not [key for key in found if key[0] in {"few", "city"}]
    assert [value for key, value in found.items() if key[0] == "constant" and key[2] == "score"] == pytest.approx(
        [0.0] * 2, abs=1e-9
    )


@pytest.mark.parametrize("tool", ["nannyml", "evidently"])
def test_a_reference_of_nothing_but_missing_cells_has_no_figures(tool: str):
    before = table(600)
    before["x"] = np.nan
    found = figures(built(before, tool), table(600, 1), tool)
    assert not [key for key in found if key[0] == "x"]


def test_a_profile_without_the_tool_says_so_once_and_gives_what_needs_no_bins(caplog):
    reference = build_reference("m", batch(table()))
    found = [figures(reference, table(999, seed), "nannyml") for seed in (1, 2)]
    assert ("city", "jensen_shannon", "score") in found[0]
    assert ("city", "jensen_shannon", "breached") not in found[0]
    assert ("x", "jensen_shannon", "score") not in found[0]
    assert len([record for record in caplog.records if "drift.compat" in record.message]) == 1


def test_the_other_figures_of_a_profile_do_not_depend_on_the_tool():
    def scores(tool: str) -> dict[str, float]:
        reference = build_reference("m", batch(table()), compat=tool)
        monitor = DriftMonitor(DriftSettings(), LeastRows())
        found = monitor.evaluate(window(reference, batch(table(999, 1, 0.3))), reference)
        return {str((item.name, item.attributes)): item.value for item in found}

    assert scores("nannyml") == pytest.approx(scores(""), abs=2e-3)


def test_weights_and_unknown_tools_are_refused():
    rows = batch(table(600))
    with pytest.raises(ValueError, match="allowed: nannyml, evidently"):
        build_reference("m", rows, compat="whylogs")
    rows.weights[:] = 2.0
    with pytest.raises(ValueError, match="needs rows without weights"):
        build_reference("m", rows, compat="nannyml")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"tool": "nannyml"', '"tool": "whylogs"'),
        ('"limits": {\n', '"limits": {\n "x": "much",\n'),
        ('"bins": {\n', '"bins": {\n "3": [2,1],\n'),
        ('"bins": {\n', '"bins": {\n "3": [0,0.123456,1],\n'),
        ('"bins": {\n', '"bins": {\n "many": [0,1],\n'),
    ],
)
def test_a_broken_part_of_a_profile_is_refused_with_its_key(before: str, after: str):
    text = reference_text(build_reference("m", batch(table(600)), compat="nannyml"))
    assert before in text
    with pytest.raises(ValueError, match=r"m\.json: estimator\.compat\."):
        parse_reference(text.replace(before, after, 1), "m.json")


def test_labels_and_scores_have_limits_too():
    rows = table(1000)
    labels = Column(None, np.arange(1000, dtype=np.int32) % 2, ("no", "yes"))
    prediction = Column(None, np.arange(1000, dtype=np.int32) % 2, ("no", "yes"))
    full = replace(batch(rows), prediction=prediction)
    reference = build_reference("m", full, label_classes=labels, compat="nannyml")
    fit = reference.schema.fit(Compat)
    assert fit is not None
    names = [column.name for column in reference.schema.columns]
    assert "jensen_shannon" in fit.limits[names.index("label")]
    assert "jensen_shannon" in fit.limits[names.index("prediction")]
